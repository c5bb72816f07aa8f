"""``DeliveryRunner``: everything in custody finds its next hop, and every outcome is written (invariants 1 and 11).

Flow: ``accept`` (fresh, from memory) and the ``Backlog`` (from the spool, by windows) give messages to ``_take``, which
groups recipients by route and rendition into jobs for a ``Lane``; the lane reports; ``decide`` says what follows;
``Settler`` writes it. Nothing waits for a settlement: the next transfer begins before the last is recorded, and copies
whose record is not yet durable stay in hand, so that they are never sent again meanwhile, however long the disk is
full.

Fresh mail is kept in memory within bounds; beyond them it waits in the spool alone. A dead or slow next hop holds its
own lane's share and nothing else.

``drain`` takes nothing new, lets running transfers and settlements end, and leaves the rest in the spool.
"""

import asyncio
import math
import traceback
from collections.abc import Callable, Collection, Iterable

from gateway.clock import Clock
from gateway.config.snapshot import Snapshot
from gateway.delivery.backlog import Backlog
from gateway.delivery.callout import CalloutVerifier
from gateway.delivery.client import ClientSettings
from gateway.delivery.connector import Connector
from gateway.delivery.pool import Lane, LaneSettings
from gateway.delivery.report import Job, Report
from gateway.delivery.retry import Patience
from gateway.delivery.route import Randomness, Route, Router, policy_of, route_of
from gateway.delivery.settle import Decision, decide
from gateway.delivery.settler import Settler, Spool
from gateway.delivery.tls import TlsContexts
from gateway.dns.resolver import Resolver
from gateway.journal.events import EventSink, InternalError, StorageFailed
from gateway.mail.content import Content
from gateway.mail.rendition import Rendition
from gateway.spool.message import RecipientState, SpoolMessage, SpoolRecipient
from gateway.storage import StorageError

# Contents of fresh mail in memory, all lanes: an eighth of the default memory_budget, seconds of mail at full speed.
MAX_FRESH_OCTETS = 64 * 1024**2

# One lane's share: a slow next hop leaves three quarters to the others.
MAX_LANE_OCTETS = MAX_FRESH_OCTETS // 4

# Jobs are small but not free: 2,000 of about 3 KiB beside their content.
MAX_LANE_JOBS = 2000

# How often lanes that were kept for what they know are looked at.
TIDY_SECONDS = 60.0

# RFC 5321 §4.5.3.1.8 again: a job is no larger than any next hop takes in one transaction.
_JOB_RECIPIENTS = 100


