"""A writer in a process of its own: the store of the mail path.

Why: SQLite's calls in a thread of a busy loop pass the interpreter's lock back and forth for every statement. Measured
on two cores with 20 clients and 8 KB messages, a whole gateway passed 500 messages a second with a thread and 900 with
a process. The child opens the one writing connection; this side never does while the child lives.

The child holds the store's lock too: when this process is killed, its successor waits until the child has committed
what it had been given and is gone. When the child dies, the file tells by its mark whether the group under way had been
committed; else it fails with StorageUnavailable, and left something behind only where its submissions had to be tried
one by one. A new child is started for the next group.
"""

import asyncio
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gateway.storage.connection import Synchronous
from gateway.storage.errors import StorageError, StorageRefused, StorageUnavailable
from gateway.storage.frames import Unpacker, pack, plain, unpack_error
from gateway.storage.group import read_mark
from gateway.storage.statement import Statement
from gateway.storage.writer import Done, Ended, Group

_READ_OCTETS = 65_536
# A commit takes milliseconds, a last checkpoint of 64 MiB some seconds on a slow disk.
_CLOSE_SECONDS = 60.0
# The largest number that the file has room for.
_MOST_MARK = 0x7FFF_FFFF


class ProcessWriter:
    """The child and the socket to it; groups are answered in the order in which they were submitted."""

    def __init__(
        self,
        path: Path,
        synchronous: Synchronous,
        lock: int,
        *,
        on_trouble: Callable[[StorageError], None],
        done: Done,
    ) -> None:
        self._path, self._synchronous, self._lock = path, synchronous, lock
        self._on_trouble, self._done = on_trouble, done
        self._loop: asyncio.AbstractEventLoop | None = None
        self._detached = False
        self._ended: list[Ended] = []
        # With the mark of each.
        self._under_way: deque[tuple[int, Group]] = deque()
        # Goes on from what the file has: no group is ever taken for one of an earlier life.
        self._mark = read_mark(path)
        self._start()

    def _start(self) -> None:
        """Start a child; OSError when there can be no process now."""
        self._lives = False
        ours, theirs = socket.socketpair()
        try:
            arguments = [str(theirs.fileno()), str(self._path), self._synchronous]
            self._child = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", "gateway.storage.child", *arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self._lock),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._lives = True
        self._socket = ours
        self._socket.setblocking(False)
        self._unsent = bytearray()
        self._unpacker = Unpacker()
        self._numbers: dict[Statement, int] = {}
        # Statements the child has not been told of.
        self._fresh: list[tuple[int, str, int, int]] = []

    def submit(self, group: Group) -> None:
        """Send one group; never blocks. Called in the loop, or after ``detach``."""
        if not self._lives:
            try:
                self._start()
            except OSError as error:
                self._refuse(group, StorageUnavailable(f"{self._path}: no writer process can be started: {error}"))
                return
        if self._loop is None and not self._detached:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._socket.fileno(), self._readable)
        self._mark = self._mark % _MOST_MARK + 1
        try:
            frame = self._frame(group)
        except ValueError:
            group = self._packable(group)
            frame = self._frame(group)
        self._under_way.append((self._mark, group))
        self._unsent += frame
        if not self._detached:
            self._send()

    def _refuse(self, group: Group, error: StorageError) -> None:
        outcomes: list[StorageError | None] = [error] * len(group)
        if self._detached:
            self._ended.append((group, outcomes))
        else:
            # Not within the call that hands it over.
            asyncio.get_running_loop().call_soon(self._done, group, outcomes)

    def _packable(self, group: Group) -> Group:
        """Return a group with plain values; a submission with a value that no column takes fails alone."""
        kept: Group = []
        for future, writes in group:
            submission = (future, [(statement, plain(row)) for statement, row in writes])
            try:
                pack([row for _, row in submission[1]])
            except ValueError as error:
                if not future.done():
                    future.set_exception(StorageRefused(f"{self._path}: {error}"))
            else:
                kept.append(submission)
        return kept

    def _frame(self, group: Group) -> bytes:
        numbers, fresh = self._numbers, self._fresh
        submissions = []
        for _, writes in group:
            submission = []
            for statement, row in writes:
                number = numbers.get(statement)
                if number is None:
                    number = numbers[statement] = len(numbers)
                    fresh.append((number, statement.sql, int(statement.phase), statement.columns))
                submission.append((number, row))
            submissions.append(submission)
        frame = pack((fresh, submissions, self._mark))
        self._fresh = []
        return frame

    def _send(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            if self._loop is not None:
                self._loop.add_writer(self._socket.fileno(), self._writable)
        except OSError:
            # The child is gone; reading says so too.
            self._unsent.clear()

    def _writable(self) -> None:
        if self._loop is not None:
            self._loop.remove_writer(self._socket.fileno())
        self._send()

    def _readable(self) -> None:
        try:
            octets = self._socket.recv(_READ_OCTETS)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if octets:
            self._take(octets)
        else:
            self._begin_again()

    def _take(self, octets: bytes) -> None:
        for kind, value in self._unpacker.feed(octets):
            if kind == "outcomes":
                self._end_group([unpack_error(outcome) for outcome in value])
            elif (error := unpack_error(value)) is not None:
                self._on_trouble(error)

    def _end_group(self, outcomes: list[StorageError | None]) -> None:
        _, group = self._under_way.popleft()
        if self._detached:
            self._ended.append((group, outcomes))
        else:
            self._done(group, outcomes)

    def _begin_again(self) -> None:
        """Replace a child that died."""
        self._unwatch()
        self._socket.close()
        error = StorageUnavailable(f"{self._path}: its writer process ended ({self._child.wait()})")
        # What is submitted while these are told belongs to the new child: its answers count from there.
        ended = self._ended_with_child(error)
        # When there can be no process now, the next group tries again.
        with suppress(OSError):
            self._start()
        self._on_trouble(error)
        for group, outcomes in ended:
            self._done(group, outcomes)

    def _ended_with_child(self, error: StorageError) -> list[Ended]:
        """Return what a child that is gone had not answered: committed, as the file tells, or lost with ``error``."""
        lost, self._under_way = self._under_way, deque()
        if not lost:
            return []
        try:
            committed = read_mark(self._path)
        except StorageError:
            committed = 0
        return [(group, [None if mark == committed else error] * len(group)) for mark, group in lost]

    def _unwatch(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
        self._loop = None

    def detach(self) -> None:
        """Leave the loop, so that ``close`` may block in another thread; call in the loop's thread."""
        self._unwatch()
        self._detached = True

    def close(self) -> list[Ended]:
        """Have everything submitted committed, wait for the child's last checkpoint; blocks; after ``detach``.

        Return what ended meanwhile: the futures belong to the loop's thread.
        """
        # OSError: the child is gone already.
        with suppress(OSError):
            self._socket.setblocking(True)
            self._socket.settimeout(_CLOSE_SECONDS)
            self._socket.sendall(self._unsent)
            self._socket.shutdown(socket.SHUT_WR)
            while octets := self._socket.recv(_READ_OCTETS):
                self._take(octets)
        self._socket.close()
        try:
            self._child.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        lost = StorageUnavailable(f"{self._path}: its writer process ended")
        return self._ended + self._ended_with_child(lost)
