"""Schema migrations: numbered, forward only, applied once at opening inside one transaction.

Several rooms may share a file (the spool's shard also holds the ledger): ``name`` is the series, ``number`` the step
within it.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import sqlite_utils

from gateway.storage.errors import StorageTooNew

Schema: TypeAlias = sqlite_utils.Database
"""What a migration works on: sqlite-utils' Database."""


@dataclass(frozen=True, slots=True)
class Migration:
    """Step ``number`` (from 1) of the series ``name``; ``apply`` changes the schema and never commits."""

    number: int
    name: str
    apply: Callable[[Schema], None]


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Bring the file to the newest schema; StorageTooNew when it has steps that this version does not know."""
    schema = sqlite_utils.Database(connection)
    applied = _applied(schema)
    _refuse_newer(applied, migrations)
    pending = [m for m in migrations if (m.name, m.number) not in applied]
    if not pending:
        return
    with schema.atomic():
        schema.table("_migration").create({"name": str, "number": int}, pk=("name", "number"), if_not_exists=True)
        for migration in sorted(pending, key=lambda m: (m.name, m.number)):
            migration.apply(schema)
            schema.table("_migration").insert({"name": migration.name, "number": migration.number})


def _applied(schema: Schema) -> set[tuple[str, int]]:
    if not schema["_migration"].exists():
        return set()
    return {(row["name"], row["number"]) for row in schema["_migration"].rows}


def _refuse_newer(applied: set[tuple[str, int]], migrations: Sequence[Migration]) -> None:
    known = {(m.name, m.number) for m in migrations}
    for name, number in sorted(applied - known):
        newest = max((m.number for m in migrations if m.name == name), default=0)
        raise StorageTooNew(f"schema step {name} {number} is newer than this version, which knows up to {newest}")
