"""Every event, one frozen dataclass each (style.md, habit 13): here those of the mail path and of the gateway itself.

``guard_events`` has those of scanners and lists, ``duty_events`` those of the contract's other duties.

Rooms on the mail path hand events to an ``EventSink``; the app decides what becomes of them: journal rows, log
lines, metrics. Fields are plain values (text, numbers, tuples of text), so that an event can be written as it
stands. ``kind`` is the class's name in snake case.
"""

from traceback import format_exception
from typing import ClassVar, Protocol

from gateway.value import value


@value(kw_only=True)
class Event:
    """Base: ``at`` is UTC seconds.

    ``trace_id`` is the mail transaction's (or the session's) id, "" where there is none.
    """

    kind: ClassVar[str] = ""
    at: float
    trace_id: str = ""

    def __init_subclass__(cls) -> None:
        # Slotted dataclasses are made twice; without super() the hook works for both.
        cls.kind = "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")


class EventSink(Protocol):
    """Takes events; never blocks, never raises."""

    def emit(self, event: Event) -> None:
        """Take one event."""
        ...


# Sessions -------------------------------------------------------------------------------------------------------------


@value(kw_only=True)
class SessionRefused(Event):
    """A connection was turned away at the door (limits, shutting down, bad PROXY header)."""

    client: str
    role: str
    reply: str
    reason: str


@value(kw_only=True)
class SessionClosed(Event):
    """A session ended: ``end`` is quit, disconnect, timeout, errors, http, shutdown, too-slow or tls.

    ``trace_id`` is the session's.
    """

    client: str
    role: str
    helo: str
    tls: str
    end: str
    messages: int
    commands: int
    errors: int
    seconds: float


@value(kw_only=True)
class RecipientRefused(Event):
    """RCPT was answered 4yz or 5yz; ``filter`` is the one whose finding decided, "" when none did.

    ``grounds`` are the contract's (contract.md §4), where what was found has one.
    """

    client: str
    helo: str
    reverse_path: str
    recipient: str
    reply: str
    reason: str
    filter: str = ""
    grounds: tuple[str, ...] = ()


@value(kw_only=True)
class TransactionAborted(Event):
    """Content began but never became durable: disconnect, timeout, framing refused, too big, storage failed.

    ``reply`` is "" when none was sent.
    """

    client: str
    reverse_path: str
    recipients: tuple[str, ...]
    octets: int
    reply: str
    reason: str


# Verdicts -------------------------------------------------------------------------------------------------------------


@value(kw_only=True)
class MessageJudged(Event):
    """The final dot was answered; one per transaction, whatever the verdict.

    ``dispositions`` is one text per recipient: ``address action score decisive-filter reason`` as a tuple.
    ``findings`` are ``(filter, result, reason)``. ``judgements`` are what the recipients' policies made of them,
    where they made something: ``(address, filter, result, score, action or "")``. Stamps are UTC seconds; seconds
    are monotonic durations: ``filtered_seconds`` from the final dot to the verdict, ``durable_seconds`` from there to
    the message being durable. ``durable_at`` is 0 when refused. ``grounds`` are ``(address, ground)``: the contract's
    grounds of what speaks against the mail (contract.md §4), per recipient. ``dmarc`` is what an aggregate report needs
    (RFC 9990), empty where the author's domain wants none. ``origin`` is the address that gave the mail to a trusted
    forwarder, "" for other clients.
    """

    session_id: str
    client: str
    client_name: str
    helo: str
    role: str
    tls: str
    reverse_path: str
    message_id: str
    subject: str
    octets: int
    dispositions: tuple[tuple[str, str, float, str, str], ...]
    findings: tuple[tuple[str, str, str], ...]
    filter_seconds: tuple[tuple[str, float], ...]
    reply: str
    connected_at: float
    enveloped_at: float
    received_at: float
    filtered_seconds: float
    durable_at: float
    durable_seconds: float
    judgements: tuple[tuple[str, str, str, float, str], ...] = ()
    grounds: tuple[tuple[str, str], ...] = ()
    dmarc: tuple[str, ...] = ()
    origin: str = ""


# Delivery -------------------------------------------------------------------------------------------------------------


@value(kw_only=True)
class DeliveryAttempted(Event):
    """One attempt for one recipient: ``status`` sent, deferred, bounced or expired; ``phase`` where it ended.

    ``delays`` are Postfix's a/b/c/d.
    """

    recipient: str
    reverse_path: str
    next_hop: str
    relay: str
    phase: str
    reply: str
    status: str
    delay_seconds: float
    delays: tuple[float, float, float, float]
    attempt: int
    possible_duplicate: bool = False


@value(kw_only=True)
class NoticeQueued(Event):
    """A mail of our own entered the spool.

    ``notice`` is failed, delayed, delivered or relayed for a delivery status notification, and ``about`` then the
    original's trace id; else the purpose of the mail (``gateway.mail.own_mail``), dmarc-report for example, and "".
    """

    about: str
    notice: str
    recipient: str


@value(kw_only=True)
class QueueChanged(Event):
    """An operator acted on the queue: ``operation`` hold, release, drop, flush; audit trail of contract.md §6."""

    operation: str
    recipients: tuple[str, ...]
    operator: str


@value(kw_only=True)
class QuarantineReleased(Event):
    """An operator let mail out of quarantine, audited (contract.md §6).

    ``recipients`` get it, ``kept_for`` are whom it had been kept for. ``outcome`` is the scan's on the way out, ""
    where nothing scans; ``objection`` what spoke against it and was overruled, "" for nothing.
    """

    recipients: tuple[str, ...]
    kept_for: tuple[str, ...]
    outcome: str
    objection: str
    operator: str


# The gateway itself ---------------------------------------------------------------------------------------------------


@value(kw_only=True)
class OperatorActed(Event):
    """An operator changed something other than the queue: audit trail of contract.md §6.

    ``operation`` is the command (``rule add``), ``target`` what it was done to, ``changes`` a line each.
    """

    operation: str
    target: str
    changes: tuple[str, ...]
    operator: str


@value(kw_only=True)
class ConfigurationChanged(Event):
    """A reload took effect (``errors`` empty) or was refused; ``digest`` names the snapshot now serving.

    ``operator`` asked for it on the control socket, or is ``signal``: a SIGHUP does not say who sent it.
    """

    digest: str
    changed: tuple[str, ...]
    errors: tuple[str, ...]
    operator: str = ""


@value(kw_only=True)
class WorkerChanged(Event):
    """A worker came or went: ``state`` started, stopping, stopped."""

    worker: int
    state: str
    detail: str = ""


@value(kw_only=True)
class ShardAdopted(Event):
    """A spool shard left by a worker that no longer exists was taken over."""

    shard: str
    queued: int


@value(kw_only=True)
class StorageFailed(Event):
    """A write or read of stored data failed; what was asked for was refused or is retried, never forgotten."""

    store: str
    operation: str
    error: str


@value(kw_only=True)
class InternalError(Event):
    """A bug: an exception where none belongs. The client got 451 4.3.0, the loop survived."""

    where: str
    error: str
    traceback: str

    @classmethod
    def of(cls, bug: Exception, where: str, at: float) -> "InternalError":
        """Return what is told of a bug that a loop survived."""
        text = "".join(format_exception(bug))
        return cls(at=at, where=where, error=f"{type(bug).__name__}: {bug}", traceback=text)
