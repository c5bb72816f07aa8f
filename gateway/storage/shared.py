"""A store that several processes write, one at a time, each for one transaction: a keeper beside operators' commands.

SQLite before 3.51.3 can corrupt a file whose log two connections write or checkpoint at once (the WAL-reset bug). So a
writer holds the store's lock from before it opens the file until it has checkpointed and closed it; readers
(``open_readonly``) wait for nobody. Opening costs about a millisecond, which is why the mail path has ``Database``.
Everything is durable (synchronous=FULL) when the ``with`` block is left; an exception in it leaves nothing behind.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
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
    """One file; nothing is open between transactions."""

    def __init__(
        self, path: Path, migrations: Sequence[Migration], *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self.path = path
        self._migrations = migrations
        self._patience_seconds = patience_seconds

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Begin; commit when the block ends, roll back when it raises; StorageLocked names who is in the way."""
        make_folder(self.path.parent)
        lock = FileLock(self.path, self._patience_seconds)
        try:
            with closing(self._opened()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield Transaction(connection, self.path)
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
                # Under the lock; a reader in the way is waited for by the next one.
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise from_sqlite(error, self.path) from error
        finally:
            lock.release()

    def _opened(self) -> sqlite3.Connection:
        connection = connect_writer(self.path, "FULL")
        try:
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            migrate(connection, self._migrations)
        except (sqlite3.Error, StorageError):
            connection.close()
            raise
        return connection
