"""The door's limits: how many connections, how fast, how much mail, per client and in all.

``DoorGuard`` decides, ``Counters`` count: in ``gateway.state`` for all workers together, or in ``LocalCounters`` for
one process. A client is an IPv4 address or an IPv6 /64, the smallest unit that one holder controls. Over a limit a
named 4yz comes back, never a reset, since whoever is honest and too busy must be able to come again.
``limits.exempt`` lists networks that are counted in all, but not limited.

How often a client connects is measured by ``Rates`` where there are any: for the client and for the network it lies
in, a refusal costing as much as ``limits.failure_cost`` connections. A client whose past is good (``Standings``), or
that an operator's allow list names, is spared the wait for its banner.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Protocol

from gateway.clock import Clock
from gateway.config.models import Limits
from gateway.config.units import Rate
from gateway.smtp import replies
from gateway.smtp.reply import Reply
from gateway.state.names import standing_names
from gateway.state.network import neighbourhood_key
from gateway.state.rates import Allowance
from gateway.state.reputation import Standing

IpAddress = IPv4Address | IPv6Address
# Good mail of a few messages' weight and next to none that was bad: a client that is spared a wait.
_GOOD_MESSAGES = 3.0
_BAD_SHARE = 0.1


class Counters(Protocol):
    """Counts that all workers share; ``network`` is a text such as ``192.0.2.1`` or ``2001:db8:1:2::/64``."""

    def open_connection(self, network: str) -> tuple[int, int]:
        """Count one connection more; return how many there are in all and from ``network``, this one included."""
        ...

    def close_connection(self, network: str) -> None:
        """Count one connection less."""
        ...

    def count(self, kind: str, network: str, seconds: float) -> int:
        """Count one event; return how many of its kind the network had in the last ``seconds``, with this one."""
        ...

    def add_octets(self, octets: int) -> int:
        """Add to the octets in flight (less when negative) and return them."""
        ...


class Rates(Protocol):
    """How often, for all workers together; ``gateway.state.rates`` has them."""

    def allow(self, name: str, allowance: Allowance) -> bool:
        """Book one event, or return False."""
        ...

    def charge(self, name: str, allowance: Allowance, cost: float) -> None:
        """Book ``cost`` events' worth whatever is owed already."""
        ...


class Standings(Protocol):
    """What is known of clients; ``gateway.state.reputation`` has it."""

    def standing(self, name: str) -> Standing:
        """Return a name's past."""
        ...


def _nobody(_: IpAddress) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The memories of the door; without them rates are counted by ``Counters`` and nobody is known.

    ``allowed`` tells whether an operator's allow list has an address.
    """

    rates: Rates
    standings: Standings
    allowed: Callable[[IpAddress], bool] = _nobody


class LocalCounters:
    """Counts of one process; rates in fixed windows, so at worst a client has twice its rate across a window's edge."""

    # Networks whose windows are remembered; beyond it, windows that are over are dropped.
    MOST_WINDOWS = 100_000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._in_all = 0
        self._of_network: defaultdict[str, int] = defaultdict(int)
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}
        self._octets = 0

    def open_connection(self, network: str) -> tuple[int, int]:
        """Count one connection more; return how many there are in all and from ``network``."""
        self._in_all += 1
        self._of_network[network] += 1
        return self._in_all, self._of_network[network]

    def close_connection(self, network: str) -> None:
        """Count one connection less."""
        self._in_all -= 1
        left = self._of_network[network] - 1
        if left:
            self._of_network[network] = left
        else:
            del self._of_network[network]

    def count(self, kind: str, network: str, seconds: float) -> int:
        """Count one event and return how many its window has."""
        now = self._clock.monotonic()
        end, seen = self._windows.get((kind, network), (0.0, 0))
        if now >= end:
            end, seen = now + seconds, 0
            self._forget(now)
        self._windows[kind, network] = (end, seen + 1)
        return seen + 1

    def _forget(self, now: float) -> None:
        if len(self._windows) >= self.MOST_WINDOWS:
            self._windows = {key: window for key, window in self._windows.items() if window[0] > now}

    def add_octets(self, octets: int) -> int:
        """Add to the octets in flight and return them."""
        self._octets += octets
        return self._octets


@dataclass(frozen=True, slots=True)
class Admission:
    """One connection that was let in: its network and whether limits hold for it. Hand it back with ``leave``.

    ``around`` is the network that the client's network lies in, "" where rates are not kept for it.
    """

    network: str
    exempt: bool
    around: str = ""


