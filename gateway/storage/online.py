"""Copying a store while it is written, and looking into the copy: SQLite's online backup interface.

The copy is one moment of the store: a read transaction is opened first and kept, so that however long the copying
takes, what is committed meanwhile is not in it and never makes SQLite begin anew. The writer is not held up; its log
grows by what is committed until the copy is done, since a checkpoint stops at the oldest reader.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from gateway.storage.connection import connect_reader
from gateway.storage.errors import from_sqlite
from gateway.storage.reader import ReadDatabase

# 512 KiB of our pages between two calls of the progress function, which may sleep.
_STEP_PAGES = 64
_HEAD = b"SQLite format 3\0"

Progress = Callable[[int, int], None]
"""Hears pages copied and pages in all."""


def is_database(path: Path) -> bool:
    """Tell whether a file begins as SQLite's do; OSError."""
    with path.open("rb") as file:
        return file.read(len(_HEAD)) == _HEAD


def copy_online(source: Path, target: Path, progress: Progress) -> None:
    """Write the store ``source`` as it is now to the new file ``target``; raises StorageError.

    The copy is not synced: whoever keeps it sees to that.
    """
    with closing(connect_reader(source)) as reading:
        try:
            with closing(sqlite3.connect(target, isolation_level=None)) as writing:
                writing.execute("PRAGMA journal_mode = OFF")
                writing.execute("PRAGMA synchronous = OFF")
                reading.execute("BEGIN")
                reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
                reading.backup(
                    writing, pages=_STEP_PAGES, progress=lambda _, left, total: progress(total - left, total)
                )
        except sqlite3.Error as error:
            raise from_sqlite(error, target) from error


def integrity(path: Path) -> list[str]:
    """Return what SQLite's full check finds wrong, nothing for a sound store; raises StorageError."""
    with ReadDatabase(path) as database:
        return [str(row[0]) for row in database.read("PRAGMA integrity_check(10)") if row[0] != "ok"]


def table_rows(path: Path) -> dict[str, int]:
    """Return how many rows each table has; raises StorageError."""
    with ReadDatabase(path) as database:
        tables = database.read(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        )
        quoted = [(str(name), '"' + str(name).replace('"', '""') + '"') for (name,) in tables]
        return {name: int(database.read(f"SELECT count(*) FROM {table}")[0][0]) for name, table in quoted}  # noqa: S608 - quoted names


def amend(path: Path, statements: Sequence[tuple[str, Sequence[Sequence[object]]]]) -> int:
    """Execute each statement for each of its rows of parameters, as one transaction, on a store that nobody serves.

    Return how many rows were changed; the file is left without a log. Raises StorageError.
    """
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            before = connection.total_changes
            connection.execute("BEGIN IMMEDIATE")
            for sql, rows in statements:
                connection.executemany(sql, rows)
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return connection.total_changes - before
    except sqlite3.Error as error:
        raise from_sqlite(error, path) from error
