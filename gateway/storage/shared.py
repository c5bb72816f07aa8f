"""A store that several processes write, one at a time, each for one transaction: a keeper beside operators' commands.

SQLite before 3.51.3 can corrupt a file whose log two connections write or checkpoint at once (the WAL-reset bug). So a
writer holds the store's lock from before it opens the file until it has checkpointed and closed it; readers
(``open_readonly``) wait for nobody. Everything is durable (synchronous=FULL) when the ``with`` block is left; an
exception in it leaves nothing behind.

Opening, finding the pages anew and checkpointing take some milliseconds. Whoever writes all the time, one of the
writers, may have the file stay open between its transactions (``hold``): it writes and checkpoints under the lock like
the others, and closes under it as well (``let_go``). A file that was put in its place meanwhile is noticed.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.storage.connection import connect_writer
from gateway.storage.durable import make_folder
from gateway.storage.errors import BINDING_ERRORS, StorageError, from_sqlite
from gateway.storage.lock import FileLock
from gateway.storage.migration import Migration, migrate
from gateway.storage.reader import Row

# A background change takes some tenths of a second; a command that waited this long says who is in the way.
PATIENCE_SECONDS = 20.0
# Folding touches a few thousand pages a batch, which the default of 2 MiB would write and read again.
_CACHE_KIB = 32 * 1024
# A held file's log is copied back when it is so long: a minute's folding, which a reader goes through in no time.
_LOG_OCTETS = 4 * 1024**2


class Transaction:
    """What one writer does between BEGIN and COMMIT; raises StorageError."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Execute one statement and return its rows."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except (sqlite3.Error, *BINDING_ERRORS) as error:
            raise from_sqlite(error, self._path) from error

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        """Execute one statement for each row of parameters; return how many rows it changed."""
        try:
            return self._connection.executemany(sql, rows).rowcount
        except (sqlite3.Error, *BINDING_ERRORS) as error:
            raise from_sqlite(error, self._path) from error

    def insert(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Execute one insert and return the new row's number."""
        try:
            return int(self._connection.execute(sql, parameters).lastrowid or 0)
        except (sqlite3.Error, *BINDING_ERRORS) as error:
            raise from_sqlite(error, self._path) from error


class SharedDatabase:
    """One file; nothing is open between transactions, unless it is held."""

    def __init__(
        self, path: Path, migrations: Sequence[Migration], *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self.path = path
        self._migrations = migrations
        self._patience_seconds = patience_seconds
        self._is_held = False
        self._connection: sqlite3.Connection | None = None
        self._opened_file: tuple[int, int] | None = None

    def hold(self) -> None:
        """Leave the file open from the next transaction on; end with ``let_go``."""
        self._is_held = True

    def let_go(self) -> None:
        """Close the file under the lock; raises StorageError."""
        self._is_held = False
        if self._connection is not None:
            with self._locked():
                self._close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Begin; commit when the block ends, roll back when it raises; StorageLocked names who is in the way."""
        make_folder(self.path.parent)
        with self._locked():
            try:
                connection = self._ready()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield Transaction(connection, self.path)
                except BaseException:
                    # A full disk may have had SQLite do so already.
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
                self._checkpoint(connection)
            except sqlite3.Error as error:
                self._close()
                raise from_sqlite(error, self.path) from error
            except StorageError:
                self._close()
                raise
            finally:
                if not self._is_held:
                    self._close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.path, self._patience_seconds)
        try:
            yield
        finally:
            lock.release()

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        # Under the lock; a reader in the way is waited for by the next one.
        log = self.path.with_name(f"{self.path.name}-wal")
        # What fails here is no failure of the transaction, which is committed: the log keeps everything for the next.
        with suppress(sqlite3.Error, OSError):
            if not self._is_held or log.stat().st_size > _LOG_OCTETS:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _ready(self) -> sqlite3.Connection:
        """Return the connection, opened where it is not, or where the file is another one by now."""
        if self._connection is not None and _file_of(self.path) != self._opened_file:
            self._close()
        if self._connection is None:
            self._connection = self._opened()
            self._opened_file = _file_of(self.path)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        connection = connect_writer(self.path, "FULL")
        try:
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            migrate(connection, self._migrations)
        except (sqlite3.Error, StorageError):
            connection.close()
            raise
        return connection


def _file_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
