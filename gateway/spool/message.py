"""What the spool keeps of one message: one row per message, one state per recipient."""

from enum import StrEnum

from gateway.clock import Stamp
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.rendition import AS_RECEIVED, Rendition
from gateway.value import value


class RecipientState(StrEnum):
    """Where one recipient's copy stands; ``gateway.spool.states`` has the legal transitions."""

    QUEUED = "queued"
    HELD = "held"
    QUARANTINED = "quarantined"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"
    DISCARDED = "discarded"
    DROPPED = "dropped"


class Origin(StrEnum):
    """How the message came: by SMTP, or made here as a delivery status notification or another notice."""

    SMTP = "smtp"
    NOTICE = "notice"


@value(kw_only=True)
class Attempt:
    """One try at one next hop (contract.md §2: the evidence of a remote's own delay).

    ``phase`` is where it ended (connect, greeting, ehlo, starttls, mail, rcpt, data, content, end-of-data, lookup,
    local); ``reply`` the next hop's words or our reason, printable; ``seconds`` its duration; ``status`` sent, deferred
    or bounced. ``own_fault`` marks a cause on our side. ``due`` is, of one that was deferred, the UTC second of the
    next as it was scheduled then, 0 where that is not known: what the gateway was late beyond it is nobody else's.
    """

    at: float
    next_hop: str
    relay: str
    phase: str
    reply: str
    status: str
    seconds: float
    own_fault: bool = False
    due: float = 0.0


@value(kw_only=True)
class MessageStamps:
    """The contract's instants of one message; ``durable`` is set by the spool when the commit returned.

    ``filter_seconds`` are the shares of each filter, ``antivirus_seconds`` the scanner's, shown apart (contract.md §2).
    """

    connected: Stamp
    enveloped: Stamp
    received: Stamp
    filtered: Stamp
    durable: Stamp | None = None
    filter_seconds: tuple[tuple[str, float], ...] = ()
    antivirus_seconds: float = 0.0


@value(kw_only=True)
class SpoolRecipient:
    """One recipient's copy.

    ``number`` is its place in the message; ``route`` the key under which the queue groups it (the policy's next-hop
    URLs joined by a space, or ``mx:domain``); ``rendition`` an index into the message's renditions; ``due`` UTC
    seconds; ``action`` and ``reason`` the disposition's. ``held_seconds`` is time already spent in quarantine or on
    hold, ``held_since`` the UTC second the present holding began (0: not held). ``greylisted_seconds`` is how long the
    recipient had been put off by greylisting before the mail was taken (contract.md §2 has it shown apart).
    """

    number: int
    recipient: Recipient
    route: str
    customer: str
    state: RecipientState = RecipientState.QUEUED
    rendition: int = 0
    action: str = "accept"
    score: float = 0.0
    reason: str = ""
    due: float = 0.0
    attempts: tuple[Attempt, ...] = ()
    delay_noticed: bool = False
    held_since: float = 0.0
    held_seconds: float = 0.0
    greylisted_seconds: float = 0.0


@value(kw_only=True)
class SpoolMessage:
    """One message in custody.

    ``content`` is None when a listing left it in the store. ``hostile`` forbids delivery status notifications
    (invariant 4). ``client`` is the client's address as text; ``shard`` names the store that has it, "" before it is
    stored.
    """

    trace_id: str
    origin: Origin
    envelope: Envelope
    recipients: tuple[SpoolRecipient, ...]
    stamps: MessageStamps
    content: Content | None
    octets: int
    renditions: tuple[Rendition, ...] = (AS_RECEIVED,)
    client: str = ""
    helo: str = ""
    role: str = "mx"
    message_id: str = ""
    hostile: bool = False
    shard: str = ""


@value(kw_only=True)
class Settlement:
    """The outcome of an attempt or an operator's act for one recipient, written together with its ledger row.

    A terminal ``state`` ends custody of the copy; ``queued`` reschedules it at ``due``.
    """

    trace_id: str
    number: int
    state: RecipientState
    due: float = 0.0
    attempts: tuple[Attempt, ...] = ()
    delay_noticed: bool = False
    held_since: float = 0.0
    held_seconds: float = 0.0


@value(kw_only=True)
class RouteSummary:
    """How much is queued for one route and when the next of it is due (UTC seconds)."""

    route: str
    queued: int
    next_due: float


@value(kw_only=True)
class QueueCounts:
    """How much is in custody; ``oldest_queued_at`` is when the oldest queued message was received (UTC, 0: none)."""

    recipients: dict[RecipientState, int]
    messages: int
    oldest_queued_at: float


@value(kw_only=True)
class QueueQuery:
    """What ``queue list`` and the queue's operations select; empty fields select everything."""

    states: frozenset[RecipientState] = frozenset()
    trace_ids: frozenset[str] = frozenset()
    recipient: str = ""
    domain: str = ""
    route: str = ""
    older_than: float = 0.0
    limit: int = 1000
