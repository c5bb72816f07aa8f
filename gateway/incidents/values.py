"""What the incident record talks about: sources, sightings, incidents, evidence, clocks, as values.

Times are UTC seconds. Texts come from mail: whatever a client said stands here as ``printable`` made it, so that it can
be stored, searched and printed.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

# contract.md §4, in its order; gateway.policy.Ground has the same words.
GROUNDS = ("advertising", "no-opt-out", "hidden-sender", "false-source", "harmful")


class SourceKind(StrEnum):
    """What sent the mail.

    ``network`` is the client's address block; ``hop`` the first untrusted hop when a listed forwarder was the client;
    ``client`` a relay client of ours, ``account`` a mailbox of ours.
    """

    NETWORK = "network"
    HOP = "hop"
    CLIENT = "client"
    ACCOUNT = "account"

    @property
    def is_ours(self) -> bool:
        """Whether such a source is one of our own users."""
        return self in {SourceKind.CLIENT, SourceKind.ACCOUNT}


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends: ``key`` is ``192.0.2.7/32``, ``2001:db8:1:2::/64`` or a mailbox in its comparison form."""

    kind: SourceKind
    key: str

    def __hash__(self) -> int:
        # Ten times a sighting; the kind seldom tells two apart, and its hash costs more than all the rest.
        return hash(self.key)

    @classmethod
    def at(cls, address: str, kind: SourceKind = SourceKind.NETWORK) -> "Source":
        """Return the source at an IP address; ValueError for what is none. IPv4-mapped counts as IPv4.

        An IPv6 client holds a /64 at least (RFC 6177 §2) and chooses freely within it.
        """
        return cls(kind, _key_at(address))

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


# Clients of a busy minute, a dozen µs each.
@lru_cache(maxsize=4096)
def _key_at(address: str) -> str:
    ip = ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    ip = mapped or ip
    if isinstance(ip, IPv4Address):
        return f"{ip}/32"
    return f"{IPv6Address(int(ip) >> 64 << 64)}/64"


class State(StrEnum):
    """Where an incident stands; ``gateway.incidents.states`` has what may follow what."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    REPORTED = "reported"
    BLOCKED = "blocked"
    QUIET = "quiet"
    LIFTED = "lifted"
    CLOSED = "closed"


class Resolution(StrEnum):
    """Why an incident was closed."""

    STOPPED = "stopped"
    FALSE_POSITIVE = "false-positive"
    UNCONFIRMED = "unconfirmed"
    DUPLICATE = "duplicate"
    HANDLED = "handled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One spam or virus verdict: what was seen of a source.

    ``client`` is the connection's address; ``findings`` are texts ``filter result: reason``; ``action`` what was done
    (reject, quarantine, tag …); ``virus`` the signature's name, "" for none.
    """

    trace_id: str
    at: float
    source: Source
    client: str = ""
    helo: str = ""
    reverse_path: str = ""
    recipients: tuple[str, ...] = ()
    recipient_domain: str = ""
    message_id: str = ""
    subject: str = ""
    grounds: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    action: str = ""
    octets: int = 0
    virus: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSighting:
    """A sighting on record: its number and the incident it was folded into."""

    id: int
    incident: int
    sighting: Sighting


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One source's case.

    ``counts`` are sightings per ground, in the order of ``GROUNDS``. ``blocking``: a block stands; ``suspending``: a
    sender of ours is suspended for it. ``resumed``: how often it sent again after it was quiet or lifted. ``previous``
    is the closed incident of the same source before this one. A time that has not come is None.
    """

    id: int
    source: Source
    state: State
    state_since: float
    resolution: str
    opened_at: float
    first_seen: float
    last_seen: float
    sightings: int
    viruses: int
    octets: int
    counts: tuple[int, int, int, int, int]
    asn: int | None
    network: str
    blocking: bool
    suspending: bool
    resumed: int
    previous: int | None
    confirmed_at: float | None
    reported_at: float | None
    blocked_at: float | None
    lifted_at: float | None
    closed_at: float | None

    @property
    def is_held(self) -> bool:
        """Whether something stands that has to be ended before the case is."""
        return self.blocking or self.suspending

    @property
    def grounds(self) -> tuple[str, ...]:
        """The grounds seen."""
        return tuple(ground for ground, count in zip(GROUNDS, self.counts, strict=True) if count)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldOutcome:
    """What folding a batch did: incidents by number, in the order of the sightings."""

    sightings: int
    incidents: tuple[int, ...]
    opened: tuple[int, ...]
    resumed: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What somebody wrote about an incident."""

    id: int
    incident: int
    at: float
    by: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A clock that runs for an incident or a ticket: what is due by when."""

    id: int
    kind: str
    subject: str
    incident: int | None
    ticket: int | None
    started_at: float
    due_at: float
    met_at: float | None


def printable(text: str) -> str:
    """Return text that every store and screen takes: lone surrogates, NUL and other controls as backslash escapes."""
    if text.isprintable():
        return text
    clean = text.encode("utf-8", "backslashreplace").decode()
    if clean.isprintable():
        return clean
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in clean)
