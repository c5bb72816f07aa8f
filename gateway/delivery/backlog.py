"""What waits in the spool, brought in by windows: a queue of 100,000 costs memory for a few hundred.

Each stored route has at most ``WINDOW`` copies loaded, all together ``MAX_LOADED``; contents stay in the store until
their transfer begins. A route whose next hop is dead is read slowly, only so that retry times, notices and expiry are
kept. ``outstanding`` copies (loaded, fresh in memory, under way, or settled but not yet written) are never loaded
again: that is what keeps a copy from being delivered twice.

Reading takes its time, and mail goes on meanwhile: a copy that was in hand at any moment of a read is none of what it
brings, and a route that something is noted of during one is read once more. A message that is being stored can be read
before whoever stores it hears that it is durable; it is left to him.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from gateway.clock import Clock
from gateway.delivery.timetable import Timetable
from gateway.journal.events import EventSink, InternalError, StorageFailed
from gateway.spool.message import RouteSummary, SpoolMessage
from gateway.storage import StorageError

# Two and a half times the most connections (queue.per_next_hop): every connection finds its next job loaded.
WINDOW = 50

# About 3 KiB each without content: 30 MB at worst.
MAX_LOADED = 10_000

# Reads at a time: the store has one reader thread or a few, and new mail must not queue behind old.
MAX_LOADS = 4

# A dead next hop's queue is walked at WINDOW a second: 100,000 copies in half an hour, at a few per cent of a core.
PACE_SECONDS = 1.0

# After a failed read.
READ_RETRY_SECONDS = 5.0

# The store is asked for everything's next instant that often, which finds what others changed (released, flushed,
# adopted).
SWEEP_SECONDS = 60.0

Copy = tuple[str, int]


class QueueReader(Protocol):
    """The part of ``Custody`` that reads the queue."""

    async def routes(self) -> list[RouteSummary]:
        """Return each route's number of copies and next instant."""
        ...

    async def due(self, route: str, before_utc: float, limit: int, exclude: frozenset[Copy]) -> list[SpoolMessage]:
        """Return messages with due copies."""
        ...

    async def next_due(self, route: str, after_utc: float) -> float | None:
        """Return the next instant at which a copy is due, None when none waits."""
        ...

    def is_arriving(self, trace_id: str) -> bool:
        """Whether a message is being stored by somebody who goes on with it at once."""
        ...


class _Stored:
    """One stored route: copies in our hands, and whether the store has more.

    While it is loading: the copies let go, the messages changed by others, and whether there is more that the read may
    have come too early for.
    """

    __slots__ = ("distrusted", "is_loading", "is_overtaken", "loaded", "more", "outstanding", "over")

    def __init__(self) -> None:
        self.outstanding: set[Copy] = set()
        self.loaded: set[Copy] = set()
        self.more = False
        self.is_loading = False
        self.begin()

    def begin(self) -> None:
        """Forget what happened during the last load."""
        self.over: set[Copy] = set()
        self.distrusted: set[str] = set()
        self.is_overtaken = False

    def taken(self, message: SpoolMessage) -> SpoolMessage | None:
        """Note as ours, and return, what is to be brought in of a message that was read."""
        if message.trace_id in self.distrusted:
            self.is_overtaken = True
            return None
        fresh = {(message.trace_id, recipient.number) for recipient in message.recipients}
        fresh -= self.outstanding
        fresh -= self.over
        self.outstanding |= fresh
        self.loaded |= fresh
        if len(fresh) == len(message.recipients):
            return message
        left = tuple([r for r in message.recipients if (message.trace_id, r.number) in fresh])
        return replace(message, recipients=left) if left else None


