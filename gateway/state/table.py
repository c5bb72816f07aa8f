"""A table of small records that expire, shared by all workers: one mapped file, bounded, still there after a restart.

A record is found by a name of any length and holds an expiry (UTC seconds) and two numbers. ``get`` reads without a
lock. ``update`` reads, changes and writes under a lock on the record's bucket (POSIX record locks, which the kernel
gives back when a process dies), so no worker's change is lost; nothing waits in between, so nobody is kept longer than
some microseconds. A reader may meet a record that is being replaced and see the numbers of the other for a moment,
which everything kept here can bear. A record is written without its key first, so a kill leaves no false one.

Bounded by construction: a bucket has eight places; when all are taken, the record that would expire first gives way,
so what is worth keeping must be given a later expiry. With half of all places in use one bucket in fifty is full.

Names are kept as keyed 64-bit hashes: a lookup takes one name for another with odds of 8 in 2⁶⁴, nobody can choose
names that crowd out a victim's, and the file tells nobody who wrote to whom. It is reserved on disk when it is made: a
write into a hole of a full disk would kill the worker. A file of another size or version is begun anew.
"""

import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from gateway.clock import Clock
from gateway.storage import StorageFull, StorageUnavailable

_MAGIC = b"tidegate-table-1\n"
_KEY_OCTETS = 32
# A page, so that buckets lie within sectors and a torn write after a power failure spoils one of them at most.
_HEADER_OCTETS = 4096
_HEAD = struct.Struct(f"<{len(_MAGIC)}sQ{_KEY_OCTETS}s")

# Key, expiry, two numbers.
_RECORD = struct.Struct("<8sddd")
_NUMBERS = struct.Struct("<ddd")
_NAME_OCTETS = 8
_NOBODY = bytes(_NAME_OCTETS)
_PLACES = 8
_BUCKET_OCTETS = _PLACES * _RECORD.size
# The names of a busy minute; an entry is some 300 octets.
_REMEMBERED_NAMES = 4096


@dataclass(frozen=True, slots=True)
class Record:
    """``until``: UTC seconds at which it is forgotten; ``first`` and ``second`` are the owner's."""

    until: float
    first: float = 0.0
    second: float = 0.0


class Table(Protocol):
    """Records by name."""

    def get(self, name: str) -> Record | None:
        """Return the record of ``name``, None when there is none."""
        ...

    def update(self, name: str, change: Callable[[Record | None], Record]) -> Record:
        """Put what ``change`` makes of the record of ``name`` in its place, and return it."""
        ...


