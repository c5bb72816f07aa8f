"""The record of every edition of every list, and of what operators added and removed: evidence of contract.md §4 (d).

One SQLite file, ``lists.sqlite``. Whoever writes holds the keeper's lock (``keeping``), opens the file, commits and
closes it again; reading needs no lock. Rows are never deleted: a removed addition keeps who removed it and when.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from pathlib import Path

from gateway.storage import Database, Migration, Phase, Row, Schema, Statement, Write, insert_into, open_readonly


class State(StrEnum):
    """How far an edition has come."""

    WAITING = "waiting"
    HELD = "held"
    REFUSED = "refused"
    APPLIED = "applied"
    SUPERSEDED = "superseded"


# Not in force, and not replaced by what is.
OPEN = (State.WAITING, State.HELD, State.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """One edition; times are UTC seconds.

    ``number`` counts the list's editions; ``how`` it came: file, import, url, watch or rollback; ``origin`` the file or
    address, ``who`` the operator or "schedule". ``published_known`` tells that the publisher said when, rather than the
    file's date or the moment it was fetched. ``deadline`` is None for lists without; ``deadline_official`` False when
    the calendar of that year was not announced. ``added`` and ``removed`` compare with the edition served before.
    ``accepted`` is an operator's word that a held edition is right, ``note`` why it is held or refused.
    """

    list: str
    number: int
    sha256: str
    how: str
    origin: str
    who: str
    published: float
    published_known: bool
    fetched: float
    deadline: float | None = None
    deadline_official: bool = True
    state: State = State.WAITING
    applied: float | None = None
    entries: int = 0
    added: int = 0
    removed: int = 0
    bad_lines: int = 0
    accepted: bool = False
    overdue_told: bool = False
    note: str = ""

    def met(self, now: float) -> str:
        """Return what became of the deadline: met, missed, open, or "" without one."""
        if self.deadline is None:
            return ""
        if self.applied is not None:
            return "met" if self.applied <= self.deadline else "missed"
        return "open" if now <= self.deadline else "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """An entry that an operator put on a list, or with ``excluded`` took off it, whatever its source says."""

    list: str
    entry: str
    excluded: bool
    reason: str
    owner: str
    who: str
    since: float
    until: float | None = None
    number: int = 0
    removed_at: float | None = None
    removed_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetches:
    """How the schedule of one list stands: what its server said last, and since when it fails (None: it does not)."""

    list: str
    tried: float
    etag: str = ""
    modified: str = ""
    failing_since: float | None = None
    error: str = ""


_EDITION = tuple(field.name for field in fields(Edition))
_ADDITION = ("list", "entry", "excluded", "reason", "owner", "who", "since", "until", "removed_at", "removed_by")
_FETCHES = tuple(field.name for field in fields(Fetches))


def _create(schema: Schema) -> None:
    schema.execute(
        """CREATE TABLE edition (
            list TEXT NOT NULL, number INTEGER NOT NULL, sha256 TEXT NOT NULL, how TEXT NOT NULL, origin TEXT NOT NULL,
            who TEXT NOT NULL, published REAL NOT NULL, published_known INTEGER NOT NULL, fetched REAL NOT NULL,
            deadline REAL, deadline_official INTEGER NOT NULL, state TEXT NOT NULL, applied REAL, entries INTEGER NOT
            NULL, added INTEGER NOT NULL, removed INTEGER NOT NULL, bad_lines INTEGER NOT NULL, accepted INTEGER NOT
            NULL, overdue_told INTEGER NOT NULL, note TEXT NOT NULL, PRIMARY KEY (list, number)
        )"""
    )
    schema.execute(
        """CREATE TABLE addition (
            number INTEGER PRIMARY KEY, list TEXT NOT NULL, entry TEXT NOT NULL, excluded INTEGER NOT NULL, reason TEXT
            NOT NULL, owner TEXT NOT NULL, who TEXT NOT NULL, since REAL NOT NULL, until REAL, removed_at REAL,
            removed_by TEXT NOT NULL
        )"""
    )
    schema.execute(
        """CREATE TABLE fetches (
            list TEXT PRIMARY KEY, tried REAL NOT NULL, etag TEXT NOT NULL, modified TEXT NOT NULL, failing_since REAL,
            error TEXT NOT NULL
        )"""
    )


MIGRATIONS = (Migration(1, "lists", _create),)


def _replacing(columns: Sequence[str]) -> str:
    return ", ".join(f"{column} = excluded.{column}" for column in columns)


_PUT_EDITION = insert_into("edition", _EDITION, f"(list, number) DO UPDATE SET {_replacing(_EDITION[2:])}")
_PUT_FETCHES = insert_into("fetches", _FETCHES, f"(list) DO UPDATE SET {_replacing(_FETCHES[1:])}")
_PUT_ADDITION = insert_into("addition", _ADDITION)
_END_ADDITION = Statement("UPDATE addition SET removed_at = ?, removed_by = ? WHERE number = ?", Phase.UPDATE)


def put_edition(edition: Edition) -> Write:
    """Record an edition, or what became of it since."""
    return _PUT_EDITION, astuple(edition)


def put_fetches(state: Fetches) -> Write:
    """Record how a schedule stands."""
    return _PUT_FETCHES, astuple(state)


def put_addition(addition: Addition) -> Write:
    """Record what an operator added or took off."""
    return _PUT_ADDITION, tuple(getattr(addition, column) for column in _ADDITION)


def end_addition(number: int, at: float, who: str) -> Write:
    """Record that an addition holds no longer."""
    return _END_ADDITION, (at, who, number)


class EditionStore:
    """``lists.sqlite``; every method blocks and raises StorageError. Writing starts a loop: call it where none runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, writes: Sequence[Write]) -> None:
        """Commit, durable on return."""
        asyncio.run(self._write(writes))

    async def _write(self, writes: Sequence[Write]) -> None:
        database = Database(self._path, MIGRATIONS, synchronous="FULL")
        try:
            await database.commit(writes)
        finally:
            await database.close()

    def editions(self, name: str = "", limit: int = -1) -> list[Edition]:
        """Return the editions of a list, or of all, the newest first, at most ``limit`` of them."""
        where, values = ("WHERE list = ?", (name,)) if name else ("", ())
        return self._editions(f"{where} ORDER BY list, number DESC LIMIT ?", (*values, limit))

    def in_state(self, name: str, *states: State) -> list[Edition]:
        """Return the editions of a list that are in one of these states, the newest first."""
        marks = ", ".join("?" * len(states))
        return self._editions(f"WHERE list = ? AND state IN ({marks}) ORDER BY number DESC", (name, *states))

    def served(self, name: str) -> Edition | None:
        """Return the edition that serves: of those applied the newest."""
        where = "WHERE list = ? AND state = ? ORDER BY number DESC LIMIT 1"
        return next(iter(self._editions(where, (name, State.APPLIED))), None)

    def late(self, now: float) -> list[Edition]:
        """Return the editions that are not applied, past their deadline, and not told of yet."""
        marks = ", ".join("?" * len(OPEN))
        where = f"WHERE deadline < ? AND state IN ({marks}) AND NOT overdue_told ORDER BY list, number"
        return self._editions(where, (now, *OPEN))

    def next_late(self) -> float | None:
        """Return when the next edition will be past its deadline without being applied, None when none can be."""
        marks = ", ".join("?" * len(OPEN))
        sql = f"SELECT MIN(deadline) FROM edition WHERE state IN ({marks}) AND NOT overdue_told"  # noqa: S608 - constants
        rows = self._read(sql, OPEN)
        return rows[0][0] if rows else None

    def _editions(self, where: str, values: Sequence[object]) -> list[Edition]:
        sql = f"SELECT {', '.join(_EDITION)} FROM edition {where}"  # noqa: S608 - constants
        return [_edition(row) for row in self._read(sql, values)]

    def additions(self, name: str = "", *, ended: bool = False) -> list[Addition]:
        """Return what operators added and took off, in order; with ``ended`` also what holds no longer."""
        conditions = [*(["list = ?"] if name else []), *([] if ended else ["removed_at IS NULL"])]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        sql = f"SELECT number, {', '.join(_ADDITION)} FROM addition {where} ORDER BY number"  # noqa: S608 - constants
        return [_addition(row) for row in self._read(sql, (name,) if name else ())]

    def has_additions(self, name: str) -> bool:
        """Whether anything was ever added to a list, or taken off it."""
        return bool(self._read("SELECT 1 FROM addition WHERE list = ? LIMIT 1", (name,)))

    def fetches(self, name: str) -> Fetches:
        """Return how a list's schedule stands."""
        rows = self._read(f"SELECT {', '.join(_FETCHES)} FROM fetches WHERE list = ?", (name,))  # noqa: S608 - constants
        return Fetches(**dict(zip(_FETCHES, rows[0], strict=True))) if rows else Fetches(list=name, tried=0.0)

    def _read(self, sql: str, values: Sequence[object]) -> list[Row]:
        if not self._path.exists():
            return []
        with open_readonly(self._path) as database:
            return database.read(sql, values)


def _edition(row: Row) -> Edition:
    named = dict(zip(_EDITION, row, strict=True))
    for flag in ("published_known", "deadline_official", "accepted", "overdue_told"):
        named[flag] = bool(named[flag])
    return Edition(**(named | {"state": State(named["state"])}))


def _addition(row: Row) -> Addition:
    named = dict(zip(("number", *_ADDITION), row, strict=True))
    return Addition(**(named | {"excluded": bool(named["excluded"])}))
