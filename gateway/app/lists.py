"""The DNS lists of the snapshot in force, probed and asked about ourselves, for the life of a worker."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from gateway.blocklist.dns.configured import configured_lists, watched_zones
from gateway.blocklist.dns.health import Health, HealthWatch, WatchedZone, ZoneHealth
from gateway.blocklist.dns.own import OwnNames, OwnWatch
from gateway.blocklist.listing import Listing
from gateway.clock import Clock
from gateway.config.snapshot import Snapshot
from gateway.dns.resolver import Resolver
from gateway.journal.events import EventSink, InternalError
from gateway.journal.guard_events import DnsListChanged, OwnListingChanged

# After a bug in one of the loops; the bug is told each time.
_AFTER_A_BUG_SECONDS = 300.0


class DnsLists:
    """Every worker probes for itself, since it asks for itself; the first one tells, and looks our own names up."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        *,
        worker: int,
        resolver: Resolver,
        clock: Clock,
        events: EventSink,
    ) -> None:
        """Take the parts; ``resolver`` keeps no cache, since a probe is about now."""
        self.health = Health()
        self._snapshot, self._clock, self._events, self._first = snapshot, clock, events, worker == 0
        self._zones: tuple[str, Collection[WatchedZone]] = ("", ())
        self._watch = HealthWatch(
            self.health,
            zones=self._watched,
            resolver=resolver,
            utc=lambda: clock.stamp().utc,
            changed=self._list_changed,
        )
        self._own = OwnWatch(self._own_names, resolver, listed=self._listed, cleared=self._cleared)

    async def run(self) -> None:
        """Probe and look up until cancelled."""
        loops = [self._surviving("dns list probes", self._watch.run)]
        if self._first:
            loops.append(self._surviving("own listings", self._own.run))
        await asyncio.gather(*loops)

    async def _surviving(self, where: str, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await loop()
            except Exception as error:  # noqa: BLE001 - a bug in a probe must not end the probes
                self._events.emit(InternalError.of(error, where, self._now()))
            await asyncio.sleep(_AFTER_A_BUG_SECONDS)

    def _watched(self) -> Collection[WatchedZone]:
        snapshot = self._snapshot()
        if self._zones[0] != snapshot.digest:
            self._zones = snapshot.digest, watched_zones(configured_lists(snapshot.policies))
        return self._zones[1]

    def _own_names(self) -> OwnNames:
        snapshot = self._snapshot()
        settings = snapshot.config.own_listings
        return OwnNames(
            addresses=settings.addresses,
            domains=snapshot.policies.domains,
            address_zones=settings.zones,
            domain_zones=settings.domain_zones,
            every_seconds=settings.every,
        )

    def _list_changed(self, found: ZoneHealth) -> None:
        if self._first:
            self._events.emit(
                DnsListChanged(at=found.since, zone=found.zone, state=found.state.value, reason=found.reason)
            )

    def _listed(self, listing: Listing) -> None:
        self._tell(listing, "listed")

    def _cleared(self, listing: Listing) -> None:
        self._tell(listing, "cleared")

    def _tell(self, listing: Listing, state: str) -> None:
        self._events.emit(
            OwnListingChanged(
                at=self._now(),
                identity=listing.identity,
                zone=listing.list,
                state=state,
                code=listing.value,
                reason=listing.reason,
            )
        )

    def _now(self) -> float:
        return self._clock.stamp().utc
