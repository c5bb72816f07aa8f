"""What breaks if these fail: mail that waits in the spool is not looked for when its time comes."""

import asyncio
from dataclasses import dataclass, field

from gateway.clock import SystemClock
from gateway.delivery.backlog import Backlog, Copy
from gateway.journal.sinks import Recorded
from gateway.spool.message import RouteSummary, SpoolMessage
from tests.delivery.conftest import message

ROUTE = "smtp://next.test:25"


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
