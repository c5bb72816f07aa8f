"""What breaks if these fail: senders get no notice, one no program understands, or one that shows what it must not.

Each case is a file under ``notices/``; ``TIDEGATE_WRITE_NOTICES=1`` writes them anew, to be read before they are
committed.
"""

import os
from dataclasses import replace
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FakeClock
from gateway.delivery import causes
from gateway.delivery.dsn import NoticeEnvelope, Reporter, from_xtext, notice_message
from gateway.delivery.report import Job, Report
from gateway.delivery.settle import NoticeWanted
from gateway.delivery.transfer import Outcome
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope
from gateway.smtp.reply import EnhancedStatus, Reply
from gateway.spool.message import Origin, SpoolMessage
from tests.delivery.conftest import MAIL, message, sender, to

NOW = FakeClock().stamp()
GOLDEN = Path(__file__).parent / "notices"
UNKNOWN = Reply(550, EnhancedStatus(5, 1, 1), "No such user here\nask the directory")
OWN = NoticeEnvelope(trace_id="01J8Z3Q4R5S6T7V8W9X0Y1Z2B4", now=NOW, route="mx:sender.test", customer="")
REPORTER = Reporter(hostname="mx.ours.test", postmaster="postmaster@ours.test")


def notice(what: SpoolMessage, kind: str, *replies: Reply, phase: str = "rcpt") -> SpoolMessage:
    report = Report(
        job=Job(message=what, recipients=what.recipients),
        outcomes=tuple(Outcome(phase=phase, reply=reply, at=NOW) for reply in replies),
        next_hop="smtp://next.test:25",
        relay="next.test[192.0.2.1]:25",
        begun=NOW,
    )
    about = tuple(zip(what.recipients, report.outcomes, strict=True))
    wanted = NoticeWanted(kind=kind, report=report, about=about, retry_until=NOW.utc + 432_000)
    return notice_message(wanted, what.content or Content(b""), REPORTER, OWN)


def dsn_envelope(**given: Any) -> Envelope:
    return Envelope(**{"reverse_path": sender("a@sender.test"), **given})


CASES: dict[str, SpoolMessage] = {
    "failed": notice(
        message(
            to("b@ours.test", orcpt="rfc822;Bob+2Bold@old.test"), "c@ours.test", envelope=dsn_envelope(envid="QQ+2B314")
        ),
        "failed",
        UNKNOWN,
        causes.TIMED_OUT.saying("timed out with next.test[192.0.2.1]:25 while waiting for the reply to DATA"),
    ),
    "failed-headers-only": notice(message(envelope=dsn_envelope(ret="HDRS")), "failed", UNKNOWN),
    "delayed": notice(message(), "delayed", Reply(450, None, "greylisted, try later")),
    "delivered": notice(message(), "delivered", Reply(250, EnhancedStatus(2, 0, 0), "in the box"), phase="end-of-data"),
    "relayed": notice(message(), "relayed", Reply(250, EnhancedStatus(2, 0, 0), "queued as 7"), phase="end-of-data"),
    "utf8-sender": notice(
        message("用户@ours.test", envelope=dsn_envelope(reverse_path=sender("ä@sender.test"), smtputf8=True)),
        "failed",
        UNKNOWN,
    ),
    "utf8-recipient": notice(message("ü+x@ours.test"), "failed", UNKNOWN),
    "null-mx": notice(
        message(), "failed", causes.NULL_MX.saying("ours.test: the domain takes no mail (null MX)"), phase="lookup"
    ),
}


def octets(of: SpoolMessage) -> bytes:
    assert of.content is not None
    assert of.content.octets is not None
    return of.content.octets


def parts(of: SpoolMessage) -> list[Message]:
    parsed = message_from_bytes(octets(of))
    payload = parsed.get_payload()
    assert isinstance(payload, list)
    return payload  # type: ignore[return-value]


