"""Finished copies as the delay clauses need them: a few columns, in the order written, from where one stopped.

The ledger's ``DelayRecord`` has everything; counting ten million of them wants a third of it. Attempts are read only
where there was more than one, or where the copy was not delivered.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.storage import open_readonly


class FinishedCopy(NamedTuple):
    """One recipient's copy whose custody has ended; fields as in DelayRecord. ``attempts`` is JSON, "" when one."""

    id: int
    trace_id: str
    number: int
    customer: str
    domain: str
    reverse_path: str
    role: str
    origin: str
    action: str
    received_at: float
    filtered_seconds: float
    durable_seconds: float
    antivirus_seconds: float
    held_seconds: float
    greylisted_seconds: float
    transfer_started_at: float | None
    accepted_at: float | None
    send_delay_seconds: float | None
    receive_delay_seconds: float | None
    finished_at: float
    status: str
    next_hop: str
    relay: str
    attempts: str


_PLAIN = ", ".join(FinishedCopy._fields[:-1])
_SELECT = (
    f"SELECT {_PLAIN}, CASE WHEN attempt_count > 1 OR status <> 'delivered' THEN attempts ELSE '' END"  # noqa: S608 - constants
    " FROM ledger"
)


def shards(data: Path) -> list[Path]:
    """Return the ledger's files under a data folder."""
    return sorted((data / "spool").glob("shard-*.sqlite"))


def finished_after(shard: Path, cursor: int, limit: int) -> list[FinishedCopy]:
    """Return at most ``limit`` copies of a shard written after row ``cursor``, in order; StorageError."""
    return list(_query(shard, "WHERE id > ? ORDER BY id LIMIT ?", (cursor, limit)))


def finished_at(shard: Path, cursor: int) -> FinishedCopy | None:
    """Return the copy of row ``cursor``, None when it is not there (any more)."""
    return next(_query(shard, "WHERE id = ?", (cursor,)), None)


def written_before(shard: Path, cursor: int, limit: int) -> list[tuple[str, int]]:
    """Return trace id and number of the last ``limit`` copies of a shard before row ``cursor``; StorageError."""
    with open_readonly(shard) as database:
        if not database.read("SELECT 1 FROM sqlite_master WHERE name = 'ledger'"):
            return []
        query = "SELECT trace_id, number FROM ledger WHERE id < ? ORDER BY id DESC LIMIT ?"
        return [(row[0], row[1]) for row in database.read(query, (cursor, limit))]


def any_received(shard: Path, start_utc: float, end_utc: float, limit: int) -> list[float]:
    """Return when copies were received from ``start_utc`` to before ``end_utc``, at most ``limit``; StorageError."""
    with open_readonly(shard) as database:
        if not database.read("SELECT 1 FROM sqlite_master WHERE name = 'ledger'"):
            return []
        query = "SELECT DISTINCT received_at FROM ledger WHERE received_at >= ? AND received_at < ? LIMIT ?"
        return [float(row[0]) for row in database.read(query, (start_utc, end_utc, limit))]


def received_between(shard: Path, start_utc: float, end_utc: float) -> Iterator[FinishedCopy]:
    """Yield the copies received from ``start_utc`` to before ``end_utc``, in order of receipt."""
    yield from _query(shard, "WHERE received_at >= ? AND received_at < ? ORDER BY received_at", (start_utc, end_utc))


def kept_since(data: Path) -> float | None:
    """Return since when the ledger has everything, 0 where nothing was ever pruned, None when empty; StorageError."""
    found = []
    for shard in shards(data):
        with open_readonly(shard) as database:
            if database.read("SELECT 1 FROM sqlite_master WHERE name = 'ledger'"):
                first, oldest = database.read("SELECT min(id), min(received_at) FROM ledger")[0]
                # Rows are numbered from 1, and the oldest are pruned first.
                found += [] if first is None else [0.0 if first == 1 else float(oldest)]
    return max(found, default=None)


def _query(shard: Path, where: str, values: tuple[object, ...]) -> Iterator[FinishedCopy]:
    with open_readonly(shard) as database:
        if database.read("SELECT 1 FROM sqlite_master WHERE name = 'ledger'"):
            yield from map(FinishedCopy._make, database.rows(f"{_SELECT} {where}", values))
