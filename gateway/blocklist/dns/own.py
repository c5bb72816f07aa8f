"""Our own good name: our sending addresses and domains, looked up on other people's lists on a schedule.

The first worker asks; a listing that begins or ends is told once, and told again after a restart, because
whoever reports it (contract.md §3) may have restarted too. An answer that is no answer changes nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.blocklist.dns.client import AllUsable, ask
from gateway.blocklist.dns.query import IpAddress, Subject, of_address, of_name
from gateway.blocklist.dns.reading import Outcome, Reading
from gateway.blocklist.dns.zone import CompiledList, DnsList
from gateway.blocklist.listing import Identity, Listing
from gateway.dns.resolver import Resolver

# Nobody waits for these; a zone may take its time.
BUDGET_SECONDS = 30.0
# A host with ten thousand domains must not ask ten thousand questions at once.
SUBJECTS_AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNames:
    """What to look up and where: ``addresses`` on ``address_zones``, ``domains`` on ``domain_zones``."""

    addresses: Sequence[IpAddress] = ()
    domains: Sequence[str] = ()
    address_zones: Sequence[str] = ()
    domain_zones: Sequence[str] = ()
    every_seconds: float = 6 * 3600.0


class OwnWatch:
    """Tells of listings that begin (``listed``) and end (``cleared``)."""

    def __init__(
        self,
        names: Callable[[], OwnNames],
        resolver: Resolver,
        *,
        listed: Callable[[Listing], None],
        cleared: Callable[[Listing], None],
    ) -> None:
        self._names, self._resolver, self._listed, self._cleared = names, resolver, listed, cleared
        self._known: dict[tuple[str, str], Listing] = {}

    async def run(self) -> None:
        """Look up until cancelled."""
        while True:
            await self.round()
            await asyncio.sleep(self._names().every_seconds)

    async def round(self) -> None:
        """Look everything up once."""
        for reading in await look_up(self._names(), self._resolver):
            key = reading.zone, reading.subject.shown
            if reading.listing is not None and key not in self._known:
                self._known[key] = reading.listing
                self._listed(reading.listing)
            elif reading.outcome is Outcome.NOT_LISTED and key in self._known:
                self._cleared(self._known.pop(key))


async def look_up(names: OwnNames, resolver: Resolver) -> tuple[Reading, ...]:
    """Return every zone's reading of every name and address of ours."""
    addresses = [of_address(address) for address in names.addresses]
    domains = [of_name(domain, Identity.REVERSE_PATH) for domain in names.domains]
    return (
        *await _ask(resolver, addresses, names.address_zones),
        *await _ask(resolver, domains, names.domain_zones),
    )


async def _ask(resolver: Resolver, subjects: Sequence[Subject], zones: Sequence[str]) -> tuple[Reading, ...]:
    lists = [CompiledList(DnsList(zone=zone, score=1.0)) for zone in zones]
    readings: list[Reading] = []
    for start in range(0, len(subjects), SUBJECTS_AT_ONCE):
        some = subjects[start : start + SUBJECTS_AT_ONCE]
        readings += await ask(resolver, some, lists, budget_seconds=BUDGET_SECONDS, usable=AllUsable())
    return tuple(readings)
