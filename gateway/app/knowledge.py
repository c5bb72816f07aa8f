"""What a worker's filters may ask beside DNS, kept fresh: lists, suspended senders, scanners, the door's memories."""

import os
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.antivirus.desk import Antivirus, AntivirusSettings
from gateway.app.antivirus import antivirus_settings, history_folder
from gateway.app.contact import contact_text
from gateway.app.lists import DnsLists
from gateway.app.local_lists import is_allowed, keep_fresh
from gateway.app.resolving import Anew, CurrentResolver
from gateway.app.stores import Stores
from gateway.blocklist.dns.health import Health
from gateway.blocklist.local.lists import LocalLists
from gateway.blocklist.sample import Sampler
from gateway.clock import Clock
from gateway.config.models import GatewayConfig
from gateway.config.snapshot import Snapshot
from gateway.incidents.schema import FOLDER as INCIDENTS
from gateway.incidents.suspended import SuspendedSenders
from gateway.state.network import IpAddress

# Of the key that chooses what is looked up of too much: nobody guesses 256 bits.
_SAMPLING_OCTETS = 32


class Knowledge:
    """``services`` are what a gate's filters get; a room that has more for them adds it here."""

    def __init__(
        self, worker: int, stores: Stores, resolver: CurrentResolver, *, snapshot: Callable[[], Snapshot], clock: Clock
    ) -> None:
        data = snapshot().config.data
        self._worker, self._snapshot, self._clock, self._events = worker, snapshot, clock, stores.events
        self.dns_lists = DnsLists(snapshot, worker=worker, resolver=Anew(resolver), clock=clock, events=stores.events)
        self.local_lists = LocalLists(data)
        self.local_lists.refresh()
        self.suspended = SuspendedSenders(data / INCIDENTS, lambda: contact_text(snapshot().config.contact))
        self.suspended.refresh()
        self.antivirus = Antivirus(self._antivirus_settings(), clock=clock, events=stores.events)
        self.services: dict[type[Any], Any] = {
            **stores.memories.services,
            Health: self.dns_lists.health,
            LocalLists: self.local_lists,
            SuspendedSenders: self.suspended,
            Sampler: Sampler(os.urandom(_SAMPLING_OCTETS)),
            Antivirus: self.antivirus,
        }

    def loops(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what keeps it fresh, each until cancelled."""
        followed = (self.local_lists, self.suspended)
        return (
            self.dns_lists.run(),
            *(keep_fresh(each, clock=self._clock, events=self._events) for each in followed),
        )

    async def follow(self) -> None:
        """Go by the snapshot that is in force now."""
        await self.antivirus.use(self._antivirus_settings())

    def is_allowed(self, address: IpAddress) -> bool:
        """Whether an allow list has a client's address."""
        return is_allowed(self.local_lists, self._clock, address)

    def _antivirus_settings(self) -> AntivirusSettings:
        # One worker writes the history of signatures.
        config: GatewayConfig = self._snapshot().config
        return antivirus_settings(config, None if self._worker else history_folder(config))
