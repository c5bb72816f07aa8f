"""Complaints and reports on the running program: what comes to an abuse address, what leaves for others, what comes
back.

What breaks if these fail: a complaint is lost, or its clock runs out unseen; a report never leaves, or nobody learns
that it bounced. Mail servers of others listen on port 25 of loopback addresses, which needs root.
"""

import csv
import email
import email.policy
import io
import smtplib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.system.internet import mail_servers, name_server
from tests.system.parts import Gateway, Sink, message, message_id, settings, to_maildir, until

pytestmark = pytest.mark.real

# Loopback addresses nobody else uses: 127.26.0.0/16. The second server refuses every recipient.
THERE, REFUSES = "127.26.0.1", "127.26.0.2"
SPAMMER, OTHER_SPAMMER = "127.26.9.1", "127.26.9.2"
RECORDS = (
    f"isp.test. 60 IN A {THERE}",
    f"hoster.test. 60 IN A {THERE}",
    f"association.test. 60 IN A {THERE}",
    f"gone.test. 60 IN A {REFUSES}",
    '1.9.26.127.contacts.test. 60 IN TXT "abuse@hoster.test"',
    '2.9.26.127.contacts.test. 60 IN TXT "abuse@gone.test"',
)
MORE = """\
[contact]
abuse = "abuse@box.test"
[complaints]
[reporting]
enabled = true
organisation = "Box Mail"
contact_zone = "contacts.test"
[reporting.association]
address = "spam@association.test"
formats = ["csv", "xarf", "arf"]
"""
POLICY = """\
[incidents]
confirm = 1
[[rule]]
name = "cheap"
when = { subject = { contains = ["cheap pills"] } }
action = "reject"
ground = "advertising"
"""

CONFIRMED = "SELECT id FROM incident WHERE source_key = ? AND confirmed_at IS NOT NULL"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with name_server(tmp_path_factory.mktemp("unbound"), RECORDS) as address:
        yield address


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    """The mail server of everybody else; another one refuses."""
    with mail_servers({THERE: (), REFUSES: ("-f", "RCPT")}) as found:
        yield found[THERE]


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway], names: str, sink: Sink) -> Gateway:
    found = shared_gateway()
    text = settings('role = "mx"', more=f'{MORE}[dns]\nservers = ["{names}"]\n')
    found.configure(text, {"box": to_maildir("box.test", more=POLICY)})
    return found.start()


def rows(data: Path, sql: str, *values: object) -> list[tuple]:
    path = data / "incidents/incidents.sqlite"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return database.execute(sql, values).fetchall()


def await_row(gateway: Gateway, sql: str, *values: object) -> tuple:
    return until(
        lambda: next(iter(rows(gateway.data, sql, *values)), None), what=lambda: f"{sql}\n{gateway.log()[-3000:]}"
    )


def arrived(sink: Sink, text: str) -> EmailMessage:
    """Return a mail that came to the sink, without the fields that it puts in front."""

    def whole() -> EmailMessage | None:
        # The sink writes a file piece by piece: of a long one the last boundary may not be there yet.
        found = email.message_from_bytes(sink.await_message(text)[0], policy=email.policy.default)
        return None if found.defects else found

    return until(whole, what=f"all of the mail with {text}")


def arf(original: bytes) -> bytes:
    head = (
        b"From: Kim <kim@isp.test>\r\nTo: abuse@box.test\r\nSubject: cheap pills: abuse report\r\n"
        b"Message-ID: <complaint.1@isp.test>\r\nDate: Sun, 22 Nov 2026 17:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nYour user sends spam.\r\n--b\r\n"
        b"Content-Type: message/feedback-report\r\n\r\n"
        b"Feedback-Type: abuse\r\nUser-Agent: Reporter/1\r\nVersion: 1\r\n\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\n"
    )
    return head + original + b"\r\n--b--\r\n"


def test_a_complaint_is_delivered_ticketed_acknowledged_and_answered_within_its_clock(gateway: Gateway, sink: Sink):
    original = message()
    assert gateway.mail("me@box.test", sender="anna@senders.test", content=original).startswith("250")
    gateway.await_line("message_judged", message_id(original))
    # The log is quicker than the journal, and a complaint is matched when it comes.
    until(lambda: message_id(original) in gateway.ask("trace", "me@box.test").out, what="the journal's word")
    reply = gateway.mail("abuse@box.test", sender="kim@isp.test", content=arf(original))
    assert reply.startswith("250")
    # It loses nothing: the abuse mailbox has it.
    [stored] = gateway.await_maildir("abuse@box.test")
    assert b"complaint.1@isp.test" in stored
    number, about, matched, state = await_row(
        gateway, "SELECT id, about_message_id, matched_by, state FROM ticket WHERE reporter = 'kim@isp.test'"
    )
    assert (about.strip("<>"), matched, state) == (message_id(original), "Message-ID", "answered")
    acknowledged = arrived(sink, f"[ticket {number}] Your complaint was received")
    assert acknowledged["Auto-Submitted"] == "auto-replied"
    assert acknowledged["In-Reply-To"] == "<complaint.1@isp.test>"
    answer = gateway.ask("complaint", "answer", str(number), "The sender was stopped.", "--json")
    assert answer.json() == {"ticket": number, "kind": "outcome", "to": "kim@isp.test"}
    outcome = arrived(sink, f"[ticket {number}] Outcome of your complaint")
    assert "The sender was stopped." in outcome.get_content()
    shown = gateway.ask("complaint", "show", str(number)).out
    assert "closed" in shown
    assert shown.count("in time") == 2
    assert rows(gateway.data, "SELECT * FROM deadlines_due WHERE ticket = ?", number) == []
    assert gateway.ask("complaint", "list").status == 1
    assert "complaint answer" in gateway.ask("audit").out
    # What was complained of is kept as it came, and proves itself.
    kept = rows(
        gateway.data, "SELECT sha256 FROM evidence WHERE trace_id = (SELECT trace_id FROM ticket WHERE id = ?)", number
    )
    assert kept == rows(gateway.data, "SELECT sha256 FROM ticket WHERE id = ?", number)
    assert "<complaint.1@isp.test>" in gateway.ask("complaint", "show", str(number), "--mail").out
    assert gateway.ask("incident", "verify").status == 0


