"""Many sightings share a transaction, what has an effect on mail waits for nothing, no failure loses or doubles any.

What breaks if these fail: the mail beside it slows down under spam; a block comes late; a full disk makes the record
lie, or suspends a sender who did nothing.
"""

import os
import sqlite3
from contextlib import closing

import pytest

from gateway.abuse import blocking
from gateway.abuse.gathering import GATHER_SECONDS, MOST_GATHERED
from gateway.clock import FakeClock
from gateway.incidents import IncidentReader, State
from gateway.incidents.blocks import watched_seconds
from gateway.incidents.schema import database_path
from gateway.journal.files import DAY_SECONDS
from gateway.journal.guard_events import OwnListingChanged
from gateway.storage import StorageError, StorageFull
from tests.abuse.conftest import BEGIN

# Its policy blocks nobody by itself.
HARMLESS = {"to": "me@other.test", "grounds": (("me@other.test", "advertising"),)}


@pytest.fixture
def patient(world):
    """A gateway whose keeper gathers, as the running program's does."""
    world.new_keeper(GATHER_SECONDS)
    return world


def look(world, *events):
    world.journal(events)
    return world.keeper.round()


def batches(world) -> int:
    return len(world.reader().rows("SELECT 1 FROM batch"))


def full(*_, **__):
    raise StorageFull("no space left on device")


def failing(patch, world):
    """Have no transaction of the record succeed."""
    patch.setattr(world.keeper._book._database, "transaction", full)


def test_sightings_that_come_together_share_a_transaction(patient):
    assert look(patient, patient.mail(**HARMLESS)).sightings == 1, "nothing came for a while"
    for _ in range(4):
        assert look(patient, patient.mail(**HARMLESS)).sightings == 0
        patient.clock.advance(GATHER_SECONDS / 5)
    patient.clock.advance(GATHER_SECONDS)
    assert patient.keeper.round().sightings == 4
    assert (batches(patient), patient.incident().sightings) == (2, 5)


def test_what_may_block_its_source_waits_for_nothing(patient):
    for count in (1, 2, 3):
        look(patient, patient.mail(), *(patient.mail(f"203.0.113.{n}", **HARMLESS) for n in range(3)))
        assert bool(patient.listed("198.51.100.7")) == (count == 3)
    assert patient.incident().state is State.BLOCKED
    # What is blocked already makes nothing urgent.
    assert look(patient, patient.mail()).sightings == 0


def test_one_virus_blocks_where_the_policy_says_one(patient):
    look(patient, patient.mail())
    look(patient, patient.mail(findings=(("antivirus", "infected", "Eicar"),)))
    assert patient.listed("198.51.100.7")


def test_a_protected_source_is_no_reason_to_hurry(patient):
    for _ in range(3):
        look(patient, patient.mail("198.51.100.99"))
    assert patient.incident().state is State.CONFIRMED
    assert look(patient, patient.mail("198.51.100.99")).sightings == 0


def test_a_sender_of_ours_is_suspended_at_once(patient):
    patient.set(local=patient.snapshot.config.incidents.local.model_copy(update={"suspend": True}))
    spam = {"to": "you@far.test", "role": "relay", "reverse_path": "anna@box.test"}
    look(patient, patient.mail("10.0.0.7", **spam))
    done = look(patient, *(patient.mail("10.0.0.7", **spam) for _ in range(5)))
    assert [str(each) for each in done.suspended] == ["account anna@box.test"]


def test_more_than_a_transaction_takes_is_stored_in_several(patient):
    look(patient, patient.mail(**HARMLESS))
    done = look(patient, *(patient.mail(f"10.1.{n % 200}.1", **HARMLESS) for n in range(MOST_GATHERED + 10)))
    assert done.sightings == MOST_GATHERED + 10, "one reading is stored as a whole"
    assert batches(patient) == 3


def test_the_last_round_leaves_nothing_in_hand(patient):
    look(patient, patient.mail(**HARMLESS))
    look(patient, patient.mail(**HARMLESS))
    assert patient.keeper.finish().sightings == 1


def test_a_watch_puts_no_position_on_record_before_what_was_read(patient):
    look(patient, patient.mail(**HARMLESS))
    patient.clock.advance(29.5)
    patient.keeper.round()
    look(patient, patient.mail(**HARMLESS))
    look(patient, patient.mail(**HARMLESS))
    patient.clock.advance(0.6)
    patient.keeper.round()
    patient.new_keeper().round()
    assert patient.incident().sightings == 3


