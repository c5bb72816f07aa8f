"""Blocks of sources: their tables, rows, and what was watched while they stood.

A block that stands has an entry on the local list ``incidents``, which is made from this table and can be made again.
``watch`` says when the gateway was looking: a source was quiet only while somebody would have heard it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from gateway.storage import Migration, Schema

if TYPE_CHECKING:
    from gateway.incidents.book import Change

# Two looks of the keeper that lie further apart are two watches.
GAP_SECONDS = 300.0

_BLOCK = """
CREATE TABLE block (
    id INTEGER PRIMARY KEY AUTOINCREMENT, incident INTEGER NOT NULL, entry TEXT NOT NULL, reason TEXT NOT NULL,
    how TEXT NOT NULL, by TEXT NOT NULL, began_at REAL NOT NULL, until REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, last_attempt REAL,
    ended_at REAL, ended_by TEXT NOT NULL DEFAULT '', end_reason TEXT NOT NULL DEFAULT '',
    proof TEXT NOT NULL DEFAULT ''
)"""
_REFUSAL = """
CREATE TABLE block_refusal (
    id INTEGER PRIMARY KEY AUTOINCREMENT, incident INTEGER NOT NULL, entry TEXT NOT NULL, how TEXT NOT NULL,
    by TEXT NOT NULL, at REAL NOT NULL, why TEXT NOT NULL
)"""
_WATCH = "CREATE TABLE watch (id INTEGER PRIMARY KEY AUTOINCREMENT, began_at REAL NOT NULL, until REAL NOT NULL)"
_INDEXES = (
    "CREATE INDEX block_standing ON block (entry) WHERE ended_at IS NULL",
    "CREATE INDEX block_incident ON block (incident)",
    "CREATE INDEX block_refusal_incident ON block_refusal (incident)",
)
_VIEW = """
CREATE VIEW blocks AS
SELECT id AS block, incident, entry, how, by, reason, datetime(began_at, 'unixepoch') AS began_at,
    datetime(until, 'unixepoch') AS until, attempts, datetime(last_attempt, 'unixepoch') AS last_attempt,
    datetime(ended_at, 'unixepoch') AS ended_at, ended_by, end_reason, proof
FROM block"""


def _create(schema: Schema) -> None:
    for sql in (_BLOCK, _REFUSAL, _WATCH, *_INDEXES, _VIEW):
        schema.execute(sql)


MIGRATIONS: tuple[Migration, ...] = (Migration(1, "blocks", _create),)

Ask = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""``Change.execute`` or ``IncidentReader.rows``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block; times are UTC seconds.

    ``how`` is automatic or hand; ``attempts`` what was refused by it, ``last_attempt`` when; ``proof`` what showed that
    the source had stopped, where that ended it.
    """

    id: int
    incident: int
    entry: str
    reason: str
    how: str
    by: str
    began_at: float
    until: float
    attempts: int = 0
    last_attempt: float | None = None
    ended_at: float | None = None
    ended_by: str = ""
    end_reason: str = ""
    proof: str = ""


_NAMES = tuple(field.name for field in fields(Block))
_COLUMNS = ", ".join(_NAMES)
_SILENT = f"""
SELECT {_COLUMNS} FROM (
    SELECT block.*, state, max(last_seen, coalesce(last_attempt, 0), began_at) AS heard
    FROM block JOIN incident ON incident.id = block.incident
) WHERE ended_at IS NULL"""  # noqa: S608 - constants


def standing_blocks(ask: Ask) -> list[Block]:
    """Return the blocks that were not ended, those whose time is over included."""
    return _blocks(ask(f"SELECT {_COLUMNS} FROM block WHERE ended_at IS NULL ORDER BY id", ()))  # noqa: S608 - constants


def blocks_of(ask: Ask, incident: int) -> list[Block]:
    """Return all blocks of an incident, the newest first."""
    return _blocks(ask(f"SELECT {_COLUMNS} FROM block WHERE incident = ? ORDER BY id DESC", (incident,)))  # noqa: S608 - constants


def standing_block(ask: Ask, entry: str) -> Block | None:
    """Return the block of an entry that was not ended."""
    rows = ask(f"SELECT {_COLUMNS} FROM block WHERE entry = ? AND ended_at IS NULL", (entry,))  # noqa: S608 - constants
    return next(iter(_blocks(rows)), None)


