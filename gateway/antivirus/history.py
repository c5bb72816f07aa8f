"""The history of signatures: each change of version with when it was seen, from what, to what (contract.md §5).

The proof that signatures were updated at least weekly, kept apart from the journal, whose files are removed sooner.
One process writes; any number may read beside it.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from gateway.antivirus.signatures import SignatureVersion
from gateway.clock import Clock
from gateway.storage import Database, Migration, Phase, Row, Schema, Statement, Write, insert_into, open_readonly

FILE_NAME = "signatures.sqlite"
# "Still the same" is written down this often: fine enough to show for how long a version was in use.
SEEN_AGAIN_SECONDS = 3600.0

_CHANGES = """
CREATE TABLE signature_change (
    id INTEGER PRIMARY KEY, seen_at REAL NOT NULL, scanner TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL,
    built_at REAL
)"""
_STATES = """
CREATE TABLE signature_state (
    scanner TEXT PRIMARY KEY, version TEXT NOT NULL, first_seen_at REAL NOT NULL, last_seen_at REAL NOT NULL
)"""


def _create(schema: Schema) -> None:
    schema.execute(_CHANGES)
    schema.execute(_STATES)


MIGRATIONS = (Migration(1, "signatures", _create),)

_CHANGE = insert_into("signature_change", ("seen_at", "scanner", "before", "after", "built_at"))
_STATE = Statement(
    "INSERT INTO signature_state (scanner, version, first_seen_at, last_seen_at) VALUES (?, ?, ?, ?) ON CONFLICT"
    " (scanner) DO UPDATE SET version = excluded.version, first_seen_at = excluded.first_seen_at,"
    " last_seen_at = excluded.last_seen_at",
    Phase.UPDATE,
)
_SELECT_CHANGES = "SELECT seen_at, scanner, before, after, built_at FROM signature_change ORDER BY id DESC LIMIT ?"
_SELECT_STATES = "SELECT scanner, version, first_seen_at, last_seen_at FROM signature_state ORDER BY scanner"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureChange:
    """One update as it was seen; ``before`` is "" for the first version of a scanner. Times are UTC seconds."""

    seen_at: float
    scanner: str
    before: str
    after: str
    built_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureState:
    """The version a scanner has, since when, and when it was last seen. Times are UTC seconds."""

    scanner: str
    version: str
    first_seen_at: float
    last_seen_at: float


class SignatureHistory:
    """The history, open for writing; raises StorageError."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._clock = clock
        self._database = Database(folder / FILE_NAME, MIGRATIONS, synchronous="FULL")
        rows = self._database.read_now(_SELECT_STATES)
        self._states = {state.scanner: state for state in map(_state, rows)}

    def state(self, scanner: str) -> SignatureState | None:
        """Return what is known of one scanner."""
        return self._states.get(scanner)

    async def note(self, scanner: str, version: str) -> SignatureChange | None:
        """Take note of the version seen now; return the change when it is one, durable by then."""
        now = self._clock.stamp().utc
        known = self._states.get(scanner)
        if known is not None and known.version == version:
            if now - known.last_seen_at >= SEEN_AGAIN_SECONDS:
                await self._keep(replace(known, last_seen_at=now))
            return None
        change = SignatureChange(
            seen_at=now,
            scanner=scanner,
            before=known.version if known else "",
            after=version,
            built_at=SignatureVersion.parse(version).built_at,
        )
        state = SignatureState(scanner=scanner, version=version, first_seen_at=now, last_seen_at=now)
        await self._keep(state, change)
        return change

    async def _keep(self, state: SignatureState, change: SignatureChange | None = None) -> None:
        writes: list[Write] = [(_STATE, (state.scanner, state.version, state.first_seen_at, state.last_seen_at))]
        if change is not None:
            row = (change.seen_at, change.scanner, change.before, change.after, change.built_at)
            writes.append((_CHANGE, row))
        await self._database.commit(writes)
        self._states[state.scanner] = state

    async def close(self) -> None:
        """Close the store."""
        await self._database.close()


def read_changes(folder: Path, limit: int) -> list[SignatureChange]:
    """Return the latest changes, newest first, from beside the process that writes them; none when there is no file."""
    return [
        SignatureChange(seen_at=row[0], scanner=row[1], before=row[2], after=row[3], built_at=row[4])
        for row in _read(folder, _SELECT_CHANGES, (limit,))
    ]


def read_states(folder: Path) -> list[SignatureState]:
    """Return what each scanner had when it was last seen."""
    return [_state(row) for row in _read(folder, _SELECT_STATES, ())]


def _read(folder: Path, sql: str, parameters: tuple[object, ...]) -> list[Row]:
    path = folder / FILE_NAME
    if not path.exists():
        return []
    with open_readonly(path) as database:
        return database.read(sql, parameters)


def _state(row: Row) -> SignatureState:
    return SignatureState(scanner=row[0], version=row[1], first_seen_at=row[2], last_seen_at=row[3])
