"""A program that is stopped and let go on in turn, with all it has started: SIGSTOP and SIGCONT to its process group.

Whether it is really stopped the kernel says (proc(5), the state of each thread); what it reads tells that it is not.
"""

import asyncio
import os
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from load import BenchmarkError

STOPPED, ENDED = "T", "ZX"
# A thread stops when the kernel next lets go of it: one that waits for a disk, when the disk has answered.
PATIENCE_SECONDS = 2.0
LOOK_SECONDS = 0.002
# Of /proc/PID/stat, behind the command's name: state, parent, group.
GROUP_FIELD = 2


class Pausable:
    """A running program; a context manager that leaves nothing of it behind."""

    def __init__(self, process: Process) -> None:
        self._process, self.pid = process, process.pid
        self.ending = asyncio.create_task(process.communicate())

    @classmethod
    async def start(cls, command: Sequence[str]) -> Self:
        """Start a program in a process group of its own."""
        return cls(await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, start_new_session=True))

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self.ending.done()

    async def pause(self) -> None:
        """Stop it, and return when all of its threads are; BenchmarkError."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while running := await asyncio.to_thread(self._running):
            if time.monotonic() > deadline:
                raise BenchmarkError(f"after SIGSTOP threads are in the states {running}")
            await asyncio.sleep(LOOK_SECONDS)

    def go_on(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        # It may have ended at this moment.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _running(self) -> str:
        return "".join(
            state for folder in members(self.pid) for state in states(folder) if state != STOPPED and state not in ENDED
        )

    def read_octets(self) -> int:
        """Return what it has read so far, from memory or the disk; 0 when it has ended."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.pid}/io").read_text().splitlines():
                if line.startswith("rchar:"):
                    return int(line.split()[1])
        return 0

    async def said(self) -> bytes:
        """Return what it printed until its end; BenchmarkError when it ended badly."""
        out, errors = await self.ending
        if self._process.returncode:
            raise BenchmarkError(f"ended with {self._process.returncode}: {errors.decode(errors='replace')}")
        return out

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.ended:
            # SIGKILL ends what is stopped too.
            self._signal(signal.SIGKILL)
            await self.ending


def members(group: int) -> Iterator[Path]:
    """Yield the folders in /proc of the processes of a group."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(fields(path)[GROUP_FIELD]) == group:
                yield path.parent


def states(folder: Path) -> Iterator[str]:
    """Yield the state of each thread of a process."""
    for path in folder.glob("task/*/stat"):
        with suppress(OSError):
            yield fields(path)[0]


def fields(path: Path) -> list[str]:
    """Return the fields of a stat file behind the command's name, which may hold blanks and brackets; OSError."""
    return path.read_text().rpartition(")")[2].split()
