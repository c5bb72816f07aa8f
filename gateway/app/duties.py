"""What the supervisor does beside keeping workers: lists, backups, reports, incidents, complaints, the service watched.

Each is begun once and survives its own bugs. All end before the workers do, but for the keeper of incidents: what
workers judge last is on record before the end.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.app.abuse_desk import AbuseDesk
from gateway.app.backups import Backups
from gateway.app.children import Children
from gateway.app.dmarc_reports import DmarcReportSchedule
from gateway.app.incidents import IncidentDesk
from gateway.app.list_keeping import ListKeeping
from gateway.app.probe_mailbox import ProbeMailbox
from gateway.app.probes import Addresses
from gateway.app.service import ServiceWatch
from gateway.app.workers import Workers
from gateway.clock import Clock
from gateway.config.snapshot import Snapshot
from gateway.journal.events import EventSink


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every duty is given: the snapshot in force, where it came from, clock, events."""

    snapshot: Callable[[], Snapshot]
    configuration: Path | None
    clock: Clock
    events: EventSink


class Duties:
    """``start`` with the first workers, ``stop`` before they drain, ``end`` behind them.

    ``hand`` gives a mail of our own to a worker; ``workers`` are those there are.
    """

    def __init__(
        self,
        around: Surroundings,
        children: Children,
        *,
        workers: Callable[[], Workers],
        hand: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]],
    ) -> None:
        snapshot, clock, events = around.snapshot, around.clock, around.events
        data = snapshot().config.data
        self.lists = ListKeeping(
            lambda: snapshot().config.blocklists, data, clock=clock, events=events, children=children
        )
        self._backups = Backups(snapshot, around.configuration, clock=clock, events=events)
        self._dmarc_reports = DmarcReportSchedule(
            snapshot, around.configuration, serving=lambda: workers().any_ready, clock=clock, events=events
        )
        self._abuse_desk = AbuseDesk(snapshot, clock=clock, events=events, hand=hand)
        self.incidents = IncidentDesk(snapshot, clock=clock, events=events, listed=self._abuse_desk.tell)
        self.probe_mailbox = ProbeMailbox.new(data, os.urandom)
        self._service = ServiceWatch(
            snapshot,
            serving=lambda: workers().any_ready,
            settled=lambda: workers().tried(),
            mailbox=self.probe_mailbox,
            clock=clock,
            events=events,
        )
        self._before_workers: list[asyncio.Task[None]] = []
        self._behind_workers: list[asyncio.Task[None]] = []

    def start(self, addresses: Addresses) -> None:
        """Begin all of them; ``addresses`` are the listeners' as bound."""
        loops = (
            self.lists.run(),
            self._backups.run(),
            self._dmarc_reports.run(),
            self._service.run(addresses),
            self._abuse_desk.run(),
        )
        self._before_workers = [asyncio.create_task(loop) for loop in loops]
        self._behind_workers = [asyncio.create_task(self.incidents.run())]

    def stop(self) -> None:
        """Have end what need not wait for the workers."""
        for task in self._before_workers:
            task.cancel()

    async def end(self) -> None:
        """Return when all have ended."""
        for task in self._behind_workers:
            task.cancel()
        await asyncio.gather(*self._before_workers, *self._behind_workers, return_exceptions=True)
