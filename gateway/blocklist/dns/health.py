"""Which zones can be believed: every list's own test entries, asked for every half hour (RFC 5782 §5).

A list of addresses has 127.0.0.2 and has not 127.0.0.1; a list of names has TEST and has not INVALID. What else an
answer to these means:

- *blind*: the entry that must be there is not. The zone is empty, and everybody would pass for unlisted.
- *wildcard*: the entry that must not be there is. The zone lists everything; so do those whose owners have died or
  have lost patience.
- *refused*: it answers that it does not answer us.
- *unreachable*: no answer, or SERVFAIL.

A zone in any of these states is not asked until a probe succeeds; those are probed every five minutes, so that a list
that recovers is back soon. Every change of state is one event: blind is an alarm.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from gateway.blocklist.dns.query import Subject, of_text, reversed_label
from gateway.blocklist.dns.reading import Outcome, Reading, read
from gateway.blocklist.dns.zone import NO_PROBE, CompiledList, DnsList
from gateway.dns.resolver import Resolver

PROBE_SECONDS = 1800.0
# A list is out for five minutes more than it had to be, at most.
RECHECK_SECONDS = 300.0


class Kind(StrEnum):
    """What a zone lists, and so which entries it must have."""

    ADDRESSES = "addresses"
    NAMES = "names"


class State(StrEnum):
    """See the module."""

    HEALTHY = "healthy"
    BLIND = "blind"
    WILDCARD = "wildcard"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedZone:
    """One zone that some policy asks; ``errors`` and ``probe`` as written there."""

    zone: str
    kind: Kind = Kind.ADDRESSES
    errors: tuple[str, ...] = ()
    probe: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneHealth:
    """What the last probe found; ``since`` when the zone came into this state (UTC seconds)."""

    zone: str
    kind: Kind
    state: State
    reason: str = ""
    since: float = 0.0


def watched(dns_list: DnsList, kind: Kind) -> WatchedZone:
    """Return what is to be probed of a list."""
    return WatchedZone(zone=dns_list.zone, kind=kind, errors=dns_list.errors, probe=dns_list.probe)


async def probe(resolver: Resolver, zone: WatchedZone) -> tuple[State, str]:
    """Return a zone's state and why, asking for both test entries at once."""
    listed, unlisted = _test_labels(zone)
    asked = CompiledList(DnsList(zone=zone.zone, score=1.0, errors=zone.errors))
    present, absent = await asyncio.gather(
        _reading(resolver, listed, asked) if listed else _nothing(), _reading(resolver, unlisted, asked)
    )
    readings = [reading for reading in (present, absent) if reading is not None]
    for outcome, state in ((Outcome.ERROR, State.REFUSED), (Outcome.TEMPERROR, State.UNREACHABLE)):
        for reading in readings:
            if reading.outcome is outcome:
                return state, reading.reason
    if absent is not None and absent.outcome is Outcome.LISTED:
        return State.WILDCARD, f"lists {unlisted}, which no list has (RFC 5782 section 5)"
    if present is not None and present.outcome is Outcome.NOT_LISTED:
        return State.BLIND, f"does not list its test entry {listed}"
    return State.HEALTHY, ""


def _test_labels(zone: WatchedZone) -> tuple[str, str]:
    if zone.kind is Kind.ADDRESSES:
        listed, unlisted = (reversed_label(IPv4Address(text)) for text in ("127.0.0.2", "127.0.0.1"))
    else:
        listed, unlisted = "test", "invalid"
    if zone.probe == NO_PROBE:
        return "", unlisted
    return (of_text(zone.probe).label if zone.probe else listed), unlisted


async def _reading(resolver: Resolver, label: str, asked: CompiledList) -> Reading:
    subject = Subject(shown=label, label=label)
    return read(await resolver.query(subject.at(asked.zone), "A"), subject, asked)


async def _nothing() -> None:
    return None


class Health:
    """What is known of each zone; one a process, asked by the filters, told by ``HealthWatch``."""

    def __init__(self) -> None:
        self._zones: dict[str, ZoneHealth] = {}

    def complaint(self, zone: str) -> str:
        """Return why a zone is not asked, "" when it is; zones never probed are asked."""
        known = self._zones.get(zone)
        return "" if known is None or known.state is State.HEALTHY else f"not asked, {known.state}: {known.reason}"

    def of(self, zone: str) -> ZoneHealth | None:
        """Return what is known of a zone."""
        return self._zones.get(zone)

    @property
    def zones(self) -> Collection[ZoneHealth]:
        """Everything known."""
        return self._zones.values()

    def note(self, found: ZoneHealth) -> bool:
        """Take a probe's result; tell whether the state is another than before (healthy, when nothing was known)."""
        before = self._zones.get(found.zone)
        if before is not None and before.state is found.state:
            return False
        self._zones[found.zone] = found
        return before is not None or found.state is not State.HEALTHY

    def forget_all_but(self, zones: Collection[str]) -> None:
        """Drop zones that no policy names any more."""
        for zone in set(self._zones) - set(zones):
            del self._zones[zone]


class HealthWatch:
    """Probes zones for the life of a process."""

    def __init__(
        self,
        health: Health,
        *,
        zones: Callable[[], Collection[WatchedZone]],
        resolver: Resolver,
        utc: Callable[[], float],
        changed: Callable[[ZoneHealth], None],
    ) -> None:
        """Take the parts; ``resolver`` should keep no cache of its own, since a probe is about now."""
        self._health, self._zones, self._resolver, self._utc, self._changed = health, zones, resolver, utc, changed
        self._rounds = 0

    async def run(self) -> None:
        """Probe until cancelled: all zones every half hour, those in trouble every five minutes."""
        while True:
            await self.round()
            await asyncio.sleep(RECHECK_SECONDS)

    async def round(self) -> None:
        """Probe what is due."""
        zones = {zone.zone: zone for zone in self._zones()}
        self._health.forget_all_but(zones)
        everything = self._rounds % round(PROBE_SECONDS / RECHECK_SECONDS) == 0
        self._rounds += 1
        due = [zone for zone in zones.values() if everything or not self._is_fine(zone.zone)]
        for zone, (state, reason) in zip(
            due, await asyncio.gather(*(probe(self._resolver, zone) for zone in due)), strict=True
        ):
            found = ZoneHealth(zone=zone.zone, kind=zone.kind, state=state, reason=reason, since=self._utc())
            if self._health.note(found):
                self._changed(found)

    def _is_fine(self, zone: str) -> bool:
        known = self._health.of(zone)
        return known is not None and known.state is State.HEALTHY