def test_a_full_disk_loses_and_doubles_nothing(patient, monkeypatch):
    limits = patient.snapshot.config.incidents.local
    patient.set(local=limits.model_copy(update={"messages": type(limits.messages)(4, 3600.0), "suspend": True}))
    look(patient, patient.mail(**HARMLESS))
    sent = {"to": "you@far.test", "role": "relay", "reverse_path": "anna@box.test"}
    patient.journal([*(patient.ham("10.0.0.7", **sent) for _ in range(3)), patient.mail(**HARMLESS)])
    patient.clock.advance(GATHER_SECONDS)
    with monkeypatch.context() as patch:
        failing(patch, patient)
        for _ in range(3):
            with pytest.raises(StorageError):
                patient.keeper.round()
            patient.journal([patient.mail(**HARMLESS)])
    done = [patient.keeper.round(), patient.keeper.finish()]
    assert [each.sightings for each in done] == [1, 3], "first what could not be stored"
    assert done[0].suspended == done[1].suspended == [], "three messages read once are three messages"
    assert sum(each.sightings for each in patient.incidents()) == 5


def test_a_memory_that_cannot_be_opened_loses_and_doubles_nothing(patient, monkeypatch):
    """The table of who has written to whom is made when a sender of ours first writes, and needs room for that."""
    limits = patient.snapshot.config.incidents.local
    patient.set(local=limits.model_copy(update={"messages": type(limits.messages)(2, 3600.0), "suspend": True}))
    sent = {"to": "you@far.test", "role": "relay", "reverse_path": "anna@box.test"}
    patient.journal(
        [patient.mail(**HARMLESS), *(patient.ham("10.0.0.7", **sent) for _ in range(2)), patient.mail(**HARMLESS)]
    )
    with monkeypatch.context() as patch:
        patch.setattr(patient.keeper._local._known, "get", full)
        for _ in range(3):
            with pytest.raises(StorageError):
                patient.keeper.round()
    done = patient.keeper.round()
    assert (done.sightings, done.suspended) == (2, []), "two messages read once are two messages"
    assert patient.new_keeper().round().sightings == 0


def test_while_nothing_can_be_stored_nothing_more_is_read(patient, monkeypatch):
    look(patient, patient.mail(**HARMLESS))
    patient.clock.advance(GATHER_SECONDS)
    patient.journal([patient.mail(**HARMLESS)])
    with monkeypatch.context() as patch:
        failing(patch, patient)
        for _ in range(3):
            with pytest.raises(StorageError):
                patient.keeper.round()
            patient.journal([patient.mail(**HARMLESS) for _ in range(100)])
        assert len(patient.keeper._gathered.sightings) == 1


def test_what_a_round_had_done_before_it_failed_is_told_by_the_next(patient, monkeypatch):
    listing = OwnListingChanged(
        at=patient.now, identity="192.0.2.1", zone="bl.test", state="listed", code="", reason=""
    )
    patient.journal([listing, *(patient.mail() for _ in range(3))])
    with monkeypatch.context() as patch:
        patch.setattr("gateway.abuse.keeper.enforce", full)
        for _ in range(2):
            with pytest.raises(StorageError):
                patient.keeper.round()
        assert patient.listed("198.51.100.7") == []
    done = patient.keeper.round()
    assert [event.state for event in done.events] == ["open", "confirmed", "blocked"]
    assert (done.listed, patient.listed("198.51.100.7")) == ([listing], ["incident 1"])


def test_a_keeper_that_another_one_overtook_goes_on_behind_it(world):
    """As when a keeper is started while the one before it still finishes a transaction."""
    one, other = world.keeper, world.new_keeper()
    for count in range(1, 4):
        world.journal([world.mail(**HARMLESS)])
        for keeper in (one, other):
            keeper.round()
        world.journal([world.mail(**HARMLESS)])
        for keeper in (other, one, other):
            keeper.round()
        assert world.incident().sightings == 2 * count


def test_a_clock_that_was_ahead_at_the_first_start_hides_no_journal(world):
    world.clock.advance(400 * DAY_SECONDS)
    world.new_keeper()
    world.spam(1)
    world.clock = FakeClock(utc=BEGIN)
    world.new_keeper()
    world.spam(1)
    world.new_keeper()
    world.spam(1)
    assert world.incident().sightings == 3


