"""A feedback report (RFC 5965): what happened in words, as fields, and the mail.

The mail is enclosed as it is (RFC 2046 §5.2.1) where it can travel so: no line beyond 998 octets, no NUL, no bare CR or
LF. Else, and where only the header section is wanted, that goes as text/rfc822-headers (RFC 6522 §4).
"""

import re
from base64 import encodebytes
from email.utils import format_datetime

from gateway import __version__
from gateway.abuse.complaints.octets import shown
from gateway.abuse.reporting.case import Case
from gateway.abuse.writing import Letter, Writer, Written, head, message_id, return_path
from gateway.mail.header import HeaderSection

# RFC 5322 §2.1.1.
_MAX_LINE_OCTETS = 998
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")


def write(letter: Letter, case: Case, writer: Writer, token: str) -> Written:
    """Return the report of a case as a mail; ``letter`` has its text."""
    boundary = f"=_{token}"
    # Without content the message is its header section and the empty line.
    section = head(letter, writer, token).as_bytes().removesuffix(b"\r\n")
    parts = (_text(letter.text), _fields(case, writer), _mail(case.message, whole=case.is_whole))
    section += b"MIME-Version: 1.0\r\n"
    section += f'Content-Type: multipart/report; report-type=feedback-report;\r\n\tboundary="{boundary}"\r\n'.encode()
    if not parts[2].isascii():
        # RFC 2045 §6.4: what holds a part in 8 bits is in 8 bits.
        section += b"Content-Transfer-Encoding: 8bit\r\n"
    body = b"".join(f"--{boundary}\r\n".encode() + part + b"\r\n" for part in parts)
    return Written(
        purpose=letter.purpose,
        sender=return_path(token, writer.hostname),
        token=token,
        recipient=letter.to,
        subject=letter.subject,
        message_id=message_id(token, writer.hostname),
        octets=section + b"\r\n" + body + f"--{boundary}--\r\n".encode(),
    )


def _text(text: str) -> bytes:
    encoded = encodebytes(text.encode()).replace(b"\n", b"\r\n")
    return b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded


def _fields(case: Case, writer: Writer) -> bytes:
    # RFC 5965 §3.1: these three once each; §3.2 the rest.
    fields = [
        ("Feedback-Type", case.feedback_type),
        ("User-Agent", f"Tidegate/{__version__}"),
        ("Version", "1"),
        ("Original-Mail-From", f"<{case.mail_from}>"),
        *(("Original-Rcpt-To", f"<{recipient}>") for recipient in case.recipients[:5]),
        ("Arrival-Date", format_datetime(case.when)),
        ("Reporting-MTA", f"dns; {writer.hostname}"),
        ("Source-IP", case.address),
        ("Incidents", str(max(1, case.incident.sightings))),
    ]
    if case.port:
        fields.append(("Source-Port", str(case.port)))  # RFC 6692
    lines = "".join(f"{name}: {_ascii(value)}\r\n" for name, value in fields if value)
    return b"Content-Type: message/feedback-report\r\n\r\n" + lines.encode("ascii")


def _ascii(value: str) -> str:
    # RFC 5965 §3: fields as in RFC 5322, which is ASCII.
    return shown(value, 900).encode("ascii", "replace").decode("ascii")


def _mail(message: bytes, *, whole: bool) -> bytes:
    if whole and not _BARE.search(message) and all(len(line) <= _MAX_LINE_OCTETS for line in message.split(b"\r\n")):
        encoding = b"" if message.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"
        return b"Content-Type: message/rfc822\r\n" + encoding + b"\r\n" + message
    section = _BARE.sub(b"\r\n", HeaderSection(message).octets if message else b"")
    encoding = b"" if section.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"
    return b"Content-Type: text/rfc822-headers\r\n" + encoding + b"\r\n" + section
