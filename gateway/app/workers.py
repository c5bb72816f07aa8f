"""The set of workers: one slot per core, each kept filled; asked together (reload in two phases, status, metrics)."""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.app.channel import ChannelClosedError
from gateway.app.process import WorkerOrder, WorkerProcess

# A worker that keeps dying is started again after 0.1, 0.2, 0.4 … seconds, at most every half minute: a single death
# is hardly noticed, a broken installation does not burn a core.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0
# A worker that served this long was healthy: its next death starts the pauses anew.
HEALTHY_SECONDS = 60.0
# An answer from a worker whose loop is alive takes milliseconds; queue listings of 100,000 rows some seconds.
ANSWER_SECONDS = 30.0

Notice = Callable[[int, str, str], None]


class Slot:
    """One worker number: the process in it, its sockets, and whether it serves."""

    def __init__(self, order: WorkerOrder, sockets: Sequence[socket.socket], notice: Notice) -> None:
        self.order, self.sockets = order, sockets
        self.ready = asyncio.Event()
        # Set when the first start has ended either way: the worker serves, or it died.
        self.tried = asyncio.Event()
        self.worker: WorkerProcess | None = None
        self.last_status: int | None = None
        self._notice = notice
        self._stopping = False

    async def keep(self) -> None:
        """Start the worker, and start it again whenever it dies, until ``stop``."""
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while not self._is_stopping():
            began = loop.time()
            self.worker = await WorkerProcess.start(self.order, self.sockets, self._answer)
            self.last_status = await self.worker.wait()
            self.ready.clear()
            self.tried.set()
            self.worker = None
            if self._is_stopping():
                return
            if loop.time() - began > HEALTHY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._notice(self.order.index, "died", f"exit status {self.last_status}; next start in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _is_stopping(self) -> bool:
        return self._stopping

    def stop(self) -> None:
        """Drain the worker; ``keep`` returns when it has ended."""
        self._stopping = True
        if self.worker is not None and self.worker.process.returncode is None:
            self.worker.process.terminate()

    def kill(self) -> None:
        """End the worker at once."""
        if self.worker is not None and self.worker.process.returncode is None:
            self.worker.process.kill()

    def follow(self, digest: str) -> None:
        """Let the next worker in this slot start with another snapshot."""
        self.order = replace(self.order, digest=digest)

    async def ask(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the worker's answer, None when there is no worker to give one in time."""
        if self.worker is None:
            return None
        try:
            return await asyncio.wait_for(self.worker.ask(name, **arguments), ANSWER_SECONDS)
        except (ChannelClosedError, TimeoutError):
            return None

    async def _answer(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if name == "ready":
            self.ready.set()
            self.tried.set()
            self._notice(self.order.index, "started", str(arguments.get("detail", "")))
        return {}


class Workers:
    """All slots."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = slots

    async def ask_all(self, name: str, **arguments: Any) -> list[dict[str, Any] | None]:
        """Ask every worker at once; None in the place of one that did not answer."""
        return list(await asyncio.gather(*(slot.ask(name, arguments) for slot in self.slots)))

    @property
    def any_ready(self) -> bool:
        """Whether some worker serves: one with a failed store does not keep the others from taking mail."""
        return any(slot.ready.is_set() for slot in self.slots)
