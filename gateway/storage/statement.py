"""Statements: SQL that a room keeps as module constants, in the form that lets one execution carry many rows.

Each execution of a statement hands the interpreter's lock to the loop thread several times, and on a busy loop every
time may cost a switch interval. So a group commit executes as few statements as it can: a ``Statement`` whose SQL has
the mark ``{rows}`` is written for any number of rows, and ``Statement.batches`` cuts rows into powers of two, which
keeps the prepared statements few.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from functools import cached_property
from itertools import chain

# 64 rows of 30 columns stay far below SQLite's 32,766 parameters and below 10 MB of bound contents of the usual kind.
_BATCH_ROWS = (64, 32, 16, 8, 4, 2, 1)


class Phase(IntEnum):
    """The order inside one group: what is inserted is there when it is updated or deleted."""

    INSERT = 0
    UPDATE = 1
    DELETE = 2
    # After every delete: rows that live only as long as others refer to them.
    SWEEP = 3


class Statement:
    """One piece of SQL; compared by identity, so keep it as a module constant.

    ``sql`` is executed once a row with ``?`` parameters, unless it has ``{rows}``: then it takes many rows in one
    execution, ``columns`` values each. ``phase`` orders the statements of one group.
    """

    def __init__(self, sql: str, phase: int, *, columns: int = 0) -> None:
        if ("{rows}" in sql) != bool(columns):
            raise ValueError("a statement with {rows} says how many columns a row has")
        self.sql = sql
        self.phase = phase
        self.columns = columns

    @cached_property
    def _forms(self) -> dict[int, str]:
        row = f"({', '.join('?' * self.columns)})"
        return {n: self.sql.replace("{rows}", ", ".join([row] * n)) for n in _BATCH_ROWS}

    def batches(self, rows: Sequence[tuple[object, ...]]) -> Iterator[tuple[str, list[object]]]:
        """Yield (SQL, parameters) pairs that together carry all ``rows``."""
        at = 0
        for size in _BATCH_ROWS:
            while len(rows) - at >= size:
                yield self._forms[size], list(chain.from_iterable(rows[at : at + size]))
                at += size

    def __repr__(self) -> str:
        return f"Statement({self.sql!r}, {self.phase})"


Write = tuple[Statement, tuple[object, ...]]
"""A statement and one row of parameters."""


def insert_into(table: str, columns: Sequence[str], on_conflict: str = "") -> Statement:
    """Return an insert of ``columns``; ``on_conflict`` is what follows ON CONFLICT, such as ``DO NOTHING``."""
    tail = f" ON CONFLICT {on_conflict}" if on_conflict else ""
    return Statement(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES {{rows}}{tail}",  # noqa: S608 - constants of the calling module
        Phase.INSERT,
        columns=len(columns),
    )


def delete_by(table: str, key: Mapping[str, str]) -> Statement:
    """Return a delete of the rows whose ``key`` columns equal the parameters; ``key`` gives each column's SQL type.

    Without the casts SQLite does not use the index for a row value of parameters, and scans the table.
    """
    casts = ", ".join(f"CAST(column{i} AS {kind})" for i, kind in enumerate(key.values(), 1))
    return Statement(
        f"DELETE FROM {table} WHERE ({', '.join(key)}) IN (SELECT {casts} FROM (VALUES {{rows}}))",  # noqa: S608 - as above
        Phase.DELETE,
        columns=len(key),
    )
