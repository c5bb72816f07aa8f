"""What breaks if these fail: mail that waits in the spool is not looked for when its time comes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.delivery.backlog import Backlog, Copy
from gateway.journal.events import InternalError
from gateway.journal.sinks import Recorded
from gateway.spool.message import RouteSummary, SpoolMessage
from tests.delivery.conftest import HostFactory, Office, good, message

ROUTE = "smtp://next.test:25"
FIRST, SECOND = "01J8Z3Q4R5S6T7V8W9X0Y1Z2A1", "01J8Z3Q4R5S6T7V8W9X0Y1Z2A2"


@dataclass
class Queue:
    """The queue as a table: when each message's one copy is due."""

    due_at: dict[str, float] = field(default_factory=dict)

    async def routes(self) -> list[RouteSummary]:
        return [RouteSummary(route=ROUTE, queued=len(self.due_at), next_due=min(self.due_at.values()))]

    async def due(self, route: str, before_utc: float, limit: int, exclude: frozenset[Copy]) -> list[SpoolMessage]:
        found = [t for t, due in self.due_at.items() if due <= before_utc and (t, 0) not in exclude]
        return [message(trace_id=trace_id, route=route) for trace_id in found[:limit]]

    async def next_due(self, route: str, after_utc: float) -> float | None:
        assert route == ROUTE
        return min((due for due in self.due_at.values() if due > after_utc), default=None)

    def is_arriving(self, trace_id: str) -> bool:  # noqa: ARG002 - as it is called
        return False


async def test_every_copy_of_a_route_is_brought_in_at_its_own_time() -> None:
    """Not only the earliest: the others would wait for the next sweep, up to a minute."""
    clock, taken, all_taken = SystemClock(), [], asyncio.Event()
    now = clock.stamp().utc
    queue = Queue({f"01J8Z3Q4R5S6T7V8W9X0Y1Z2A{n}": now + 0.02 * (n + 1) for n in range(4)})

    def take(stored: SpoolMessage) -> None:
        taken.append(stored.trace_id)
        if len(taken) == len(queue.due_at):
            all_taken.set()

    backlog = Backlog(queue, clock, Recorded(), take, lambda _: False)
    await backlog.start()
    try:
        async with asyncio.timeout(10):
            await all_taken.wait()
    finally:
        await backlog.stop()
    assert taken == sorted(queue.due_at)


@dataclass
class CountedQueue(Queue):
    """An empty queue that counts who asks for its routes; all but the first are answered when their event is set."""

    asked: list[asyncio.Event] = field(default_factory=list)

    async def routes(self) -> list[RouteSummary]:
        self.asked.append(asyncio.Event())
        if len(self.asked) > 1:
            await self.asked[-1].wait()
        return []


async def test_who_wakes_while_the_store_is_looked_at_has_it_looked_at_again() -> None:
    """What an operator has just made due may have been read before: it would wait for a minute."""
    queue = CountedQueue()
    backlog = Backlog(queue, SystemClock(), Recorded(), lambda _: None, lambda _: False)
    await backlog.start()
    try:
        async with asyncio.timeout(10):
            for looks in (2, 3):
                backlog.wake()
                while len(queue.asked) < looks:  # noqa: ASYNC110 - a plain list
                    await asyncio.sleep(0.001)
                backlog.wake()
                queue.asked[-1].set()
            while len(queue.asked) < 4:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)
    finally:
        await backlog.stop()


@dataclass
class SlowQueue(Queue):
    """A queue whose answer to ``due`` is on its way until ``arrive`` is set."""

    read: asyncio.Event = field(default_factory=asyncio.Event)
    arrive: asyncio.Event = field(default_factory=asyncio.Event)

    async def due(self, route: str, before_utc: float, limit: int, exclude: frozenset[Copy]) -> list[SpoolMessage]:
        found = await super().due(route, before_utc, limit, exclude)
        self.read.set()
        await self.arrive.wait()
        return found


