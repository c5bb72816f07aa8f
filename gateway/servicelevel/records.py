"""What is put on record, by people and by the gateway: an append-only file of lines, each naming the one before.

``data/servicelevel/records.jsonl``: a line is a JSON object with its number, when (UTC seconds) and by whom it was
written, its kind, its values, and the digest of the line before. Nothing is changed or removed: a withdrawal, a
closing, a correction is a new line. A line altered later breaks the chain, and reading says where.

Any process may append: the file is locked for that long, and an entry is durable (fsync) on return. A line that a power
failure left unfinished was never acknowledged; the next writer ends it, and readers pass over it.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_NAME = "records.jsonl"
FOLDER = "servicelevel"
# A record is a few hundred octets, terms of a customer with a thousand domains 100 KiB.
MAX_LINE_OCTETS = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One entry: ``kind`` says what ``values`` are (``gateway.servicelevel.book``)."""

    number: int
    at: float
    by: str
    kind: str
    values: Mapping[str, Any]


class RecordsBrokenError(Exception):
    """A line was altered, removed or damaged: what is on record cannot be believed from there on."""


class Records:
    """The records under a data folder; OSError when they cannot be written or read."""

    def __init__(self, data: Path) -> None:
        self.path = data / FOLDER / FILE_NAME

    def append(self, kind: str, values: Mapping[str, Any], *, at: float, by: str) -> Record:
        """Write one entry, durable on return."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            number, previous, ended = _last(descriptor)
            record = Record(number=number + 1, at=at, by=by, kind=kind, values=dict(values))
            line = _line(record, previous)
            _write_whole(descriptor, line if ended else b"\n" + line, self.path)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return record

    def read(self) -> list[Record]:
        """Return every entry in order; RecordsBrokenError names the line where the chain is broken."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        found: list[Record] = []
        previous = ""
        for place, line in enumerate(lines, 1):
            stored = _parsed(line)
            if stored is None:
                continue
            if stored["previous"] != previous or stored["number"] != len(found) + 1:
                raise RecordsBrokenError(f"{self.path}:{place}: the line before was altered or removed")
            previous = _digest(line)
            found.append(Record(**{name: stored[name] for name in ("number", "at", "by", "kind", "values")}))
        return found

    def size(self) -> int:
        """Return the octets written so far: it changes with every entry."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0


def _write_whole(descriptor: int, octets: bytes, path: Path) -> None:
    """Append octets; OSError, and nothing of them, where a full disk takes a part only (write(2))."""
    size = os.fstat(descriptor).st_size
    if os.write(descriptor, octets) != len(octets):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, "no room for all of an entry", str(path))


def _last(descriptor: int) -> tuple[int, str, bool]:
    """Return the last entry's number and digest, and whether the file ends with a whole line."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, MAX_LINE_OCTETS, max(0, size - MAX_LINE_OCTETS))
    for line in reversed(tail.split(b"\n")):
        stored = _parsed(line)
        if stored is not None:
            return int(stored["number"]), _digest(line), tail.endswith(b"\n")
    return 0, "", not tail or tail.endswith(b"\n")


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return a line's object, None for an empty or unfinished one."""
    try:
        stored = json.loads(line) if line.strip() else None
    except ValueError:
        return None
    return stored if isinstance(stored, dict) else None


def _line(record: Record, previous: str) -> bytes:
    stored = {
        "number": record.number,
        "at": record.at,
        "by": record.by,
        "kind": record.kind,
        "values": record.values,
        "previous": previous,
    }
    return json.dumps(stored, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:32]
