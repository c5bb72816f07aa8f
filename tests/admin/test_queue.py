"""Operators act on customers' mail: only what was selected may change, and every change has a name on it."""

import asyncio

import pytest

from gateway.admin import queue
from gateway.admin.dropped import dropped_rows
from gateway.admin.protocol import RefusedError, UnknownCommandError
from gateway.admin.queue import QueueDesk, merge_answers
from gateway.admin.shards import ShardReader
from gateway.clock import FakeClock
from gateway.journal.events import QueueChanged
from gateway.journal.sinks import Recorded
from gateway.ledger import MIGRATIONS, Ledger
from gateway.spool.custody import Custody
from gateway.spool.message import RecipientState
from gateway.spool.opening import SilentWitness
from gateway.spool.shard import ShardSettings


class Room:
    def __init__(self, data):
        self.clock = FakeClock()
        self.data = data
        self.events = Recorded()
        self.woken = 0
        settings = ShardSettings(data=data, clock=self.clock, companions=MIGRATIONS)
        self.custody = Custody.open(settings, worker=0, workers=1, witness=SilentWitness())
        self.desk = QueueDesk(
            self.custody, clock=self.clock, events=self.events, wake=self.wake, records=dropped_rows(self.clock)
        )

    def wake(self):
        self.woken += 1

    async def ask(self, command, **arguments):
        return await self.desk.handle(f"queue.{command}", arguments | {"operator": "anna"})

    async def states(self):
        result = await self.ask("list")
        return {(m["id"], c["recipient"]): c["state"] for m in result["messages"] for c in m["recipients"]}


@pytest.fixture
async def room(tmp_path):
    room = Room(tmp_path)
    yield room
    room.custody.close_now()


@pytest.fixture
async def filled(room, spooled):
    """Return a room with three messages: two queued copies, one held, one quarantined."""
    await room.custody.store(spooled(1, [("b@example.com", "queued"), ("c@example.net", "queued")]))
    await room.custody.store(spooled(2, [("b@example.com", "held")]))
    await room.custody.store(spooled(3, [("d@example.com", "quarantined")]))
    return room


async def test_a_listing_has_every_copy_with_its_state(filled, trace_ids):
    assert await filled.states() == {
        (trace_ids[1], "b@example.com"): "queued",
        (trace_ids[1], "c@example.net"): "queued",
        (trace_ids[2], "b@example.com"): "held",
        (trace_ids[3], "d@example.com"): "quarantined",
    }


@pytest.mark.parametrize(
    ("arguments", "selected"),
    [
        ({"recipient": "B@Example.com"}, {1, 2}),
        ({"domain": "example.net"}, {1}),
        ({"domain": "EXAMPLE.com"}, {1, 2, 3}),
        ({"states": ["held", "quarantined"]}, {2, 3}),
        ({"recipient": "b@example.com", "states": ["held"]}, {2}),
        ({"route": "smtp://10.1.0.5:25"}, {1, 2, 3}),
        ({"route": "smtp://other"}, set()),
        ({"older_than_seconds": 3600}, set()),
    ],
)
async def test_conditions_select_and_all_must_hold(filled, trace_ids, arguments, selected):
    result = await filled.ask("list", **arguments)
    assert {m["id"] for m in result["messages"]} == {trace_ids[n] for n in selected}


async def test_age_selects_by_the_time_of_receipt(filled):
    filled.clock.advance(7200)
    assert len((await filled.ask("list", older_than_seconds=3600))["messages"]) == 3


async def test_a_limited_listing_says_that_there_is_more(filled):
    result = await filled.ask("list", limit=1)
    assert result["more"]
    assert not (await filled.ask("list", limit=100))["more"]


async def test_show_has_attempts_and_header(filled, trace_ids):
    result = await filled.ask("show", ids=[trace_ids[1]])
    assert "Subject: hello" in result["messages"][0]["header"]
    assert result["messages"][0]["recipients"][0]["history"] == []


async def test_hold_and_release_change_only_what_they_select_and_leave_a_name(filled, trace_ids):
    assert await filled.ask("hold", domain="example.net") == {"changed": 1}
    assert (await filled.states())[trace_ids[1], "c@example.net"] == "held"
    assert (await filled.states())[trace_ids[1], "b@example.com"] == "queued"
    assert await filled.ask("release", ids=[trace_ids[1]]) == {"changed": 1}
    assert (await filled.states())[trace_ids[1], "c@example.net"] == "queued"
    assert filled.woken == 1
    assert [(e.operation, e.trace_id, e.recipients, e.operator) for e in filled.events.events] == [
        ("hold", trace_ids[1], ("c@example.net",), "anna"),
        ("release", trace_ids[1], ("c@example.net",), "anna"),
    ]


async def test_held_mail_is_released_into_the_queue_and_is_due_and_quarantined_mail_is_not(filled, trace_ids):
    assert await filled.ask("release", everything=True) == {"changed": 1}
    assert (await filled.states())[trace_ids[3], "d@example.com"] == "quarantined"
    [summary] = await filled.custody.routes()
    assert summary.queued == 3


