"""The set of workers: one slot per core, each kept filled; asked together (reload in two phases, status, metrics)."""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gateway.app.channel import ChannelClosedError
from gateway.app.children import Children
from gateway.app.kept import KeptTexts
from gateway.app.process import WorkerOrder, WorkerProcess

# A worker that keeps dying is started again after 0.1, 0.2, 0.4 … seconds, at most every half minute: a single death
# is hardly noticed, a broken installation does not burn a core.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0
# A worker that served this long was healthy: its next death starts the pauses anew.
HEALTHY_SECONDS = 60.0
# sysexits.h EX_TEMPFAIL: a worker's word for stores that it cannot open now.
TRY_AGAIN = 75
# The workers of a supervisor that was killed let go of their stores after some eight seconds, on a slow disk twenty
# (gateway.app.worker, gateway.intake.server): a start that finds a store in use is no failed start before.
PREDECESSOR_SECONDS = 20.0
# An answer from a worker whose loop is alive takes milliseconds; queue listings of 100,000 rows some seconds.
ANSWER_SECONDS = 30.0
# Whoever only looks, a scraper or a probe, is cut off after ten, and is to hear which worker it was.
LOOK_SECONDS = 5.0

Notice = Callable[[int, str, str], None]


class Slot:
    """One worker number: the process in it, its sockets, and whether it serves."""

    def __init__(
        self, order: WorkerOrder, sockets: Sequence[socket.socket], *, children: Children, notice: Notice
    ) -> None:
        self.order, self.sockets = order, sockets
        self.ready = asyncio.Event()
        # Set when the first start has ended either way: the worker serves, or it died and not for its predecessor.
        self.tried = asyncio.Event()
        self.worker: WorkerProcess | None = None
        self.last_status: int | None = None
        self._children, self._notice = children, notice
        self._stopping = asyncio.Event()

    async def keep(self) -> None:
        """Start the worker, and start it again whenever it dies, until ``stop``."""
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        first = loop.time()
        while not self._stopping.is_set():
            began = loop.time()
            end = await self._one_life()
            self.ready.clear()
            if self.last_status != TRY_AGAIN or loop.time() - first > PREDECESSOR_SECONDS:
                self.tried.set()
            if self._stopping.is_set():
                return
            if loop.time() - began > HEALTHY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._notice(self.order.index, "died", f"{end}; next start in {pause:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _one_life(self) -> str:
        """Start the worker and wait for its end; return how it ended."""
        try:
            worker = await self._begun()
        except OSError as error:
            # No process or no descriptor is to be had now: the next try may find one.
            return f"cannot be started: {error}"
        self.worker = worker
        if self._stopping.is_set():
            # Asked to stop while it was being started, when there was no process to tell.
            self.worker.process.terminate()
        self.last_status = await worker.wait()
        self.worker = None
        return f"exit status {self.last_status}"

    async def _begun(self) -> WorkerProcess:
        """Return a process that has the order which holds now: none could hear of a reload while it was being made."""
        while True:
            order = self.order
            worker = await WorkerProcess.start(self._children, order, self.sockets, self._answer)
            if order is self.order:
                return worker
            worker.process.kill()
            await worker.wait()

    def stop(self) -> None:
        """Drain the worker; ``keep`` returns when it has ended."""
        self._stopping.set()
        if self.worker is not None and self.worker.process.returncode is None:
            self.worker.process.terminate()

    def kill(self) -> None:
        """End the worker at once."""
        if self.worker is not None and self.worker.process.returncode is None:
            self.worker.process.kill()

    def follow(self, kept: KeptTexts) -> None:
        """Let the next worker in this slot start with another snapshot."""
        self.order = replace(self.order, digest=kept.digest, kept=kept.descriptor)

    async def ask(
        self, name: str, arguments: Mapping[str, Any], seconds: float = ANSWER_SECONDS
    ) -> dict[str, Any] | None:
        """Return the worker's answer, None when there is no worker to give one in time."""
        try:
            return await self._asked(name, arguments, seconds)
        except (ChannelClosedError, TimeoutError):
            return None

    async def instruct(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Have the worker follow an instruction; return why it did not, "" when it did or when there is none.

        A worker that is gone needs no telling: its successor starts with what this slot follows.
        """
        try:
            answer = await self._asked(name, arguments)
        except ChannelClosedError:
            return ""
        except TimeoutError:
            return f"worker {self.order.index} does not answer"
        return str(answer.get("refused", ""))

    async def _asked(self, name: str, arguments: Mapping[str, Any], seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        if self.worker is None:
            raise ChannelClosedError("there is no worker")
        return await asyncio.wait_for(self.worker.ask(name, **arguments), seconds)

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

    async def look(self, name: str) -> list[dict[str, Any] | None]:
        """Ask every worker how it is; None in the place of one that does not say so soon."""
        return list(await asyncio.gather(*(slot.ask(name, {}, LOOK_SECONDS) for slot in self.slots)))

    async def ask_any(self, name: str, **arguments: Any) -> dict[str, Any] | None:
        """Ask a worker that serves, the next where it gives no answer; None when none does."""
        for slot in self.slots:
            answer = await slot.ask(name, arguments) if slot.ready.is_set() else None
            if answer is not None:
                return answer
        return None

    async def instruct(self, name: str, **arguments: Any) -> list[str]:
        """Have every worker follow an instruction; return the reasons of those that did not, each once."""
        refusals = await asyncio.gather(*(slot.instruct(name, arguments) for slot in self.slots))
        return list(dict.fromkeys(filter(None, refusals)))

    async def tried(self) -> None:
        """Return when every worker serves, or has failed once."""
        await asyncio.gather(*(slot.tried.wait() for slot in self.slots))

    @property
    def any_ready(self) -> bool:
        """Whether some worker serves: one with a failed store does not keep the others from taking mail."""
        return any(slot.ready.is_set() for slot in self.slots)
