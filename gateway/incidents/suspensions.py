"""Suspensions of our own senders: the table and its rows (contract.md §4 f and h).

What the workers refuse stands in ``suspended.json`` (``gateway.incidents.suspended``), which is made from this table
and can be made again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from gateway.incidents.values import Source, SourceKind
from gateway.storage import Migration, Schema

if TYPE_CHECKING:
    from gateway.incidents.book import Change

_SUSPENSION = """
CREATE TABLE suspension (
    id INTEGER PRIMARY KEY AUTOINCREMENT, incident INTEGER NOT NULL, kind TEXT NOT NULL, sender TEXT NOT NULL,
    reason TEXT NOT NULL, how TEXT NOT NULL, by TEXT NOT NULL, began_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, last_attempt REAL,
    ended_at REAL, ended_by TEXT NOT NULL DEFAULT '', guarantee INTEGER, override TEXT NOT NULL DEFAULT ''
)"""
_INDEXES = (
    "CREATE UNIQUE INDEX suspension_standing ON suspension (kind, sender) WHERE ended_at IS NULL",
    "CREATE INDEX suspension_incident ON suspension (incident)",
)
_VIEW = """
CREATE VIEW suspensions AS
SELECT id AS suspension, incident, kind, sender, how, by, reason, datetime(began_at, 'unixepoch') AS began_at, attempts,
    datetime(last_attempt, 'unixepoch') AS last_attempt, datetime(ended_at, 'unixepoch') AS ended_at, ended_by,
    guarantee, override
FROM suspension"""

_INCIDENT_VIEWS = (
    "DROP VIEW spam_sources",
    """
CREATE VIEW spam_sources AS
SELECT id AS incident, source_kind, source_key AS source, asn, network, state, sightings, viruses, advertising,
    no_opt_out, hidden_sender, false_source, harmful, blocking, suspending, resumed,
    datetime(first_seen, 'unixepoch') AS first_seen, datetime(last_seen, 'unixepoch') AS last_seen
FROM incident""",
    "DROP VIEW open_incidents",
    """
CREATE VIEW open_incidents AS
SELECT id AS incident, source_kind, source_key AS source, asn, network, state,
    datetime(state_since, 'unixepoch') AS state_since, sightings, viruses, blocking, suspending, resumed, previous,
    datetime(first_seen, 'unixepoch') AS first_seen, datetime(last_seen, 'unixepoch') AS last_seen
FROM incident WHERE state <> 'closed'""",
)


def _create(schema: Schema) -> None:
    for sql in (_SUSPENSION, *_INDEXES, _VIEW):
        schema.execute(sql)


def _apart(schema: Schema) -> None:
    """Keep blocks and suspensions apart in the incident's row; before, ``blocking`` was either."""
    schema.execute("ALTER TABLE incident ADD COLUMN suspending INTEGER NOT NULL DEFAULT 0")
    for name, table in (("blocking", "block"), ("suspending", "suspension")):
        schema.execute(
            f"UPDATE incident SET {name} = 1 - {name} WHERE {name} <> EXISTS"  # noqa: S608 - constants
            f" (SELECT 1 FROM {table} WHERE {table}.incident = incident.id AND ended_at IS NULL)"
        )
    for sql in _INCIDENT_VIEWS:
        schema.execute(sql)


MIGRATIONS: tuple[Migration, ...] = (Migration(1, "suspensions", _create), Migration(2, "suspensions", _apart))

Ask = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """One suspension; times are UTC seconds.

    ``kind`` is client or account; ``sender`` a network, a mailbox, or ``@domain`` for a whole domain. ``guarantee`` is
    the number of the written guarantee on which it ended, ``override`` the reason it ended without one.
    """

    id: int
    incident: int
    kind: str
    sender: str
    reason: str
    how: str
    by: str
    began_at: float
    attempts: int = 0
    last_attempt: float | None = None
    ended_at: float | None = None
    ended_by: str = ""
    guarantee: int | None = None
    override: str = ""

    @property
    def source(self) -> Source:
        """Who is suspended, as incidents name it."""
        return Source(SourceKind(self.kind), self.sender)


_NAMES = tuple(field.name for field in fields(Suspension))
_COLUMNS = ", ".join(_NAMES)


def suspensions(ask: Ask, *, ended: bool = False) -> list[Suspension]:
    """Return what stands, with ``ended`` also what does not any more, in order."""
    where = "" if ended else "WHERE ended_at IS NULL"
    return _rows(ask(f"SELECT {_COLUMNS} FROM suspension {where} ORDER BY id", ()))  # noqa: S608 - constants


def standing(ask: Ask, source: Source) -> Suspension | None:
    """Return a sender's suspension."""
    rows = ask(
        f"SELECT {_COLUMNS} FROM suspension WHERE kind = ? AND sender = ? AND ended_at IS NULL",  # noqa: S608 - constants
        (source.kind.value, source.key),
    )
    return next(iter(_rows(rows)), None)


def suspensions_of(ask: Ask, incident: int) -> list[Suspension]:
    """Return all suspensions of an incident, the newest first."""
    return _rows(ask(f"SELECT {_COLUMNS} FROM suspension WHERE incident = ? ORDER BY id DESC", (incident,)))  # noqa: S608 - constants


def begin_suspension(change: "Change", incident: int, source: Source, *, how: str, reason: str) -> int:
    """Put a suspension on record and return its number; one that stands already stays, and is returned."""
    before = standing(change.execute, source)
    if before is not None:
        return before.id
    number = change.insert(
        "INSERT INTO suspension (incident, kind, sender, reason, how, by, began_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (incident, source.kind.value, source.key, reason, how, change.author.by, change.at),
    )
    facts = {"suspension": number, "sender_kind": source.kind.value, "sender": source.key, "how": how, "reason": reason}
    _note_whether(change, incident)
    change.record("suspended", incident, facts)
    return number


def end_suspension(change: "Change", found: Suspension, *, guarantee: int | None, override: str) -> None:
    """Put a suspension's end on record, with what it ended on."""
    change.execute(
        "UPDATE suspension SET ended_at = ?, ended_by = ?, guarantee = ?, override = ? WHERE id = ?",
        (change.at, change.author.by, guarantee, override, found.id),
    )
    _note_whether(change, found.incident)
    change.record(
        "restored",
        found.incident,
        {"suspension": found.id, "sender": found.sender, "guarantee": guarantee, "override": override},
    )


def _note_whether(change: "Change", incident: int) -> None:
    """Set an incident's ``suspending`` to whether a sender is suspended for it."""
    change.execute(
        "UPDATE incident SET suspending = EXISTS"
        " (SELECT 1 FROM suspension WHERE suspension.incident = incident.id AND ended_at IS NULL) WHERE id = ?",
        (incident,),
    )


def note_suspended_attempts(change: "Change", source: Source, attempts: int, last: float) -> None:
    """Count what a suspension kept back."""
    change.execute(
        "UPDATE suspension SET attempts = attempts + ?, last_attempt = max(coalesce(last_attempt, 0), ?)"
        " WHERE kind = ? AND sender = ? AND ended_at IS NULL",
        (attempts, last, source.kind.value, source.key),
    )


def _rows(rows: Sequence[tuple[Any, ...]]) -> list[Suspension]:
    return [Suspension(**dict(zip(_NAMES, row, strict=True))) for row in rows]