class DoorGuard:
    """Decides by ``limits``; set ``limits`` again on reload."""

    def __init__(self, limits: Limits, counters: Counters, clock: Clock, past: Past | None = None) -> None:
        self._counters = counters
        self._clock = clock
        self._past = past
        self.limits = limits

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        # 4,096 clients, the busiest of a day; an entry is some 200 octets.
        self._admission = lru_cache(maxsize=4096)(self._admission_of)

    def _admission_of(self, address: IpAddress) -> Admission:
        exempt = any(address.version == network.version and address in network for network in self._limits.exempt)
        return Admission(client_network(address), exempt, neighbourhood_key(address))

    def enter(self, address: IpAddress) -> Admission | Reply:
        """Let one connection in, or return why not; nothing is held then."""
        held = self._admission(address)
        refusal = self._refusal(held, *self._counters.open_connection(held.network))
        if refusal is not None:
            self._counters.close_connection(held.network)
            return refusal
        return held

    def enter_proxy(self, address: IpAddress) -> Admission | Reply:
        """Let a trusted proxy's connection in: it counts in all, and its client's limits follow once it is known."""
        held = Admission(f"proxy {address}", exempt=True)
        in_all, _ = self._counters.open_connection(held.network)
        if 0 < self._limits.connections < in_all:
            self._counters.close_connection(held.network)
            return replies.TOO_MANY_CONNECTIONS
        return held

    def leave(self, held: Admission) -> None:
        """Give the place back."""
        self._counters.close_connection(held.network)

    def _refusal(self, held: Admission, in_all: int, of_network: int) -> Reply | None:
        limits = self._limits
        if held.exempt:
            return None
        if 0 < limits.connections < in_all:
            return replies.TOO_MANY_CONNECTIONS
        if 0 < limits.connections_per_client < of_network:
            return replies.TOO_MANY_CONNECTIONS_FROM_CLIENT
        if self._connects_too_often(held):
            return replies.CONNECTION_RATE_LIMITED
        return None

    def _connects_too_often(self, held: Admission) -> bool:
        if self._past is None:
            return self._over("connections", held, self._limits.connection_rate)
        return not all(self._past.rates.allow(name, allowance) for name, allowance in self._allowances(held))

    def _allowances(self, held: Admission) -> tuple[tuple[str, Allowance], ...]:
        client, around = self._limits.connection_rate, self._limits.network_connection_rate
        return (
            (f"client {held.network}", Allowance(count=client.count, seconds=client.seconds)),
            (f"network {held.around}", Allowance(count=around.count, seconds=around.seconds)),
        )

    def note_failure(self, held: Admission) -> None:
        """Count a refused command or recipient: whoever fails much is let in less often."""
        if self._past is None or held.exempt or not self._limits.failure_cost:
            return
        for name, allowance in self._allowances(held):
            self._past.rates.charge(name, allowance, self._limits.failure_cost)

    def is_known_good(self, address: IpAddress) -> bool:
        """Tell whether a client's past, or an operator's word, spares it the wait for its banner."""
        if self._past is None:
            return False
        if self._past.allowed(address):
            return True
        past = self._past.standings.standing(standing_names(address, "", "")[0])
        return past.good >= _GOOD_MESSAGES and past.bad_share <= _BAD_SHARE

    def count_message(self, held: Admission) -> Reply | None:
        """Count one mail transaction; return the refusal when the client has had too many."""
        return replies.RATE_LIMITED if self._over("messages", held, self._limits.messages_per_client) else None

    def count_recipient(self, held: Admission) -> Reply | None:
        """Count one recipient; return the refusal when the client has had too many."""
        return replies.RATE_LIMITED if self._over("recipients", held, self._limits.recipients_per_client) else None

    def _over(self, kind: str, held: Admission, rate: Rate) -> bool:
        if held.exempt or not rate.count:
            return False
        return self._counters.count(kind, held.network, rate.seconds) > rate.count

    def reserve(self, octets: int, most: int) -> bool:
        """Take ``octets`` of the budget ``most`` (0: no budget), give back when negative; False: they do not fit."""
        in_flight = self._counters.add_octets(octets)
        if octets > 0 and 0 < most < in_flight:
            self._counters.add_octets(-octets)
            return False
        return True


def client_network(address: IpAddress) -> str:
    """Return the unit that limits count by: an IPv4 address, an IPv6 /64."""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))
