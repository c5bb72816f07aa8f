"""``[rules] hyperscan``: a worker's compiled rules are made faster while they serve; one line says what came of it."""

import asyncio
from collections.abc import Sequence

from gateway.clock import Clock
from gateway.journal.events import EventSink, WorkerChanged
from gateway.rules.acceleration import accelerate
from gateway.rules.group import RuleGroup

# What the event says the worker's rules are now.
STATE = "accelerated"


class RuleAcceleration:
    """One compilation at a time, of the rules that serve."""

    def __init__(self, worker: int, clock: Clock, events: EventSink) -> None:
        self._worker = worker
        self._clock = clock
        self._events = events
        self._groups: Sequence[RuleGroup] = ()
        self._task: asyncio.Task[None] | None = None

    def use(self, groups: Sequence[RuleGroup]) -> None:
        """Compile these beside the mail, and leave others that are still being compiled; nothing for none."""
        if groups == self._groups:
            return
        if self._task is not None:
            self._task.cancel()
        self._groups = groups
        self._task = asyncio.create_task(self._run(groups)) if groups else None

    async def stop(self) -> None:
        """End what runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, groups: Sequence[RuleGroup]) -> None:
        found = await accelerate(groups)
        if found.asked:
            self._events.emit(
                WorkerChanged(at=self._clock.stamp().utc, worker=self._worker, state=STATE, detail=str(found))
            )
