"""What the sessions of one listener share: settings, collaborators, limits, certificate, the record of what went wrong.

The mail path reads it; nothing here waits.
"""

import asyncio
import traceback
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from gateway.clock import Clock
from gateway.config.models import Listen
from gateway.intake.guard import DoorGuard
from gateway.intake.ports import Custody, Gate, GateSource, HasConfig, OnJudged, OnStored, RandomOctets
from gateway.intake.proxy_protocol import plain_address
from gateway.intake.settings import Settings, compile_settings
from gateway.intake.tls import Certificate
from gateway.journal.events import EventSink, InternalError, StorageFailed
from gateway.mail.trace_id import new_trace_id
from gateway.storage import StorageError, free_octets

# One worker's connections a second from which on whoever is refused anyway is told in passing: some 4 % of a core.
PRESSING_A_SECOND = 100


class Ticking(Protocol):
    """A session, as the listener's sweep sees it."""

    def tick(self, now: float) -> None:
        """Look at the clock: end what has waited too long."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborators:
    """The rooms and the world that sessions use."""

    gate: GateSource
    custody: Custody
    clock: Clock
    events: EventSink
    on_stored: OnStored
    on_judged: OnJudged
    guard: DoorGuard
    random_octets: RandomOctets


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end of the socket, by the listener's lists."""

    address: IPv4Address | IPv6Address
    text: str
    trusted: bool
    proxy: bool
    xclient: bool


class Arrivals:
    """Connections of the second before, or of the present one where there are more already."""

    __slots__ = ("_before", "_now", "_second")

    def __init__(self) -> None:
        self._second = self._now = self._before = 0

    def count(self, now: float) -> int:
        """Count one more."""
        second = int(now)
        if second != self._second:
            self._before = self._now if second == self._second + 1 else 0
            self._second, self._now = second, 0
        self._now += 1
        return max(self._before, self._now)


class Listener:
    """One ``[[listen]]`` table at work."""

    def __init__(self, config: Listen, with_: Collaborators) -> None:
        self.config = config
        self.gate = with_.gate
        self.custody = with_.custody
        self.clock = with_.clock
        self.events = with_.events
        self.on_stored = with_.on_stored
        self.on_judged = with_.on_judged
        self.guard = with_.guard
        self.sessions: set[Ticking] = set()
        # Sessions whose refusal is being held back (smtp.tarpit).
        self.tarpitted = 0
        self._arrivals = Arrivals()
        self.draining = False
        # Set when a session ends and none is left; whoever drains clears it and waits.
        self.empty = asyncio.Event()
        self.certificate = Certificate(config.tls) if config.tls else None
        self._random_octets = with_.random_octets
        self._snapshot: HasConfig | None = None
        self._settings: Settings | None = None
        self._disk_checked = float("-inf")
        self._disk_free = 0
        # 4,096 peers, the busiest of a day; looking one up costs four comparisons of networks.
        self.peer = lru_cache(maxsize=4096)(self._peer)

    def is_pressed(self) -> bool:
        """Count one connection; tell whether they come faster than honest clients do."""
        return self._arrivals.count(self.clock.monotonic()) > PRESSING_A_SECOND

    def forget(self, session: Ticking) -> None:
        """Strike a session that is over and whose connection is gone."""
        self.sessions.discard(session)
        if not self.sessions:
            self.empty.set()

    def settings(self, gate: Gate) -> Settings:
        """Return the settings of the gate's snapshot, compiled once a snapshot."""
        snapshot = gate.snapshot
        if self._settings is None or snapshot is not self._snapshot:
            self._settings = compile_settings(snapshot.config, self.config)
            self._snapshot = snapshot
        return self._settings

    def new_id(self, utc: float) -> str:
        """Return a fresh trace id."""
        return new_trace_id(utc, self._random_octets)

    def _peer(self, host: str) -> Peer:
        # A link-local address comes with its zone, which means nothing to anybody else (RFC 4007 §11).
        address = plain_address(ip_address(host.partition("%")[0]))
        return self.peer_of(address)

    def peer_of(self, address: IPv4Address | IPv6Address) -> Peer:
        """Return what the listener's lists say of an address."""
        lists = (self.config.networks, self.config.proxy_protocol_from, self.config.xclient_from)
        trusted, proxy, xclient = (
            any(n.version == address.version and address in n for n in networks) for networks in lists
        )
        return Peer(address=address, text=str(address), trusted=trusted, proxy=proxy, xclient=xclient)

    def reserve(self, octets: int) -> bool:
        """Take octets of the memory budget, or give them back; False when they do not fit."""
        most = self._settings.config.memory_budget if self._settings else 0
        return self.guard.reserve(octets, most)

    def has_room(self, settings: Settings, octets: int) -> bool:
        """Tell whether ``octets`` can be written and leave the floor free; the disk is asked at most once a second."""
        floor = settings.limits.free_disk_floor
        if not floor:
            return True
        now = self.clock.monotonic()
        if now - self._disk_checked >= 1:
            self._disk_checked = now
            self._disk_free = self._ask_disk(settings)
        return self._disk_free - octets >= floor

    def _ask_disk(self, settings: Settings) -> int:
        try:
            return free_octets(settings.config.data)
        except StorageError as error:
            # A disk that cannot say what is free takes no mail either.
            self.storage_failed("free-disk", error)
            return 0

    def storage_failed(self, operation: str, error: Exception, trace_id: str = "") -> None:
        """Record that stored data failed us."""
        event = StorageFailed(
            at=self.clock.stamp().utc, trace_id=trace_id, store="spool", operation=operation, error=str(error)
        )
        self.events.emit(event)

    def internal_error(self, where: str, error: Exception, trace_id: str = "") -> None:
        """Record a bug."""
        self.events.emit(
            InternalError(
                at=self.clock.stamp().utc,
                trace_id=trace_id,
                where=where,
                error=f"{type(error).__name__}: {error}",
                traceback="".join(traceback.format_exception(error)),
            ),
        )
