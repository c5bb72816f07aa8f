"""Looking into stores beside whoever serves them, and amending those that nobody serves."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from gateway.storage.errors import from_sqlite
from gateway.storage.reader import ReadDatabase

_HEAD = b"SQLite format 3\0"


def is_database(path: Path) -> bool:
    """Tell whether a file begins as SQLite's do; OSError."""
    with path.open("rb") as file:
        return file.read(len(_HEAD)) == _HEAD


def integrity(path: Path) -> list[str]:
    """Return what SQLite's full check finds wrong, nothing for a sound store; raises StorageError."""
    with ReadDatabase(path) as database:
        return [str(row[0]) for row in database.read("PRAGMA integrity_check(10)") if row[0] != "ok"]


def table_rows(database: ReadDatabase) -> dict[str, int]:
    """Return how many rows each table has; raises StorageError."""
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