class DeliveryRunner:
    """Delivers what ``custody`` holds; one a worker. ``verifier`` asks next hops about recipients."""

    def __init__(
        self,
        *,
        custody: Spool,
        snapshot: Callable[[], Snapshot],
        resolver: Resolver,
        clock: Clock,
        events: EventSink,
        random: Randomness,
    ) -> None:
        self.clock = clock
        self.router = Router(resolver, random, lambda: snapshot().config.hostname)
        self.connector = Connector(self.router, clock, TlsContexts())
        self.verifier = CalloutVerifier(self.router, self.connector, clock, snapshot)
        self._custody = custody
        self._snapshot = snapshot
        self._events = events
        self._random = random
        self._lanes: dict[str, Lane] = {}
        self._backlog = Backlog(custody, clock, events, self._take_from_spool, self._is_dead)
        self._settler = Settler(custody, snapshot, clock, events, random)
        self._settler.written = self._written
        self._fresh_octets = 0
        self._draining = False
        self._settings: tuple[Snapshot, LaneSettings] | None = None
        self._changed = asyncio.Event()
        self._tidying: asyncio.TimerHandle | None = None

    # For the app ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin with what the spool holds."""
        await self._backlog.start()

    def accept(self, message: SpoolMessage) -> None:
        """Take a message that was just stored, with its content; deliver it at once or when there is room."""
        if self._draining:
            return
        content = message.content
        octets = content.size if content is not None and content.octets is not None else 0
        now = self.clock.stamp().utc
        for route, recipients in self._grouped(message, now):
            lane = self._lane(route)
            if (
                self._fresh_octets + octets > MAX_FRESH_OCTETS
                or lane.held_octets + octets > MAX_LANE_OCTETS
                or lane.waiting >= MAX_LANE_JOBS
            ):
                for recipient in recipients:
                    self._backlog.note(recipient.route, now)
                continue
            self._hold(message, recipients)
            self._fresh_octets += octets
            lane.push_fresh(Job(message=message, recipients=recipients, octets=octets))
            # One content is counted once, with its first job.
            octets = 0
        self._note_later(message, now)

    def wake(self) -> None:
        """Look for changes an operator made in the spool (release, flush)."""
        self._backlog.wake()

    def flush(self) -> None:
        """Look for what an operator made due, and try next hops again that are being left alone."""
        for lane in self._lanes.values():
            lane.revive()
        self.wake()

    def recall(self, trace_ids: Collection[str]) -> None:
        """Give what waits of these messages back to the spool: an operator has changed them there.

        Transfers under way go on. Copies that are still to be sent are loaded again.
        """
        now = self.clock.stamp().utc
        self._backlog.distrust(trace_ids)
        for lane in list(self._lanes.values()):
            for job in lane.withdraw(trace_ids):
                self._fresh_octets -= job.octets
                for recipient in job.recipients:
                    self._backlog.note(recipient.route, now)
                    self._backlog.let_go(recipient.route, (job.message.trace_id, recipient.number))

    async def drain(self, seconds: float) -> None:
        """Begin nothing new; return when all that runs has ended and is written, after ``seconds`` at the latest."""
        self._draining = True
        for lane in list(self._lanes.values()):
            lane.stop()
        if self._tidying is not None:
            self._tidying.cancel()
        await self._backlog.stop()
        await self.verifier.close()
        try:
            async with asyncio.timeout(seconds):
                await self._all_ended()
        except TimeoutError:
            # What still runs is cut with the process; its copies are in the spool.
            pass
        for lane in self._lanes.values():
            lane.abandon()
        await self._settler.close()

    @property
    def in_hand(self) -> int:
        """Copies in memory, under way, or not yet written."""
        return self._backlog.outstanding

    async def _all_ended(self) -> None:
        while any(lane.busy for lane in self._lanes.values()) or self._settler.open:
            self._changed.clear()
            await self._changed.wait()

    # For the lanes ----------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> LaneSettings:
        """The lanes' part of the snapshot."""
        snapshot = self._snapshot()
        if self._settings is None or self._settings[0] is not snapshot:
            self._settings = (snapshot, _lane_settings(snapshot))
        return self._settings[1]

    async def content(self, message: SpoolMessage) -> Content | None:
        """Return a queued message's content, None when it cannot be read now or is gone."""
        try:
            return await self._custody.content(message)
        except StorageError as error:
            now = self.clock.stamp().utc
            self._events.emit(StorageFailed(at=now, store="spool", operation="content", error=str(error)))
        except KeyError:
            # Dropped by an operator since it was loaded.
            pass
        return None

    def report(self, report: Report) -> None:
        """Take the end of an attempt: say it, and have it written."""
        try:
            self._report(report)
        except Exception as error:  # noqa: BLE001 - a bug here must not end the lane; the copies stay in hand, unsent
            now = self.clock.stamp().utc
            trace = traceback.format_exc()
            trace_id = report.job.message.trace_id
            self._events.emit(
                InternalError(at=now, trace_id=trace_id, where="delivery", error=repr(error), traceback=trace)
            )

    def tell(self, bug: Exception) -> None:
        """Say that opening a connection failed by a bug of ours."""
        self._events.emit(InternalError.of(bug, "connect", self.clock.stamp().utc))

    def _report(self, report: Report) -> None:
        now = self.clock.stamp().utc
        self._fresh_octets -= report.job.octets
        decision = decide(report, Patience.of(self._snapshot().config.queue), now, self._random)
        for event in decision.events:
            self._events.emit(event)
        self._settler.write(decision)

    def lane_quiet(self, lane: Lane) -> None:
        """Forget a lane that has nothing to do; one that knows of failures is kept for a while."""
        if self._draining:
            self._changed.set()
        elif not lane.remembers():
            self._lanes.pop(lane.route.key, None)
        elif self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(TIDY_SECONDS, self._tidy)

    def _tidy(self) -> None:
        self._tidying = None
        for lane in [lane for lane in self._lanes.values() if lane.is_quiet]:
            self.lane_quiet(lane)

    # Within -----------------------------------------------------------------------------------------------------------

    def _take_from_spool(self, message: SpoolMessage) -> None:
        if self._draining:
            return
        # Due when it was read: should the wall clock have been set back since, it would be in hand and in no lane.
        for route, recipients in self._grouped(message, math.inf):
            self._lane(route).push_backlog(Job(message=message, recipients=recipients))

    def _grouped(self, message: SpoolMessage, now: float) -> Iterable[tuple[Route, tuple[SpoolRecipient, ...]]]:
        """Return the due recipients by current route and rendition."""
        snapshot = self._snapshot()
        if len(message.recipients) == 1:
            only = message.recipients[0]
            return [(_route(snapshot, only), (only,))] if _is_due(only, now) else []
        groups: dict[tuple[str, Rendition], tuple[Route, list[SpoolRecipient]]] = {}
        for recipient in message.recipients:
            if _is_due(recipient, now):
                route = _route(snapshot, recipient)
                key = (route.key, message.renditions[recipient.rendition])
                groups.setdefault(key, (route, []))[1].append(recipient)
        return [
            (route, tuple(members[at : at + _JOB_RECIPIENTS]))
            for route, members in groups.values()
            for at in range(0, len(members), _JOB_RECIPIENTS)
        ]

    def _lane(self, route: Route) -> Lane:
        lane = self._lanes.get(route.key)
        if lane is None:
            lane = self._lanes[route.key] = Lane(route, self)
        return lane

    def _is_dead(self, route: str) -> bool:
        lane = self._lanes.get(route)
        return lane is not None and lane.is_dead()

    def _hold(self, message: SpoolMessage, recipients: Iterable[SpoolRecipient]) -> None:
        for recipient in recipients:
            self._backlog.hold(recipient.route, ((message.trace_id, recipient.number),))

    def _note_later(self, message: SpoolMessage, now: float) -> None:
        for recipient in message.recipients:
            if recipient.state is RecipientState.QUEUED and recipient.due > now:
                self._backlog.note(recipient.route, recipient.due)

    def _written(self, decision: Decision, notices: Iterable[SpoolMessage]) -> None:
        trace_id = decision.job.message.trace_id
        for recipient, settlement in zip(decision.job.recipients, decision.settlements, strict=True):
            if settlement.state is RecipientState.QUEUED:
                self._backlog.note(recipient.route, settlement.due)
            self._backlog.let_go(recipient.route, (trace_id, recipient.number))
        for notice in notices:
            self.accept(notice)
        self._changed.set()


def _is_due(recipient: SpoolRecipient, now: float) -> bool:
    return recipient.state is RecipientState.QUEUED and recipient.due <= now


def _route(snapshot: Snapshot, recipient: SpoolRecipient) -> Route:
    mailbox = recipient.recipient.path.mailbox
    return route_of(policy_of(snapshot, mailbox), mailbox.domain)


def _lane_settings(snapshot: Snapshot) -> LaneSettings:
    queue = snapshot.config.queue
    client = ClientSettings(
        hostname=snapshot.config.hostname,
        greeting_seconds=queue.greeting_timeout,
        command_seconds=queue.command_timeout,
        data_start_seconds=queue.data_start_timeout,
        data_block_seconds=queue.data_block_timeout,
        data_end_seconds=queue.data_end_timeout,
        idle_seconds=queue.idle,
        reuse=queue.reuse,
    )
    return LaneSettings(
        client=client,
        connect_seconds=queue.connect_timeout,
        start=queue.per_next_hop.start,
        most=queue.per_next_hop.most,
    )
