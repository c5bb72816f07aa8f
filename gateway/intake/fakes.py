"""Data-shaped stand-ins for the rooms behind the door; they ship, so that all tests use the same ones.

``FakeGate`` answers from tables; ``FakeCustody`` keeps messages in a list. Each can be told to fail or to wait.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.clock import Clock, Stamp
from gateway.config.models import GatewayConfig
from gateway.mail.connection import Connection
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action
from gateway.policy.verdict import Disposition, Verdict
from gateway.smtp import replies
from gateway.smtp.reply import Reply
from gateway.spool.message import MessageStamps, Origin, SpoolMessage, SpoolRecipient


@dataclass(frozen=True, slots=True)
class FakeSnapshot:
    """A snapshot that is only its configuration."""

    config: GatewayConfig


@dataclass(slots=True, kw_only=True)
class FakeGate:
    """Answers from tables.

    ``refused`` maps address keys to replies, every other recipient is accepted; ``verdict_reply`` refuses every
    content; ``fault`` is raised by every judgement of a recipient or a content; ``opened``, when there is one, is
    waited for before a content is judged.
    """

    snapshot: FakeSnapshot
    admission: Reply | None = None
    refused: dict[str, Reply] = field(default_factory=dict)
    verdict_reply: Reply | None = None
    fault: Exception | None = None
    name: str = ""
    opened: asyncio.Event | None = None
    connections: list[Connection] = field(default_factory=list)
    asked: list[tuple[Connection, Envelope, Recipient, str]] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)

    async def admit(self, connection: Connection) -> Reply | None:
        """Return ``admission``."""
        self.connections.append(connection)
        return self.admission

    def turned_away(self, connection: Connection) -> Reply | None:
        """Return ``admission``."""
        if self.admission is not None:
            self.connections.append(connection)
        return self.admission

    def client_name(self, connection: Connection) -> str:
        """Return ``name``, whoever the client is."""
        del connection
        return self.name

    async def judge_recipient(
        self,
        connection: Connection,
        envelope: Envelope,
        recipient: Recipient,
        accepted: Sequence[Recipient],
        trace_id: str,
    ) -> Reply:
        """Return what ``refused`` says, else accept; a null reverse-path takes one recipient."""
        self.asked.append((connection, envelope, recipient, trace_id))
        if self.fault is not None:
            raise self.fault
        if envelope.reverse_path.is_null and accepted:
            return replies.NULL_SENDER_ONE_RECIPIENT
        return self.refused.get(recipient.key, replies.RECIPIENT_OK)

    async def judge_content(self, tx: Transaction) -> Verdict:
        """Return ``verdict_reply`` for all recipients, or accept for all."""
        self.transactions.append(tx)
        if self.opened is not None:
            await self.opened.wait()
        if self.fault is not None:
            raise self.fault
        action = Action.ACCEPT if self.verdict_reply is None else Action.REJECT
        dispositions = [
            Disposition(recipient=r, action=action, score=0.0, reply=self.verdict_reply) for r in tx.recipients
        ]
        return Verdict(dispositions=tuple(dispositions), reply=self.verdict_reply)

    async def signed(self, tx: Transaction, message: SpoolMessage) -> SpoolMessage:  # noqa: ARG002 - the protocol's
        """Return the entry as it is."""
        return message

    def entry(self, tx: Transaction, verdict: Verdict, filtered: Stamp) -> SpoolMessage:
        """Return the transaction as the spool would keep it."""
        received = tx.received or filtered
        stamps = MessageStamps(
            connected=tx.connection.connected,
            enveloped=tx.enveloped or received,
            received=received,
            filtered=filtered,
        )
        recipients = [
            SpoolRecipient(number=number, recipient=d.recipient, route="smtp://next.example:25", customer="example")
            for number, d in enumerate(verdict.dispositions)
        ]
        return SpoolMessage(
            trace_id=tx.trace_id,
            origin=Origin.SMTP,
            envelope=tx.envelope,
            recipients=tuple(recipients),
            stamps=stamps,
            content=tx.content,
            octets=tx.content.size,
        )


@dataclass(slots=True, kw_only=True)
class FakeCustody:
    """Keeps messages in ``stored``; ``store`` raises ``fault`` and waits for ``opened`` when they are set."""

    folder: Path
    clock: Clock
    stored: list[SpoolMessage] = field(default_factory=list)
    fault: Exception | None = None
    opened: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    async def store(self, message: SpoolMessage) -> SpoolMessage:
        """Keep a message."""
        self.entered.set()
        if self.opened is not None:
            await self.opened.wait()
        if self.fault is not None:
            raise self.fault
        kept = replace(message, stamps=replace(message.stamps, durable=self.clock.stamp()), shard="0")
        self.stored.append(kept)
        return kept

    def spill_path(self, trace_id: str) -> Path:
        """Return a path in ``folder``."""
        return self.folder / trace_id
