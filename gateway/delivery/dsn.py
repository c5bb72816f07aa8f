"""Delivery status notifications: multipart/report (RFC 6522) with message/delivery-status (RFC 3464), as RFC 3461 asks.

The null reverse-path, ``Auto-Submitted: auto-replied`` (RFC 3834) and the original's id in ``References``. The report
is in plain English and names the trace id. Everything is 7-bit but where the sender's own address is not ASCII: then
the forms of RFC 6533 and SMTPUTF8. A non-ASCII recipient in a notice to an ASCII sender is written as utf-8-addr-xtext
(RFC 6533 §3).

The original is returned whole only in a *failed* notice, when RET is not HDRS, it is at most ``MAX_RETURNED_OCTETS``,
is 7-bit and has no overlong lines; else its header section. Departure: RFC 3461 §4.3 wants it whole at RET=FULL
whatever its size; a large or 8-bit message is not amplified or recoded for that.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from gateway.clock import Stamp
from gateway.delivery import causes
from gateway.delivery.account import shown_reply
from gateway.delivery.settle import NoticeWanted
from gateway.delivery.transfer import Outcome
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.smtp.address import ForwardPath, Mailbox
from gateway.smtp.reply import Reply, printable
from gateway.spool.message import (
    MessageStamps,
    Origin,
    SpoolMessage,
    SpoolRecipient,
)

# A notice should not be larger than the mail of most people: Postfix's bounce_size_limit is 50,000 octets.
MAX_RETURNED_OCTETS = 64 * 1024

# RFC 5322 §2.1.1.
_MAX_LINE_OCTETS = 998

# The header section of a mail that is not returned whole; what is cut is the end of a hostile one.
_MAX_HEADER_OCTETS = 32 * 1024

_SUBJECTS = {
    "failed": "Undelivered Mail Returned to Sender",
    "delayed": "Delayed Mail (still being retried)",
    "delivered": "Successful Mail Delivery Report",
    "relayed": "Mail Relayed to a System That Sends No Report",
}
_OPENINGS = {
    "failed": "Your message could not be delivered to the recipients below. It will not be tried again.",
    "delayed": "Your message has not been delivered yet to the recipients below.\r\n"
    "It will be tried again; you need not send it again.",
    "delivered": "Your message was delivered to the recipients below.",
    "relayed": "Your message was passed on to a mail system that gives no delivery reports of its own.\r\n"
    "There will be no further report about the recipients below.",
}

_PHASES = {"end-of-data": "the end of data", "content": "the content", "greeting": "the connection"}

_MESSAGE_ID = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")
_CUT = re.compile(r"[^ ]{1,900}")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
# RFC 6533 §3: QCHAR, what stands for itself in utf-8-addr-xtext.
_NOT_QCHAR = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """Who writes the notices: our ``hostname``, the ``postmaster`` to ask ("" for none)."""

    hostname: str
    postmaster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeEnvelope:
    """The notice's own id, the instant it is made, the queue it goes to and the customer it is counted for.

    ``mailbox`` is where it goes, None: to the sender.
    """

    trace_id: str
    now: Stamp
    route: str
    customer: str
    mailbox: Mailbox | None = None


def notice_message(wanted: NoticeWanted, content: Content, reporter: Reporter, own: NoticeEnvelope) -> SpoolMessage:
    """Return the notification as a message for the spool; ``content`` is the original's."""
    original = wanted.report.job.message
    sender = original.envelope.reverse_path.mailbox
    if sender is None:
        raise ValueError("a null reverse-path is never notified")
    utf8 = not sender.wire.isascii()
    octets = _Notice(wanted, content, reporter, own, utf8=utf8).octets()
    return SpoolMessage(
        trace_id=own.trace_id,
        origin=Origin.NOTICE,
        # RFC 3464 §2: sent from the null reverse-path, so that nothing answers it.
        envelope=Envelope(body="8BITMIME" if utf8 else None, smtputf8=utf8),
        recipients=(_addressee(own.mailbox or sender, own),),
        stamps=MessageStamps(connected=own.now, enveloped=own.now, received=own.now, filtered=own.now),
        content=Content(octets),
        octets=len(octets),
        role=original.role,
        message_id=f"<{own.trace_id}@{reporter.hostname}>",
        shard=original.shard,
    )


