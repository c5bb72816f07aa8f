"""Bytes and rows made durable: one SQLite file a store, one writer with group commit, forward migrations, atomic files.

The door to sqlite3 and sqlite-utils: no other room imports them. A room owns its ``Migration``s and its ``Statement``s
(module constants) and hands ``Write``s to ``Database.commit``.

Errors (all ``StorageError``; none is ever swallowed):

    StorageError
    ├── StorageFull          the disk, a quota or the page limit is used up
    ├── StorageUnavailable   locked, read-only, I/O error, not a database, closed
    │   ├── StorageLocked    another process serves this file; names its pid
    │   ├── StorageCorrupt   the file's structure is damaged
    │   └── StorageTooNew    the file was written by a later version
    └── StorageRefused       this one submission breaks the schema: a bug of the caller, the rest of its group was kept
"""

from gateway.storage.database import Database
from gateway.storage.durable import DurableFiles, free_octets
from gateway.storage.errors import (
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageLocked,
    StorageRefused,
    StorageTooNew,
    StorageUnavailable,
)
from gateway.storage.json_text import from_json, to_json
from gateway.storage.migration import Migration, Schema
from gateway.storage.reader import ReadDatabase, Row, open_readonly
from gateway.storage.shared import SharedDatabase, Transaction
from gateway.storage.statement import Phase, Statement, Write, delete_by, insert_into

__all__ = [
    "Database",
    "DurableFiles",
    "Migration",
    "Phase",
    "ReadDatabase",
    "Row",
    "Schema",
    "SharedDatabase",
    "Statement",
    "StorageCorrupt",
    "StorageError",
    "StorageFull",
    "StorageLocked",
    "StorageRefused",
    "StorageTooNew",
    "StorageUnavailable",
    "Transaction",
    "Write",
    "delete_by",
    "free_octets",
    "from_json",
    "insert_into",
    "open_readonly",
    "to_json",
]
