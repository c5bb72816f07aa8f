"""Whatever comes to an abuse address is read or set aside: never an exception, never an answer that could be answered.

``Desk.round`` fails on any event, so an ``InternalError`` is a failure of every test here.
"""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.abuse.complaints import letter, reading
from gateway.abuse.complaints.automatic import unanswerable
from gateway.mail.content import Content
from tests.abuse_desk.conftest import HOSTNAME, SPAM, Desk, arf

TRACE = b"01KAQ6WQ00000000000000000X"
REPORT = arf(SPAM % TRACE)
HEAD = b"From: kim@isp.test\r\nSubject: x\r\n"


def nested(depth: int) -> bytes:
    """Return a message within a message, so many times."""
    part = b"Content-Type: message/rfc822\r\n\r\n" * depth
    return b"From: kim@isp.test\r\n" + part + b"Subject: inside\r\nMessage-ID: <deep@spam.test>\r\n\r\nBuy.\r\n"


HOSTILE = {
    "empty": b"",
    "no header": b"\r\n\r\n",
    "only line ends": b"\r\n" * 10_000,
    "bare arf": HEAD + b"Content-Type: message/feedback-report\r\n\r\n",
    "arf without fields": REPORT.replace(b"Feedback-Type: abuse\r\nUser-Agent: Reporter/1.0\r\nVersion: 1", b""),
    "arf with other words": REPORT.replace(b"abuse\r\nUser", b"\xff\xfe\x00 everything\r\nUser"),
    "arf of numbers": REPORT.replace(b"Version: 1", b"Version: 1\r\nIncidents: " + b"9" * 5000),
    "arf with bad addresses": REPORT.replace(b"Version: 1", b"Version: 1\r\nSource-IP: 999.1.1.1\r\nSource-IP: ::g"),
    "arf without end": REPORT[: len(REPORT) // 2],
    "arf encoded": REPORT.replace(b"message/rfc822\r\n", b"message/rfc822\r\nContent-Transfer-Encoding: base64\r\n"),
    "arf in gb18030": REPORT.replace(b"abuse report", "垃圾邮件举报".encode("gb18030")),
    "xarf that is no json": HEAD + b"Content-Type: application/json\r\n\r\n{xarf_version: 4",
    "xarf that is deep": HEAD + b"Content-Type: application/json\r\n\r\n" + b'{"xarf_version":' + b"[" * 100_000,
    "xarf of other shapes": HEAD + b"Content-Type: application/json\r\n\r\n" + b'{"xarf_version": 4, "type": [], '
    b'"source_identifier": {"a": 1}, "message_id": null, "Report": "x", "subject": 7}',
    "xarf that is a list": HEAD + b"Content-Type: application/json\r\n\r\n[1,2,3]",
    "xarf of a number": HEAD + b"Content-Type: application/json\r\n\r\n" + b'{"version": ' + b"1" * 10_000 + b"}",
    "deep": nested(500),
    "many parts": HEAD
    + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    + b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nz\r\n" * 3000,
    "boundary of nothing": HEAD + b'Content-Type: multipart/report; boundary=""\r\n\r\n----\r\n',
    "long lines": HEAD + b"\r\n" + b"<a@b" * 200_000,
    "addresses": HEAD + b"\r\n" + b"[1.2.3.4] 5.6.7.8 " * 20_000,
    "trace ids": HEAD + b"\r\n" + (TRACE + b" ") * 20_000,
    "quoted fields": HEAD + b"\r\n" + b"> Received: from x [192.0.2.1]\r\n" * 20_000,
    "surrogates": HEAD + b"\r\n\xed\xa0\x80\xed\xbf\xbf Message-ID: <\xed\xa0\x80@x>\r\n",
    "nul": HEAD + b"\r\n\0\0\0 Message-ID: <a\0b@x.test>\r\n",
    "no from": b"Subject: complaint\r\n\r\nYou send spam.\r\n",
    "html": HEAD + b"Content-Type: text/html\r\n\r\n" + b"<div>" * 50_000 + b"Message-ID: &lt;a@b&gt;",
    "utf-16": HEAD + b"Content-Type: text/plain; charset=utf-16\r\n\r\n\xff\xfeM\0e\0",
    "eight bits in the header": b"From: \xb4\xfa <kim@isp.test>\r\nSubject: \xb7\xa2\xc6\xb1\r\n\r\n\xc4\xe3\r\n",
}


@pytest.mark.parametrize("case", HOSTILE, ids=list(HOSTILE))
def test_it_becomes_a_ticket_or_is_set_aside(desk, case):
    room: Desk = desk()
    assert room.read(HOSTILE[case]) in {"ticket", "set-aside"}
    # And it is read once: nothing is left for the next round.
    assert room.round() == {}


def test_a_huge_complaint_is_read_within_bounds(desk):
    room: Desk = desk()
    begun = time.monotonic()
    assert room.read(REPORT + b"A" * 76 + b"\r\n" * 4_000_000) == "ticket"
    assert time.monotonic() - begun < 20
    assert room.ticket().feedback_type == "abuse"


def test_a_complaint_in_gb18030_is_answered_in_chinese(desk):
    room: Desk = desk()
    head = b"From: =?gb18030?B?zfU=?= <wang@isp.test>\r\nMessage-ID: <1@isp.test>\r\nMIME-Version: 1.0\r\n"
    quoted = f"> Message-ID: <offer.1@spam.test>\r\n> X-Tidegate-Id: {TRACE.decode()}\r\n"
    text = f"你们的用户发送垃圾邮件，请处理。\r\n{quoted}"
    mail = head + b"Content-Type: text/plain; charset=gb18030\r\n\r\n" + text.encode("gb18030")
    assert room.read(mail, sender="wang@isp.test") == "ticket"
    ticket = room.ticket()
    assert (ticket.format, ticket.language) == ("inline", "zh")
    assert ticket.facts["trace_ids"] == [TRACE.decode()]
    [octets] = room.mails()
    assert b"=?utf-8?" in octets


PIECES = {name: octets[:3000] for name, octets in HOSTILE.items()} | {"report": REPORT}


@settings(max_examples=80)
@given(st.lists(st.sampled_from(sorted(PIECES)), min_size=1, max_size=2), st.integers(0, 3000), st.binary(max_size=40))
def test_nothing_that_is_cut_joined_or_broken_raises(pieces, at, noise):
    octets = b"".join(PIECES[piece] for piece in pieces)
    content = Content(octets[:at] + noise + octets[at:])
    found = letter.read(content, TRACE.decode())
    reading.read(content, HOSTNAME)
    unanswerable(found, frozenset())


# Loops ----------------------------------------------------------------------------------------------------------------

AUTOMATIC = {
    "auto-replied": b"Auto-Submitted: auto-replied\r\n",
    "auto-generated with a comment": b"Auto-Submitted: auto-generated (vacation); x=1\r\n",
    "bulk": b"Precedence: bulk\r\n",
    "list": b"List-Id: <talk.isp.test>\r\n",
    "old autoresponder": b"X-Autoreply: yes\r\n",
    "exchange": b"X-Auto-Response-Suppress: All\r\n",
    "mailing list": b"List-Unsubscribe: <mailto:x@isp.test>\r\n",
    "loop": b"X-Loop: abuse@isp.test\r\n",
}


@pytest.mark.parametrize("field", AUTOMATIC.values(), ids=list(AUTOMATIC))
def test_automatic_mail_that_complains_is_ticketed_and_not_answered(desk, field):
    room: Desk = desk()
    assert room.read(field + REPORT) == "ticket"
    assert room.ticket().unanswerable
    assert room.mails() == []


@pytest.mark.parametrize("field", AUTOMATIC.values(), ids=list(AUTOMATIC))
def test_automatic_mail_that_complains_of_nothing_is_no_ticket(desk, field):
    room: Desk = desk()
    assert room.read(field + HEAD + b"\r\nI am on holiday.\r\n") == "set-aside"
    assert room.tickets() == []


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "mailer-daemon@isp.test",
        "no-reply@isp.test",
        "list-bounces@isp.test",
        "owner-list@isp.test",
        "abuse@ours.test",
    ],
)
def test_nobody_is_answered_whom_an_answer_could_not_reach(desk, sender):
    room: Desk = desk()
    assert room.read(REPORT, sender=sender) == "ticket"
    assert room.mails() == []


