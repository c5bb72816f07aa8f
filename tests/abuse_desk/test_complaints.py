"""A complaint opens one ticket with the contract's clocks, whatever form it comes in; nothing else does."""

import email
import email.policy

import pytest

from gateway.abuse.complaints.closing import Answer, UnanswerableError, give
from gateway.abuse.complaints.deadlines import TicketClocks
from gateway.abuse.complaints.ticket import Tickets
from gateway.abuse.identity import writer_of
from gateway.abuse.sightings import Neighbourhood, judged_sighting
from gateway.blocklist.local.declaration import Calendar
from gateway.blocklist.local.workdays import WorkingCalendar
from gateway.servicelevel.reading import read_book
from tests.abuse_desk.conftest import MONDAY, SPAM, Desk, arf, judged

TRACE = "01KAQ6WQ00000000000000000X"
HOUR = 3600.0


async def test_an_arf_report_of_a_mail_we_handled_opens_a_ticket_and_confirms_its_source(desk):
    case: Desk = desk()
    await case.know(TRACE)
    complaint = case.receive(arf(SPAM % TRACE.encode()))
    assert case.round() == {"ticket": 1}
    ticket = case.ticket()
    assert (ticket.format, ticket.feedback_type, ticket.trace_id) == ("arf", "abuse", complaint)
    assert (ticket.about_trace_id, ticket.matched_by) == (TRACE, "trace id")
    assert (ticket.source_kind, ticket.source_key) == ("network", "203.0.113.9/32")
    assert ticket.address == "abuse@ours.test"
    [(state, source)] = case.rows("SELECT state, source_key FROM incident")
    assert (state, source) == ("confirmed", "203.0.113.9/32")
    assert case.rows("SELECT incident FROM ticket") == [(1,)]


async def test_a_ticket_has_the_clocks_of_the_contract(desk):
    """One working day from Monday 10:00 to Tuesday 10:00; three days to the outcome."""
    case: Desk = desk("[complaints]\nacknowledge = false\n")
    case.receive(arf(SPAM % TRACE.encode()))
    case.round()
    ticket = case.ticket()
    assert ticket.response_due == MONDAY + 24 * HOUR
    assert ticket.outcome_due == MONDAY + 72 * HOUR
    deadlines = read_book(case.data).deadlines
    assert {each.kind for each in deadlines.values()} == {"complaint-response", "complaint-outcome"}
    assert {each.number for each in deadlines.values()} == {ticket.response_deadline, ticket.outcome_deadline}
    assert [row[0] for row in case.rows("SELECT kind FROM deadlines_due ORDER BY kind")] == [
        "complaint-outcome",
        "complaint-response",
    ]


async def test_the_acknowledgement_is_the_first_response_and_can_loop_with_nobody(desk):
    case: Desk = desk()
    case.receive(arf(SPAM % TRACE.encode()))
    case.round()
    [octets] = case.mails()
    mail = email.message_from_bytes(octets, policy=email.policy.default)
    assert mail["To"] == "kim@isp.test"
    assert mail["In-Reply-To"] == "<report.1@isp.test>"
    # RFC 3834 §3.3, §5: automatic, from the null reverse-path.
    assert mail["Auto-Submitted"] == "auto-replied"
    assert case.rows("SELECT sender, recipient FROM desk_mail") == [("", "kim@isp.test")]
    assert "[ticket 1]" in mail["Subject"]
    assert "2026-11-24 10:00" in mail.get_content()
    assert case.ticket().state == "answered"
    met = {each.kind: each.met_at for each in read_book(case.data).deadlines.values()}
    assert met == {"complaint-response": MONDAY, "complaint-outcome": None}
    # And if it came back to us all the same:
    assert case.read(octets, sender="abuse@ours.test") == "set-aside"


