"""What can go wrong with stored data, as types; the tree is in the package's docstring."""

import errno
import os
import sqlite3
from pathlib import Path


class StorageError(Exception):
    """What was asked for was not stored or not read; nothing of the submission is durable."""


class StorageFull(StorageError):  # noqa: N818 - the words of the design
    """No room: disk, quota or page limit."""


class StorageUnavailable(StorageError):  # noqa: N818 - as above
    """Locked, read-only, I/O error, not a database, or closed."""


class StorageLocked(StorageUnavailable):
    """Another process serves this file."""


class StorageCorrupt(StorageUnavailable):
    """The file's structure is damaged."""


class StorageTooNew(StorageUnavailable):
    """The file's schema was written by a later version."""


class StorageRefused(StorageError):  # noqa: N818 - as above
    """One submission breaks the schema (constraint, type, encoding): a bug of its caller."""


# What binding a value can raise besides sqlite3.Error: lone surrogates, integers over 64 bits, foreign types.
BINDING_ERRORS = (UnicodeError, OverflowError, TypeError, ValueError)

_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REFUSED = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_ERROR,
    },
)


def from_sqlite(error: Exception, path: Path) -> StorageError:
    """Return what ``error``, raised while working on ``path``, means; never raises."""
    code = getattr(error, "sqlite_errorcode", None)
    text = f"{path}: {error}"
    if code is None:
        # Errors made by the sqlite3 module itself (wrong number of values, closed connection), and binding errors.
        return StorageUnavailable(text) if "closed" in str(error) else StorageRefused(text)
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return StorageFull(text)
    if primary in _CORRUPT:
        return StorageCorrupt(text)
    if primary in _REFUSED:
        return StorageRefused(text)
    # Growing the -shm file on a full disk is reported as an I/O error.
    if primary == sqlite3.SQLITE_IOERR and _is_full(path):
        return StorageFull(text)
    return StorageUnavailable(text)


def from_os(error: OSError, path: Path) -> StorageError:
    """Return what a failed system call on ``path`` means."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull(f"{path}: {error}")
    return StorageUnavailable(f"{path}: {error}")


def _is_full(path: Path) -> bool:
    try:
        return os.statvfs(path.parent).f_bavail == 0
    except OSError:
        return False
