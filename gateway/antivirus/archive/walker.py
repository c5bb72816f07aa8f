"""Walks archives without harm: each in a child process that is killed when it takes too long or dies of what it reads.

Children live on from one archive to the next, since starting one costs a tenth of a second; one that was killed, or
has walked its share, is replaced. ``walk`` never raises: what could not be walked is a report that says why, and is
never taken for clean.
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from gateway.antivirus.archive.report import ArchiveLimits, ArchiveReport, from_plain
from gateway.antivirus.archive.wire import LENGTH_OCTETS, MAX_JSON_OCTETS, pack, unpack_json
from gateway.antivirus.connection import send
from gateway.antivirus.framing import Sendable

# A bomb that takes its ten seconds must not hold up the next mail's archive.
CHILDREN = 2
# What a hostile archive may have left in a child's memory is gone after so many.
_WALKS_EACH = 200
# To the walk's own limit, which the child keeps by itself: starting, sending and answering on a loaded machine.
_GRACE_SECONDS = 5.0
# A mail that finds no child free in this time is better tried again.
_WAIT_SECONDS = 30.0


class ChildGoneError(Exception):
    """The child ended, or said something that is no report."""


class _Child:
    """One process and the socket to it."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self.walks = 0
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        try:
            arguments = [str(theirs.fileno()), json.dumps(asdict(limits))]
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", "gateway.antivirus.archive.child", *arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()

    async def walk(self, request: bytes, octets: Sendable) -> ArchiveReport:
        """Return the report; raise ChildGoneError."""
        self.walks += 1
        try:
            await send(self._socket, (request, octets))
            head = await self._read(LENGTH_OCTETS * 2)
            body = int.from_bytes(head[:LENGTH_OCTETS], "big")
            if body > MAX_JSON_OCTETS:
                raise ChildGoneError("a report too long")
            plain = unpack_json(bytes(await self._read(body)))
            return from_plain(plain, await self._read(int.from_bytes(head[LENGTH_OCTETS:], "big")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ChildGoneError(str(error)) from error

    async def _read(self, size: int) -> memoryview:
        loop = asyncio.get_running_loop()
        whole = memoryview(bytearray(size))
        rest = whole
        while rest:
            count = await loop.sock_recv_into(self._socket, rest)
            if not count:
                raise ChildGoneError("the child ended")
            rest = rest[count:]
        return whole.toreadonly()

    def end(self) -> None:
        """Kill it and wait for its end, which follows at once."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


class ArchiveWalker:
    """Children on demand, ``children`` of them at most; ``close`` ends them."""

    def __init__(self, limits: ArchiveLimits, children: int = CHILDREN) -> None:
        self._limits = limits
        self._free: asyncio.Queue[_Child | None] = asyncio.Queue()
        for _ in range(children):
            self._free.put_nowait(None)
        self._all: set[_Child] = set()

    async def walk(self, octets: Sendable, *, name: str = "", passwords: Sequence[str] = ()) -> ArchiveReport:
        """Return what is inside ``octets``; ``passwords`` are tried on what is encrypted."""
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                child = await self._free.get()
        except TimeoutError:
            return ArchiveReport(limit="busy")
        keep: _Child | None = None
        try:
            child = child or await self._started()
            request = {"limits": asdict(self._limits), "name": name, "passwords": list(passwords)}
            async with asyncio.timeout(self._limits.seconds + _GRACE_SECONDS):
                report = await child.walk(pack(request, len(octets)), octets)
            keep = child if child.walks < _WALKS_EACH and report.limit != "memory" else None
        except OSError:
            # TimeoutError is one too: there is a child then.
            report = ArchiveReport(limit="seconds" if child else "unavailable")
        except ChildGoneError:
            report = ArchiveReport(limit="crashed")
        finally:
            # Also when the mail it was for has gone: its answer would be taken for the next one's.
            if child is not None and keep is None:
                self._all.discard(child)
                child.end()
            self._free.put_nowait(keep)
        return report

    async def _started(self) -> _Child:
        child = await asyncio.to_thread(_Child, self._limits)
        self._all.add(child)
        return child

    def close(self) -> None:
        """End all children; what they were walking is reported as crashed."""
        for child in self._all:
            with contextlib.suppress(OSError):
                child.end()
        self._all.clear()
