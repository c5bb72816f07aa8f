"""The mail complained of, or what a complaint encloses of it: its header section says which mail that was.

Our own fields tell most: ``X-Tidegate-Id``, and the Received field that we wrote (by our host name), whose literal is
the client. Anybody can write them, so they are leads; what our journal has of that mail is the proof.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.abuse.complaints import mentions
from gateway.abuse.complaints.octets import MAX_PART_OCTETS, body, shown
from gateway.mail.content import Content
from gateway.mail.header import HeaderSection
from gateway.mail.mime import MimePart, MimeTree
from gateway.mail.text import addresses
from gateway.mail.text.words import decode_header

# Forwarded one by one: a dozen is a busy evening of one user.
MAX_ORIGINALS = 20
FEEDBACK_REPORT = "message/feedback-report"
_HEADERS = "text/rfc822-headers"
_MESSAGES = frozenset({"message/rfc822", "message/global", "message/rfc822-headers", _HEADERS})
_FILE = re.compile(r"\.(?:eml|msg\.txt|mht)$", re.IGNORECASE)
_FROM = re.compile(r"\bfrom\b.{0,300}?\[(?:IPv6:)?([0-9A-Fa-f:.]{2,45})\]", re.IGNORECASE | re.DOTALL)
MAX_RECEIVED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """What a header section says of its mail."""

    message_ids: tuple[str, ...]
    trace_ids: tuple[str, ...]
    sources: tuple[str, ...]
    mail_from: str
    recipients: tuple[str, ...]
    subject: str


def originals(tree: MimeTree, content: Content, hostname: str) -> list[Original]:
    """Return the enclosed mails, in order; those within an enclosed mail are its own business.

    But for a report that was forwarded whole: what it encloses is what is complained of.
    """
    reports = [part.start for part in tree.parts if part.media_type == FEEDBACK_REPORT]
    found: list[Original] = []
    inside = -1
    for part in tree.parts[1:]:
        if part.start < inside or (part.is_message and any(part.start < at < part.end for at in reports)):
            continue
        header = _header(part, content)
        if header is not None and header.names:
            found.append(read(header, hostname))
            inside = part.end
        if len(found) >= MAX_ORIGINALS:
            break
    return found


def _header(part: MimePart, content: Content) -> HeaderSection | None:
    if part.media_type in _MESSAGES or (_FILE.search(part.filename) and not part.is_multipart):
        return HeaderSection(body(part, content).lstrip(b"\r\n"))
    return None


def read(header: HeaderSection, hostname: str) -> Original:
    """Return what a header section says."""
    message_id = header.first("message-id")
    subject = header.first("subject")
    return Original(
        message_ids=mentions.first(mentions.message_ids(message_id.text) if message_id else ()),
        trace_ids=mentions.first(i for f in header.get_all("x-tidegate-id")[:5] for i in mentions.trace_ids(f.text)),
        sources=mentions.first(_sources(header, hostname)),
        mail_from=_address(header, "return-path") or _address(header, "from"),
        recipients=tuple(filter(None, (_address(header, name) for name in ("delivered-to", "to")))),
        subject=shown(decode_header(subject.value[:MAX_PART_OCTETS])) if subject else "",
    )


def _sources(header: HeaderSection, hostname: str) -> Iterator[str]:
    received = [field.text for field in header.get_all("received")[:MAX_RECEIVED]]
    ours = [text for text in received if f"by {hostname}" in " ".join(text.lower().split())]
    for text in (*ours, *received[:1]):
        match = _FROM.search(text)
        if match and (found := mentions.address(match[1])):
            yield found


def _address(header: HeaderSection, name: str) -> str:
    field = header.first(name)
    if field is None:
        return ""
    return next((shown(author.address) for author in addresses.mailboxes(field.value) if author.address), "")
