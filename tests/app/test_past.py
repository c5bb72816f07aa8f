"""The door learns from verdicts: who is believed, or waited for, tomorrow depends on what is noted here."""

import pytest

from gateway.app.past import GATHER_SECONDS, Past, address_key
from gateway.clock import FakeClock
from gateway.journal.events import MessageJudged, RecipientRefused
from gateway.state.memories import Memories


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def memories(tmp_path, clock):
    opened = Memories(tmp_path, clock=clock)
    yield opened
    opened.close()


def judged(*actions, role="mx", reverse_path="a@News.Sender.test", durable_at=1.0, client="192.0.2.7"):
    return MessageJudged(
        at=0.0,
        session_id="S",
        client=client,
        client_name="mail7.provider.test",
        helo="x",
        role=role,
        tls="",
        reverse_path=reverse_path,
        message_id="",
        subject="",
        octets=1,
        dispositions=tuple((f"r{n}@Their.test", action, 0.0, "", "") for n, action in enumerate(actions)),
        findings=(),
        filter_seconds=(),
        reply="250 2.0.0 ok",
        connected_at=0.0,
        enveloped_at=0.0,
        received_at=0.0,
        filtered_seconds=0.0,
        durable_at=durable_at,
        durable_seconds=0.0,
    )


def refused(reply="550 5.7.1 no", filter_name="dnsbl"):
    return RecipientRefused(
        at=0.0,
        client="192.0.2.7",
        helo="x",
        reverse_path="a@sender.test",
        recipient="r@ours.test",
        reply=reply,
        reason="",
        filter=filter_name,
    )


def standing(memories, name):
    found = memories.reputation.standing(name)
    return round(found.good, 3), round(found.bad, 3)


@pytest.mark.parametrize(
    "name",
    ["client 192.0.2.7", "sender sender.test 192.0.2.0/24", "name provider.test", "network 192.0.2.0/24"],
)
def test_a_verdict_counts_for_everybody_who_sent_the_mail(memories, clock, name):
    past = Past(memories, clock)
    past.emit(judged("accept"))
    past.emit(judged("reject"))
    past.emit(judged("accept", "quarantine"))
    past.flush()
    assert standing(memories, name) == (1.5, 1.5)


def test_mail_that_was_put_off_says_nothing(memories, clock):
    past = Past(memories, clock)
    past.emit(judged("defer"))
    past.emit(refused("451 4.7.1 greylisted", "greylist"))
    past.flush()
    assert standing(memories, "client 192.0.2.7") == (0.0, 0.0)


def test_a_refused_recipient_is_bad_and_an_unknown_one_a_little(memories, clock):
    past = Past(memories, clock)
    past.emit(refused())
    past.emit(refused("550 5.1.1 unknown", ""))
    past.flush()
    assert standing(memories, "client 192.0.2.7") == (0.0, 1.1)


def test_a_busy_client_is_one_write_a_second(memories, clock):
    past = Past(memories, clock)
    for _ in range(50):
        past.emit(judged("accept"))
    assert standing(memories, "client 192.0.2.7") == (0.0, 0.0)
    clock.advance(GATHER_SECONDS)
    past.emit(judged("accept"))
    assert standing(memories, "client 192.0.2.7") == (51.0, 0.0)


def test_whom_our_users_write_to_is_a_penpal_once_the_mail_is_taken(memories, clock):
    past = Past(memories, clock)
    past.emit(judged("accept", role="relay", reverse_path="Anna@Ours.test", client="10.0.0.1", durable_at=0.0))
    assert memories.penpals.letters("anna@ours.test", "r0@their.test") == 0
    past.emit(judged("accept", "accept", role="relay", reverse_path="Anna@Ours.test", client="10.0.0.1"))
    past.emit(judged("accept", role="relay", reverse_path="", client="10.0.0.1"))
    past.flush()
    assert memories.penpals.letters("anna@ours.test", "r1@their.test") == 1
    assert standing(memories, "client 10.0.0.1") == (0.0, 0.0)


@pytest.mark.parametrize(
    ("wire", "key"),
    [
        ("Anna@Ours.Test", "anna@ours.test"),
        ("", ""),
        ("postmaster", ""),
        ("a@例子.中国", "a@xn--fsqu00a.xn--fiqs8s"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
    ],
)
def test_addresses_meet_in_one_form(wire, key):
    assert address_key(wire) == key
