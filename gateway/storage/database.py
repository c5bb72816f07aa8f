"""One store: a SQLite file with its schema, its single writer and its readers.

Promise: when the future of ``commit`` has a result, the rows survive a crash of the process and, with
``synchronous="FULL"``, of the machine. A failed submission left nothing behind. Errors are values of one tree
(``gateway.storage``), and the store works again when their cause is gone.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.storage.connection import Synchronous, connect_writer
from gateway.storage.durable import make_folder
from gateway.storage.errors import StorageCorrupt, StorageError, StorageUnavailable, from_sqlite
from gateway.storage.lock import FileLock
from gateway.storage.migration import Migration, migrate
from gateway.storage.promptness import shorten_switch_interval
from gateway.storage.reader import ReadDatabase, Row
from gateway.storage.statement import Write
from gateway.storage.writer import Writer


def _ignore(_: StorageError) -> None:
    """Take no notice of troubles that the next commit will show."""


class Database:
    """A store, open from construction to ``close``.

    Construction blocks (recovery, migrations) and raises StorageError: StorageLocked while another process serves the
    file, StorageTooNew, StorageCorrupt. ``on_trouble`` hears, in the writer's thread, of failures that belong to no
    submission.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[Migration],
        *,
        synchronous: Synchronous,
        on_trouble: Callable[[StorageError], None] = _ignore,
    ) -> None:
        self.path = path
        shorten_switch_interval()
        make_folder(path.parent)
        self._lock = FileLock(path)
        try:
            connection = _open(path, migrations, synchronous)
        except StorageError:
            self._lock.release()
            raise
        self._writer: Writer | None = Writer(connection, path, on_trouble)
        # One reader: a queue listing and a delivery scan may wait for each other, never for a writer.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"reader {path.name}")
        self._reader: ReadDatabase | None = None

    def commit(self, writes: Sequence[Write]) -> asyncio.Future[None]:
        """Submit writes as one unit; the future resolves when they are durable, or fails with StorageError.

        Cancelling the future does not take the submission back.
        """
        future = asyncio.get_running_loop().create_future()
        if self._writer is None:
            future.set_exception(StorageUnavailable(f"{self.path} is closed"))
        else:
            self._writer.submit((future, writes))
        return future

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
        """Commit what is pending, checkpoint, let go of the file."""
        await asyncio.get_running_loop().run_in_executor(None, self.close_now)

    def close_now(self) -> None:
        """Close, blocking; a second time does nothing."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        self._executor.shutdown()
        if self._reader is not None:
            self._reader.close()
        writer.close()
        self._lock.release()


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
