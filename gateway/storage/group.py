"""One group commit: everything pending becomes one transaction, and one bad submission fails alone."""

import os
import sqlite3
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

from gateway.storage.errors import BINDING_ERRORS, StorageError, StorageFull, StorageRefused, from_os, from_sqlite
from gateway.storage.reader import ReadDatabase
from gateway.storage.statement import Statement, Write

_PHASE = attrgetter("phase")


class GroupCommit:
    """Commits submissions on one connection."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def commit(self, submissions: Sequence[Sequence[Write]], mark: int = 0) -> list[StorageError | None]:
        """Make all submissions durable in one transaction; return None or the error for each, in order.

        After a failure that may be one submission's alone, each is tried by itself. That includes a full disk:
        deliveries free room, and must not fail because of a large message beside them. ``mark``, where it is not 0, is
        in the file (``read_mark``) when all were committed together.
        """
        error = self._try([write for writes in submissions for write in writes], mark)
        if error is None:
            return [None] * len(submissions)
        if len(submissions) > 1 and isinstance(error, StorageRefused | StorageFull):
            return [self._try(writes) for writes in submissions]
        return [error] * len(submissions)

    def _try(self, writes: Sequence[Write], mark: int = 0) -> StorageError | None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._apply(writes)
            if mark:
                # On the first page, which nearly every transaction writes: it costs no page of the log.
                self._connection.execute(f"PRAGMA user_version = {mark}")
            self._connection.execute("COMMIT")
        except (sqlite3.Error, *BINDING_ERRORS) as error:
            self._roll_back()
            return from_sqlite(error, self._path)
        return None

    def _apply(self, writes: Sequence[Write]) -> None:
        rows: dict[Statement, list[tuple[object, ...]]] = {}
        for statement, row in writes:
            known = rows.get(statement)
            if known is None:
                rows[statement] = [row]
            else:
                known.append(row)
        # Sorting is stable: statements of one phase keep the order in which they were first submitted.
        for statement in sorted(rows, key=_PHASE):
            if statement.columns:
                for sql, parameters in statement.batches(rows[statement]):
                    self._connection.execute(sql, parameters)
            else:
                self._connection.executemany(statement.sql, rows[statement])

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            # SQLite already rolled back by itself (disk full, I/O error) or cannot; the next BEGIN tells.
            return


def read_mark(path: Path) -> int:
    """Return the mark of the last group that was committed as one, 0 in a file without any; raises StorageError.

    What is seen is made durable first: whoever committed it may have died before its log was synced.
    """
    with ReadDatabase(path) as database:
        mark = int(database.read("PRAGMA user_version")[0][0])
    try:
        with path.with_name(f"{path.name}-wal").open("rb") as log:
            os.fsync(log.fileno())
    except FileNotFoundError:
        # All of it is in the file.
        return mark
    except OSError as error:
        raise from_os(error, path) from error
    return mark
