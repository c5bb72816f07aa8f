"""Mail that the desk writes: plain text from templates, with attachments where a report has any.

Templates lie beside this file in ``templates/NAME.LANGUAGE.txt``, subject first, then an empty line and the text, with
``$name`` marks. Whatever comes from outside is put in as one printable line (``octets.shown``).

Everything is marked as RFC 3834 §5 asks, and with a field of our own by which the desk knows its own mail when it comes
back; text is UTF-8 in base64 (RFC 2045), so that no relay changes it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cache
from importlib.resources import files
from string import Template
from typing import Literal

from gateway.config.abuse_desk import RETURN_MAILBOX

# By which our own mail is known; its value is what the mail is for.
MARK = "X-Tidegate-Desk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes: our host name, the organisation, and how to reach its abuse desk."""

    hostname: str
    organisation: str
    address: str
    telephone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file: ``kind`` is its media type, ``parameters`` that type's."""

    name: str
    kind: str
    octets: bytes
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One mail to write; ``answers`` are Message-IDs it refers to, ``purpose`` one word (``OwnMail``)."""

    to: str
    subject: str
    text: str
    at: float
    purpose: str
    automatic: Literal["auto-replied", "auto-generated"]
    answers: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A mail as it leaves: ``sender`` is the reverse-path, "" the null one."""

    purpose: str
    sender: str
    token: str
    recipient: str
    subject: str
    message_id: str
    octets: bytes

    @property
    def sha256(self) -> str:
        """The octets' digest, hexadecimal."""
        return hashlib.sha256(self.octets).hexdigest()


def template(name: str, language: str, values: Mapping[str, object]) -> tuple[str, str]:
    """Return subject and text of a template; KeyError for a mark without a value is a bug."""
    subject, _, text = _template(name, language).substitute(values).partition("\n\n")
    return " ".join(subject.split()), text


@cache
def _template(name: str, language: str) -> Template:
    place = files(__package__) / "templates" / f"{name}.{language}.txt"
    return Template(place.read_text(encoding="utf-8"))


def write(letter: Letter, writer: Writer, *, token: str, returned: bool) -> Written:
    """Return the mail of a letter; its bounces are ``returned`` to us by ``token``, or go nowhere (RFC 3834 §3.3)."""
    message = head(letter, writer, token)
    # RFC 2045 §6.8; the standard library's choice of encoding would depend on the text.
    message.set_content(letter.text, cte="base64")
    for file in letter.attachments:
        kind, _, subtype = file.kind.partition("/")
        message.add_attachment(
            file.octets, maintype=kind, subtype=subtype, filename=file.name, params=dict(file.parameters)
        )
    return Written(
        purpose=letter.purpose,
        sender=return_path(token, writer.hostname) if returned else "",
        token=token,
        recipient=letter.to,
        subject=letter.subject,
        message_id=message_id(token, writer.hostname),
        octets=message.as_bytes(),
    )


def head(letter: Letter, writer: Writer, token: str) -> EmailMessage:
    """Return a message with its header section and no content yet."""
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(display_name=writer.organisation or "Abuse desk", addr_spec=writer.address)
    # RFC 5322 §3.4: a group without members, where the address needs SMTPUTF8 and this text has none.
    message["To"] = letter.to if letter.to.isascii() else "undisclosed-recipients:;"
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(letter.at, UTC))
    message["Message-ID"] = message_id(token, writer.hostname)
    if letter.answers:
        message["In-Reply-To"] = letter.answers[0]
        message["References"] = " ".join(letter.answers)
    # RFC 3834 §5: not to be answered by machines.
    message["Auto-Submitted"] = letter.automatic
    message[MARK] = letter.purpose
    return message


def message_id(token: str, hostname: str) -> str:
    """Return the Message-ID of the mail with a token."""
    return f"<desk.{token}@{hostname}>"


def return_path(token: str, hostname: str) -> str:
    """Return the reverse-path by which a mail's notifications come back to the desk."""
    return f"{RETURN_MAILBOX}+{token}@{hostname}"
