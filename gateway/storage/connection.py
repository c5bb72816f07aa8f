"""SQLite connections, set up for one purpose each: the one that writes, and those that read.

Measured on this design (Python 3.11, SQLite 3.40, ext4 on NVMe, insert and delete of one message with FULL sync, groups
of 20):

    page size      8 KB content   90 KB content      CPU µs a message
    4096               37             178
    8192               31             132            ← chosen
    16384              51             138
    32768              50             127

A larger page cache and memory mapping changed nothing beyond noise, so both stay at SQLite's defaults.
``secure_delete`` is off: Debian builds SQLite with it on, and it would write every freed page of every delivered
message once more, with zeros.
"""

import sqlite3
from pathlib import Path
from typing import Literal

from gateway.storage.errors import from_sqlite

Synchronous = Literal["FULL", "NORMAL"]

PAGE_OCTETS = 8192
# Nobody else writes; a foreign sqlite3 shell is given this long to finish before the mail path gets its 4yz.
_BUSY_SECONDS = 1.0
# Seven row counts for each of a store's statements, with room.
_CACHED_STATEMENTS = 256


def connect_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Return the writing connection in WAL mode, never checkpointing by itself; raises StorageError."""
    try:
        connection = sqlite3.connect(
            path,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_CACHED_STATEMENTS,
        )
    except sqlite3.Error as error:
        raise from_sqlite(error, path) from error
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_OCTETS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        # The writer checkpoints when it chooses (gateway.storage.writer).
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA secure_delete = OFF")
    except sqlite3.Error as error:
        connection.close()
        raise from_sqlite(error, path) from error
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Return a connection that cannot write, beside a live writer or alone; raises StorageError."""
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error as error:
        raise from_sqlite(error, path) from error
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise from_sqlite(error, path) from error
    return connection