async def test_what_is_being_stored_is_left_to_who_stores_it(
    office: Any, host: HostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Durable and not answered yet, while the writer checkpoints: read from the spool then, it would be sent twice."""
    running = await host(good)
    place: Office = await office([running.url])
    database, answered, committed = place.custody.databases[0], asyncio.Event(), asyncio.Event()
    commit = database.commit

    async def slow(writes: Any) -> None:
        await commit(writes)
        committed.set()
        await answered.wait()

    monkeypatch.setattr(database, "commit", slow)
    posting = asyncio.create_task(place.post(message(route=running.url)))
    await asyncio.wait_for(committed.wait(), 20)
    backlog, looked = place.runner._backlog, asyncio.Event()
    next_due = place.custody.next_due

    async def looking(*given: Any) -> Any:
        found = await next_due(*given)
        looked.set()
        return found

    monkeypatch.setattr(place.custody, "next_due", looking)
    place.runner.flush()
    await asyncio.wait_for(looked.wait(), 20)
    await place.until(lambda: not backlog._loads)
    assert place.runner.in_hand == 0
    answered.set()
    await posting
    await place.written()
    assert place.statuses() == [("b@ours.test", "sent")]


@dataclass
class Reading:
    """A backlog that is reading ``queue``, and what it has brought in."""

    backlog: Backlog
    queue: SlowQueue
    taken: list[SpoolMessage] = field(default_factory=list)

    async def until(self, trace_id: str) -> None:
        """Wait until a message was brought in; a sweep would bring it a minute later."""
        async with asyncio.timeout(10):
            while trace_id not in [stored.trace_id for stored in self.taken]:  # noqa: ASYNC110 - a plain function takes
                await asyncio.sleep(0.001)


@pytest.fixture
async def reading() -> AsyncIterator[Reading]:
    queue, taken = SlowQueue({FIRST: 0.0}), list[SpoolMessage]()
    backlog = Backlog(queue, SystemClock(), Recorded(), taken.append, lambda _: False)
    await backlog.start()
    async with asyncio.timeout(10):
        await queue.read.wait()
    yield Reading(backlog, queue, taken)
    await backlog.stop()


async def test_what_was_delivered_while_the_store_was_read_is_not_brought_in_again(reading: Reading) -> None:
    """Fresh mail is stored, sent and settled in milliseconds; what was read of it in between would be sent again."""
    reading.queue.due_at[SECOND] = 0.0
    reading.backlog.hold(ROUTE, [(FIRST, 0)])
    reading.backlog.let_go(ROUTE, (FIRST, 0))
    del reading.queue.due_at[FIRST]
    reading.backlog.note(ROUTE, 0.0)
    reading.queue.arrive.set()
    await reading.until(SECOND)
    assert [stored.trace_id for stored in reading.taken] == [SECOND]


async def test_what_is_stored_while_the_store_is_read_waits_for_no_sweep(reading: Reading) -> None:
    """Beyond the bounds of memory accepted mail waits in the spool alone, and this is how it is found there."""
    reading.queue.due_at[SECOND] = 0.0
    reading.backlog.note(ROUTE, 0.0)
    while reading.backlog._timetable.next_due() is not None:  # noqa: ASYNC110 - a plain function looks at it
        await asyncio.sleep(0)
    reading.queue.arrive.set()
    await reading.until(SECOND)
    assert [stored.trace_id for stored in reading.taken] == [FIRST, SECOND]


async def test_what_an_operator_changed_while_the_store_was_read_is_read_again(reading: Reading) -> None:
    """It was dropped or held, and would be sent all the same."""
    reading.backlog.distrust([FIRST])
    del reading.queue.due_at[FIRST]
    reading.queue.due_at[SECOND] = 0.0
    reading.queue.arrive.set()
    await reading.until(SECOND)
    assert [stored.trace_id for stored in reading.taken] == [SECOND]


async def test_a_bug_in_bringing_mail_in_is_told() -> None:
    """Its route stands still as long as it lasts, and nobody would know."""

    def take(stored: SpoolMessage) -> None:
        raise ZeroDivisionError(stored.trace_id)

    events = Recorded()
    backlog = Backlog(Queue({FIRST: 0.0}), SystemClock(), events, take, lambda _: False)
    await backlog.start()
    async with asyncio.timeout(10):
        while not events.events:  # noqa: ASYNC110 - events are told to a plain function
            await asyncio.sleep(0.001)
    await backlog.stop()
    assert [(type(event), event.where) for event in events.events] == [(InternalError, "backlog")]
