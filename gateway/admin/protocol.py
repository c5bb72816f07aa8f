"""What is said over the control socket: commands, arguments and results as JSON objects (README.md has the list).

One request is one line ``{"v": 1, "id": n, "command": "…", "arguments": {…}}``, its answer one line
``{"v": 1, "id": n, "result": {…}}`` or ``{"v": 1, "id": n, "error": {"code": "…", "message": "…"}}``; a connection
may carry several, answered in order. Between versions fields are only added; a change that breaks readers raises
``VERSION``, and a peer that speaks another version is told so.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, NotRequired, TypedDict

VERSION: Final = 1
# Bounds one line, above all the answer to ``queue list``: 1,000 messages of some kilobytes.
MAX_LINE_OCTETS: Final = 16 * 1024**2

Command = Literal[
    "status",
    "reload",
    "metrics",
    "stop",
    "own-mail",
    "queue.list",
    "queue.show",
    "queue.flush",
    "queue.hold",
    "queue.release",
    "queue.drop",
    "quarantine.list",
    "quarantine.show",
    "quarantine.release",
    "quarantine.delete",
]

ErrorCode = Literal[
    "bad-request",  # not JSON, no command, wrong arguments, a line too long
    "version",  # the peers speak different versions
    "unknown-command",
    "refused",  # understood, but not done: the message says why
    "failed",  # tried, and it did not work: the message says what
    "timeout",
    "unavailable",  # nobody listens, or the connection was lost
]


@dataclass(frozen=True, slots=True)
class Done:
    """The command was carried out."""

    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """The command was not carried out, and why."""

    code: ErrorCode
    message: str


Outcome = Done | Failed


class RefusedError(Exception):
    """Raised by a command's handler to answer ``refused`` with a reason for the operator."""


class UnknownCommandError(Exception):
    """Raised by a handler for a command that it does not know."""


class QueueStatus(TypedDict):
    """The queue: recipients by state, messages, and the age of the oldest message queued for delivery (0: none)."""

    recipients: dict[str, int]
    messages: int
    oldest_seconds: float


class Rates(TypedDict):
    """Per second over the last minute: messages taken, recipients delivered."""

    messages_in: float
    recipients_out: float


class WorkerStatus(TypedDict):
    """One worker's answer to ``status``; ``state`` is starting, serving, draining, failing or gone."""

    worker: int
    pid: int
    state: str
    reason: str
    version: str
    digest: str
    started_at: float
    sessions: int
    rates: Rates


class GatewayStatus(TypedDict):
    """The whole gateway's answer to ``status``; ``ready`` says whether it takes mail, ``reason`` why not."""

    version: str
    digest: str
    started_at: float
    uptime_seconds: float
    ready: bool
    reason: str
    queue: QueueStatus
    rates: Rates
    sessions: int
    workers: list[WorkerStatus]


class DeskStatus(TypedDict):
    """What is open at the abuse desk, ``desk`` of the answer to ``status``; None where its record cannot be read.

    ``gateway.abuse.standing.Standing``, and how long ago the journals were last read to their ends.
    """

    incidents: dict[str, int]
    blocks: int
    suspensions: int
    tickets: int
    overdue: int
    mails_waiting: int
    lag_seconds: float


class ReloadResult(TypedDict):
    """The answer to ``reload``: what changed, or why nothing did."""

    digest: str
    changed: list[str]
    errors: list[str]


class MetricsResult(TypedDict):
    """The answer of one worker to ``metrics``: ``gateway.admin.registry.Family`` objects."""

    families: list[Any]


class QueueArguments(TypedDict, total=False):
    """What the queue's commands select; all given conditions must hold.

    ``older_than_seconds`` is the age of the message; ``states`` are words of RecipientState. ``queue.drop`` wants
    ``ids`` or ``everything``, ``queue.release`` any condition or ``everything``. ``operator`` is filled in by the
    server from the peer's credentials.
    """

    ids: list[str]
    recipient: str
    domain: str
    route: str
    older_than_seconds: float
    states: list[str]
    limit: int
    everything: bool
    operator: str


class AttemptView(TypedDict):
    """One attempt, as ``gateway.spool.message.Attempt``."""

    at: float
    next_hop: str
    relay: str
    phase: str
    reply: str
    status: str
    seconds: float


class QueuedRecipient(TypedDict):
    """One recipient's copy; ``due`` and ``held_since`` UTC seconds; ``last`` the newest attempt's reply or ""."""

    number: int
    recipient: str
    state: str
    route: str
    due: float
    attempts: int
    last: str
    action: str
    score: float
    reason: str
    held_since: float
    history: NotRequired[list[AttemptView]]


class QueuedMessage(TypedDict):
    """One message in custody; ``header`` (the header section's beginning, printable) only from ``queue.show``."""

    id: str
    shard: str
    origin: str
    reverse_path: str
    message_id: str
    client: str
    octets: int
    received_at: float
    recipients: list[QueuedRecipient]
    header: NotRequired[str]


class QueueListResult(TypedDict):
    """The answer to ``queue.list`` and ``queue.show``, oldest first; ``more`` when the limit cut it."""

    messages: list[QueuedMessage]
    more: bool


class QueueChangeResult(TypedDict):
    """The answer to flush, hold, release and drop: how many recipients it changed."""

    changed: int


class QuarantineArguments(QueueArguments, total=False):
    """As QueueArguments, and: ``why`` virus, unscanned or policy; ``to`` another address.

    ``force`` against objections; ``again`` although that address has had a copy.

    ``quarantine.show`` and ``quarantine.release`` want ``ids``.
    """

    why: str
    to: str
    force: bool
    again: bool


class PartView(TypedDict):
    """One part of a mail: its declared type, its name as sent, its octets decoded, what its content is."""

    type: str
    name: str
    octets: int
    kind: str


class QuarantinedRecipient(QueuedRecipient):
    """One recipient's copy; ``why`` it is kept: virus, unscanned or policy."""

    why: str


class QuarantinedMessage(TypedDict):
    """One message in quarantine; ``header`` and ``parts`` only from ``quarantine.show``."""

    id: str
    shard: str
    origin: str
    reverse_path: str
    message_id: str
    client: str
    octets: int
    received_at: float
    recipients: list[QuarantinedRecipient]
    header: NotRequired[str]
    parts: NotRequired[list[PartView]]


class QuarantineListResult(TypedDict):
    """The answer to ``quarantine.list`` and ``quarantine.show``, oldest first; ``more`` when the limit cut it."""

    messages: list[QuarantinedMessage]
    more: bool


class Released(TypedDict):
    """One message: whom it goes to now, nobody when ``objection`` kept it; ``outcome`` of the scan, "" for none.

    ``remedy`` is the argument that lets it go all the same, "force" or "again", and "" where there is none.
    """

    id: str
    recipients: list[str]
    outcome: str
    objection: str
    remedy: str


class ReleaseResult(TypedDict):
    """The answer to ``quarantine.release``."""

    released: list[Released]