@pytest.mark.parametrize("name", CASES)
def test_notices_read_as_their_golden_files(name: str) -> None:
    file = GOLDEN / f"{name}.eml"
    if os.environ.get("TIDEGATE_WRITE_NOTICES"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_bytes(octets(CASES[name]).replace(b"\r\n", b"\n"))
    assert octets(CASES[name]).replace(b"\r\n", b"\n") == file.read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_every_notice_has_the_form_of_rfc_6522(name: str) -> None:
    what = CASES[name]
    parsed = message_from_bytes(octets(what))
    assert parsed.get_content_type() == "multipart/report"
    utf8 = name == "utf8-sender"
    assert parsed.get_param("report-type") == ("global-delivery-status" if utf8 else "delivery-status")
    kinds = [part.get_content_type() for part in parts(what)]
    assert kinds[0] == "text/plain"
    # RFC 3464 §2.1, RFC 6533 §4.
    assert kinds[1] == ("message/global-delivery-status" if utf8 else "message/delivery-status")
    assert len(kinds) == 3
    # RFC 3464 §2, RFC 3834: nobody is to answer it.
    assert what.envelope.reverse_path.is_null
    assert parsed["Auto-Submitted"] == "auto-replied"
    assert what.origin is Origin.NOTICE
    assert what.envelope.smtputf8 is utf8
    if not utf8:
        assert octets(what).isascii()
    assert max(len(line) for line in octets(what).split(b"\r\n")) <= 998
    # The trace id names the case to whoever is asked.
    text = parts(what)[0].get_payload(decode=True)
    assert isinstance(text, bytes)
    assert message().trace_id.encode() in text


def status_blocks(of: SpoolMessage) -> list[Message]:
    blocks = parts(of)[1].get_payload()
    assert isinstance(blocks, list)
    return blocks  # type: ignore[return-value]


def test_the_fields_are_those_of_rfc_3464() -> None:
    per_message, first, second = status_blocks(CASES["failed"])
    # §2.2.1: xtext is decoded.
    assert per_message["Original-Envelope-Id"] == "QQ+314"
    assert per_message["Reporting-MTA"] == "dns; mx.ours.test"
    assert first["Original-Recipient"] == "rfc822; Bob+old@old.test"
    assert first["Final-Recipient"] == "rfc822; b@ours.test"
    assert (first["Action"], first["Status"]) == ("failed", "5.1.1")
    assert first["Remote-MTA"] == "dns; next.test"
    assert first["Diagnostic-Code"].replace("\r\n\t", " ") == "smtp; 550 5.1.1 No such user here / ask the directory"
    # What no next hop said is not shown as SMTP; transient to the end is 4.4.7 (RFC 3463).
    assert second["Status"] == "4.4.7"
    assert second["Remote-MTA"] is None
    assert second["Diagnostic-Code"].startswith("X-Tidegate; ")


def test_a_delay_says_until_when() -> None:
    [_, block] = status_blocks(CASES["delayed"])
    assert (block["Action"], block["Status"]) == ("delayed", "4.0.0")
    assert block["Will-Retry-Until"]


def test_a_non_ascii_recipient_in_a_seven_bit_notice_is_encoded() -> None:
    [_, block] = status_blocks(CASES["utf8-recipient"])
    # RFC 6533 §3: "+" too is written out in utf-8-addr-xtext.
    assert block["Final-Recipient"] == "utf-8; \\x{FC}\\x{2B}x@ours.test"


@pytest.mark.parametrize(
    ("content", "ret", "kind"),
    [
        (MAIL, None, "message/rfc822"),
        (MAIL, "FULL", "message/rfc822"),
        (MAIL, "HDRS", "text/rfc822-headers"),
        (MAIL + b"x" * 70_000, None, "text/rfc822-headers"),
        (MAIL + b"x" * 1500, None, "text/rfc822-headers"),
        (MAIL + "é".encode(), None, "text/rfc822-headers"),
        ("Subject: é\r\n\r\nx".encode(), None, "text/rfc822-headers"),
    ],
)
def test_what_is_returned(content: bytes, ret: str | None, kind: str) -> None:
    what = notice(message(octets=content, envelope=dsn_envelope(ret=ret)), "failed", UNKNOWN)
    assert parts(what)[2].get_content_type() == kind
    assert octets(what).isascii()


def test_a_notice_of_delay_or_success_never_returns_the_body() -> None:
    # RFC 3461 §4.3: RET=FULL is about failed notices only.
    for kind in ("delayed", "delivered", "relayed"):
        what = notice(message(envelope=dsn_envelope(ret="FULL")), kind, Reply(250, None, "ok"))
        assert b"Hello." not in octets(what)


def test_nothing_from_outside_adds_a_line() -> None:
    evil = replace(message(), helo="evil\r\nBcc: x@y.test", message_id="<a@b>\r\nBcc: x@y.test")
    assert b"\r\nBcc:" not in octets(notice(evil, "failed", UNKNOWN))
    assert "\n" not in from_xtext("a+0D+0Ab")
