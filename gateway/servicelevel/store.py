"""The store of daily summaries, of how far each shard was counted, and of what was observed of each minute.

``data/servicelevel/summaries.sqlite``: one process writes (the supervisor), any number read beside it. Everything in it
but the observations can be made again from the ledger.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gateway.servicelevel.conditions import DayKey
from gateway.servicelevel.records import FOLDER
from gateway.servicelevel.summary import DaySummary
from gateway.storage import (
    Database,
    Migration,
    Phase,
    ReadDatabase,
    Row,
    Schema,
    Statement,
    Write,
    insert_into,
    open_readonly,
)

FILE_NAME = "summaries.sqlite"

_SUMMARY = """
CREATE TABLE summary (
    customer TEXT NOT NULL, day TEXT NOT NULL, direction TEXT NOT NULL, zone TEXT NOT NULL, until REAL NOT NULL,
    digest TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (customer, day, direction)
) WITHOUT ROWID"""
_CURSOR = """
CREATE TABLE cursor (
    shard TEXT PRIMARY KEY, id INTEGER NOT NULL, trace_id TEXT NOT NULL, number INTEGER NOT NULL,
    finished_at REAL NOT NULL
) WITHOUT ROWID"""
_OBSERVED = """
CREATE TABLE observed (
    id INTEGER PRIMARY KEY, customer TEXT NOT NULL, direction TEXT NOT NULL, state TEXT NOT NULL, first INTEGER NOT
    NULL, last INTEGER NOT NULL, reason TEXT NOT NULL
)"""


def _create(schema: Schema) -> None:
    for table in (_SUMMARY, _CURSOR, _OBSERVED):
        schema.execute(table)
    schema.execute("CREATE INDEX observed_when ON observed (customer, last)")


MIGRATIONS = (Migration(1, "servicelevel", _create),)

_PUT_SUMMARY = insert_into(
    "summary",
    ("customer", "day", "direction", "zone", "until", "digest", "data"),
    "(customer, day, direction) DO UPDATE SET zone = excluded.zone, until = excluded.until,"
    " digest = excluded.digest, data = excluded.data",
)
_PUT_CURSOR = insert_into(
    "cursor",
    ("shard", "id", "trace_id", "number", "finished_at"),
    "(shard) DO UPDATE SET id = excluded.id, trace_id = excluded.trace_id, number = excluded.number,"
    " finished_at = excluded.finished_at",
)
_PUT_OBSERVED = insert_into("observed", ("customer", "direction", "state", "first", "last", "reason"))
_EXTEND_OBSERVED = Statement("UPDATE observed SET last = ? WHERE id = ?", Phase.UPDATE)
_PRUNE_OBSERVED = Statement("DELETE FROM observed WHERE last < ?", Phase.DELETE)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDay:
    """A day's summary, and the ``digest`` of what bore on it, on copies that end before ``until``."""

    key: DayKey
    direction: str
    until: float
    digest: str
    summary: DaySummary

    def write(self) -> Write:
        """Return the row that keeps it, in the place of an older one."""
        key = self.key
        return _PUT_SUMMARY, (
            key.customer,
            key.day,
            self.direction,
            key.zone,
            self.until,
            self.digest,
            self.summary.encode(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a shard was counted: its last row, by number and by what it was."""

    shard: str
    id: int
    trace_id: str
    number: int
    finished_at: float

    def write(self) -> Write:
        """Return the row that keeps it."""
        return _PUT_CURSOR, (self.shard, self.id, self.trace_id, self.number, self.finished_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Minutes ``first`` to ``last`` (numbers since 1970, both included) of one state; ``id`` 0 before it is stored."""

    customer: str
    direction: str
    state: str
    first: int
    last: int
    reason: str
    id: int = 0

    def write(self) -> Write:
        """Return the write that begins it."""
        return _PUT_OBSERVED, (self.customer, self.direction, self.state, self.first, self.last, self.reason)

    def extended(self, last: int) -> Write:
        """Return the write that makes it last longer."""
        return _EXTEND_OBSERVED, (last, self.id)


def open_store(data: Path) -> Database:
    """Return the store, open for writing; raises StorageError."""
    return Database(data / FOLDER / FILE_NAME, MIGRATIONS, synchronous="FULL")


def pruned_before(minute: int) -> Write:
    """Return the write that forgets what was observed before a minute."""
    return _PRUNE_OBSERVED, (minute,)


class StoreReader:
    """Reads the store; everything is empty where there is none yet. A context manager; raises StorageError."""

    def __init__(self, data: Path) -> None:
        path = data / FOLDER / FILE_NAME
        self._database: ReadDatabase | None = open_readonly(path) if path.exists() else None

    def days(self, customer: str, days: Iterable[str]) -> list[StoredDay]:
        """Return a customer's summaries of the days from the first to the last given."""
        wanted = sorted(days)
        where = "WHERE customer = ? AND day >= ? AND day <= ? ORDER BY day, direction"
        return self._days(where, (customer, wanted[0], wanted[-1]))

    def day(self, key: DayKey, direction: str) -> StoredDay | None:
        """Return one summary."""
        found = self._days("WHERE customer = ? AND day = ? AND direction = ?", (key.customer, key.day, direction))
        return found[0] if found else None

    def all_days(self) -> list[tuple[DayKey, str, float, str]]:
        """Return key, direction, horizon and digest of every summary, without its figures."""
        rows = self._rows("SELECT customer, day, zone, direction, until, digest FROM summary", ())
        return [(DayKey(row[0], row[1], row[2]), row[3], row[4], row[5]) for row in rows]

    def cursors(self) -> dict[str, Cursor]:
        """Return how far each shard was counted, by the shard's file name."""
        rows = self._rows("SELECT shard, id, trace_id, number, finished_at FROM cursor", ())
        return {r[0]: Cursor(shard=r[0], id=r[1], trace_id=r[2], number=r[3], finished_at=r[4]) for r in rows}

    def observed(self, customer: str, first: int, last: int) -> list[Observed]:
        """Return what was observed of a customer's minutes, in the order written."""
        rows = self._rows(
            "SELECT customer, direction, state, first, last, reason, id FROM observed"
            " WHERE customer = ? AND last >= ? AND first <= ? ORDER BY id",
            (customer, first, last),
        )
        names = ("customer", "direction", "state", "first", "last", "reason", "id")
        return [Observed(**dict(zip(names, row, strict=True))) for row in rows]

    def latest_observed(self, customer: str, direction: str) -> Observed | None:
        """Return the last thing that was observed in one direction."""
        rows = self._rows(
            "SELECT customer, direction, state, first, last, reason, id FROM observed"
            " WHERE customer = ? AND direction = ? ORDER BY last DESC, id DESC LIMIT 1",
            (customer, direction),
        )
        names = ("customer", "direction", "state", "first", "last", "reason", "id")
        return Observed(**dict(zip(names, rows[0], strict=True))) if rows else None

    def _days(self, where: str, values: tuple[object, ...]) -> list[StoredDay]:
        select = f"SELECT customer, day, zone, direction, until, digest, data FROM summary {where}"  # noqa: S608 - constants
        return [
            StoredDay(
                key=DayKey(row[0], row[1], row[2]),
                direction=row[3],
                until=row[4],
                digest=row[5],
                summary=DaySummary.decode(row[6]),
            )
            for row in self._rows(select, values)
        ]

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[Row]:
        return [] if self._database is None else self._database.read(sql, values)

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