def _addressee(mailbox: Mailbox, own: NoticeEnvelope) -> SpoolRecipient:
    recipient = Recipient(path=ForwardPath(mailbox))
    return SpoolRecipient(number=0, recipient=recipient, route=own.route, customer=own.customer, due=own.now.utc)


class _Notice:
    """One notification being written."""

    def __init__(
        self, wanted: NoticeWanted, content: Content, reporter: Reporter, own: NoticeEnvelope, *, utf8: bool
    ) -> None:
        self._wanted = wanted
        self._original = wanted.report.job.message
        self._content = content
        self._reporter = reporter
        self._own = own
        self._utf8 = utf8
        self._boundary = f"=_{own.trace_id}/{reporter.hostname}"

    def octets(self) -> bytes:
        """Return the whole message."""
        edge = f"--{self._boundary}\r\n".encode()
        parts = (self._text_part(), self._status_part(), self._returned_part())
        body = b"".join(edge + part + b"\r\n" for part in parts)
        return self._header() + b"\r\n" + body + f"--{self._boundary}--\r\n".encode()

    def _header(self) -> bytes:
        sender = self._original.envelope.reverse_path.wire
        # RFC 6522 §3: the subtype of the second part; RFC 6533 gives that another name.
        report_type = "global-delivery-status" if self._utf8 else "delivery-status"
        fields = [
            f"From: Mail Delivery System <MAILER-DAEMON@{self._reporter.hostname}>",
            f"To: <{sender}>",
            f"Subject: {_SUBJECTS[self._wanted.kind]}",
            f"Date: {_date(self._own.now.utc)}",
            f"Message-ID: <{self._own.trace_id}@{self._reporter.hostname}>",
            # RFC 3834 §5: not to be answered by machines.
            "Auto-Submitted: auto-replied",
            "MIME-Version: 1.0",
            f'Content-Type: multipart/report; report-type={report_type};\r\n\tboundary="{self._boundary}"',
        ]
        original_id = _MESSAGE_ID.fullmatch(self._original.message_id)
        if original_id:
            # RFC 5322 §3.6.4: the message that this one answers.
            fields.insert(5, f"In-Reply-To: {original_id[0]}\r\nReferences: {original_id[0]}")
        if self._utf8:
            fields.append("Content-Transfer-Encoding: 8bit")
        return ("\r\n".join(fields) + "\r\n").encode("utf-8")

    def _text_part(self) -> bytes:
        lines = [f"This is the mail gateway at {self._reporter.hostname}.", "", _OPENINGS[self._wanted.kind], ""]
        if self._wanted.kind == "delayed":
            lines += [f"It will be given up at {_date(self._wanted.retry_until)}.", ""]
        for recipient, outcome in self._wanted.about:
            lines += [f"  <{recipient.recipient.path.wire}>", *_wrapped(self._said(outcome)), ""]
        lines.append(f"Trace id: {self._original.trace_id}")
        if self._reporter.postmaster:
            lines.append(f"For help write to {self._reporter.postmaster} and name the trace id.")
        text = "\r\n".join(lines) + "\r\n"
        return _part("text/plain; charset=" + ("us-ascii" if text.isascii() else "utf-8"), text.encode(), self._utf8)

    def _said(self, outcome: Outcome) -> str:
        if causes.is_remote(outcome.reply):
            phase = _PHASES.get(outcome.phase, outcome.phase.upper())
            return f"host {self._wanted.report.relay} said: {shown_reply(outcome)} (in reply to {phase})"
        return outcome.reply.text.replace("\n", " / ")

    def _status_part(self) -> bytes:
        groups = [self._per_message(), *(self._per_recipient(r, o) for r, o in self._wanted.about)]
        text = "\r\n".join("\r\n".join(group) + "\r\n" for group in groups)
        kind = "message/global-delivery-status" if self._utf8 else "message/delivery-status"
        return _part(kind, text.encode("utf-8"), self._utf8)

    def _per_message(self) -> list[str]:
        # RFC 3464 §2.2.
        original = self._original
        fields = []
        if original.envelope.envid:
            fields.append(f"Original-Envelope-Id: {from_xtext(original.envelope.envid)}")
        fields.append(f"Reporting-MTA: dns; {self._reporter.hostname}")
        if original.helo:
            fields.append(f"Received-From-MTA: dns; {printable(original.helo)}")
        fields.append(f"Arrival-Date: {_date(original.stamps.received.utc)}")
        fields.append(f"X-Tidegate-Id: {original.trace_id}")
        return fields

    def _per_recipient(self, recipient: SpoolRecipient, outcome: Outcome) -> list[str]:
        # RFC 3464 §2.3.
        wanted = self._wanted
        fields = []
        if recipient.recipient.orcpt:
            kind, _, address = recipient.recipient.orcpt.partition(";")
            fields.append(f"Original-Recipient: {kind}; {self._typed(from_xtext(address))}")
        wire = recipient.recipient.path.wire
        fields.append(f"Final-Recipient: {'rfc822' if wire.isascii() else 'utf-8'}; {self._typed(wire)}")
        fields.append(f"Action: {wanted.kind}")
        fields.append(f"Status: {self._status(outcome.reply)}")
        if causes.is_remote(outcome.reply):
            fields.append(f"Remote-MTA: dns; {wanted.report.relay.partition('[')[0]}")
            fields.append(f"Diagnostic-Code: smtp; {_folded(shown_reply(outcome))}")
        elif wanted.kind in ("failed", "delayed"):
            fields.append(f"Diagnostic-Code: X-Tidegate; {_folded(shown_reply(outcome))}")
        fields.append(f"Last-Attempt-Date: {_date(outcome.at.utc)}")
        if wanted.kind == "delayed":
            fields.append(f"Will-Retry-Until: {_date(wanted.retry_until)}")
        return fields

    def _typed(self, address: str) -> str:
        return address if self._utf8 or address.isascii() else _utf8_addr_xtext(address)

    def _status(self, reply: Reply) -> str:
        if self._wanted.kind == "failed" and reply.is_transient:
            # RFC 3463 §3.5, X.4.7: transient failures until the time was over.
            return "4.4.7"
        return str(reply.status) if reply.status else f"{reply.code // 100}.0.0"

    def _returned_part(self) -> bytes:
        if self._wanted.kind == "failed" and self._original.envelope.ret != "HDRS" and self._may_return_whole():
            whole = b"".join(self._content.chunks())
            return _part("message/global" if self._utf8 else "message/rfc822", whole, self._utf8)
        head = self._content.header.octets[:_MAX_HEADER_OCTETS]
        if self._utf8:
            return _part("message/global-headers", head, self._utf8)
        return _part("text/rfc822-headers", head, self._utf8)

    def _may_return_whole(self) -> bool:
        if self._content.size > MAX_RETURNED_OCTETS:
            return False
        octets = b"".join(self._content.chunks())
        return (self._utf8 or octets.isascii()) and not _has_long_line(octets)


