"""What intake needs of the rooms behind it, as Protocols: the gate that judges, the custody that keeps.

The pipeline's ``Gate`` and the spool's ``Custody`` fit these shapes; tests hand in data-shaped fakes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from gateway.clock import Stamp
from gateway.config.models import GatewayConfig
from gateway.mail.connection import Connection
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.transaction import Transaction
from gateway.policy.verdict import Verdict
from gateway.smtp.reply import Reply
from gateway.spool.message import SpoolMessage


class HasConfig(Protocol):
    """A configuration snapshot, as far as the door reads it."""

    @property
    def config(self) -> GatewayConfig:
        """The node's configuration."""
        ...


class Gate(Protocol):
    """Everything that decides, compiled from one snapshot; a transaction keeps the gate it began with."""

    @property
    def snapshot(self) -> HasConfig:
        """The snapshot this gate was compiled from."""
        ...

    async def admit(self, connection: Connection) -> Reply | None:
        """Return the refusal of a connection, or None to go on."""
        ...

    def turned_away(self, connection: Connection) -> Reply | None:
        """Return the refusal that can be told at once, or None; for a door under attack, and before a wait."""
        ...

    def client_name(self, connection: Connection) -> str:
        """Return the client's verified name, "" while none is known."""
        ...

    async def judge_recipient(
        self,
        connection: Connection,
        envelope: Envelope,
        recipient: Recipient,
        accepted: Sequence[Recipient],
        trace_id: str,
    ) -> Reply:
        """Return the reply to RCPT; 2yz accepts."""
        ...

    async def judge_content(self, tx: Transaction) -> Verdict:
        """Return the verdict on a whole transaction."""
        ...

    def entry(self, tx: Transaction, verdict: Verdict, filtered: Stamp) -> SpoolMessage:
        """Return what the spool is to keep of an accepted transaction."""
        ...

    async def signed(self, tx: Transaction, message: SpoolMessage) -> SpoolMessage:
        """Return an entry with the signatures and seals wanted on what leaves."""
        ...


class Custody(Protocol):
    """The spool, as far as the door uses it."""

    async def store(self, message: SpoolMessage) -> SpoolMessage:
        """Make a message durable and return it with its stamp; raise ``StorageError``."""
        ...

    def spill_path(self, trace_id: str) -> Path:
        """Return where a large content may be written before it is stored."""
        ...


GateSource = Callable[[], Gate]
OnStored = Callable[[SpoolMessage], None]
OnJudged = Callable[[Transaction, Verdict], None]
"""Sees every verdict while the content is still there; never waits, never raises."""
RandomOctets = Callable[[int], bytes]
