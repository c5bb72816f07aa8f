"""Reading a store beside the process that serves it: ``mode=ro``, ``query_only``, nothing a writer waits for."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from gateway.storage.connection import connect_reader
from gateway.storage.errors import from_sqlite

Row: TypeAlias = tuple[Any, ...]
"""One row as SQLite gives it."""

# Rows fetched at a time: iteration stays in constant memory.
_FETCH_ROWS = 512


class ReadDatabase:
    """A store opened for reading only; a context manager; raises StorageError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = connect_reader(path)

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return all rows of a query."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise from_sqlite(error, self.path) from error

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[Row]:
        """Yield the rows of a query of any size."""
        try:
            cursor = self._connection.execute(sql, parameters)
            while page := cursor.fetchmany(_FETCH_ROWS):
                yield from page
        except sqlite3.Error as error:
            raise from_sqlite(error, self.path) from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_readonly(path: Path) -> ReadDatabase:
    """Return ``path`` opened for reading; StorageUnavailable when there is none."""
    return ReadDatabase(path)