def test_a_damaged_journal_is_told_once_and_the_others_are_read(world):
    world.journal([world.mail()], worker=0)
    world.journal([world.mail()], worker=1)
    next((world.data / "journal").glob("*worker-1.sqlite")).write_bytes(b"no database at all" * 1000)
    for path in (world.data / "journal").glob("*worker-1.sqlite-*"):
        path.unlink()
    told = []
    for _ in range(4):
        world.clock.advance(31)
        told += [event for event in world.keeper.round().events if event.kind == "storage_failed"]
    assert [(event.store, event.operation) for event in told] == [("journal", "read")]
    assert "worker-1" in told[0].error
    assert world.incident().sightings == 1


def test_a_sample_is_filed_with_its_verdict(patient):
    sent = patient.mail(**HARMLESS)
    patient.keeper._evidence.inbox.put(sent.trace_id, patient.now, {}, [b"Subject: cheap\r\n\r\n"])
    done = look(patient, sent)
    assert (done.sightings, done.adopted) == (1, 1)
    with patient.reader() as reader:
        assert [each.trace_id for each in reader.evidence(1)] == [sent.trace_id]
        assert reader.rows("SELECT operation FROM chain WHERE kind = 'evidence'") == [("fold",)]
    assert not list(patient.keeper._evidence.inbox.folder.iterdir())


def test_a_sample_that_cannot_be_filed_holds_up_no_verdict(patient, monkeypatch):
    sent = patient.mail(**HARMLESS)
    patient.keeper._evidence.inbox.put(sent.trace_id, patient.now, {}, [b"Subject: cheap\r\n\r\n"])
    with monkeypatch.context() as patch:
        patch.setattr(patient.keeper._evidence, "adopt", full)
        for events in ([sent], []):
            with pytest.raises(StorageFull):
                look(patient, *events)
            patient.clock.advance(GATHER_SECONDS)
        assert patient.incident().sightings == 1, "the verdict is on record, its evidence waits"
    patient.clock.advance(GATHER_SECONDS)
    patient.keeper.round()
    with patient.reader() as reader:
        assert [each.trace_id for each in reader.evidence(1)] == [sent.trace_id]


def test_a_block_waits_for_no_evidence(patient, monkeypatch):
    """Samples take two syncs each, half a second for all on a slow disk: what mail waits for is in force before."""
    sent = [patient.mail() for _ in range(3)]
    for each in sent:
        patient.keeper._evidence.inbox.put(each.trace_id, patient.now, {}, [b"Subject: cheap\r\n\r\n"])
    with monkeypatch.context() as patch:
        patch.setattr(patient.keeper._evidence, "adopt", full)
        with pytest.raises(StorageFull):
            look(patient, *sent)
    assert patient.listed("198.51.100.7"), "blocked in the round that failed to file its evidence"
    patient.clock.advance(GATHER_SECONDS)
    patient.keeper.round()
    with patient.reader() as reader:
        assert sorted(each.trace_id for each in reader.evidence(1)) == sorted(each.trace_id for each in sent)


def test_samples_without_a_verdict_keep_no_other_from_being_filed(world):
    inbox = world.keeper._evidence.inbox
    for _ in range(120):
        inbox.put(world.trace(), world.now, {}, [b"nobody's"])
    sent = world.mail()
    inbox.put(sent.trace_id, world.now, {}, [b"Subject: cheap\r\n\r\n"])
    world.journal([sent])
    rounds = [world.keeper.round() for _ in range(4)]
    assert sum(done.adopted for done in rounds) == 1
    assert rounds[0].more, "it goes on at once"
    with world.reader() as reader:
        assert [each.trace_id for each in reader.evidence(1)] == [sent.trace_id]


def test_what_was_left_half_written_goes(world):
    inbox = world.keeper._evidence.inbox
    whole = world.trace()
    inbox.put(whole, world.now, {}, [b"whole"])
    (inbox.folder / f"{world.trace()}.zst").write_bytes(b"killed behind the first file")
    (inbox.folder / f"{whole}.json.draft").write_bytes(b"killed within the second")
    inbox.sweep((inbox.folder / f"{whole}.json").stat().st_mtime + 1)
    assert {path.name for path in inbox.folder.iterdir()} == {f"{whole}.json", f"{whole}.zst"}


def test_a_record_that_is_being_made_has_no_incidents_yet(tmp_path, world):
    path = database_path(tmp_path)
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("PRAGMA user_version = 0")
    reader = IncidentReader(tmp_path)
    assert (reader.cursors(), reader.incident(1), reader.head().number) == ({}, None, 0)
    world.data = tmp_path
    with world.book.change("anna", "incident note") as change:
        change.record("noted", None, {})
    assert reader.head().number == 1, "the same reader finds it once it is made"


