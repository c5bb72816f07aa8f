"""What waits in the spool, brought in by windows: a queue of 100,000 costs memory for a few hundred.

Each stored route has at most ``WINDOW`` copies loaded, all together ``MAX_LOADED``; contents stay in the store until
their transfer begins. A route whose next hop is dead is read slowly, only so that retry times, notices and expiry are
kept. ``outstanding`` copies (loaded, fresh in memory, under way, or settled but not yet written) are never loaded
again: that is what keeps a copy from being delivered twice.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from gateway.clock import Clock
from gateway.delivery.timetable import Timetable
from gateway.journal.events import EventSink, StorageFailed
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


class _Stored:
    """One stored route: copies in our hands, and whether the store has more."""

    __slots__ = ("is_loading", "loaded", "more", "outstanding")

    def __init__(self) -> None:
        self.outstanding: set[Copy] = set()
        self.loaded: set[Copy] = set()
        self.more = False
        self.is_loading = False


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
            self._swept.clear()
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._swept.wait()
            except TimeoutError:
                pass
            await self.sweep()

    # Copies in hand ---------------------------------------------------------------------------------------------------

    def hold(self, route: str, copies: Iterable[Copy]) -> None:
        """Note copies as in our hands, so that they are not loaded."""
        self._of(route).outstanding.update(copies)

    def let_go(self, route: str, copy: Copy) -> None:
        """Note that a copy's outcome is written."""
        stored = self._of(route)
        stored.outstanding.discard(copy)
        if copy in stored.loaded:
            stored.loaded.discard(copy)
            self._loaded -= 1
        if stored.more and len(stored.loaded) <= WINDOW // 2:
            stored.more = False
            self._again(route)
        elif not stored.outstanding and not stored.is_loading:
            del self._stored[route]
        if self._ready:
            self._load_next()

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
            if stored.is_loading or len(stored.loaded) >= WINDOW:
                stored.more = True
                continue
            stored.is_loading = True
            task = asyncio.get_running_loop().create_task(self._load(route, stored))
            self._loads.add(task)
            task.add_done_callback(self._load_ended)

    def _load_ended(self, task: asyncio.Task[None]) -> None:
        self._loads.discard(task)
        if not task.cancelled():
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
            copies = [(message.trace_id, recipient.number) for recipient in message.recipients]
            # Whatever became ours while the store was read is ours already.
            if stored.outstanding.isdisjoint(copies):
                stored.outstanding.update(copies)
                stored.loaded.update(copies)
                self._loaded += len(copies)
                self._take(message)
        if not stored.outstanding:
            more = stored.more
            self._stored.pop(route, None)
            if more:
                self._again(route)

    def _failed(self, operation: str, error: Exception) -> None:
        now = self._clock.stamp().utc
        self._events.emit(StorageFailed(at=now, store="spool", operation=operation, error=str(error)))
