"""From the journals to incidents: each verdict once, whatever happens in between.

What breaks if these fail: a spammer is counted twice and blocked for it, or not at all; the record lies.
"""

import pytest

from gateway.incidents import SourceKind, State
from gateway.journal.files import DAY_SECONDS, prune


def test_every_spam_verdict_becomes_a_sighting_of_its_source(world):
    world.journal([world.mail(), world.ham(), world.mail("2001:db8:1:2:3::4")], worker=0)
    world.journal([world.mail(), world.refused()], worker=1)
    world.rounds()
    first, second = sorted(world.incidents(), key=lambda each: each.source.key)
    assert (second.source.key, second.sightings, second.grounds) == (
        "2001:db8:1:2::/64",
        1,
        ("advertising",),
    )
    assert (first.source.kind, first.source.key, first.sightings) == (SourceKind.NETWORK, "198.51.100.7/32", 3)
    assert first.grounds == ("advertising", "false-source")


def test_mail_that_is_no_spam_is_nothing_to_the_desk(world):
    greylisted = ("me@box.test", "defer", 0.0, "greylist", "greylist first"), ()
    too_big = ("me@box.test", "reject", 0.0, "size", "size too-large"), ()
    unscanned = ("me@box.test", "quarantine", 0.0, "antivirus", "antivirus too large"), ()
    world.journal(
        [
            *(world.mail(dispositions=(said,), grounds=grounds) for said, grounds in (greylisted, too_big, unscanned)),
            world.refused(reply="450 4.7.1 later"),
            world.refused(grounds=(), reason="user unknown", filter=""),
        ]
    )
    world.rounds()
    assert world.incidents() == []


def test_a_virus_is_a_sighting_even_where_it_was_cut_out(world):
    world.journal([world.ham(findings=(("antivirus", "cleaned", "Eicar-Test"),))])
    world.rounds()
    (found,) = world.incidents()
    assert (found.viruses, found.grounds) == (1, ("harmful",))


def test_a_forwarders_mail_counts_for_whoever_gave_it_to_the_forwarder(world):
    world.journal([world.mail("192.0.2.9", origin="198.51.100.200"), world.mail("192.0.2.9")])
    world.rounds()
    assert [str(each.source) for each in world.incidents()] == ["hop 198.51.100.200/32", "network 192.0.2.9/32"]


def test_outbound_spam_counts_for_the_account_or_the_relay_client(world):
    world.journal(
        [
            world.mail("10.0.0.7", "you@far.test", role="relay", reverse_path="Anna@BOX.test"),
            world.mail("10.0.0.8", "you@far.test", role="relay", reverse_path="x@elsewhere.test"),
            world.mail("10.0.0.8", "me@box.test", role="mx", reverse_path=""),
        ]
    )
    world.rounds()
    found = {str(each.source): each.sightings for each in world.incidents()}
    assert found == {"account anna@box.test": 1, "client 10.0.0.8/32": 2}


def test_a_new_keeper_goes_on_where_the_record_stands(world):
    world.spam(2)
    world.journal([world.mail()])
    world.new_keeper()
    world.rounds()
    world.new_keeper()
    world.rounds()
    assert world.incident().sightings == 3


def test_rows_that_could_not_be_stored_are_read_again(world, monkeypatch):
    world.journal([world.mail()])
    failing = iter([True])

    def fails_once(*_):
        if next(failing, False):
            raise OSError("disk full")

    monkeypatch.setattr("gateway.abuse.keeper.Keeper._fold", _after(fails_once, world.keeper._fold.__func__))
    with pytest.raises(OSError, match="disk full"):
        world.keeper.round()
    assert world.incidents() == []
    world.rounds()
    assert world.incident().sightings == 1


def _after(first, then):
    def both(*arguments):
        first()
        return then(*arguments)

    return both


def test_two_keepers_of_one_folder_count_nothing_twice(world):
    one, other = world.keeper, world.new_keeper()
    world.journal([world.mail()])
    one.round()
    other.round()
    other.round()
    one.round()
    assert world.incident().sightings == 1


def test_the_day_turns_and_old_files_go(world):
    world.spam(1)
    world.clock.advance(DAY_SECONDS)
    world.spam(1)
    world.clock.advance(3 * DAY_SECONDS)
    world.keeper.round()
    prune(world.data / "journal", world.now, 10)
    world.spam(1)
    world.clock.advance(60)
    world.keeper.round()
    assert sum(each.sightings for each in world.incidents()) == 3
    with world.reader() as reader:
        left = {name for name in reader.cursors() if name != "begin"}
    assert left <= {path.name for path in (world.data / "journal").iterdir()}
    world.new_keeper()
    world.rounds()
    assert sum(each.sightings for each in world.incidents()) == 3


def test_a_journal_that_lost_its_end_to_a_power_failure_is_followed_again(world):
    world.spam(3)
    for path in (world.data / "journal").glob("*"):
        path.unlink()
    world.journal([world.mail("198.51.100.8")])
    world.new_keeper()
    world.rounds()
    world.journal([world.mail("198.51.100.8")])
    world.rounds()
    assert [each.sightings for each in world.incidents()] == [3, 1]


def test_thresholds_are_each_policys_own(world):
    world.spam(2)
    assert world.incident().state is State.OPEN
    world.spam(9, "198.51.100.8", to="me@other.test", grounds=(("me@other.test", "advertising"),))
    assert world.incident(2).state is State.OPEN
    world.spam(1, "198.51.100.8", to="me@other.test", grounds=(("me@other.test", "advertising"),))
    assert world.incident(2).state is State.CONFIRMED
    # The policy of other.test does not block, and nothing of its mail does.
    assert world.listed("198.51.100.8") == []


def test_what_lies_outside_the_window_does_not_confirm(world):
    world.spam(2)
    world.clock.advance(3601)
    world.spam(2)
    assert world.incident().state is State.OPEN
    world.spam(1)
    assert world.incident().state is State.BLOCKED


def test_the_keeper_tells_what_it_did(world):
    world.journal([world.mail() for _ in range(3)])
    events = [event for done in world.rounds() for event in done.events]
    assert [event.state for event in events] == ["open", "confirmed", "blocked"]
    assert events[1].reason == "3 spam verdicts within 1h under policy box, 3 confirm"
    assert {event.source for event in events} == {"network 198.51.100.7/32"}
    assert world.listed("198.51.100.7") == ["incident 1"]
