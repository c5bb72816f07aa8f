"""A complaint opens one ticket with the contract's clocks, whatever form it comes in; nothing else does."""

import email
import email.policy

from gateway.servicelevel.reading import read_book
from tests.abuse_desk.conftest import MONDAY, SPAM, Desk, arf

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