def test_a_forged_sender_is_not_answered(desk):
    """An answer would go to a bystander: backscatter."""
    room: Desk = desk()
    assert room.read(b"Authentication-Results: mx.ours.test; spf=fail smtp.mailfrom=isp.test\r\n" + REPORT) == "ticket"
    assert room.mails() == []


def test_a_sender_is_answered_once_a_day(desk):
    room: Desk = desk()
    for _ in range(3):
        room.read(REPORT)
    assert len(room.mails()) == 1
    room.clock.advance(86_401.0)
    room.read(REPORT)
    assert len(room.mails()) == 2


def test_two_desks_that_acknowledge_everything_fall_silent(desk):
    """What we send is taken as a complaint by another such desk, and its answer comes back to us."""
    room: Desk = desk()
    room.read(REPORT)
    [ours] = room.mails()
    message_id = next(line for line in ours.split(b"\r\n") if line.startswith(b"Message-ID: "))
    reply_head = b"Auto-Submitted: auto-replied\r\nIn-Reply-To: " + message_id.partition(b": ")[2]
    assert room.read(reply_head + b"\r\nFrom: kim@isp.test\r\nSubject: got it\r\n\r\nThanks.\r\n") == "automatic"
    assert len(room.mails()) == 1
    assert len(room.tickets()) == 1


def test_spam_to_the_abuse_address_is_no_ticket(desk):
    room: Desk = desk()
    assert room.read(b"X-Spam-Flag: YES\r\n" + HEAD + b"\r\nBuy pills.\r\n") == "set-aside"