class SharedTable:
    """This process's view; open from construction to ``close``.

    ``places`` (a multiple of 8) records of 32 octets. One instance a file and process: POSIX locks belong to the
    process and go when any descriptor of the file is closed. Raises StorageFull or StorageUnavailable.
    """

    def __init__(
        self, path: Path, *, places: int, clock: Clock, random_octets: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._clock = clock
        self._buckets = places // _PLACES
        self._file, self._map, hash_key = _open(path, self._buckets, random_octets)
        self._place = lru_cache(maxsize=_REMEMBERED_NAMES)(partial(_place, hash_key, self._buckets))

    def get(self, name: str) -> Record | None:
        """Return the record of ``name``, None when there is none or it has expired."""
        key, start = self._place(name)
        at = self._map.find(key, start, start + _BUCKET_OCTETS)
        return self._read(at, self._clock.stamp().utc) if at >= 0 else None

    def update(self, name: str, change: Callable[[Record | None], Record]) -> Record:
        """Put what ``change`` makes of the record of ``name`` (None: there is none) in its place, and return it."""
        key, start = self._place(name)
        now = self._clock.stamp().utc
        fcntl.lockf(self._file, fcntl.LOCK_EX, _BUCKET_OCTETS, start)
        try:
            at = self._map.find(key, start, start + _BUCKET_OCTETS)
            record = change(self._read(at, now) if at >= 0 else None)
            if at < 0:
                at = self._free_place(start)
                self._map[at : at + _NAME_OCTETS] = _NOBODY
            _NUMBERS.pack_into(self._map, at + _NAME_OCTETS, record.until, record.first, record.second)
            self._map[at : at + _NAME_OCTETS] = key
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, _BUCKET_OCTETS, start)
        return record

    def __len__(self) -> int:
        """Count the records that have not expired; reads the whole file."""
        now = self._clock.stamp().utc
        records = _RECORD.iter_unpack(memoryview(self._map)[_HEADER_OCTETS:])
        return sum(1 for key, until, _, _ in records if key != _NOBODY and until > now)

    def close(self) -> None:
        """Let go of the file; what was written stays."""
        if not self._map.closed:
            self._map.close()
            os.close(self._file)

    def _read(self, at: int, now: float) -> Record | None:
        until, first, second = _NUMBERS.unpack_from(self._map, at + _NAME_OCTETS)
        return Record(until, first, second) if until > now else None

    def _free_place(self, start: int) -> int:
        """Return the place of the record to give way: an empty one, else that which expires first."""
        empty = self._map.find(_NOBODY, start, start + _BUCKET_OCTETS)
        # Numbers may be zeros too: only at the head of a record do they mean that nobody has it.
        if empty >= 0 and (empty - start) % _RECORD.size == 0:
            return empty
        places = range(start, start + _BUCKET_OCTETS, _RECORD.size)
        return min(places, key=self._until)

    def _until(self, at: int) -> float:
        key, until, _, _ = _RECORD.unpack_from(self._map, at)
        return float("-inf") if key == _NOBODY else float(until)


class LateTable:
    """A table that is opened, and takes its room on disk, when it is first used; then it may raise StorageError."""

    def __init__(self, opened: Callable[[], SharedTable]) -> None:
        self._open = opened
        self._table: SharedTable | None = None

    def get(self, name: str) -> Record | None:
        """Return the record of ``name``, None when there is none."""
        return self._opened().get(name)

    def update(self, name: str, change: Callable[[Record | None], Record]) -> Record:
        """Put what ``change`` makes of the record of ``name`` in its place, and return it."""
        return self._opened().update(name, change)

    def _opened(self) -> SharedTable:
        if self._table is None:
            self._table = self._open()
        return self._table


def _place(hash_key: bytes, buckets: int, name: str) -> tuple[bytes, int]:
    """Return a name's key and where its bucket begins."""
    key = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_NAME_OCTETS, key=hash_key).digest()
    return key, _HEADER_OCTETS + int.from_bytes(key, "little") % buckets * _BUCKET_OCTETS


def _open(path: Path, buckets: int, random_octets: Callable[[int], bytes]) -> tuple[int, mmap.mmap, bytes]:
    size = _HEADER_OCTETS + buckets * _BUCKET_OCTETS
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Workers start together; the first one makes the file.
            fcntl.lockf(descriptor, fcntl.LOCK_EX, _HEADER_OCTETS, 0)
            key = _prepared(descriptor, size, random_octets)
            mapped = mmap.mmap(descriptor, size)
            fcntl.lockf(descriptor, fcntl.LOCK_UN, _HEADER_OCTETS, 0)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        kind = StorageFull if error.errno == errno.ENOSPC else StorageUnavailable
        raise kind(f"{path}: {error}") from error
    return descriptor, mapped, key


def _prepared(descriptor: int, size: int, random_octets: Callable[[int], bytes]) -> bytes:
    head = os.pread(descriptor, _HEAD.size, 0)
    if len(head) == _HEAD.size:
        magic, written, key = _HEAD.unpack(head)
        if (magic, written) == (_MAGIC, size) and os.fstat(descriptor).st_size == size:
            return bytes(key)
    os.ftruncate(descriptor, 0)
    os.posix_fallocate(descriptor, 0, size)
    key = random_octets(_KEY_OCTETS)
    os.pwrite(descriptor, _HEAD.pack(_MAGIC, size, key), 0)
    return key
