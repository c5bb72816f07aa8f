"""What DNS is asked about a client costs the dialogue no time, and counts where the recipient's policy decides."""

import asyncio
from typing import ClassVar

import pytest

from gateway.pipeline import inquiry
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Filter, NoOptions


@pytest.fixture
def slow(bench):
    """A gate with a CONNECT filter that waits until it is told to answer "bad"."""
    answer, asked = asyncio.Event(), []

    class Door(Filter[NoOptions]):
        stage = Stage.CONNECT
        io = True
        results: ClassVar = {"bad": "it is bad"}
        on: ClassVar = {"bad": Action.REJECT}

        async def examine(self, tx, _):
            asked.append(tx.connection.session_id)
            await answer.wait()
            return self.found("bad", "listed somewhere")

    Door.name = "door"
    return bench(filters={"door": Door}), answer, asked


async def test_the_greeting_does_not_wait_for_dns(slow, tools):
    built, answer, asked = slow
    assert await built.gate.admit(tools.connection()) is None
    # The question's task, and the filter's within it.
    for _ in range(2):
        await asyncio.sleep(0)
    assert len(asked) == 1, "asked at once, beside the dialogue"
    assert not answer.is_set()


async def test_the_recipient_waits_for_what_was_begun_and_is_refused_by_it(slow, tools):
    built, answer, asked = slow
    await built.gate.admit(tools.connection())
    reply = asyncio.create_task(built.rcpt("a@ours.test"))
    await asyncio.sleep(0)
    assert not reply.done()
    answer.set()
    assert (await reply).startswith("550")
    # The second recipient finds the answer.
    assert (await built.rcpt("b@ours.test")).startswith("550")
    assert len(asked) == 1


async def test_a_client_that_leaves_while_it_waits_ends_nothing(slow, tools):
    built, answer, asked = slow
    await built.gate.admit(tools.connection())
    leaving = asyncio.create_task(built.rcpt("a@ours.test"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    answer.set()
    assert (await built.rcpt("a@ours.test")).startswith("550")
    assert len(asked) == 1


async def test_questions_under_way_are_bounded(slow, tools, monkeypatch):
    """Beyond the bound nothing is begun early; RCPT asks all the same."""
    monkeypatch.setattr(inquiry, "MOST_BEGUN", 0)
    built, answer, asked = slow
    await built.gate.admit(tools.connection())
    await asyncio.sleep(0)
    assert asked == []
    answer.set()
    assert (await built.rcpt("a@ours.test")).startswith("550")


async def test_the_clients_verified_name_is_told_once_it_is_known(bench, tools):
    """Received, the journal and the client's reputation have it from there."""

    class Iprev(Filter[NoOptions]):
        stage = Stage.CONNECT
        io = True
        results: ClassVar = {"pass": "it is", "fail": "it is not"}

        async def examine(self, tx, _):
            good = str(tx.connection.client_address) == "198.51.100.7"
            return self.found("pass" if good else "fail", "as DNS says", name="mail.sender.test")

    Iprev.name = "iprev"
    gate = bench(filters={"iprev": Iprev}).gate
    connection = tools.connection()
    assert gate.client_name(connection) == ""
    await gate.judge_recipient(connection, tools.from_("a@sender.test"), tools.to("b@ours.test"), (), tools.TRACE_ID)
    assert gate.client_name(connection) == "mail.sender.test"
    other = tools.connection(client="192.0.2.9")
    await gate.judge_recipient(other, tools.from_("a@sender.test"), tools.to("b@ours.test"), (), tools.TRACE_ID)
    assert gate.client_name(other) == ""


@pytest.mark.parametrize(
    ("first", "second", "refusal"),
    [
        (Action.REJECT, Action.REJECT, "554 5.7.1 no service for you here (door listed)"),
        (Action.DEFER, Action.DEFER, "421 4.7.1 no service for you at the moment, try again later (door listed)"),
        (Action.REJECT, Action.DEFER, None),
        (Action.REJECT, Action.TAG, None),
        (Action.REJECT, Action.ACCEPT, None),
    ],
)
async def test_a_door_under_attack_hears_what_an_ordinary_one_does(bench, tools, first, second, refusal):
    class Door(Filter[NoOptions]):
        stage = Stage.CONNECT
        results: ClassVar = {"bad": "it is bad"}

        async def examine(self, *_):
            return self.found("bad", "listed")

    Door.name = "door"
    reactions = {"one": first, "two": second}
    policies = {
        name: f'domains = ["{name}.test"]\nnext_hop = "smtp://192.0.2.25"\n'
        f'[filters.door]\non = {{ bad = "{action.word}" }}\n'
        for name, action in reactions.items()
    } | {"default": f'[filters.door]\non = {{ bad = "{first.word}" }}\n'}
    gate = bench(policies, filters={"door": Door}).gate
    ordinary = await gate.admit(tools.connection())
    assert gate.turned_away(tools.connection()) == ordinary
    assert (str(ordinary) if ordinary else None) == refusal


async def test_what_was_weighed_for_one_client_is_said_to_another_only_if_the_same_is_found(bench, tools):
    class Door(Filter[NoOptions]):
        stage = Stage.CONNECT
        results: ClassVar = {"bad": "it is bad", "fine": "it is fine"}
        on: ClassVar = {"bad": Action.REJECT}

        async def examine(self, tx, _):
            address = tx.connection.client_address
            return self.found(
                "bad" if address.packed[3] < 9 else "fine", f"{address.packed[3] % 2}", client=str(address)
            )

    Door.name = "door"
    gate = bench(filters={"door": Door}).gate

    def said(last: int) -> str:
        refusal = gate.turned_away(tools.connection(client=f"192.0.2.{last}"))
        return refusal.text.rpartition("(")[2] if refusal else ""

    assert [said(last) for last in (1, 2, 3, 4, 11, 12)] == ["door 1)", "door 0)", "door 1)", "door 0)", "", ""]


async def test_a_filter_that_waits_or_fails_says_nothing_to_a_door_under_attack(bench, tools):
    """It is asked again in the ordinary way, which knows what to make of that."""

    class Waits(Filter[NoOptions]):
        stage = Stage.CONNECT
        results: ClassVar = {"bad": "it is bad"}
        on: ClassVar = {"bad": Action.REJECT}

        async def examine(self, *_):
            await asyncio.sleep(0)
            return self.found("bad")

    class Fails(Waits):
        async def examine(self, *_):
            raise RuntimeError("a bug")

    Waits.name, Fails.name = "waits", "fails"
    built = bench(filters={"waits": Waits, "fails": Fails})
    assert built.gate.turned_away(tools.connection()) is None
    assert built.events.events == []