def test_a_source_of_any_number_of_sightings_costs_a_bounded_look(world, monkeypatch):
    monkeypatch.setattr("gateway.abuse.thresholds.MOST_LOOKED_AT", 4)
    world.keeper.use(world.snapshot, world.protection())
    world.keeper._thresholds._most = 4
    old = world.now
    world.spam(2)
    world.clock.advance(3000)
    world.spam(3, **HARMLESS)
    # Two of box.test lie within the hour, but only one of them among the last four.
    assert world.now - old < 3600
    world.spam(1)
    assert world.incident().state is State.OPEN
    world.spam(2)
    assert world.incident().state is State.BLOCKED


def test_an_event_that_cannot_be_judged_is_told_and_the_others_count(world):
    world.journal([world.mail("no address"), world.mail()])
    (done,) = [each for each in world.rounds() if each.sightings]
    assert [event.kind for event in done.events if event.kind == "internal_error"] == ["internal_error"]
    assert "no address" in done.events[0].error
    assert world.incident().sightings == 1


def test_a_record_that_was_put_aside_is_begun_again(world):
    """As an operator does with one that is damaged, while the gateway runs."""
    world.spam(2)
    for path in (world.data / "incidents").glob("incidents.sqlite*"):
        path.unlink()
    world.journal([world.mail()])
    world.keeper.round()
    world.spam(1)
    assert world.incident().sightings == 4, "what the journals still have is read again"


def test_blocks_that_are_not_over_are_not_gone_through(world, monkeypatch):
    looked = []
    whole = blocking.quiet_proof

    def counted(*arguments):
        looked.append(arguments[1].entry)
        return whole(*arguments)

    monkeypatch.setattr(blocking, "quiet_proof", counted)
    world.set(quiet=7200.0)
    for number in range(1, 6):
        world.spam(3, f"198.51.100.{number}")
    world.clock.advance(7100)
    world.keeper.round()
    assert looked == []
    world.clock.advance(200)
    world.keeper.round()
    assert looked == ["198.51.100.1/32"], "nobody looked long enough for the longest silent, so for no other"


def test_hours_that_a_clock_repeats_count_once(world):
    world.spam(1)
    with world.book.change("keeper", "watch") as change:
        change.execute("INSERT INTO watch (began_at, until) VALUES (?, ?)", (BEGIN, BEGIN + 3600))
        change.execute("INSERT INTO watch (began_at, until) VALUES (?, ?)", (BEGIN + 1800, BEGIN + 5400))
        change.execute("INSERT INTO watch (began_at, until) VALUES (?, ?)", (BEGIN + 2000, BEGIN + 3000))
    with world.reader() as reader:
        assert watched_seconds(reader.rows, BEGIN, BEGIN + 7200) == 5400
        assert watched_seconds(reader.rows, BEGIN + 3000, BEGIN + 4000) == 1000


def test_a_clock_set_back_makes_no_excess_of_a_sender(world):
    limits = world.snapshot.config.incidents.local
    world.set(local=limits.model_copy(update={"messages": type(limits.messages)(4, 3600.0)}))
    sent = {"to": "you@far.test", "role": "relay", "reverse_path": "anna@box.test"}
    for _ in range(3):
        world.journal([world.ham("10.0.0.7", **sent) for _ in range(2)])
        world.keeper.round()
        # Set back by two hours, of which one passes.
        world.clock = FakeClock(utc=world.now - 7200)
    assert world.incidents() == []


def test_a_sample_whose_verdict_was_not_read_yet_is_kept(world, monkeypatch):
    """A keeper that is behind, as after a record that nobody could write, would throw its evidence away."""
    monkeypatch.setattr("gateway.abuse.tail.BATCH_ROWS", 5)
    sent, inbox = world.mail(), world.keeper._evidence.inbox
    world.journal([*(world.ham() for _ in range(20)), sent])
    inbox.put(sent.trace_id, world.now, {}, [b"Subject: cheap\r\n\r\n"])
    for path in inbox.folder.iterdir():
        os.utime(path, (world.now - 1200, world.now - 1200))
    while world.keeper.round().more:
        pass
    world.keeper.round()
    with world.reader() as reader:
        assert [each.trace_id for each in reader.evidence(1)] == [sent.trace_id]
