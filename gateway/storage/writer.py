"""The writer: one thread that owns the writing connection, commits in groups, and checkpoints.

Group commit: the thread takes everything that was submitted while the last transaction was being synced, and makes it
one transaction. Waiters learn of it in their loop, one wake-up a group.

Checkpointing: SQLite's own (every 1,000 pages, inside some unlucky commit) is off. This thread checkpoints, PASSIVE,
when about 64 MiB were written since the last time or when nothing was submitted for a second. In the mail path most
pages are written, freed and written again between two checkpoints, so rare checkpoints copy few pages: 64 MiB of log
leave some 2 MB to copy, about 3 ms. No other connection checkpoints or writes: before 3.51.3 two of them can corrupt a
file (WAL-reset bug). Closing checkpoints with TRUNCATE.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from gateway.storage.connection import PAGE_OCTETS
from gateway.storage.errors import StorageError, from_sqlite
from gateway.storage.group import GroupCommit
from gateway.storage.promptness import shorten_timer_slack
from gateway.storage.statement import Write

Submission = tuple[asyncio.Future[None], Sequence[Write]]

_CHECKPOINT_OCTETS = 64 * 1024**2
_IDLE_SECONDS = 1.0
# Under load a commit begins this long after the one before: what came meanwhile shares its sync.
_GATHER_SECONDS = 0.004
# After a wait that gathered nothing, this many commits go at once before waiting is tried again.
_UNGATHERED_COMMITS = 64
# Bounds a group's memory and the time to redo it one by one.
_GROUP_SUBMISSIONS = 512


class Writer:
    """The thread; ``on_trouble`` is called in it with what failed outside any submission (a checkpoint)."""

    def __init__(self, connection: sqlite3.Connection, path: Path, on_trouble: Callable[[StorageError], None]) -> None:
        self._connection = connection
        self._path = path
        self._group = GroupCommit(connection, path)
        self._on_trouble = on_trouble
        self._queue: SimpleQueue[Submission | None] = SimpleQueue()
        self._unchecked_octets = 0
        self._closing = False
        self._last_commit = 0.0
        self._ungathered = 0
        self._thread = threading.Thread(target=self._run, name=f"writer {path.name}", daemon=True)
        self._thread.start()

    def submit(self, submission: Submission) -> None:
        """Queue one submission; never blocks."""
        self._queue.put(submission)

    def close(self) -> None:
        """Commit everything pending, checkpoint, end the thread; blocks until done."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        shorten_timer_slack()
        while not self._closing:
            group = self._take()
            if group:
                self._commit(group)
            if self._unchecked_octets > _CHECKPOINT_OCTETS or (self._unchecked_octets and not group):
                self._checkpoint("PASSIVE")
        self._checkpoint("TRUNCATE")
        self._connection.close()

    def _take(self) -> list[Submission]:
        """Wait for work; return everything pending, or nothing after a second of idleness with a checkpoint to make."""
        try:
            first = self._queue.get(timeout=_IDLE_SECONDS if self._unchecked_octets else None)
        except Empty:
            return []
        waited = self._gather()
        group = self._drain(first)
        if len(group) > 1:
            self._ungathered = 0
        elif waited:
            self._ungathered = _UNGATHERED_COMMITS
        self._last_commit = time.monotonic()
        return group

    def _gather(self) -> bool:
        """Wait a little when commits follow each other closely; return whether it did.

        A client that sends one message after the other would only be slowed by waiting: then the wait gathers nothing,
        and is left out for a while.
        """
        if self._ungathered:
            self._ungathered -= 1
            return False
        wait = self._last_commit + _GATHER_SECONDS - time.monotonic()
        if wait <= 0 or self._closing:
            return False
        time.sleep(wait)
        return True

    def _drain(self, item: Submission | None) -> list[Submission]:
        group: list[Submission] = []
        with suppress(Empty):
            while item is not None:
                group.append(item)
                if len(group) >= _GROUP_SUBMISSIONS:
                    return group
                item = self._queue.get_nowait()
            self._closing = True
        return group

    def _commit(self, group: list[Submission]) -> None:
        outcomes = self._group.commit([writes for _, writes in group])
        self._unchecked_octets += sum(_octets(writes) for _, writes in group)
        try:
            group[0][0].get_loop().call_soon_threadsafe(_resolve, group, outcomes)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            return

    def _checkpoint(self, mode: str) -> None:
        self._unchecked_octets = 0
        try:
            self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except sqlite3.Error as error:
            # The log keeps everything; the next checkpoint tries again.
            self._on_trouble(from_sqlite(error, self._path))


def _octets(writes: Sequence[Write]) -> int:
    """Return about how many octets of log these writes made: a page a row, and contents, which stand last in theirs."""
    return sum([PAGE_OCTETS + (len(row[-1]) if type(row[-1]) is bytes else 0) for _, row in writes])


def _resolve(group: list[Submission], outcomes: list[StorageError | None]) -> None:
    for (future, _), error in zip(group, outcomes, strict=True):
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
