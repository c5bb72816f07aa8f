"""The supervisor's children, forked by a nursery (``gateway.app.nursery``): begun, signalled, waited for.

A child is signalled by its pidfd, which never means another process. Its end and exit status come from the nursery,
whose child it is. A nursery that dies takes nobody along: its children go on and are watched by their pidfds, a new
one is begun by exec, and whoever waits for a child to be begun hears OSError, as when there can be no process.
"""

import asyncio
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PACKET_OCTETS = 65_536
# The kernel's SCM_MAX_FD; a worker has two and one a listener.
MOST_DESCRIPTORS = 253
ASKING_TO_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A nursery that lived so long was healthy, and has a successor at once; what ends sooner may be an installation that is
# being replaced, and the next child that is wanted says when to try.
HEALTHY_SECONDS = 10.0
# The exit status of a child whose parent died before it: only a parent is told.
UNTOLD = 255


@dataclass(frozen=True, slots=True)
class Cradle:
    """A nursery's process: the socket to it, and its id."""

    door: socket.socket
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a child ended and what it wrote."""

    status: int
    out: bytes
    err: bytes


class Child:
    """A process that was forked; ``returncode`` is None while it runs."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid, self._pidfd = pid, pidfd
        self.returncode: int | None = None
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Return its exit status, negative for a signal, when it has ended."""
        return await asyncio.shield(self._ended)

    def end(self, status: int) -> None:
        """Take notice of its end."""
        self.returncode = status
        os.close(self._pidfd)
        self._ended.set_result(status)

    def watch(self) -> None:
        """Find out by ourselves when it ends: whoever would have told is gone."""
        asyncio.get_running_loop().add_reader(self._pidfd, self._look)

    def _look(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        status = UNTOLD
        # The first process of a container inherits orphans: then it is ours to reap.
        with suppress(ChildProcessError):
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
            if result is not None:
                status = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        self.end(status)

    def _signal(self, number: int) -> None:
        if self.returncode is None:
            # It has ended, and the word of that is under way.
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)


class Children:
    """Has children forked between ``begin`` and ``close``; ``say`` is told of a nursery that died.

    ``module`` is run to begin another.
    """

    def __init__(self, cradle: Cradle, say: Callable[[str], None], module: str = "gateway.app.offspring") -> None:
        self._module = module
        self._cradle = cradle
        self._nursery_lives = True
        self._say = say
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Child]] = {}
        self._living: dict[int, Child] = {}
        self._begun_at = 0.0

    def begin(self) -> None:
        """Listen to the nursery; in the loop."""
        self._attach(self._cradle)

    async def fork(self, entry: str, arguments: Sequence[str], descriptors: Sequence[int]) -> Child:
        """Return a child that runs an entry of the nursery's with copies of descriptors; OSError."""
        if not self._nursery_lives:
            self._begin_again()
        number = next(self._numbers)
        request = {"number": number, "entry": entry, "arguments": arguments}
        socket.send_fds(self._cradle.door, [json.dumps(request).encode("ascii")], descriptors)
        waiting: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                # Born in the turn before: whoever wanted it does not any more.
                waiting.result().kill()
                await waiting.result().wait()
            raise

    async def run(self, entry: str, arguments: Sequence[str]) -> Finished:
        """Run an entry that writes to two descriptors, standard output and error, to its end; OSError.

        Whoever does not wait for the end ends it.
        """
        with _memory("out") as out, _memory("err") as err:
            child = await self.fork(entry, arguments, (out.fileno(), err.fileno()))
            try:
                status = await child.wait()
            finally:
                child.kill()
                await child.wait()
            return Finished(status=status, out=_written(out.fileno()), err=_written(err.fileno()))

    async def close(self) -> None:
        """End the nursery; children that still run are left to themselves."""
        if self._nursery_lives:
            self._nursery_lives = False
            asyncio.get_running_loop().remove_reader(self._cradle.door)
            self._cradle.door.close()
            await asyncio.to_thread(os.waitpid, self._cradle.pid, 0)

    def _attach(self, cradle: Cradle) -> None:
        loop = asyncio.get_running_loop()
        cradle.door.setblocking(False)
        loop.add_reader(cradle.door, self._hear)
        self._begun_at = loop.time()

    def _hear(self) -> None:
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._cradle.door, PACKET_OCTETS, 1)
        except BlockingIOError:
            return
        except ConnectionError:
            packet = b""
        if not packet:
            self._lost()
            return
        message = json.loads(packet)
        number = int(message["number"])
        if "ended" in message:
            if (child := self._living.pop(number, None)) is not None:
                child.end(message["ended"])
        elif "refused" in message:
            self._refuse(self._waiting.pop(number), message["refused"])
        elif not descriptors:
            # We have no place for its pidfd, and could not end it: whoever wanted it lets go of the other ends.
            self._refuse(self._waiting.pop(number), "too many open files")
        else:
            self._born(number, message["pid"], descriptors[0])

    def _born(self, number: int, pid: int, pidfd: int) -> None:
        os.set_inheritable(pidfd, False)
        child = self._living[number] = Child(pid, pidfd)
        waiting = self._waiting.pop(number)
        if waiting.done():
            # Whoever wanted it does not any more.
            child.kill()
        else:
            waiting.set_result(child)

    def _lost(self) -> None:
        """Look after the children of a nursery that died, and begin its successor."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._cradle.door)
        self._cradle.door.close()
        self._nursery_lives = False
        # Ours, and not reaped yet; whatever closed its door, without one it is of no use.
        os.kill(self._cradle.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self._cradle.pid, 0)[1])
        self._say(f"the nursery ended, exit status {status}; workers go on, and a new one is begun")
        for child in self._living.values():
            child.watch()
        self._living.clear()
        for waiting in self._waiting.values():
            self._refuse(waiting, "the nursery ended")
        self._waiting.clear()
        if loop.time() - self._begun_at > HEALTHY_SECONDS:
            # Else, or when there can be no process now, it is begun for the next child.
            with suppress(OSError):
                self._begin_again()

    @staticmethod
    def _refuse(waiting: asyncio.Future[Child], why: str) -> None:
        if not waiting.done():
            waiting.set_exception(OSError(why))

    def _begin_again(self) -> None:
        """Begin a nursery by exec: we have a loop and threads, of which a fork would have a piece."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.set_inheritable(True)
        command = [sys.executable, "-P", "-m", self._module, str(theirs.fileno())]
        try:
            pid = os.posix_spawn(sys.executable, command, environment(), setsigmask=ASKING_TO_STOP)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._nursery_lives = True
        self._cradle = Cradle(ours, pid)
        self._attach(self._cradle)


def environment() -> dict[str, str]:
    """Return our environment with the folder of this package first in the path: all processes run one code."""
    home = str(Path(__file__).parents[2])
    others = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": f"{home}{os.pathsep}{others}" if others else home}


def _memory(name: str) -> IO[bytes]:
    """Return a file without a name or a place."""
    return os.fdopen(os.memfd_create(f"tidegate-{name}", os.MFD_CLOEXEC), "w+b", buffering=0)


def _written(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
