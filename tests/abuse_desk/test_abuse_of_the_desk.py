"""Whoever writes to the desk in bad faith: forged proofs, floods, reports about our own reports, odd notifications.

What breaks if these fail: a complaint makes a spam source of an honest sender; one complainant buries all others; two
desks report one another's reports; or an answer that nobody got counts as given, because its notification was odd.
"""

import csv
import io
import json

import pytest
import xarf

from gateway.abuse.complaints import taking
from gateway.abuse.complaints.desk import ROUND_SECONDS
from gateway.incidents.verification import verify
from gateway.journal.reader import JournalReader
from tests.abuse_desk.conftest import SPAM, Desk, arf
from tests.abuse_desk.test_filing import close
from tests.abuse_desk.test_reports import SETTINGS, parsed, reports, spam
from tests.abuse_desk.test_returns import comes_back

TRACE = "01KAQ6WQ00000000000000000X"
SILENT = "[complaints]\nacknowledge = false\n"
QUOTED = b"From: eve@evil.test\r\nSubject: spam\r\n\r\n> Message-ID: <offer.1@spam.test>\r\n"


# Proofs ---------------------------------------------------------------------------------------------------------------


async def test_a_message_id_from_an_archive_proves_nothing_against_its_sender(desk):
    """Anybody can read a list's Message-IDs: naming one must not confirm an incident, and block its sender."""
    case: Desk = desk()
    await case.know(TRACE)
    assert case.read(QUOTED, sender="eve@evil.test") == "ticket"
    ticket = case.ticket()
    assert (ticket.matched_by, ticket.about_trace_id, ticket.source_key) == ("Message-ID", TRACE, "203.0.113.9/32")
    assert case.rows("SELECT * FROM incident") == []


@pytest.mark.parametrize("sender", ["anna@ours.test", "fbl@reports.ours.test", "Boss@OURS.test"])
async def test_whoever_the_mail_went_to_proves_it_by_its_message_id(desk, sender):
    case: Desk = desk()
    await case.know(TRACE)
    case.read(QUOTED, sender=sender)
    assert case.rows("SELECT state FROM incident") == [("confirmed",)]


async def test_a_forged_recipient_proves_nothing(desk):
    case: Desk = desk()
    await case.know(TRACE)
    forged = b"Authentication-Results: mx.ours.test; spf=fail smtp.mailfrom=ours.test\r\n"
    case.read(forged + QUOTED, sender="anna@ours.test")
    assert case.rows("SELECT * FROM incident") == []
    # Nor does it get into somebody else's ticket.
    assert (
        case.read(forged + b"From: x@y.test\r\nSubject: [ticket 1]\r\n\r\nx\r\n", sender="anna@ours.test") == "ticket"
    )


async def test_a_report_about_our_own_report_accuses_nobody(desk):
    case: Desk = desk(SETTINGS)
    spam(case)
    reports(case).operators(10)
    [ours] = case.mails()
    before = case.rows("SELECT id, state, confirmed_at, sightings FROM incident")
    assert case.read(arf(ours), sender="fbl@hoster.test") == "ticket"
    assert case.rows("SELECT id, state, confirmed_at, sightings FROM incident") == before
    # And nothing is written about it but the receipt.
    case.clock.advance(3600.0)
    assert reports(case).operators(10) == 0
    assert [mail["X-Tidegate-Desk"] for mail in map(parsed, case.mails())] == ["abuse-report", "complaint-answer"]


async def test_a_report_that_was_forwarded_whole_is_about_what_it_encloses(desk):
    case: Desk = desk()
    await case.know(TRACE)
    forwarded = (
        b'From: boss@isp.test\r\nSubject: Fwd: abuse\r\nContent-Type: multipart/mixed; boundary="f"\r\n\r\n'
        b"--f\r\n\r\nPlease see to this.\r\n--f\r\nContent-Type: message/rfc822\r\n\r\n"
    )
    case.read(forwarded + arf(SPAM % TRACE.encode()) + b"\r\n--f--\r\n", sender="boss@isp.test")
    ticket = case.ticket()
    assert (ticket.format, ticket.matched_by, ticket.about_trace_id) == ("arf", "trace id", TRACE)


# Floods ---------------------------------------------------------------------------------------------------------------


async def test_one_mail_and_complainant_make_one_ticket(desk):
    case: Desk = desk()
    await case.know(TRACE)
    assert [case.read(arf(SPAM % TRACE.encode())) for _ in range(3)] == ["ticket", "follow-up", "follow-up"]
    assert case.rows("SELECT count(*) FROM evidence") == [(3,)]
    # Once it is closed, it is another complaint.
    close(case)
    assert case.read(arf(SPAM % TRACE.encode())) == "ticket"
    assert verify(case.data).flaws == ()


