"""What breaks if these fail: after a disaster the evidence does not prove itself, or damage to it goes unnoticed."""

import json
import shutil
import sqlite3
import tarfile
from contextlib import closing

import pytest

from gateway.backup.capture import capture
from gateway.backup.parts import Wanted, Who, extract
from gateway.backup.restore import restore
from gateway.backup.verify import Verification, Verified
from gateway.incidents import Anchor, IncidentBook, IncidentReader, Source, SourceKind
from gateway.incidents.bundle import verify_bundle
from gateway.incidents.evidence import EvidenceStore, pack
from gateway.incidents.guarantees import Guarantee, Letters, record_guarantee
from gateway.incidents.schema import database_path, head_path
from gateway.incidents.suspensions import begin_suspension
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
        EvidenceStore(place.data).keep(change, 1, one.trace_id, pack([MESSAGE]), {"policy": "ab12"})


def verified(place: Place) -> Verified:
    return Verification(place.repository, quiet).run("")


def test_what_is_restored_proves_itself(recorded: Place):
    recorded.backup("full")
    assert verified(recorded).sound
    restore(recorded.repository, recorded.repository.find(""), recorded.folder / "restored", quiet)
    found = verify(recorded.folder / "restored/data")
    assert (found.flaws, found.incidents, found.sightings, found.messages) == ((), 1, 2, 1)


def test_a_complaint_about_nobody_on_record_is_restored_whole(place: Place):
    book, store = IncidentBook(place.data, clock=place.clock), EvidenceStore(place.data)
    with book.change("desk", "complaint") as change:
        number = store.keep(change, None, sighting(1).trace_id, pack([MESSAGE]), {"complaint": {"ticket": 1}})
    place.backup("full")
    assert verified(place).sound
    restore(place.repository, place.repository.find(""), place.folder / "restored", quiet)
    data = place.folder / "restored/data"
    assert verify(data).flaws == ()
    with IncidentReader(data) as reader:
        [row] = reader.evidence_of_trace(sighting(1).trace_id)
    assert (row.id, EvidenceStore(data).read(row)) == (number, MESSAGE)


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


def test_the_scans_of_a_guarantee_are_in_the_backup_and_one_that_is_missing_is_found(recorded: Place):
    letters = Letters(recorded.data / "incidents")
    digests = {"letter_sha256": letters.keep(b"letter"), "licence_sha256": letters.keep(b"licence")}
    words = dict.fromkeys(("company", "manager", "contact", "telephone", "accepted_by"), "x")
    promise = {"id": 0, "scope": "domain", "subject": "corp.test", "signed_on": "2026-09-21", "recorded_at": 0.0}
    octets = {"letter_octets": 6, "licence_octets": 7}
    with IncidentBook(recorded.data, clock=recorded.clock).change("li", "guarantee record") as change:
        record_guarantee(change, Guarantee(incident=1, **digests, **words, **promise, **octets))
    recorded.backup("full")
    assert verified(recorded).sound
    letters.path(digests["licence_sha256"]).unlink()
    recorded.backup("full")
    [damage] = verified(recorded).damages
    assert damage.why == "its licence cannot be read: No such file or directory"


def test_one_incident_comes_out_of_a_backup_and_proves_itself(recorded: Place):
    recorded.backup("full")
    shutil.rmtree(recorded.data)
    repository, into = recorded.repository, recorded.folder / "parts"
    done = extract(repository, repository.find(""), into, Wanted(incidents=(1, 7)), Who("li", 1_790_000_000.0))
    assert (done.incidents, done.nothing) == (1, False)
    assert [path.name for path in into.iterdir()] == ["incident-1.tar"]
    bundle = into / "incident-1.tar"
    assert verify_bundle(bundle).flaws == ()
    with tarfile.open(bundle) as archive:
        assert archive.extractfile("evidence/1.eml").read() == MESSAGE


def test_of_a_locked_account_there_is_also_what_was_recorded_about_it(place: Place):
    """contract.md §7: account, its mail, its operation log."""
    book = IncidentBook(place.data, clock=place.clock)
    account = Source(SourceKind.ACCOUNT, "anna@box.test")
    with book.change("keeper", "fold") as change:
        change.fold([sighting(1, source=account), sighting(2)])
        begin_suspension(change, 1, account, how="by hand", reason="sent spam")
    place.backup("full")
    repository, into = place.repository, place.folder / "parts"
    done = extract(repository, repository.find(""), into, Wanted(account="Anna@box.test"), Who("li", 1_790_000_000.0))
    assert done.records == 2
    found = [json.loads(line) for line in (into / "account.jsonl").read_text().splitlines()]
    assert [(each["record"], each["id"]) for each in found] == [("incident", 1), ("suspension", 1)]
    assert found[1]["reason"] == "sent spam"