def test_an_answer_that_comes_back_makes_its_ticket_due_again(gateway: Gateway):
    """The complainant's server refuses the outcome: nobody heard it, so nothing is over."""
    complaint = b"From: kim@gone.test\r\nSubject: spam\r\n\r\nYour users send me spam.\r\n"
    assert gateway.mail("abuse@box.test", sender="kim@gone.test", content=complaint).startswith("250")
    number, *_ = await_row(gateway, "SELECT id FROM ticket WHERE reporter = 'kim@gone.test'")
    assert gateway.ask("complaint", "answer", str(number), "It was stopped.").status == 0
    [line] = gateway.await_line("answer_undelivered", f"ticket={number}")
    assert "answer=outcome" in line
    [listed] = gateway.ask("complaint", "list", "--state", "undelivered", "--json").json()
    assert (listed["id"], listed["outcome_at"]) == (number, None)
    due = await_row(
        gateway, "SELECT deadline, kind FROM deadlines_due WHERE ticket = ? AND deadline IS NOT NULL", number
    )
    running = {each["number"]: each["kind"] for each in gateway.ask("deadline", "list", "--json").json()}
    assert running[due[0]] == due[1] == "complaint-outcome"
    assert gateway.ask("complaint", "answer", str(number), "Told by telephone.", "--no-mail").status == 0
    assert gateway.ask("complaint", "list").status == 1


def test_spam_from_outside_is_reported_to_its_operator_and_to_the_association(gateway: Gateway, sink: Sink):
    send_spam(gateway, SPAMMER)
    number, *_ = await_row(gateway, CONFIRMED, f"{SPAMMER}/32")
    await_row(gateway, "SELECT id FROM evidence WHERE incident = ?", number)
    assert gateway.ask("report", "operator").status in {0, 1}
    report = arrived(sink, f"Spam from {SPAMMER}")
    assert report.get_content_type() == "multipart/report"
    _, feedback, _ = report.iter_parts()
    [fields] = feedback.get_payload()
    assert (fields["Feedback-Type"], fields["Version"], fields["Source-IP"]) == ("abuse", "1", SPAMMER)
    assert report["Auto-Submitted"] == "auto-generated"
    gateway.ask("report", "association")
    batch = arrived(sink, "spam-sources-")
    tables = [part for part in batch.iter_attachments() if part.get_content_type() == "text/csv"]
    assert SPAMMER in {row["address"] for row in csv.DictReader(io.StringIO(tables[0].get_content()))}
    await_row(gateway, "SELECT report FROM reports_sent WHERE kind = 'association' AND state = 'queued'")


def test_a_report_that_bounces_is_on_record(gateway: Gateway):
    send_spam(gateway, OTHER_SPAMMER)
    await_row(gateway, CONFIRMED, f"{OTHER_SPAMMER}/32")
    gateway.ask("report", "operator")
    source, bounce = await_row(
        gateway, "SELECT source, bounce FROM reports_sent WHERE state = 'bounced' AND recipient = 'abuse@gone.test'"
    )
    assert source == f"{OTHER_SPAMMER}/32"
    assert "5." in bounce
    listed = gateway.ask("report", "list", "--state", "bounced", "--json").json()
    assert [each["recipient"] for each in listed] == ["abuse@gone.test"]


def test_nobody_outside_can_write_to_the_desk(gateway: Gateway):
    assert gateway.mail("abuse=box.test@desk.tidegate.invalid").startswith("550 5.7.1")
    assert gateway.mail("anybody@mx.gate.test").startswith("550 5.7.1")


def send_spam(gateway: Gateway, client: str) -> None:
    spam = b"From: x@bad.test\r\nSubject: cheap pills\r\nMessage-ID: <%s@bad.test>\r\n\r\nbuy\r\n" % client.encode()
    with (
        smtplib.SMTP("127.0.0.1", gateway.port(), "bad.test", timeout=30, source_address=(client, 0)) as session,
        pytest.raises(smtplib.SMTPDataError),
    ):
        session.sendmail("x@bad.test", ["me@box.test"], spam)
