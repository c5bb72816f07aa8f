"""The abuse desk's rows are held against the chain: none is altered, removed or added unseen."""

import hashlib

import pytest

from gateway.incidents import Source, SourceKind, State
from gateway.incidents.blocks import begin_block, blocks_of, end_block
from gateway.incidents.guarantees import Guarantee, Letters, record_guarantee
from gateway.incidents.suspensions import begin_suspension, end_suspension, suspensions_of
from tests.incidents.conftest import NOW, Desk

ANNA = Source(SourceKind.ACCOUNT, "anna@corp.test")
GIVEN = {
    "company": "Corp 公司",
    "manager": "Li",
    "scope": "mailbox",
    "subject": ANNA.key,
    "contact": "Li\x07",
    "telephone": "1",
    "signed_on": "2026-09-21",
    "letter_sha256": hashlib.sha256(b"letter").hexdigest(),
    "letter_octets": 6,
    "licence_sha256": hashlib.sha256(b"licence").hexdigest(),
    "licence_octets": 7,
    "accepted_by": "",
    "recorded_at": 0.0,
}


@pytest.fixture
def busy(full: Desk) -> Desk:
    """Return a record with a block that ended and one that stands, a suspension, and the guarantee that ended it."""
    letters = Letters(full.data / "incidents")
    assert [letters.keep(b"letter"), letters.keep(b"licence")] == [GIVEN["letter_sha256"], GIVEN["licence_sha256"]]
    with full.book.change("keeper", "block") as change:
        begin_block(change, 1, "192.0.2.7", how="technique", reason="spam", until=NOW + 60)
        end_block(change, blocks_of(change.execute, 1)[0], "quiet", "nothing heard since")
        begin_block(change, 2, "198.51.100.9", how="hand", reason="virus", until=NOW + 60)
        number = change.open(ANNA, "spam").id
        begin_suspension(change, number, ANNA, how="hand", reason="spam")
        given = record_guarantee(change, Guarantee(id=0, incident=number, **GIVEN))
        end_suspension(change, suspensions_of(change.execute, number)[0], guarantee=given.id, override="")
        change.reported(number, {"report": 1, "to": "association@isc.example", "format": "arf", "report_kind": "x"})
        change.execute(
            "INSERT INTO report (id, at, day, kind, format, recipient, source_kind, source_key, sha256)"
            " VALUES (1, ?, '', 'x', 'arf', 'association@isc.example', '', '', '')",
            (change.at,),
        )
        # The second of one entry replaces the first.
        for until in (60, 120):
            begin_block(change, 2, "198.51.100.10", how="hand", reason="virus", until=NOW + until)
        change.stop_clock(change.start_clock("complaint-outcome", "a ticket", NOW + 60, incident=1))
    return full


def test_a_scan_that_was_exchanged_or_removed_is_found(busy: Desk):
    letters = Letters(busy.data / "incidents")
    letters.path(GIVEN["letter_sha256"]).write_bytes(b"latter")
    letters.path(GIVEN["licence_sha256"]).unlink()
    assert busy.wrong() == (
        "guarantee 1: its letter is not what was recorded\n"
        "guarantee 1: its licence cannot be read: No such file or directory"
    )


def test_what_the_desk_did_is_sound(busy: Desk):
    assert busy.wrong() == ""
    assert busy.reader().incident(4).state is State.OPEN


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE block SET until = until + 1 WHERE id = 2", "block 2: it is not what was recorded: until"),
        ("UPDATE block SET proof = 'none' WHERE id = 1", "block 1: it is not what was recorded: proof"),
        ("DELETE FROM block WHERE id = 2", "block 2: it is missing"),
        (
            "INSERT INTO block SELECT 9, 1, 'x', reason, how, by, 1, 1, 0, 0, 0, '', '', '' FROM block LIMIT 1",
            "block 9",
        ),
        ("UPDATE suspension SET guarantee = 7", "suspension 1: it is not what was recorded: guarantee"),
        ("DELETE FROM suspension", "suspension 1: it is missing"),
        ("UPDATE guarantee SET letter_sha256 = 'ef'", "guarantee 1: it is not what was recorded: letter_sha256"),
        ("DELETE FROM guarantee", "guarantee 1: it is missing"),
        ("UPDATE report SET recipient = 'nobody@isc.example'", "report 1: it is not what was recorded: recipient"),
        ("DELETE FROM report", "report 1: it is missing"),
        # Who did it, when and for which case is as good as what was done.
        ("UPDATE block SET by = 'li' WHERE id = 2", "block 2: it is not what was recorded: by"),
        ("UPDATE block SET began_at = began_at - 1 WHERE id = 2", "block 2: it is not what was recorded: began_at"),
        ("UPDATE block SET ended_at = 1 WHERE id = 2", "block 2: it is not what was recorded: ended_at"),
        ("UPDATE block SET ended_at = NULL WHERE id = 1", "block 1: it is not what was recorded: ended_at"),
        ("UPDATE block SET end_reason = 'x' WHERE id = 3", "block 3: it is not what was recorded: end_reason"),
        ("UPDATE suspension SET ended_by = 'li'", "suspension 1: it is not what was recorded: ended_by"),
        ("UPDATE suspension SET incident = 1", "suspension 1: it is not what was recorded: incident"),
        ("UPDATE guarantee SET incident = 1", "guarantee 1: it is not what was recorded: incident"),
        ("UPDATE report SET at = at - 86400", "report 1: it is not what was recorded: at"),
        ("UPDATE clock SET due_at = due_at + 86400", "clock 1: it is not what was recorded: due_at"),
        ("UPDATE clock SET met_at = met_at - 86400", "clock 1: it is not what was recorded: met_at"),
    ],
)
def test_what_was_altered_at_the_desk_is_found(busy: Desk, statement: str, named: str):
    busy.tamper(statement)
    assert named in busy.wrong()


def test_attempts_are_counted_and_not_sealed(busy: Desk):
    busy.tamper("UPDATE block SET attempts = 17, last_attempt = 1 WHERE id = 2")
    assert busy.wrong() == ""
