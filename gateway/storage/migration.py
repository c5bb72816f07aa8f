"""Schema migrations: numbered, forward only, applied once at opening inside one transaction.

Several rooms may share a file (the spool's shard also holds the ledger): ``name`` is the series, ``number`` the step
within it.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from gateway.storage.errors import StorageTooNew

# Imported when there is something to migrate, and only then: it takes half a second and 30 MB where numpy is installed.
if TYPE_CHECKING:
    import sqlite_utils

    Schema: TypeAlias = sqlite_utils.Database
else:
    Schema = "sqlite_utils.Database"
"""What a migration works on: sqlite-utils' Database."""


@dataclass(frozen=True, slots=True)
class Migration:
    """Step ``number`` (from 1) of the series ``name``; ``apply`` changes the schema and never commits."""

    number: int
    name: str
    apply: Callable[[Schema], None]


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Bring the file to the newest schema; StorageTooNew when it has steps that this version does not know."""
    applied = _applied(connection)
    _refuse_newer(applied, migrations)
    pending = [m for m in migrations if (m.name, m.number) not in applied]
    if pending:
        _apply(connection, sorted(pending, key=lambda m: (m.name, m.number)))


def _applied(connection: sqlite3.Connection) -> set[tuple[str, int]]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_migration'").fetchone():
        return set()
    return set(connection.execute("SELECT name, number FROM _migration").fetchall())


def _refuse_newer(applied: set[tuple[str, int]], migrations: Sequence[Migration]) -> None:
    known = {(m.name, m.number) for m in migrations}
    for name, number in sorted(applied - known):
        newest = max((m.number for m in migrations if m.name == name), default=0)
        raise StorageTooNew(f"schema step {name} {number} is newer than this version, which knows up to {newest}")


def _apply(connection: sqlite3.Connection, pending: Sequence[Migration]) -> None:
    import sqlite_utils  # noqa: PLC0415 - see above

    schema = sqlite_utils.Database(connection)
    done = schema.table("_migration")
    with schema.atomic():
        done.create({"name": str, "number": int}, pk=("name", "number"), if_not_exists=True)
        for migration in pending:
            migration.apply(schema)
            done.insert({"name": migration.name, "number": migration.number})
