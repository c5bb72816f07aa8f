"""The values that pass between a queue and a channel: what is to be sent, where to, and what became of it."""

from collections.abc import Callable
from typing import Protocol

from gateway.clock import Stamp
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.rendition import Rendition
from gateway.smtp.reply import Reply
from gateway.value import value


@value(kw_only=True)
class Transfer:
    """One mail transaction to be carried out: the envelope, recipients that share route and rendition, the octets."""

    trace_id: str
    envelope: Envelope
    recipients: tuple[Recipient, ...]
    content: Content
    rendition: Rendition


@value(kw_only=True)
class Outcome:
    """What became of one recipient: ``phase`` as in ``Attempt``, ``reply`` the next hop's or one of ``causes``.

    ``at`` is when the reply came.

    ``possible_duplicate``: the final dot was sent and its reply never came, so the next hop may have taken the message.
    """

    phase: str
    reply: Reply
    at: Stamp
    possible_duplicate: bool = False
    own_fault: bool = False


@value(kw_only=True)
class TransferResult:
    """The end of a transfer: one outcome per recipient, in order.

    ``begun`` is when the first command went out, ``started`` when the first octet of content did (contract.md §2), None
    when none did. ``refused_by_host``: the host gave up the connection (421, lost, silent) before any content, so that
    another host may be tried at once; ``stale`` the same on a connection that had served before, where a fresh one must
    be tried. ``passes_dsn_on``: the next hop offered DSN and so reports success itself (RFC 3461 §5.2.1).
    """

    outcomes: tuple[Outcome, ...]
    begun: Stamp
    started: Stamp | None
    ended: Stamp
    refused_by_host: bool = False
    stale: bool = False
    passes_dsn_on: bool = False


@value(kw_only=True)
class Target:
    """One host to try: ``host`` a name or an address, ``path`` a maildir's folder or an LMTP server's socket."""

    scheme: str
    host: str
    port: int
    tls: str
    path: str = ""

    @property
    def name(self) -> str:
        """The target as shown in events and under which its health is remembered."""
        return f"{self.scheme}:{self.path}" if self.path else f"{self.host}:{self.port}"


@value(kw_only=True)
class Failure:
    """No channel could be had: where it ended and why; ``permanent`` when the mail is to be returned."""

    phase: str
    reply: Reply
    relay: str = ""
    permanent: bool = False
    own_fault: bool = False


Done = Callable[[TransferResult], None]


class Channel(Protocol):
    """An open way to one host, for one transfer at a time."""

    target: Target
    relay: str
    transfers: int
    setup_seconds: float
    final_delivery: bool

    @property
    def most_recipients(self) -> int:
        """Recipients that one transfer takes."""
        ...

    @property
    def is_usable(self) -> bool:
        """Whether another transfer can begin."""
        ...

    def begin(self, transfer: Transfer, done: Done) -> None:
        """Carry out ``transfer``; ``done`` is called once with the result, never from within this call."""
        ...

    def release(self, closed: Callable[["Channel"], None]) -> None:
        """Keep the channel idle for a while; ``closed`` is called when it ends by itself meanwhile."""
        ...

    def quit(self) -> None:
        """End it politely, without waiting."""
        ...
