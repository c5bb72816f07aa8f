"""``maildir:PATH`` as a next hop: one Maildir a mailbox under PATH, for trying the gateway out and for small hosts.

``PATH/<domain>/<local part>/{tmp,new,cur}``. A file is written to ``tmp``, synced, renamed into ``new`` and the folder
synced before the outcome says delivered. This is final delivery, so ``Return-Path`` is added (RFC 5321 §4.4), with
``Delivered-To`` below it; the octets that follow are the content's, CR LF included.

Local part and domain are escaped to letters, digits and ``-_+=.``, anything else as ``%XX``, a leading dot too: no
address leaves the folder or names a special file. Writing happens in the executor; it is not meant to be fast.
"""

import asyncio
import errno
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from gateway.clock import Clock, Stamp
from gateway.delivery import causes
from gateway.delivery.outgoing import without_bare_newlines
from gateway.delivery.transfer import Channel, Done, Outcome, Target, Transfer, TransferResult
from gateway.mail.envelope import Recipient
from gateway.smtp.reply import Reply

_UNSAFE = re.compile(rb"[^A-Za-z0-9_+=.-]")

# NAME_MAX of every usual file system; a local part of 64 octets, each escaped, has 192.
_MAX_NAME_OCTETS = 255

# As for a transaction over SMTP (RFC 5321 §4.5.3.1.8).
_RECIPIENTS_PER_TRANSFER = 100


class MaildirChannel:
    """A ``Channel`` that ends in the file system."""

    def __init__(self, target: Target, clock: Clock) -> None:
        self.target = target
        self.relay = target.name
        self.transfers = 0
        self.setup_seconds = 0.0
        self.final_delivery = True
        self.most_recipients = _RECIPIENTS_PER_TRANSFER
        self.is_usable = True
        self._clock = clock
        self._writing: set[asyncio.Task[None]] = set()

    def begin(self, transfer: Transfer, done: Done) -> None:
        """Write the message into each recipient's Maildir."""
        self.transfers += 1
        task = asyncio.get_running_loop().create_task(self._write(transfer, done))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def release(self, closed: Callable[[Channel], None]) -> None:
        """Do nothing: there is no connection to keep."""

    def quit(self) -> None:
        """Do nothing."""

    async def _write(self, transfer: Transfer, done: Done) -> None:
        loop = asyncio.get_running_loop()
        begun = self._clock.stamp()
        outcomes: list[Outcome] = []
        for recipient in transfer.recipients:
            reply = await loop.run_in_executor(None, deliver, Path(self.target.path), transfer, recipient)
            own_fault = not reply.is_success
            outcomes.append(Outcome(phase="local", reply=reply, at=self._clock.stamp(), own_fault=own_fault))
        done(_result(tuple(outcomes), begun, self._clock.stamp()))


def _result(outcomes: tuple[Outcome, ...], begun: Stamp, ended: Stamp) -> TransferResult:
    return TransferResult(outcomes=outcomes, begun=begun, started=begun, ended=ended)


def deliver(root: Path, transfer: Transfer, recipient: Recipient) -> Reply:
    """Write one copy, durable on return; the reply says why not."""
    # Trace id, address and rendition name the file: an attempt repeated after a crash replaces its own copy and makes
    # no second one; the released original of a cleaned mail is another copy.
    name = f"{transfer.trace_id}.{_copy(transfer, recipient):08x}.tidegate"
    try:
        _store(mailbox_folder(root, recipient), transfer, recipient, name)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return (causes.MAILBOX_FULL if full else causes.CANNOT_WRITE).because(str(error))
    return causes.DELIVERED


def _copy(transfer: Transfer, recipient: Recipient) -> int:
    copy = zlib.crc32(recipient.path.wire.encode())
    for edit in transfer.rendition.edits:
        copy = zlib.crc32(edit.replacement, zlib.crc32(b"%d %d " % (edit.start, edit.end), copy))
    return copy


def mailbox_folder(root: Path, recipient: Recipient) -> Path:
    """Return the Maildir of a recipient, always two levels below ``root``."""
    mailbox = recipient.path.mailbox
    return root / _name(mailbox.domain or "localhost") / _name(mailbox.local_part.casefold())


def _name(text: str) -> str:
    octets = _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], text.encode("utf-8"))
    name = octets.decode("ascii")[:_MAX_NAME_OCTETS]
    return "%2E" + name[1:] if name.startswith(".") else name


def _store(folder: Path, transfer: Transfer, recipient: Recipient, name: str) -> None:
    for part in ("tmp", "new", "cur"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    partial = folder / "tmp" / name
    with partial.open("wb") as file:
        file.write(_final_fields(transfer, recipient))
        for piece in transfer.rendition.chunks(transfer.content):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / "new" / name)
    _sync_folders(folder / "new", folder, folder.parent, folder.parent.parent)


def _final_fields(transfer: Transfer, recipient: Recipient) -> bytes:
    # RFC 5321 §4.4: "the delivery SMTP server … inserts a return-path line".
    sender = transfer.envelope.reverse_path.wire
    fields = f"Return-Path: <{sender}>\r\nDelivered-To: {recipient.path.wire}\r\n"
    return without_bare_newlines(fields.encode("utf-8"))


def _sync_folders(*folders: Path) -> None:
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
