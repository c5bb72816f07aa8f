"""Samples of spam, taken by a worker while it still has the content, for the keeper to file as evidence.

Of each source the first messages of a day are taken, then one in so many; each worker counts for itself. Nothing on
the mail path waits: a content in memory is handed to a thread as it is, one in a file is opened, which keeps it
readable whatever becomes of its name, and the thread compresses and writes. What waits to be written is bounded, and
so is what waits to be filed; what does not fit is counted in ``over``, what a disk refused in ``failed``.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gateway.abuse.verdicts import is_spam, worst_action
from gateway.clock import Clock
from gateway.config.incidents import Incidents
from gateway.incidents.evidence import Inbox
from gateway.mail.content import CHUNK_OCTETS
from gateway.mail.transaction import Transaction
from gateway.policy.verdict import Verdict
from gateway.storage import StorageError

# Sources of a busy day that one worker tells apart; beyond it the one longest not seen begins anew.
MOST_SOURCES = 4096
COUNTED_SECONDS = 86_400.0
# Octets in hand, twenty full contents in memory; spilled ones are read piece by piece and count as nothing here.
MOST_IN_HAND = 8 * 1024**2
MOST_WAITING = 64
# What waits to be filed is looked at so seldom, and for a hundredth of the time: there may be ten thousands of files.
LOOK_SECONDS = 2.0
LOOK_SHARE = 100.0
# RFC 6177 §2: a /64 is the least that an IPv6 client has.
_NETWORK_OCTETS = 8

Settings = Callable[[], Incidents]


@dataclass(slots=True)
class _Count:
    """How many spam messages a source sent since a moment of the monotonic clock."""

    since: float
    seen: int = 0


class EvidenceSampler:
    """``consider`` is the intake's ``OnJudged``; one instance a worker, used in its loop."""

    def __init__(self, inbox: Inbox, settings: Settings, *, clock: Clock, digest: Callable[[], str]) -> None:
        """Take the parts; ``digest`` names the policies in force."""
        self._inbox, self._settings, self._clock, self._digest = inbox, settings, clock, digest
        self._counts: OrderedDict[str | bytes, _Count] = OrderedDict()
        self._writing: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._in_hand = 0
        self._backlog, self._look_at = 0, clock.monotonic()
        self.kept = self.over = self.failed = 0

    def consider(self, tx: Transaction, verdict: Verdict) -> None:
        """Take a sample of a message that is spam, if it is its source's turn."""
        if not is_spam(verdict) or not self._is_due(verdict.origin or _source(tx)):
            return
        held = tx.content.size if tx.content.octets is not None else 0
        if self._in_hand + held > MOST_IN_HAND or len(self._writing) >= MOST_WAITING:
            self.over += 1
            return
        try:
            # RSET, a refusal or the spool take the name away; the octets stay as long as this is open.
            opened = os.open(tx.content.path, os.O_RDONLY | os.O_CLOEXEC) if tx.content.path else -1
        except OSError:
            self.failed += 1
            return
        self._in_hand += held
        task = asyncio.get_running_loop().create_task(self._keep(tx, self._facts(tx, verdict), opened, held))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def settled(self) -> None:
        """Return when nothing is being written any more."""
        while self._writing:
            await asyncio.gather(*self._writing)

    def _is_due(self, source: str | bytes) -> bool:
        now, found = self._clock.monotonic(), self._counts.get(source)
        if found is None:
            found = self._counts[source] = _Count(now)
            if len(self._counts) > MOST_SOURCES:
                self._counts.popitem(last=False)
        else:
            self._counts.move_to_end(source)
            if now - found.since > COUNTED_SECONDS:
                found.since, found.seen = now, 0
        found.seen += 1
        settings = self._settings()
        return found.seen <= settings.evidence_first or found.seen % settings.evidence_every == 0

    async def _keep(self, tx: Transaction, facts: dict[str, Any], opened: int, held: int) -> None:
        try:
            async with self._turn:
                self.kept += await asyncio.to_thread(self._write, tx, facts, opened)
        except (StorageError, OSError):
            self.failed += 1
        finally:
            self._in_hand -= held
            if opened >= 0:
                os.close(opened)

    def _write(self, tx: Transaction, facts: dict[str, Any], opened: int) -> int:
        self._look()
        if self._backlog + tx.content.size > self._settings().evidence_backlog:
            self.over += 1
            return 0
        pieces = tx.content.chunks() if opened < 0 else _read(opened)
        self._backlog += self._inbox.put(tx.trace_id, self._clock.stamp().utc, facts, pieces)
        return 1

    def _look(self) -> None:
        """See now and again how much waits to be filed; what is written in between is added."""
        begun = self._clock.monotonic()
        if begun < self._look_at:
            return
        self._backlog = self._inbox.octets()
        done = self._clock.monotonic()
        self._look_at = done + max(LOOK_SECONDS, LOOK_SHARE * (done - begun))

    def _facts(self, tx: Transaction, verdict: Verdict) -> dict[str, Any]:
        return {**_connection(tx), **_verdict(verdict), "policy": {"digest": self._digest()}}


def _source(tx: Transaction) -> bytes:
    """Return an IPv4 address or the /64 of an IPv6 one in octets; as text it would cost more than all the rest."""
    return tx.connection.client_address.packed[:_NETWORK_OCTETS]


def _read(opened: int) -> Iterator[bytes]:
    while piece := os.read(opened, CHUNK_OCTETS):
        yield piece


def _connection(tx: Transaction) -> dict[str, Any]:
    connection, tls = tx.connection, tx.connection.tls
    return {
        "connection": {
            "session": connection.session_id,
            "client": connection.client,
            "client_port": connection.client_port,
            "client_name": connection.client_name,
            "local": f"{connection.local_address} port {connection.local_port}",
            "role": connection.role.value,
            "helo": connection.helo,
            "protocol": connection.protocol,
            "connected_at": connection.connected.utc,
            "via": connection.via,
        },
        "tls": {"version": tls.version, "cipher": tls.cipher, "bits": tls.bits} if tls else {},
        "envelope": {
            "reverse_path": tx.envelope.reverse_path.wire,
            "recipients": [recipient.path.wire for recipient in tx.recipients],
            "body": tx.envelope.body or "",
            "smtputf8": tx.envelope.smtputf8,
            "received_at": tx.received.utc if tx.received else 0.0,
        },
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "findings": [
            {"filter": f.filter, "result": f.result, "reason": f.reason, "detail": dict(f.detail)}
            for f in verdict.findings
        ],
        "verdict": {
            "action": worst_action(verdict).word,
            "reply": str(verdict.reply) if verdict.reply else "",
            "origin": verdict.origin,
            "grounds": [ground.value for ground in verdict.grounds],
            "dispositions": [
                {"recipient": d.recipient.path.wire, "action": d.action.word, "score": d.score, "reason": d.reason}
                for d in verdict.dispositions
            ],
        },
    }
