"""Written guarantees (contract.md §4): the table, its rows, and the scans beside it.

A scan and the licence attached lie below ``data/incidents/guarantees`` under their SHA-256; the row, and the chain with
it, hold both digests, so that a letter exchanged later is found out.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.storage import DurableFiles, Migration, Schema

if TYPE_CHECKING:
    from gateway.incidents.book import Change

_GUARANTEE = """
CREATE TABLE guarantee (
    id INTEGER PRIMARY KEY AUTOINCREMENT, incident INTEGER NOT NULL, company TEXT NOT NULL, manager TEXT NOT NULL,
    scope TEXT NOT NULL, subject TEXT NOT NULL, contact TEXT NOT NULL, telephone TEXT NOT NULL,
    signed_on TEXT NOT NULL, letter_sha256 TEXT NOT NULL, letter_octets INTEGER NOT NULL, licence_sha256 TEXT NOT NULL,
    licence_octets INTEGER NOT NULL, accepted_by TEXT NOT NULL, recorded_at REAL NOT NULL
)"""
_VIEW = """
CREATE VIEW guarantees AS
SELECT id AS guarantee, incident, company, manager, scope, subject, contact, telephone, signed_on, accepted_by,
    datetime(recorded_at, 'unixepoch') AS recorded_at, letter_sha256, licence_sha256
FROM guarantee"""


def _create(schema: Schema) -> None:
    schema.execute(_GUARANTEE)
    schema.execute("CREATE INDEX guarantee_incident ON guarantee (incident)")
    schema.execute(_VIEW)


def _name_clients(schema: Schema) -> None:
    """Have a guarantee name the relay client that it reopens."""
    schema.execute("ALTER TABLE guarantee ADD COLUMN client TEXT NOT NULL DEFAULT ''")
    schema.execute("DROP VIEW guarantees")
    schema.execute(_VIEW.replace(" scope, subject,", " scope, subject, client,"))


MIGRATIONS: tuple[Migration, ...] = (Migration(1, "guarantees", _create), Migration(2, "guarantees", _name_clients))

MAILBOX, DOMAIN = "mailbox", "domain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """What a customer promised, and who took it.

    ``manager`` manages the mail domain; ``scope`` is mailbox or domain, ``subject`` which; ``client`` the network of a
    relay client that the domain sends through and that is to be reopened with it, "" for none. ``signed_on`` is the
    letter's date as written, ``recorded_at`` UTC seconds.
    """

    id: int
    incident: int
    company: str
    manager: str
    scope: str
    subject: str
    contact: str
    telephone: str
    signed_on: str
    letter_sha256: str
    letter_octets: int
    licence_sha256: str
    licence_octets: int
    accepted_by: str
    recorded_at: float
    client: str = ""


_NAMES = tuple(field.name for field in fields(Guarantee))
_COLUMNS = ", ".join(_NAMES)
Ask = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]


def guarantees_of(ask: Ask, incident: int) -> list[Guarantee]:
    """Return an incident's guarantees, the newest first."""
    rows = ask(f"SELECT {_COLUMNS} FROM guarantee WHERE incident = ? ORDER BY id DESC", (incident,))  # noqa: S608 - constants
    return [Guarantee(**dict(zip(_NAMES, row, strict=True))) for row in rows]


def guarantee(ask: Ask, number: int) -> Guarantee | None:
    """Return one guarantee."""
    rows = ask(f"SELECT {_COLUMNS} FROM guarantee WHERE id = ?", (number,))  # noqa: S608 - constants
    return Guarantee(**dict(zip(_NAMES, rows[0], strict=True))) if rows else None


def record_guarantee(change: "Change", given: Guarantee) -> Guarantee:
    """Put a guarantee on record, its number and time set."""
    names = _NAMES[1:]
    values = {name: getattr(given, name) for name in names} | {
        "accepted_by": change.author.by,
        "recorded_at": change.at,
    }
    number = change.insert(
        f"INSERT INTO guarantee ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",  # noqa: S608 - constants
        [values[name] for name in names],
    )
    change.record("guarantee-recorded", given.incident, {"guarantee": number, **values})
    return Guarantee(id=number, **values)


class Letters:
    """``data/incidents/guarantees``: scans by their digest. Blocking; raises StorageError."""

    def __init__(self, folder: Path, files: DurableFiles | None = None) -> None:
        self._folder = folder / "guarantees"
        self._files = files or DurableFiles()

    def path(self, sha256: str) -> Path:
        """Return where a scan lies."""
        return self._folder / sha256[:2] / sha256

    def keep(self, octets: bytes) -> str:
        """Keep a scan, durable on return, and return its digest."""
        sha256 = hashlib.sha256(octets).hexdigest()
        path = self.path(sha256)
        if not path.exists():
            self._files.write(path, [octets])
        return sha256

    def fault(self, sha256: str) -> str:
        """Return what is wrong with a scan, "" for nothing."""
        try:
            octets = self.path(sha256).read_bytes()
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return "" if hashlib.sha256(octets).hexdigest() == sha256 else "is not what was recorded"
