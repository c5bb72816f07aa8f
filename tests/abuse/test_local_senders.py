"""Senders of ours watched: much mail, many strangers, many refusals.

What breaks if these fail: a broken-in account sends for hours before anybody sees it, or honest users are accused.
"""

import pytest

from gateway.config.units import Rate
from gateway.incidents import State
from gateway.journal.events import DeliveryAttempted


@pytest.fixture
def watched(world):
    def limit(**rates):
        off = dict.fromkeys(("messages", "recipients", "first_time", "refused"), Rate(0, 3600.0))
        world.set(local=world.snapshot.config.incidents.local.model_copy(update=off | rates))
        return world

    return limit


def out(world, number: int = 0, **facts):
    to = facts.pop("to", f"you{number}@far.test")
    return world.ham("10.0.0.7", to, role="relay", **({"reverse_path": "anna@box.test"} | facts))


def findings(world) -> dict[str, str]:
    with world.reader() as reader:
        return {str(each.source): reader.sightings(each.id)[0].sighting.findings[0] for each in world.incidents()}


def test_a_sender_within_its_limits_is_nobodys_business(watched):
    world = watched(messages=Rate(5, 3600.0))
    world.journal([out(world) for _ in range(5)])
    world.rounds()
    assert world.incidents() == []


def test_too_much_mail_confirms_an_incident_of_the_account_and_of_its_client(watched):
    world = watched(messages=Rate(5, 3600.0))
    world.journal([out(world) for _ in range(9)])
    world.rounds()
    told = findings(world)
    assert set(told) == {"account anna@box.test", "client 10.0.0.7/32"}
    assert told["account anna@box.test"] == "local-sender messages: 6 messages, 5/1h are usual at most"
    assert {each.state for each in world.incidents()} == {State.CONFIRMED}
    assert {each.sightings for each in world.incidents()} == {1}, "told once"


def test_a_client_that_sends_as_many_accounts_is_seen(watched):
    world = watched(messages=Rate(5, 3600.0))
    world.journal([out(world, reverse_path=f"user{n}@box.test") for n in range(6)])
    world.rounds()
    assert set(findings(world)) == {"client 10.0.0.7/32"}


def test_what_is_long_ago_does_not_count(watched):
    world = watched(messages=Rate(5, 3600.0))
    for _ in range(4):
        world.journal([out(world) for _ in range(2)])
        world.rounds()
        world.clock.advance(1800)
    assert world.incidents() == []


def test_strangers_count_and_correspondents_do_not(watched):
    world = watched(first_time=Rate(5, 3600.0))
    world.journal([out(world, to="friend@far.test") for _ in range(20)])
    world.rounds()
    assert world.incidents() == []
    world.journal([out(world, number) for number in range(6)])
    world.rounds()
    assert "recipients it never wrote to before" in findings(world)["account anna@box.test"]


def test_refusals_and_bounces_count_together(watched):
    world = watched(refused=Rate(3, 3600.0))
    bounce = DeliveryAttempted(
        at=world.now,
        trace_id=world.trace(),
        recipient="gone@far.test",
        reverse_path="anna@box.test",
        next_hop="far.test",
        relay="mx.far.test",
        phase="rcpt",
        reply="550 5.1.1 no",
        status="bounced",
        delay_seconds=1.0,
        delays=(0.0, 0.0, 0.0, 1.0),
        attempt=1,
    )
    refused = world.refused("10.0.0.7", reverse_path="anna@box.test", grounds=(), filter="")
    world.journal([bounce, bounce, refused, refused])
    world.rounds()
    assert "4 recipients refused or bounced" in findings(world)["account anna@box.test"]


def test_strangers_from_outside_are_not_watched(watched):
    world = watched(messages=Rate(1, 3600.0), refused=Rate(1, 3600.0))
    world.journal([world.ham() for _ in range(5)] + [world.refused(grounds=(), filter="") for _ in range(5)])
    world.rounds()
    assert world.incidents() == []
