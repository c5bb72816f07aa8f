"""Mail that lies in files, for trying rules on: single messages, folders of them, Maildirs and mbox files.

A message in a file has no SMTP session; ``transaction_of`` gives it one from its trace fields: the client and its HELO
from the topmost Received (RFC 5321 §4.4), the reverse-path from Return-Path, the recipient from Delivered-To,
X-Original-To or To. What is not there is the null reverse-path, ``postmaster@localhost``, and the unspecified address.
"""

import mailbox
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from gateway.clock import Stamp
from gateway.mail.connection import Connection, Role
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.header import HeaderSection
from gateway.mail.transaction import Transaction
from gateway.smtp.path import AddressError, parse_forward_path, parse_reverse_path

# A single message beyond this is a wrong path (a database, a disk image): no gateway takes half as much.
MAX_OCTETS = 256 * 1024**2
# RFC 4155: a mailbox in mbox format begins so.
_MBOX = b"From "
_FOLDERS = ("cur", "new")

_FROM = re.compile(r"from\s+(\S+)", re.IGNORECASE)
_LITERAL = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f.:]+)\]")
_ADDRESS = re.compile(rb"<([^<>\s]*)>|([^\s<>,;:\"]+@[^\s<>,;:\"]+)")
_RECIPIENT_FIELDS = ("delivered-to", "x-original-to", "to")
_UNSPECIFIED = IPv4Address(0)


@dataclass(frozen=True, slots=True)
class StoredMail:
    """One message: ``name`` says where it lies."""

    name: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class MailStore:
    """One path given by an operator; ``count`` messages are in it, which opening an mbox finds out by reading it."""

    path: Path
    names: tuple[Path, ...]
    mbox: mailbox.mbox | None = None

    @property
    def count(self) -> int:
        """How many messages there are."""
        return len(self.mbox) if self.mbox is not None else len(self.names)

    def messages(self) -> Iterator[StoredMail]:
        """Yield each message, once; one that has gone meanwhile is passed over."""
        if self.mbox is not None:
            with closing(self.mbox) as box:
                for number, key in enumerate(box.iterkeys(), 1):
                    yield StoredMail(f"{self.path}#{number}", box.get_bytes(key))
            return
        for name in self.names:
            try:
                with name.open("rb") as file:
                    yield StoredMail(str(name), file.read(MAX_OCTETS))
            except FileNotFoundError:
                continue


def open_store(path: Path) -> MailStore:
    """Return the messages at ``path``: a file, an mbox, a Maildir or a folder of files; raise OSError."""
    if path.is_dir():
        folders = [path / name for name in _FOLDERS if (path / name).is_dir()] or [path]
        return MailStore(path, tuple(sorted(file for folder in folders for file in folder.iterdir() if file.is_file())))
    with path.open("rb") as file:
        is_mbox = file.read(len(_MBOX)) == _MBOX
    return MailStore(path, () if is_mbox else (path,), mailbox.mbox(path, create=False) if is_mbox else None)


def transaction_of(mail: StoredMail, trace_id: str, hostname: str, now: Stamp) -> Transaction:
    """Return a message as if ``hostname`` had just taken it."""
    # RFC 5321 §2.3.8: what comes over SMTP has CR LF and nothing else.
    octets = re.sub(rb"\r\n|\r|\n", b"\r\n", mail.octets)
    content = Content(octets)
    header = content.header
    client, helo = _client(header)
    connection = Connection(
        session_id=trace_id,
        client_address=client,
        client_port=0,
        local_address="",
        local_port=25,
        role=Role.MX,
        connected=now,
        hostname=hostname,
        helo=helo,
        esmtp=True,
    )
    return Transaction(
        trace_id=trace_id,
        connection=connection,
        envelope=_envelope(header, len(octets)),
        recipients=(_recipient(header),),
        content=content,
        enveloped=now,
        received=now,
    )


def _client(header: HeaderSection) -> tuple[IPv4Address | IPv6Address, str]:
    received = header.first("received")
    text = received.text if received else ""
    helo = _FROM.match(text)
    for literal in _LITERAL.findall(text):
        try:
            return ip_address(literal), helo[1] if helo else ""
        except ValueError:
            continue
    return _UNSPECIFIED, helo[1] if helo else ""


def _envelope(header: HeaderSection, octets: int) -> Envelope:
    written = header.first("return-path")
    try:
        path, _ = parse_reverse_path(written.value if written else b"<>", smtputf8=True)
    except AddressError:
        path, _ = parse_reverse_path(b"<>", smtputf8=True)
    return Envelope(reverse_path=path, smtputf8=True, declared_octets=octets)


def _recipient(header: HeaderSection) -> Recipient:
    for name in _RECIPIENT_FIELDS:
        field = header.first(name)
        for match in _ADDRESS.finditer(field.value if field else b""):
            try:
                return Recipient(path=parse_forward_path(b"<" + (match[1] or match[2]) + b">", smtputf8=True)[0])
            except AddressError:
                continue
    return Recipient(path=parse_forward_path(b"<postmaster@localhost>", smtputf8=False)[0])
