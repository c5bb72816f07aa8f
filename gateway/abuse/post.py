"""The desk's outgoing mail: written down with what it is about, in one transaction, then handed to the gateway.

A mail is *composed* when it is on record, *queued* when a worker has it in custody, *refused* when the gateway will not
take it (an address that is none). What is composed and not queued is handed over again in the next round, with the same
Message-ID: between a worker's custody and our record of it lies the only moment in which it could leave twice.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from gateway.abuse.newness import Newness
from gateway.abuse.writing import Written
from gateway.clock import Clock
from gateway.config.abuse_desk import TOKEN_OCTETS
from gateway.incidents import Change, IncidentBook, IncidentReader
from gateway.incidents.schema import database_path
from gateway.mail.own_mail import NOBODY, OwnMail
from gateway.storage import StorageError

BY = "tidegate"
# RFC 3461 §4.1: what comes back to us is wanted, for its record.
_FAILURE = frozenset({"FAILURE"})
# One round hands over so many; the next follows within seconds.
MOST_A_ROUND = 100
_WAITING = "SELECT id, purpose, sender, recipient, content FROM desk_mail WHERE state = 'composed' ORDER BY id LIMIT ?"
# Some times the largest mail that is ever composed.
_MAX_OCTETS = 64 * 1024**2


class NotTakenError(Exception):
    """The gateway did not take a mail now; it may later."""


class RefusedError(Exception):
    """The gateway will never take this mail: its text says why."""


Send = Callable[[OwnMail], str]
"""Hands a mail to the gateway and returns its trace id; NotTakenError, RefusedError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRound:
    """What a round did: how many were handed over, how many refused, and why it stopped ("" at its end)."""

    queued: int = 0
    refused: int = 0
    problem: str = ""


def new_token(random_octets: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return a fresh token of a mail."""
    return random_octets(TOKEN_OCTETS).hex()


def put(change: Change, written: Written) -> int:
    """Put a mail on record, to leave once the change is durable; return its number."""
    return change.insert(
        "INSERT INTO desk_mail (at, purpose, sender, token, recipient, subject, message_id, octets, sha256, content)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            change.at,
            written.purpose,
            written.sender,
            written.token,
            written.recipient,
            written.subject,
            written.message_id,
            len(written.octets),
            written.sha256,
            zstandard.compress(written.octets),
        ),
    )


def content(stored: bytes) -> bytes:
    """Return a mail's octets as they were written."""
    return zstandard.decompress(stored, max_output_size=_MAX_OCTETS)


class Post:
    """Hands composed mails over."""

    def __init__(self, book: IncidentBook, data: Path, send: Send, clock: Clock) -> None:
        self._book, self._data, self._send = book, data, send
        self._newness = Newness(database_path(data), clock)

    def round(self) -> PostRound:
        """Hand over what waits, the oldest first; StorageError."""
        if not self._newness.look():
            return PostRound()
        waiting = self._waiting()
        if waiting:
            self._newness.again()
        queued = refused = 0
        for number, purpose, sender, recipient, stored in waiting:
            mail = OwnMail(
                sender=sender,
                recipients=(recipient,),
                octets=content(stored),
                purpose=purpose,
                notify=_FAILURE if sender else NOBODY,
            )
            try:
                trace_id = self._send(mail)
            except NotTakenError as error:
                return PostRound(queued=queued, refused=refused, problem=str(error))
            except RefusedError as error:
                self._refused(number, str(error))
                refused += 1
            else:
                self._queued(number, trace_id)
                queued += 1
        return PostRound(queued=queued, refused=refused)

    def _waiting(self) -> list[Any]:
        try:
            with IncidentReader(self._data) as reader:
                return reader.rows(_WAITING, (MOST_A_ROUND,))
        except (StorageError, OSError):
            self._newness.again()
            raise

    def _queued(self, number: int, trace_id: str) -> None:
        with self._book.change(BY, "desk post") as change:
            change.execute(
                "UPDATE desk_mail SET state = 'queued', queued_at = ?, trace_id = ? WHERE id = ?",
                (change.at, trace_id, number),
            )
            change.record("mail-queued", None, {"mail": number, "trace_id": trace_id})

    def _refused(self, number: int, why: str) -> None:
        with self._book.change(BY, "desk post") as change:
            change.execute("UPDATE desk_mail SET state = 'refused', problem = ? WHERE id = ?", (why, number))
            change.record("mail-refused", None, {"mail": number, "problem": why})
