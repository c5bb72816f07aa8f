"""A complaint's mail is evidence like any other: whole, sealed, exported without its author's name, pruned by rule.

What breaks if these fail: the gateway can prove that somebody complained and not what they sent; or a complainant's
name leaves the house; or what they wrote is kept for ever.
"""

import io
import json
import sqlite3
import tarfile
from contextlib import closing

import pytest

from gateway.abuse.complaints.closing import Answer, give
from gateway.abuse.complaints.deadlines import TicketClocks
from gateway.abuse.complaints.filing import original_mail
from gateway.abuse.identity import writer_of
from gateway.blocklist.local.declaration import Calendar
from gateway.blocklist.local.workdays import WorkingCalendar
from gateway.incidents import IncidentReader, Resolution, State
from gateway.incidents.bundle import Export, Exporter, verify_bundle
from gateway.incidents.evidence import EvidenceBrokenError, EvidenceStore
from gateway.incidents.redaction import redaction_key
from gateway.incidents.retention import Keeping, Pruner
from gateway.incidents.schema import database_path
from gateway.incidents.verification import verify
from tests.abuse_desk.conftest import SPAM, Desk, arf
from tests.abuse_desk.test_reports import SETTINGS, reports, spam

TRACE = "01KAQ6WQ00000000000000000X"
DAY = 86_400.0
COMPLAINT = arf(SPAM % TRACE.encode())


def kept(case: Desk, trace_id: str) -> bytes | None:
    with IncidentReader(case.data) as reader:
        return original_mail(reader, EvidenceStore(case.data), trace_id)


def close(case: Desk, ticket: int = 1, kind: str = "outcome", **given: object) -> None:
    answer = Answer(ticket=ticket, kind=kind, text="Stopped.", by="wang", place="test", **given)
    clocks = TicketClocks(case.data, WorkingCalendar(Calendar()))
    give(case.book, answer, writer_of(case.snapshot.config), "UTC", clocks)


def prune(case: Desk, **keeping: float) -> None:
    pruner = Pruner(case.book, EvidenceStore(case.data), Keeping(**keeping))
    while pruner.step().more:
        pass


async def test_a_complaint_is_kept_whole_and_its_copy_in_the_folder_goes(desk):
    case: Desk = desk()
    await case.know(TRACE)
    trace_id = case.receive(COMPLAINT)
    [path] = (case.data / "complaints").rglob("*.tidegate")
    received = path.read_bytes()
    case.round()
    assert kept(case, trace_id) == received
    assert [path for path in (case.data / "complaints").rglob("*") if path.is_file()] == []
    assert case.rows("SELECT incident, sha256 FROM evidence") == [(1, case.ticket().sha256)]
    assert verify(case.data).flaws == ()


async def test_a_complaint_about_nobody_on_record_is_kept_too_and_so_is_what_follows(desk):
    case: Desk = desk()
    case.read(b"From: kim@isp.test\r\nSubject: x\r\n\r\nYou send spam.\r\n")
    more = case.receive(b"From: kim@isp.test\r\nSubject: Re: [ticket 1]\r\n\r\nIt goes on.\r\n")
    case.round()
    assert case.rows("SELECT incident, count(*) FROM evidence") == [(None, 2)]
    assert b"It goes on." in kept(case, more)
    assert verify(case.data).flaws == ()


@pytest.mark.parametrize("harm", ["altered", "removed"])
async def test_a_complaint_that_was_altered_or_removed_is_found(desk, harm):
    case: Desk = desk()
    trace_id = case.receive(COMPLAINT)
    case.round()
    [path] = (case.data / "incidents/evidence").rglob("*.zst")
    if harm == "altered":
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    else:
        path.unlink()
    assert "evidence 1" in "\n".join(map(str, verify(case.data).flaws))
    with pytest.raises(EvidenceBrokenError):
        kept(case, trace_id)


async def test_an_exported_complaint_names_no_complainant_and_proves_itself(desk):
    """RFC 6590: who complained is private; the spammer's address in the mail enclosed is what the bundle is about."""
    case: Desk = desk()
    await case.know(TRACE)
    head = "From: =?utf-8?B?S2lt?= <kim@isp.test>\r\nReply-To: kim.home@isp.test\r\nSubject: abuse\r\n"
    case.read(arf(SPAM % TRACE.encode(), head=head))
    with IncidentReader(case.data) as reader:
        bundle = Exporter(reader, EvidenceStore(case.data)).export(
            1, Export(at=case.clock.stamp().utc, by="li", key=redaction_key(case.data))
        )
    path = case.folder / "case.tar"
    path.write_bytes(bundle.octets)
    assert verify_bundle(path).flaws == ()
    for private in (b"kim@isp.test", b"kim.home", b"S2lt"):
        assert private not in bundle.octets
    with tarfile.open(fileobj=io.BytesIO(bundle.octets)) as archive:
        mail = archive.extractfile("evidence/1.eml").read()
        told = [json.loads(line) for line in archive.extractfile("chain.jsonl").read().splitlines()]
    assert b"From: Cheap <offers@spam.test>" in mail
    assert b"@isp.test" in mail
    assert all("reporter" not in name for row in told for name in row["fields"])