def _part(kind: str, octets: bytes, utf8: bool) -> bytes:  # noqa: FBT001 - a property of the whole message
    if octets.isascii() and not _has_long_line(octets):
        return f"Content-Type: {kind}\r\n\r\n".encode() + octets
    if utf8 and not _has_long_line(octets):
        return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode() + octets
    encoded = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode() + encoded


def _has_long_line(octets: bytes) -> bool:
    return any(len(line) > _MAX_LINE_OCTETS for line in octets.split(b"\r\n"))


def from_xtext(text: str) -> str:
    """Return what xtext stands for (RFC 3461 §4); control characters never come out of it."""
    decoded = _XTEXT.sub(lambda match: chr(int(match[1], 16)), text)
    return "".join(c if c.isprintable() else printable(c) for c in decoded)


def _utf8_addr_xtext(address: str) -> str:
    return _NOT_QCHAR.sub(lambda match: f"\\x{{{ord(match[0]):X}}}", address)


def _date(utc: float) -> str:
    return format_datetime(datetime.fromtimestamp(utc, UTC))


def _folded(text: str) -> str:
    # RFC 3464 §2.1.1: fields fold as header fields do.
    return "\r\n\t".join(_pieces(text))


def _wrapped(text: str) -> Sequence[str]:
    return [f"    {piece}" for piece in _pieces(text)]


def _pieces(text: str, width: int = 70) -> list[str]:
    """Break at spaces; a longer word stands alone, one that would not fit a line is cut."""
    pieces = [""]
    for word in _CUT.findall(text):
        if pieces[-1] and len(pieces[-1]) + 1 + len(word) > width:
            pieces.append(word)
        else:
            pieces[-1] = f"{pieces[-1]} {word}" if pieces[-1] else word
    return pieces
