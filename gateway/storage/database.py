"""One store: a SQLite file with its schema, its single writer and its readers.

Promise: when the future of ``commit`` has a result, the rows survive a crash of the process and, with
``synchronous="FULL"``, of the machine. A failed submission left nothing behind. Errors are values of one tree
(``gateway.storage``), and the store works again when their cause is gone.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from gateway.storage.committer import Committer
from gateway.storage.connection import Synchronous, connect_writer
from gateway.storage.durable import make_folder
from gateway.storage.errors import StorageCorrupt, StorageError, StorageUnavailable, from_sqlite
from gateway.storage.lock import FileLock
from gateway.storage.migration import Migration, migrate
from gateway.storage.process import ProcessWriter
from gateway.storage.promptness import shorten_switch_interval
from gateway.storage.reader import ReadDatabase, Row
from gateway.storage.statement import Write
from gateway.storage.writer import Ended, Group, ThreadWriter

# A group waits for company while the loop has other work, so long at most. Measured with 20 clients and 8 KB beside a
# virus scanner: a sixth less processor time a message, of writers and of workers, than where it waited 2 ms whatever
# the loop did. A client that sends alone is not kept waiting.
_GATHER_SECONDS = 0.01
# A turn of the loop in which nothing is done takes 1 to 3 µs; a command of a client 50 and more.
_IDLE_TURN_SECONDS = 50e-6
# Bounds a group's memory and the time to redo it one by one.
_GROUP_SUBMISSIONS = 512
# The writer process of a predecessor that was killed has at most one group to commit.
_LOCK_SECONDS = 5.0


def _ignore(_: StorageError) -> None:
    """Take no notice of troubles that the next commit will show."""


class Database:
    """A store, open from construction to ``close``.

    Construction blocks (recovery, migrations) and raises StorageError: StorageLocked while another process serves the
    file, StorageTooNew, StorageCorrupt. ``on_trouble`` hears, in the writer's thread, of failures that belong to no
    submission. ``writer`` says where SQL runs: in a ``process`` of its own for the mail path, in a ``thread``
    elsewhere.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[Migration],
        *,
        synchronous: Synchronous,
        on_trouble: Callable[[StorageError], None] = _ignore,
        writer: Literal["thread", "process"] = "thread",
    ) -> None:
        self.path = path
        shorten_switch_interval()
        make_folder(path.parent)
        self._lock = FileLock(path, _LOCK_SECONDS if writer == "process" else 0.0)
        try:
            connection = _open(path, migrations, synchronous)
        except StorageError:
            self._lock.release()
            raise
        self._writer: ThreadWriter | ProcessWriter | None
        if writer == "thread":
            self._writer = ThreadWriter(Committer(connection, path, on_trouble), path.name, self._done)
        else:
            connection.close()
            try:
                self._writer = ProcessWriter(
                    path, synchronous, self._lock.descriptor, on_trouble=on_trouble, done=self._done
                )
            except (StorageError, OSError):
                self._lock.release()
                raise
        self._pending: Group = []
        self._in_flight = False
        self._gathering = False
        # When the first of what is pending came to wait, and when this turn of the loop began.
        self._since = self._turned = 0.0
        # One reader: a queue listing and a delivery scan may wait for each other, never for a writer.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"reader {path.name}")
        self._reader: ReadDatabase | None = None

    def commit(self, writes: Sequence[Write]) -> asyncio.Future[None]:
        """Submit writes as one unit; the future resolves when they are durable, or fails with StorageError.

        Cancelling the future does not take the submission back.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if self._writer is None:
            future.set_exception(StorageUnavailable(f"{self.path} is closed"))
            return future
        self._pending.append((future, writes))
        if not self._in_flight:
            self._gather(loop)
        return future

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand over when the loop has nothing else to do: as long as it has, more may come to share a sync."""
        if not self._gathering:
            self._gathering = True
            self._since = self._turned = time.monotonic()
            loop.call_soon(self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell by how long the turn took whether anything else was done in it."""
        now = time.monotonic()
        if now - self._turned < _IDLE_TURN_SECONDS or now - self._since >= _GATHER_SECONDS:
            self._gathering = False
            self._hand_over()
        else:
            self._turned = now
            loop.call_soon(self._look, loop)

    def _hand_over(self) -> None:
        """Give everything pending to the writer as one group; one group is under way at a time."""
        group, self._pending = self._pending[:_GROUP_SUBMISSIONS], self._pending[_GROUP_SUBMISSIONS:]
        if group and self._writer is not None:
            self._in_flight = True
            self._writer.submit(group)

    def _done(self, group: Group, outcomes: list[StorageError | None]) -> None:
        self._in_flight = False
        if self._pending:
            self._gather(self._pending[0][0].get_loop())
        for (future, _), error in zip(group, outcomes, strict=True):
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    async def read(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return the rows of a query, run in another thread on a connection that cannot write."""
        if self._writer is None:
            raise StorageUnavailable(f"{self.path} is closed")
        return await asyncio.get_running_loop().run_in_executor(self._executor, self.read_now, sql, parameters)

    def read_now(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return the rows of a query, blocking: for opening, and inside ``read``'s thread."""
        if self._reader is None:
            self._reader = ReadDatabase(self.path)
        return self._reader.read(sql, parameters)

    async def close(self) -> None:
        """Commit what is pending, checkpoint, let go of the file; a second time does nothing."""
        if (writer := self._detached()) is not None:
            self._resolve(await asyncio.get_running_loop().run_in_executor(None, self._shut, writer))

    def close_now(self) -> None:
        """Close, blocking, in the loop's thread or without a loop."""
        if (writer := self._detached()) is not None:
            self._resolve(self._shut(writer))

    def _detached(self) -> ThreadWriter | ProcessWriter | None:
        """Return the writer with everything pending submitted, None when the store is closed already."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.detach()
            if self._pending:
                writer.submit(self._pending)
                self._pending = []
        return writer

    def _shut(self, writer: ThreadWriter | ProcessWriter) -> list[Ended]:
        self._executor.shutdown()
        if self._reader is not None:
            self._reader.close()
        ended = writer.close()
        self._lock.release()
        return ended

    def _resolve(self, ended: list[Ended]) -> None:
        for group, outcomes in ended:
            self._done(group, outcomes)


def _open(path: Path, migrations: Sequence[Migration], synchronous: Synchronous) -> sqlite3.Connection:
    connection = connect_writer(path, synchronous)
    try:
        migrate(connection, migrations)
    except sqlite3.Error as error:
        connection.close()
        raise from_sqlite(error, path) from error
    except StorageError as error:
        connection.close()
        raise type(error)(f"{path}: {error}") from error
    return connection


def check_structure(path: Path) -> None:
    """Raise StorageCorrupt when SQLite's quick check finds damage; reads the whole file, so only for doubtful ones."""
    with ReadDatabase(path) as database:
        found = [row[0] for row in database.read("PRAGMA quick_check(3)")]
    if found != ["ok"]:
        raise StorageCorrupt(f"{path}: {'; '.join(map(str, found))}")
