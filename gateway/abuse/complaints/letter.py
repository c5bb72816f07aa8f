"""The mail that a complaint came in: who wrote it, to which of our addresses, in what language, answering what.

The delivery into our folder has put the envelope in front (``Return-Path``, ``Delivered-To``), and the gateway its own
fields; everything below them is the sender's word.
"""

import re
from dataclasses import dataclass

from gateway.abuse.complaints import mentions
from gateway.abuse.complaints.octets import shown
from gateway.config.abuse_desk import DESK_DOMAIN, RETURN_MAILBOX
from gateway.mail.content import Content
from gateway.mail.header import HeaderSection
from gateway.mail.text import addresses
from gateway.mail.text.words import decode_header
from gateway.smtp.address import Mailbox
from gateway.smtp.path import parse_forward_path
from gateway.smtp.reply import RefusalError

_HAN = re.compile("[\u4e00-\u9fff]")
_LETTER = re.compile(r"[A-Za-z\u4e00-\u9fff]")
# One Chinese character says as much as a word of some letters.
_HAN_SHARE = 0.1
# Our own subjects carry it, so that an answer without References finds its ticket.
TICKET_MARK = re.compile(r"\[ticket (\d{1,9})\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One mail to the desk.

    ``return_path`` is the envelope's sender, "" for the null one; ``author`` the From address; ``address`` which of our
    addresses it was sent to, "" when that is not known; ``token`` of a report of ours that it came back to; ``answers``
    the Message-IDs it refers to; ``ticket`` the number in its subject.
    """

    trace_id: str
    return_path: str
    author: str
    address: str
    token: str
    subject: str
    message_id: str
    answers: tuple[str, ...]
    ticket: int | None
    header: HeaderSection

    @property
    def reporter(self) -> str:
        """Who complains: the envelope's sender, else the author."""
        return self.return_path or self.author


def read(content: Content, trace_id: str) -> Letter:
    """Return what a mail's header section says of it."""
    header = content.header
    delivered = _first(header, "delivered-to")
    local_part, _, domain = delivered.rpartition("@")
    subject = _decoded(header, "subject")
    mark = TICKET_MARK.search(subject)
    references = " ".join(_first(header, name) for name in ("in-reply-to", "references"))
    return Letter(
        trace_id=trace_id,
        return_path=_return_path(header),
        author=_author(header),
        address="@".join(local_part.rsplit("=", 1)) if domain == DESK_DOMAIN else "",
        token=local_part.removeprefix(f"{RETURN_MAILBOX}+") if local_part.startswith(f"{RETURN_MAILBOX}+") else "",
        subject=subject,
        message_id=next(mentions.message_ids(_first(header, "message-id")), ""),
        answers=mentions.first(mentions.message_ids(references)),
        ticket=int(mark[1]) if mark else None,
        header=header,
    )


def mailbox_of(address: str) -> Mailbox | None:
    """Return the mailbox of an address, None for what is none that mail could be sent to."""
    try:
        found = parse_forward_path(f"<{address}>".encode(), smtputf8=True)[0].mailbox
    except (RefusalError, UnicodeEncodeError):
        return None
    return found if found.domain and found.wire == address else None


def language_of(text: str, default: str) -> str:
    """Return the language of a text, "zh" or "en"; ``default`` where it has no letters."""
    letters = len(_LETTER.findall(text))
    if not letters:
        return default
    return "zh" if len(_HAN.findall(text)) >= letters * _HAN_SHARE else "en"


def _return_path(header: HeaderSection) -> str:
    # Ours is the first: delivery puts it in front (RFC 5321 §4.4).
    address = _first(header, "return-path").strip().removeprefix("<").removesuffix(">")
    return address if mailbox_of(address) else ""


def _author(header: HeaderSection) -> str:
    for name in ("reply-to", "from", "sender"):
        for field in header.get_all(name)[:2]:
            for author in addresses.mailboxes(field.value):
                if mailbox_of(author.address):
                    return author.address
    return ""


def _first(header: HeaderSection, name: str) -> str:
    field = header.first(name)
    return field.text if field else ""


def _decoded(header: HeaderSection, name: str) -> str:
    field = header.first(name)
    return shown(decode_header(field.value[:4096])) if field else ""