async def test_a_complaint_is_never_the_evidence_of_a_report(desk):
    case: Desk = desk(SETTINGS)
    await case.know(TRACE)
    spam(case)
    case.clock.advance(60.0)
    # Forwarded as attachment: no multipart/report that would give it away.
    forwarded = b'From: kim@isp.test\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
    case.read(forwarded + b"Content-Type: message/rfc822\r\n\r\n" + SPAM % TRACE.encode() + b"\r\n--b--\r\n")
    assert case.rows("SELECT count(*) FROM evidence WHERE incident = 1") == [(2,)]
    assert reports(case).operators(10) == 1
    octets = case.mails()[-1]
    assert b"offers@spam.test" in octets
    assert b"kim@isp.test" not in octets


# Retention ------------------------------------------------------------------------------------------------------------


async def test_a_closed_ticket_goes_with_all_its_mail_and_the_chain_proves_that_it_went_by_rule(desk):
    case: Desk = desk()
    await case.know(TRACE)
    case.read(COMPLAINT)
    case.read(b"From: ann@isp.test\r\nSubject: x\r\n\r\nYou send spam.\r\n", sender="ann@isp.test")
    close(case)
    with case.book.change("li", "close") as change:
        change.move(1, State.CLOSED, "done", Resolution.HANDLED)
    case.clock.advance(700 * DAY)
    prune(case)
    assert len(case.tickets()) == 2
    case.clock.advance(31 * DAY)
    prune(case)
    # The other one is open: it stays however old, with its mail.
    assert [ticket.id for ticket in case.tickets()] == [2]
    assert case.rows("SELECT ticket, kind FROM ticket_mail") == [(2, "complaint"), (2, "acknowledgement")]
    assert case.rows("SELECT count(*) FROM desk_mail") == [(1,)]
    assert len(list((case.data / "incidents/evidence").rglob("*.zst"))) == 1
    # The incident had to wait for it, and is old enough itself.
    assert case.rows("SELECT count(*) FROM incident") == [(0,)]
    with closing(sqlite3.connect(database_path(case.data))) as database:
        assert not [line for line in database.iterdump() if "kim@isp.test" in line]
    assert case.rows("SELECT json_extract(facts, '$.tickets') FROM chain WHERE kind = 'tickets-pruned'") == [("[1]",)]
    assert verify(case.data).flaws == ()


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DELETE FROM ticket WHERE id = 2", "ticket 2: it is missing"),
        ("UPDATE chain SET kind = 'x' WHERE kind = 'tickets-pruned'", "altered"),
        ("DELETE FROM evidence", "is missing"),
    ],
)
async def test_what_was_removed_by_hand_does_not_pass_for_pruned(desk, statement, named):
    case: Desk = desk()
    case.read(COMPLAINT)
    case.read(b"From: ann@isp.test\r\nSubject: x\r\n\r\nYou send spam.\r\n", sender="ann@isp.test")
    close(case)
    case.clock.advance(800 * DAY)
    prune(case)
    with case.book.change("x", "x") as change:
        change.execute(statement)
    assert named in "\n".join(map(str, verify(case.data).flaws))


def test_reports_go_once_everything_they_tell_of_is_closed(desk):
    case: Desk = desk(SETTINGS.replace(', "arf"', ""))
    spam(case)
    spam(case, "203.0.113.10")
    room = reports(case)
    assert [room.operators(10), room.association()] == [2, 1]
    with case.book.change("post", "post") as change:
        change.execute("UPDATE desk_mail SET state = 'queued'")
        change.move(1, State.CLOSED, "done", Resolution.HANDLED)
    case.clock.advance(800 * DAY)
    prune(case, closed=9000 * DAY)
    # What tells of the source that is still open stays, the batch of both as well.
    assert case.rows("SELECT kind, incident FROM report ORDER BY id") == [("operator", 2), ("association", None)]
    assert len(case.mails()) == 2
    with case.book.change("li", "close") as change:
        change.move(2, State.CLOSED, "done", Resolution.HANDLED)
    prune(case, closed=9000 * DAY)
    assert case.rows("SELECT * FROM report") == case.rows("SELECT * FROM report_incident") == []
    assert case.mails() == []
    assert verify(case.data).flaws == ()