async def test_other_forms_lead_to_the_same_mail(desk):
    case: Desk = desk()
    await case.know(TRACE)
    head = b"From: kim@isp.test\r\nSubject: spam\r\nMIME-Version: 1.0\r\n"
    original = SPAM % TRACE.encode()
    attached = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nSee below.\r\n--b\r\n'
    forms = {
        "xarf": b"Content-Type: application/json\r\n\r\n"
        b'{"xarf_version": "4.2.0", "type": "spam", "category": "messaging", "source_identifier": "203.0.113.9",'
        b' "message_id": "<offer.1@spam.test>"}\r\n',
        "attached": attached + b"Content-Type: message/rfc822\r\n\r\n" + original + b"\r\n--b--\r\n",
        "inline": b"\r\nI got this:\r\n\r\n> From: offers@spam.test\r\n> Message-ID: <offer.1@spam.test>\r\n",
    }
    for number, (form, body) in enumerate(forms.items(), 1):
        case.receive(head + body, sender=f"reader{number}@ours.test")
        assert case.round() == {"ticket": 1}
        ticket = case.ticket(number)
        assert (ticket.format, ticket.about_trace_id, ticket.incident) == (form, TRACE, 1)


async def test_a_source_alone_confirms_nothing_against_anybody(desk):
    """Anybody can name any address: that must not make a spam source of it."""
    case: Desk = desk()
    case.receive(b"From: kim@isp.test\r\nSubject: spam\r\n\r\n198.51.100.77 sends spam, stop it!\r\n")
    case.round()
    assert case.ticket().source_key == "198.51.100.77/32"
    assert case.rows("SELECT * FROM incident") == []


async def test_not_spam_confirms_nothing(desk):
    case: Desk = desk()
    await case.know(TRACE)
    case.receive(arf(SPAM % TRACE.encode(), "Feedback-Type: not-spam", "User-Agent: x", "Version: 1"))
    case.round()
    assert case.rows("SELECT * FROM incident") == []


async def test_a_mail_is_read_once_though_its_file_could_not_be_moved(desk):
    case: Desk = desk()
    case.receive(arf(SPAM % TRACE.encode()))
    [path] = (case.data / "complaints").rglob("*.tidegate")
    received = path.read_bytes()
    case.round()
    path.write_bytes(received)
    assert case.round() == {"seen": 1}
    assert len(case.tickets()) == 1
    assert len(read_book(case.data).deadlines) == 2


async def test_an_answer_to_ours_joins_its_ticket(desk):
    case: Desk = desk()
    case.receive(arf(SPAM % TRACE.encode()))
    case.round()
    [(message_id,)] = case.rows("SELECT message_id FROM desk_mail")
    more = f"From: kim@isp.test\r\nSubject: Re: x\r\nReferences: <a@b> {message_id}\r\n\r\nIt goes on.\r\n"
    assert case.read(more.encode()) == "follow-up"
    assert case.read(b"From: kim@isp.test\r\nSubject: Re: [ticket 1] again\r\n\r\nIt goes on.\r\n") == "follow-up"
    # A number can be guessed; somebody else's mail does not get into it.
    other = b"From: eve@evil.test\r\nSubject: Re: [ticket 1] x\r\n\r\nHello.\r\n"
    assert case.read(other, sender="eve@evil.test") == "ticket"
    with Tickets(case.data) as tickets:
        kinds = [mail.kind for mail in tickets.mails(1)]
    assert kinds == ["complaint", "acknowledgement", "follow-up", "follow-up"]