async def test_flush_makes_copies_due_now_and_wakes_delivery(room, spooled):
    later = room.clock.stamp().utc + 3600
    await room.custody.store(spooled(1, [("b@example.com", "queued")], due=later))
    assert await room.ask("flush") == {"changed": 1}
    [summary] = await room.custody.routes()
    assert summary.next_due <= room.clock.stamp().utc
    assert room.woken == 1
    assert room.events.events[0].operation == "flush"


async def test_a_flush_of_nothing_wakes_nobody(room):
    assert await room.ask("flush") == {"changed": 0}
    assert (room.woken, room.events.events) == (0, [])


@pytest.mark.parametrize(
    "arguments", [{}, {"domain": "example.com"}, {"states": ["quarantined"]}, {"everything": False}]
)
async def test_dropping_wants_ids_or_everything(filled, arguments):
    with pytest.raises(RefusedError, match="--all"):
        await filled.ask("drop", **arguments)
    assert len(await filled.states()) == 4


async def test_releasing_without_a_condition_is_refused(filled):
    with pytest.raises(RefusedError, match="--all"):
        await filled.ask("release")


async def test_dropped_copies_are_gone_and_leave_a_ledger_row_each(filled, trace_ids, tmp_path):
    assert await filled.ask("drop", ids=[trace_ids[1]], recipient="b@example.com") == {"changed": 1}
    assert (trace_ids[1], "b@example.com") not in await filled.states()
    assert (trace_ids[1], "c@example.net") in await filled.states()
    assert await filled.ask("drop", domain="example.com", everything=True) == {"changed": 2}
    assert await filled.states() == {(trace_ids[1], "c@example.net"): "queued"}
    records = [r for n in (1, 2, 3) for r in Ledger(tmp_path).of_message(trace_ids[n])]
    assert [(r.recipient, r.status, r.accepted_at) for r in records] == [
        ("b@example.com", "dropped", None),
        ("b@example.com", "dropped", None),
        ("d@example.com", "dropped", None),
    ]


async def test_a_large_selection_is_changed_page_by_page_and_wholly(room, spooled, trace_ids, monkeypatch):
    monkeypatch.setattr(queue, "PAGE_COPIES", 5)
    for number in range(1, 10):
        copies = [(f"r{i}@example.com", "queued") for i in range(3)]
        await room.custody.store(spooled(number, copies))
    assert await room.ask("hold") == {"changed": 27}
    assert set((await room.states()).values()) == {"held"}
    named = [(e.trace_id, e.recipients) for e in room.events.events if isinstance(e, QueueChanged)]
    assert sorted(named) == [(trace_ids[n], tuple(f"r{i}@example.com" for i in range(3))) for n in range(1, 10)]


async def test_what_delivery_ends_meanwhile_does_not_keep_the_command_going(filled, monkeypatch):
    async def nothing(_):
        return 0

    monkeypatch.setattr(filled.custody, "hold", nothing)
    assert await asyncio.wait_for(filled.ask("hold"), 10) == {"changed": 0}
    assert filled.events.events == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"states": ["flying"]}, "flying"),
        ({"domain": "exa mple"}, "exa mple"),
        ({"older_than_seconds": "long"}, "long"),
        ({"limit": "many"}, "many"),
        ({"ids": 5}, "int"),
    ],
)
async def test_what_cannot_be_meant_is_named(filled, arguments, named):
    with pytest.raises(RefusedError, match=named):
        await filled.ask("list", **arguments)


async def test_another_command_is_unknown(room):
    with pytest.raises(UnknownCommandError):
        await room.ask("burn")


def test_workers_answers_become_one():
    one = {"messages": [{"id": "B", "recipients": [1]}], "more": False}
    two = {"messages": [{"id": "A", "recipients": [1, 2]}, {"id": "C", "recipients": [1]}], "more": False}
    merged = merge_answers("queue.list", {"limit": 3}, [one, two])
    assert ([m["id"] for m in merged["messages"]], merged["more"]) == (["A", "B"], True)
    assert merge_answers("queue.hold", {}, [{"changed": 2}, {"changed": 3}]) == {"changed": 5}


async def test_the_summary_counts_copies_by_state_and_the_oldest_queued(filled, tmp_path):
    filled.clock.advance(100)
    found = ShardReader(tmp_path, filled.clock).queue()
    assert found["recipients"] == {"queued": 2, "held": 1, "quarantined": 1}
    assert found["messages"] == 3
    assert found["oldest_seconds"] == pytest.approx(100, abs=1)


async def test_an_empty_queue_has_no_oldest(room, tmp_path):
    assert ShardReader(tmp_path, room.clock).queue() == {"recipients": {}, "messages": 0, "oldest_seconds": 0.0}


def test_every_live_state_can_be_dropped():
    live = {RecipientState.QUEUED, RecipientState.HELD, RecipientState.QUARANTINED}
    assert queue._SOURCES["drop"] == live
