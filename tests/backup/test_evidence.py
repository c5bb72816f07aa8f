"""What breaks if these fail: after a disaster the evidence does not prove itself, or damage to it goes unnoticed."""

import sqlite3
from contextlib import closing

import pytest

from gateway.backup.capture import capture
from gateway.backup.restore import restore
from gateway.backup.verify import Verification, Verified
from gateway.incidents import Anchor, IncidentBook
from gateway.incidents.evidence import EvidenceStore
from gateway.incidents.schema import database_path, head_path
from gateway.incidents.verification import verify
from tests.backup.conftest import Place, quiet
from tests.incidents.conftest import MESSAGE, sighting


@pytest.fixture
def recorded(place: Place) -> Place:
    """A data folder with an incident and a message kept as its evidence."""
    book = IncidentBook(place.data, clock=place.clock)
    with book.change("keeper", "fold") as change:
        change.fold([sighting(1), sighting(2)])
    add(place, book, 1)
    return place


def add(place: Place, book: IncidentBook, number: int) -> None:
    one = sighting(number)
    with book.change("keeper", "adopt") as change:
        EvidenceStore(place.data).keep(change, 1, one.trace_id, MESSAGE, {"policy": "ab12"})


def verified(place: Place) -> Verified:
    return Verification(place.repository, quiet).run("")


def test_what_is_restored_proves_itself(recorded: Place):
    recorded.backup("full")
    assert verified(recorded).sound
    restore(recorded.repository, recorded.repository.find(""), recorded.folder / "restored", quiet)
    found = verify(recorded.folder / "restored/data")
    assert (found.flaws, found.incidents, found.sightings, found.messages) == ((), 1, 2, 1)


def test_what_is_put_on_record_while_a_run_works_is_no_tampering(recorded: Place):
    """The anchor is saved first: its row must be in the database that is copied later."""
    book = IncidentBook(recorded.data, clock=recorded.clock)
    during = []

    def meanwhile(what: str, _: int) -> None:
        if what == "data/incidents/head" and not during:
            add(recorded, book, 2)
            during.append(Anchor.parse(head_path(recorded.data).read_text().strip()))

    recorded.backup("full")
    capture(recorded.repository, recorded.job(progress=meanwhile), "full")
    assert during
    assert verified(recorded).sound
    restore(recorded.repository, recorded.repository.find(""), recorded.folder / "restored", quiet)
    found = verify(recorded.folder / "restored/data", anchors=during)
    assert (found.flaws, found.messages) == ((), 2)


def test_evidence_that_was_altered_before_it_was_saved_is_found(recorded: Place):
    with closing(sqlite3.connect(database_path(recorded.data))) as database:
        database.execute("UPDATE evidence SET facts = '{}'")
        database.commit()
    recorded.backup("full")
    [damage] = verified(recorded).damages
    assert ("data/incidents/incidents.sqlite: evidence 1" in damage.place, damage.why) == (True, "its row was altered")


def test_a_kept_message_that_is_missing_in_the_backup_is_found(recorded: Place):
    [file] = (recorded.data / "incidents/evidence").rglob("*.zst")
    file.unlink()
    recorded.backup("full")
    assert [damage.why for damage in verified(recorded).damages] == ["its file is missing"]
