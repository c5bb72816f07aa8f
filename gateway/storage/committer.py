"""The work of a writer, wherever it runs: commit groups on the one writing connection, and checkpoint.

Group commit: everything submitted while the last transaction was being synced, or while the loop was busy, becomes one
transaction.

Checkpointing: SQLite's own (every 1,000 pages, inside some unlucky commit) is off. The writer checkpoints, PASSIVE,
when about 64 MiB were written since the last time or when nothing was submitted for a second. In the mail path most
pages are written, freed and written again between two checkpoints, so rare checkpoints copy few pages: 64 MiB of log
leave some 2 MB to copy, about 3 ms. No other connection checkpoints or writes: before 3.51.3 two of them can corrupt a
file (WAL-reset bug). Closing checkpoints with TRUNCATE.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.storage.connection import PAGE_OCTETS
from gateway.storage.errors import StorageError, from_sqlite
from gateway.storage.group import GroupCommit
from gateway.storage.statement import Write

_CHECKPOINT_OCTETS = 64 * 1024**2
# A writer with something to checkpoint does so after this long without work.
IDLE_SECONDS = 1.0
# Who holds a moment (a backup, for an hour) lets the log grow; a look whether they still do takes some milliseconds.
HELD_SECONDS = 10.0


class Committer:
    """Owns the connection until ``close``; ``on_trouble`` hears what failed outside any submission (a checkpoint)."""

    def __init__(self, connection: sqlite3.Connection, path: Path, on_trouble: Callable[[StorageError], None]) -> None:
        self._connection = connection
        self._path = path
        self._group = GroupCommit(connection, path)
        self._on_trouble = on_trouble
        self._unchecked_octets = 0
        self._is_held = False

    @property
    def patience_seconds(self) -> float | None:
        """How long to wait for work before calling ``idle``; None: for ever."""
        if self._unchecked_octets:
            return IDLE_SECONDS
        return HELD_SECONDS if self._is_held else None

    def commit(self, submissions: Sequence[Sequence[Write]], mark: int = 0) -> list[StorageError | None]:
        """Make one group durable; return None or the error for each submission; ``mark`` as in ``GroupCommit``."""
        outcomes = self._group.commit(submissions, mark)
        self._unchecked_octets += sum([_octets(writes) for writes in submissions])
        return outcomes

    def keep_up(self) -> None:
        """Checkpoint when much was written; behind the answers, for mail waits for them."""
        if self._unchecked_octets > _CHECKPOINT_OCTETS:
            self.idle()

    def idle(self) -> None:
        """Checkpoint."""
        self._checkpoint("PASSIVE")

    def close(self) -> None:
        """Checkpoint and let go of the file."""
        self._checkpoint("TRUNCATE")
        self._connection.close()

    def _checkpoint(self, mode: str) -> None:
        self._unchecked_octets = 0
        try:
            _, logged, copied = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()[0]
            self._is_held = copied < logged
        except sqlite3.Error as error:
            # The log keeps everything; the next checkpoint tries again.
            self._on_trouble(from_sqlite(error, self._path))


def _octets(writes: Sequence[Write]) -> int:
    """Return about how many octets of log these writes made: a page a row, and contents, which stand last in theirs."""
    return sum([PAGE_OCTETS + (len(row[-1]) if type(row[-1]) is bytes else 0) for _, row in writes])
