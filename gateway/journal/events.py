"""Every event, one frozen dataclass each (style.md, habit 13).

Rooms on the mail path hand events to an ``EventSink``; the app decides what becomes of them: journal rows, log
lines, metrics. Fields are plain values (text, numbers, tuples of text), so that an event can be written as it
stands. ``kind`` is the class's name in snake case.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRefused(Event):
    """A connection was turned away at the door (limits, shutting down, bad PROXY header)."""

    client: str
    role: str
    reply: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeQueued(Event):
    """A mail of our own entered the spool.

    ``notice`` is failed, delayed, delivered or relayed for a delivery status notification, and ``about`` then the
    original's trace id; else the purpose of the mail (``gateway.mail.own_mail``), dmarc-report for example, and "".
    """

    about: str
    notice: str
    recipient: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueChanged(Event):
    """An operator acted on the queue: ``operation`` hold, release, drop, flush; audit trail of contract.md §6."""

    operation: str
    recipients: tuple[str, ...]
    operator: str


@dataclass(frozen=True, slots=True, kw_only=True)
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


# Antivirus ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerChanged(Event):
    """A virus scanner's health changed: ``state`` well, suspect or open (not asked any more)."""

    scanner: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerTested(Event):
    """A scanner's self-test with the EICAR test file ended otherwise than the last one: ``result`` passed, failed."""

    scanner: str
    result: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignaturesChanged(Event):
    """A scanner has other signatures (contract.md §5): ``before`` is "" for the first, ``built_at`` 0 if not known."""

    scanner: str
    before: str
    after: str
    built_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SignaturesAged(Event):
    """Alarm: a scanner's signatures became ``old`` or a ``breach`` of the contract's week, or are ``fresh`` again."""

    scanner: str
    version: str
    freshness: str
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorActed(Event):
    """An operator changed something other than the queue: audit trail of contract.md §6.

    ``operation`` is the command (``rule add``), ``target`` what it was done to, ``changes`` a line each.
    """

    operation: str
    target: str
    changes: tuple[str, ...]
    operator: str


# Local lists ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ListApplied(Event):
    """A local list serves another edition (contract.md §4 d).

    ``published_at`` and ``deadline_at`` are UTC seconds, 0 where there is none; ``deadline`` is met, missed or "";
    ``operator`` who brought it in, or the schedule; ``problems`` the first of the bad lines, as file:line.
    """

    list: str
    edition: int
    entries: int
    added: int
    removed: int
    bad_lines: int
    published_at: float
    deadline_at: float
    deadline: str
    operator: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWithheld(Event):
    """Alarm: a local list could not be brought up to date, the edition before serves on.

    ``state`` is held (it shrank or grew too much), refused (bad lines), missing (nothing to serve), unreachable (its
    source) or undeclared; ``problems`` the first bad lines as file:line.
    """

    list: str
    edition: int
    state: str
    reason: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOverdue(Event):
    """Alarm: an edition was not applied within the working days that its list has (contract.md §4 d)."""

    list: str
    edition: int
    published_at: float
    deadline_at: float
    reason: str


# Lists in the DNS -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsListChanged(Event):
    """A DNS list passed or failed its probe (RFC 5782 §5), other than before.

    ``state`` is healthy, or blind, wildcard, refused, unreachable: then it is an alarm, and the list is not asked.
    """

    zone: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnListingChanged(Event):
    """Alarm: an address or domain of ours is on a DNS list, or (``state`` cleared) is not any more.

    ``state`` is listed or cleared; ``code`` the list's return code, ``reason`` its words.
    """

    identity: str
    zone: str
    state: str
    code: str
    reason: str


# Reports to others ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcReported(Event):
    """The DMARC reports of a day (RFC 9990) were gone through: ``day`` such as 2026-11-21, ``domains`` with mail.

    ``sent``, ``withheld`` (not wanted, too large, too many) and ``failed`` count reports to one mailbox; ``reason``
    says why there are none at all, "" else.
    """

    day: str
    domains: int
    sent: int
    withheld: int
    failed: int
    reason: str


# Backups --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFinished(Event):
    """Everything was saved (contract.md §7): ``type`` full or increment, ``octets`` what a restore writes.

    ``complete_until`` is the UTC second from which on data are not in it; ``deadline`` met or missed; ``omitted`` how
    many files were left out on purpose; ``problems`` what was wrong with the data saved, which is an alarm.
    """

    backup: str
    type: str
    octets: int
    added_octets: int
    messages: int
    complete_until: float
    seconds: float
    deadline_at: float
    deadline: str
    omitted: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFailed(Event):
    """Alarm: ``state`` is failed (nothing was saved), overdue (a day without a backup) or trouble (after a run).

    ``backup`` is the run it came after, "" for none.
    """

    backup: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupDrilled(Event):
    """A backup was restored and tried (contract.md §7): ``result`` passed, or failed, which is an alarm."""

    backup: str
    result: str
    seconds: float
    messages: int
    complete_until: float
    problems: tuple[str, ...] = ()


# Service level --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceNeared(Event):
    """Alarm: a clause of a customer's month came near its limit or is missed (``state`` near, missed)."""

    customer: str
    month: str
    clause: str
    measure: str
    limit: float
    value: float
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDoubted(Event):
    """Two kinds of evidence of the service level disagree: ``about`` minutes, heartbeat or probe; ``detail`` says how.

    ``customer`` is "" where it concerns all.
    """

    customer: str
    about: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineNeared(Event):
    """Alarm: a clock of the contract has used up most of its time, or all of it (``state`` near, overdue)."""

    number: int
    deadline: str
    subject: str
    customer: str
    due_at: float
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultChanged(Event):
    """A fault was put on record, or was over: ``state`` opened, closed.

    ``customer`` is "" for all, ``cause`` gateway, receive or send; ``ended_at`` is 0 while it lasts. UTC seconds.
    """

    number: int
    customer: str
    cause: str
    reason: str
    started_at: float
    ended_at: float
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJumped(Event):
    """The wall clock was set by ``seconds``, forward or back, or the machine slept."""

    seconds: float


# Incidents ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentChanged(Event):
    """A spam source's incident was opened, or went to another state (contract.md §4); ``sightings`` so far."""

    incident: int
    source: str
    state: str
    reason: str
    sightings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAnchored(Event):
    """The incident record's hash chain ended at row ``number`` with ``digest``; `incident verify` asks for it."""

    number: int
    digest: str


# The gateway itself ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationChanged(Event):
    """A reload took effect (``errors`` empty) or was refused; ``digest`` names the snapshot now serving."""

    digest: str
    changed: tuple[str, ...]
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerChanged(Event):
    """A worker came or went: ``state`` started, stopping, stopped."""

    worker: int
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardAdopted(Event):
    """A spool shard left by a worker that no longer exists was taken over."""

    shard: str
    queued: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFailed(Event):
    """A write or read of stored data failed; what was asked for was refused or is retried, never forgotten."""

    store: str
    operation: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalError(Event):
    """A bug: an exception where none belongs. The client got 451 4.3.0, the loop survived."""

    where: str
    error: str
    traceback: str