async def test_who_objects_to_an_outcome_gets_a_new_ticket(desk):
    """The outcome invites to answer when one does not agree: a closed ticket has no clock, and nobody looks at it."""
    case: Desk = desk("[complaints]\nacknowledge = false\n")
    case.receive(arf(SPAM % TRACE.encode()))
    case.round()
    given = Answer(ticket=1, kind="outcome", text="Not ours.", by="wang", place="test")
    give(case.book, given, writer_of(case.snapshot.config), "UTC", TicketClocks(case.data, WorkingCalendar(Calendar())))
    [(message_id,)] = case.rows("SELECT message_id FROM desk_mail")
    again = f"From: kim@isp.test\r\nSubject: Re: outcome\r\nIn-Reply-To: {message_id}\r\n\r\nIt is yours!\r\n"
    assert case.read(again.encode()) == "ticket"
    assert case.read(b"From: kim@isp.test\r\nSubject: Re: [ticket 1] x\r\n\r\nIt is yours!\r\n") == "ticket"
    assert [(case.ticket(n).state, case.ticket(n).outcome_at) for n in (2, 3)] == [("open", None)] * 2
    # A machine's answer to it opens nothing.
    machine = f"From: kim@isp.test\r\nAuto-Submitted: auto-replied\r\nIn-Reply-To: {message_id}\r\n\r\nAway.\r\n"
    assert case.read(machine.encode()) == "automatic"


async def test_the_outcome_closes_a_ticket_and_stops_its_clocks(desk):
    case: Desk = desk("[complaints]\nacknowledge = false\n")
    case.receive(arf(SPAM % TRACE.encode()))
    case.round()
    case.clock.advance(HOUR)
    clocks = TicketClocks(case.data, WorkingCalendar(Calendar()))
    writer = writer_of(case.snapshot.config)
    given = Answer(ticket=1, kind="outcome", text="已停止该用户。", by="wang", place="test", language="zh")
    give(case.book, given, writer, "Asia/Shanghai", clocks)
    assert case.ticket().state == "closed"
    assert {each.met_at for each in read_book(case.data).deadlines.values()} == {MONDAY + HOUR}
    assert case.rows("SELECT * FROM deadlines_due") == []
    [octets] = case.mails()
    mail = email.message_from_bytes(octets, policy=email.policy.default)
    assert "已停止该用户。" in mail.get_content()
    # Its bounce is wanted: it comes from an address of its own.
    assert case.rows("SELECT sender LIKE 'report+%@mx.ours.test' FROM desk_mail") == [(1,)]
    with pytest.raises(UnanswerableError, match="closed"):
        give(case.book, given, writer, "Asia/Shanghai", clocks)


async def test_a_response_stops_the_first_clock_only(desk):
    case: Desk = desk("[complaints]\nacknowledge = false\n")
    case.receive(arf(SPAM % TRACE.encode()), sender="")
    case.round()
    given = Answer(ticket=1, kind="response", text="We look into it.", by="wang", place="", mailed=False)
    give(case.book, given, writer_of(case.snapshot.config), "UTC", TicketClocks(case.data, WorkingCalendar(Calendar())))
    assert case.rows("SELECT kind FROM deadlines_due") == [("complaint-outcome",)]
    assert case.mails() == []


async def test_damaged_records_of_the_service_level_keep_no_complaint_waiting(desk):
    case: Desk = desk()
    (case.data / "servicelevel").mkdir(parents=True)
    (case.data / "servicelevel/records.jsonl").write_text('{"number": 7, "previous": "x"}\n')
    case.receive(arf(SPAM % TRACE.encode()))
    assert case.round() == {"ticket": 1}
    assert case.ticket().response_due == MONDAY + 24 * HOUR


def test_whoever_complains_of_a_virus_is_no_spam_source(desk):
    """The complaint has the virus in it; its sender must not be blocked for that."""
    near = Neighbourhood.of(desk().snapshot)
    facts = {"findings": (("antivirus", "infected", "Test.Virus"),)}
    mail = judged(
        TRACE, "<1@isp.test>", MONDAY, dispositions=(("Abuse@ours.test", "quarantine", 0.0, "", ""),), **facts
    )
    assert judged_sighting(mail, near) is None
    mail = judged(TRACE, "<1@isp.test>", MONDAY, dispositions=(("anna@ours.test", "quarantine", 0.0, "", ""),), **facts)
    assert judged_sighting(mail, near) is not None