def expired_blocks(ask: Ask, now: float, most: int) -> list[Block]:
    """Return blocks that stand although their time is over, at most so many."""
    sql = f"SELECT {_COLUMNS} FROM block WHERE ended_at IS NULL AND until <= ? ORDER BY until LIMIT ?"  # noqa: S608 - constants
    return _blocks(ask(sql, (now, most)))


def silent_blocks(ask: Ask, since: float, most: int, *, states: Sequence[str]) -> list[Block]:
    """Return blocks that stand and whose source was not heard of since a time, the longest silent first.

    ``states`` are those of their incidents.
    """
    marks = ", ".join("?" * len(states))
    sql = f"{_SILENT} AND heard <= ? AND state IN ({marks}) ORDER BY heard, id LIMIT ?"
    return _blocks(ask(sql, (since, *states, most)))


def begin_block(change: "Change", incident: int, entry: str, *, how: str, reason: str, until: float) -> int:
    """Put a block on record and return its number; one that stood for the same entry ends."""
    by = change.author.by
    change.execute(
        "UPDATE block SET ended_at = ?, ended_by = ?, end_reason = 'replaced' WHERE entry = ? AND ended_at IS NULL",
        (change.at, by, entry),
    )
    number = change.insert(
        "INSERT INTO block (incident, entry, reason, how, by, began_at, until) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (incident, entry, reason, how, by, change.at, until),
    )
    _note_whether(change, incident)
    change.record(
        "block-began", incident, {"block": number, "entry": entry, "how": how, "reason": reason, "until": until}
    )
    return number


def end_block(change: "Change", block: Block, reason: str, proof: str = "") -> None:
    """Put a block's end on record."""
    change.execute(
        "UPDATE block SET ended_at = ?, ended_by = ?, end_reason = ?, proof = ? WHERE id = ?",
        (change.at, change.author.by, reason, proof, block.id),
    )
    _note_whether(change, block.incident)
    change.record(
        "block-ended", block.incident, {"block": block.id, "entry": block.entry, "reason": reason, "proof": proof}
    )


def _note_whether(change: "Change", incident: int) -> None:
    """Set an incident's ``blocking`` to whether a block of it stands."""
    change.execute(
        "UPDATE incident SET blocking = EXISTS"
        " (SELECT 1 FROM block WHERE block.incident = incident.id AND ended_at IS NULL) WHERE id = ?",
        (incident,),
    )


def refuse_block(change: "Change", incident: int, entry: str, *, how: str, why: str) -> None:
    """Put on record that a source cannot be blocked."""
    change.execute(
        "INSERT INTO block_refusal (incident, entry, how, by, at, why) VALUES (?, ?, ?, ?, ?, ?)",
        (incident, entry, how, change.author.by, change.at, why),
    )
    change.record("block-refused", incident, {"entry": entry, "how": how, "why": why})


def was_refused(change: "Change", incident: int) -> bool:
    """Whether a block of this incident was refused already."""
    return bool(change.execute("SELECT 1 FROM block_refusal WHERE incident = ? LIMIT 1", (incident,)))


def note_attempts(change: "Change", entry: str, attempts: int, last: float) -> None:
    """Count what a standing block kept out."""
    change.execute(
        "UPDATE block SET attempts = attempts + ?, last_attempt = max(coalesce(last_attempt, 0), ?)"
        " WHERE entry = ? AND ended_at IS NULL",
        (attempts, last, entry),
    )


def note_watch(change: "Change") -> None:
    """Note that the gateway looks now."""
    rows = change.execute("SELECT id, until FROM watch ORDER BY id DESC LIMIT 1")
    if rows and 0 <= change.at - rows[0][1] <= GAP_SECONDS:
        change.execute("UPDATE watch SET until = ? WHERE id = ?", (change.at, rows[0][0]))
    else:
        change.execute("INSERT INTO watch (began_at, until) VALUES (?, ?)", (change.at, change.at))


def watched_seconds(ask: Ask, since: float, until: float) -> float:
    """Return for how long the gateway looked between two times."""
    rows = ask(
        "SELECT began_at, min(until, ?) FROM watch WHERE until > ? AND began_at < ? ORDER BY began_at",
        (until, since, until),
    )
    found, covered = 0.0, since
    for begin, end in rows:
        # A clock that was set back has us look at the same hours twice.
        found += max(0.0, end - max(begin, covered))
        covered = max(covered, end)
    return found


def _blocks(rows: Sequence[tuple[Any, ...]]) -> list[Block]:
    return [Block(**dict(zip(_NAMES, row, strict=True))) for row in rows]
