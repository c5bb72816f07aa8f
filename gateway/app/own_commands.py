"""Commands of ours that are run by the clock, each in a process of its own: what is due is looked for, and survived.

The work is the command's, so that a run by hand and one by the clock are one thing, and neither its memory nor a
failure of it concerns the gateway. It is an interpreter of its own rather than the nursery's child: once a day nobody
minds the start, and whoever looks at the processes reads what he would have typed.
"""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from gateway.clock import Clock
from gateway.journal.events import EventSink, InternalError

# What a command said last.
_SAID_CHARACTERS = 500


class OwnCommands:
    """Runs one command at a time for whoever looks what is due; ``name`` says who that is."""

    def __init__(self, name: str, configuration: Path | None, *, clock: Clock, events: EventSink) -> None:
        self._name, self._configuration, self._clock, self._events = name, configuration, clock, events
        self._process: Process | None = None

    async def keep(self, look: Callable[[], Awaitable[None]], pause: Callable[[], float]) -> None:
        """Look until cancelled, with so many seconds between; a command that runs then is asked to end."""
        try:
            while True:
                try:
                    await look()
                except Exception as bug:  # noqa: BLE001 - a bug in one look must not end the looking
                    self._events.emit(InternalError.of(bug, self._name, self._clock.stamp().utc))
                await asyncio.sleep(pause())
        finally:
            if self._process is not None:
                with suppress(ProcessLookupError):
                    self._process.terminate()

    async def run(self, *arguments: str) -> str:
        """Run ``tidegate`` with arguments and our configuration; return the last it said, and how it ended."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "gateway", *arguments, "--config", str(self._configuration)),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
        )
        _, said = await self._process.communicate()
        status, self._process = self._process.returncode, None
        text = said.decode("utf-8", "replace").strip()[-_SAID_CHARACTERS:]
        return f"{text or 'it said nothing'} (exit status {status})"