class Backlog:
    """Brings due copies in through ``take``; ``is_dead`` tells whether a route's next hop is left alone."""

    def __init__(
        self,
        reader: QueueReader,
        clock: Clock,
        events: EventSink,
        take: Callable[[SpoolMessage], None],
        is_dead: Callable[[str], bool],
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._events = events
        self._take = take
        self._is_dead = is_dead
        self._timetable = Timetable()
        self._stored: dict[str, _Stored] = {}
        self._ready: deque[str] = deque()
        self._loaded = 0
        self._loads: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._swept = asyncio.Event()

    # Life -------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read the routes once, and from then on from time to time."""
        await self.sweep()
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep_on())

    def wake(self) -> None:
        """Look at the store now."""
        self._swept.set()

    async def stop(self) -> None:
        """Load no more."""
        tasks = [*self._loads, *([self._sweeper] if self._sweeper else [])]
        self._sweeper = None
        if self._timer is not None:
            self._timer.cancel()
        self._ready.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def sweep(self) -> None:
        """Ask the store for every route's next instant."""
        try:
            summaries = await self._reader.routes()
        except StorageError as error:
            self._failed("routes", error)
            return
        for summary in summaries:
            self._timetable.note(summary.route, summary.next_due)
        # Armed anew even when nothing was: the wall clock may have been stepped.
        self._arm()

    async def _sweep_on(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._swept.wait()
            except TimeoutError:
                pass
            # Before: who wakes while the store is read may have changed what was read already.
            self._swept.clear()
            await self.sweep()

    # Copies in hand ---------------------------------------------------------------------------------------------------

    def hold(self, route: str, copies: Iterable[Copy]) -> None:
        """Note copies as in our hands, so that they are not loaded."""
        self._of(route).outstanding.update(copies)

    def let_go(self, route: str, copy: Copy) -> None:
        """Note that a copy's outcome is written."""
        stored = self._of(route)
        stored.outstanding.discard(copy)
        if stored.is_loading:
            stored.over.add(copy)
        if copy in stored.loaded:
            stored.loaded.discard(copy)
            self._loaded -= 1
        self._go_on(route, stored)
        if self._ready:
            self._load_next()

    def distrust(self, trace_ids: Iterable[str]) -> None:
        """Note that others have changed these messages: what is being read of them now may be what they were."""
        for stored in self._stored.values():
            if stored.is_loading:
                stored.distrusted.update(trace_ids)

    def note(self, route: str, due: float) -> None:
        """Note that the store has a copy for ``route``, due at ``due`` (UTC seconds)."""
        if self._timetable.note(route, due):
            self._arm()

    @property
    def outstanding(self) -> int:
        """Copies in our hands."""
        return sum(len(stored.outstanding) for stored in self._stored.values())

    # Loading ----------------------------------------------------------------------------------------------------------

    def _of(self, route: str) -> _Stored:
        stored = self._stored.get(route)
        if stored is None:
            stored = self._stored[route] = _Stored()
        return stored

    def _go_on(self, route: str, stored: _Stored) -> None:
        """Load more where there is more and room for it; forget a route of which nothing is in hand."""
        if stored.more and len(stored.loaded) <= WINDOW // 2:
            stored.more = False
            self._again(route)
        elif not stored.outstanding and not stored.is_loading:
            self._stored.pop(route, None)

    def _again(self, route: str) -> None:
        pace = PACE_SECONDS if self._is_dead(route) else 0.0
        self.note(route, self._clock.stamp().utc + pace)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._timetable.next_due()
        if due is not None:
            wait = max(0.0, due - self._clock.stamp().utc)
            # A stepped wall clock is noticed within a sweep's time.
            self._timer = asyncio.get_running_loop().call_later(min(wait, SWEEP_SECONDS), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._ready.extend(self._timetable.pop_due(self._clock.stamp().utc))
        self._load_next()
        self._arm()

    def _load_next(self) -> None:
        while self._ready and len(self._loads) < MAX_LOADS and self._loaded < MAX_LOADED:
            route = self._ready.popleft()
            stored = self._of(route)
            if stored.is_loading:
                stored.is_overtaken = True
                continue
            if len(stored.loaded) >= WINDOW:
                stored.more = True
                continue
            stored.begin()
            stored.is_loading = True
            task = asyncio.get_running_loop().create_task(self._load(route, stored))
            self._loads.add(task)
            task.add_done_callback(self._load_ended)

    def _load_ended(self, task: asyncio.Task[None]) -> None:
        self._loads.discard(task)
        if task.cancelled():
            return
        if isinstance(bug := task.exception(), Exception):
            # What it did not come to is read again with the next sweep.
            self._events.emit(InternalError.of(bug, "backlog", self._clock.stamp().utc))
        self._load_next()

    async def _load(self, route: str, stored: _Stored) -> None:
        now = self._clock.stamp().utc
        try:
            messages = await self._reader.due(route, now, WINDOW, frozenset(stored.outstanding))
            # The timetable knew the earliest instant only, and has forgotten it.
            following = await self._reader.next_due(route, now)
        except StorageError as error:
            self._failed("due", error)
            self.note(route, now + READ_RETRY_SECONDS)
            return
        finally:
            stored.is_loading = False
        if following is not None:
            self.note(route, following)
        stored.more = sum(len(message.recipients) for message in messages) >= WINDOW
        for message in messages:
            taken = None if self._reader.is_arriving(message.trace_id) else stored.taken(message)
            if taken is not None:
                self._loaded += len(taken.recipients)
                self._take(taken)
        if stored.is_overtaken:
            self._again(route)
        self._go_on(route, stored)

    def _failed(self, operation: str, error: Exception) -> None:
        now = self._clock.stamp().utc
        self._events.emit(StorageFailed(at=now, store="spool", operation=operation, error=str(error)))