async def test_a_flood_joins_the_last_ticket_and_still_confirms_what_it_proves(desk, monkeypatch):
    monkeypatch.setattr(taking, "MOST_TICKETS_A_DAY", 3)
    case: Desk = desk(SILENT)
    await case.know(TRACE)
    for number in range(6):
        case.receive(b"From: eve@evil.test\r\n\r\nSpam %d!\r\n" % number, sender="eve@evil.test")
    case.receive(arf(SPAM % TRACE.encode()), sender="eve@evil.test")
    case.receive(b"From: kim@isp.test\r\n\r\nYou send spam.\r\n")
    assert case.round() == {"ticket": 4, "follow-up": 4}
    assert [ticket.reporter for ticket in case.tickets()] == ["eve@evil.test"] * 3 + ["kim@isp.test"]
    assert case.rows("SELECT ticket, count(*) FROM ticket_mail GROUP BY ticket") == [(1, 1), (2, 1), (3, 5), (4, 1)]
    assert case.rows("SELECT state FROM incident") == [("confirmed",)]
    case.clock.advance(86_401.0)
    assert case.read(b"From: eve@evil.test\r\n\r\nAgain!\r\n", sender="eve@evil.test") == "ticket"


def test_a_list_of_made_up_message_ids_is_not_searched_for_hours(desk, monkeypatch):
    """A search of the journal takes seconds where a million mails a day go through; twenty ids are named here."""
    case: Desk = desk(SILENT)
    searched = []

    def mentioning(self, what, since, limit):
        searched.append(what)
        case.clock.advance(2.0)
        return []

    monkeypatch.setattr(JournalReader, "mentioning", mentioning)
    ids = b"".join(b"> Message-ID: <%d@made.up>\r\n" % number for number in range(20))
    for _ in range(4):
        case.receive(b"From: eve@evil.test\r\n\r\n" + ids, sender="eve@evil.test")
    assert case.round() == {"ticket": 2}
    assert len(searched) * 2.0 <= ROUND_SECONDS + 2 * taking.MATCH_SECONDS
    assert case.round() == {"ticket": 2}


# Notifications --------------------------------------------------------------------------------------------------------


@pytest.fixture
def room(desk) -> Desk:
    made: Desk = desk(SETTINGS)
    spam(made)
    assert reports(made).operators(10) == 1
    return made


@pytest.mark.parametrize(
    ("head", "what"),
    [
        # Exim before its notifications had parts; they say that they are automatic.
        ("X-Failed-Recipients: abuse@hoster.test\r\nAuto-Submitted: auto-replied\r\n", "bounced"),
        # qmail: nothing but the null reverse-path.
        ("", "bounced"),
        # A vacation program says that it is one, and the mail has arrived.
        ("Auto-Submitted: auto-replied\r\n", "automatic"),
        ("Precedence: junk\r\n", "automatic"),
    ],
)
def test_a_failure_without_a_delivery_report_is_one_and_a_vacation_is_none(room: Desk, head: str, what: str):
    mail = f"From: x@hoster.test\r\nSubject: about your mail\r\n{head}\r\nSorry: 550 no such user\r\n"
    assert comes_back(room, mail) == what


# Batches --------------------------------------------------------------------------------------------------------------

ODD = {
    "no evidence": {"message": None},
    "nothing known": {
        "message": None,
        "reverse_path": "",
        "recipients": (),
        "subject": "",
        "message_id": "",
        "findings": (),
        "grounds": (),
        "helo": "",
    },
    "unicode": {"reverse_path": "发票@垃圾.test", "recipients": ("安娜@ours.test",), "subject": "代开发票\t\x07"},
    "long": {"subject": "x" * 5000, "message_id": f"<{'y' * 900}@z>", "findings": ("rule " + "z" * 3000,) * 20},
    "formula": {"subject": "=1+1", "helo": "@SUM(1)", "findings": ("-1", "+2")},
    "lines": {"subject": 'a"b\r\nc,d;e', "helo": "x\r\ny"},
    "one line": {"message": b"x"},
}


@pytest.mark.parametrize("case", ODD)
def test_whatever_a_spammer_wrote_the_batch_is_a_table_documents_and_reports(desk, case: str):
    """Read by Python's csv and email, and by the XARF project's own library with its schemas."""
    room: Desk = desk(SETTINGS)
    address = "2001:db8::1" if case == "unicode" else "203.0.113.9"
    spam(room, address, **ODD[case])
    assert reports(room).association() == 2
    batch, feedback = map(parsed, room.mails())
    files = {part.get_filename(): part for part in batch.iter_attachments()}
    [text] = [part.get_content() for name, part in files.items() if name.endswith(".csv")]
    [row] = csv.DictReader(io.StringIO(text), strict=True)
    assert row["address"] == address
    assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) or "\n" in value for value in row.values())
    [document] = [part.get_content() for name, part in files.items() if name.endswith(".json")]
    assert json.loads(document)["source_identifier"] == address
    assert xarf.parse(document.decode()).errors == []
    assert feedback.defects == []
    _, fields, _ = feedback.iter_parts()
    [said] = fields.get_payload()
    # RFC 5965 §3.1: what must be there is there once.
    assert [len(said.get_all(name)) for name in ("Feedback-Type", "User-Agent", "Version")] == [1, 1, 1]
    assert said["Source-IP"] == address
    assert all(len(line) <= 998 for mail in room.mails() for line in mail.split(b"\r\n"))
