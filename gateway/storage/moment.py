"""One moment of a store, read octet by octet while the store is written: what a backup saves.

SQLite's online backup interface (``Connection.backup``) writes a copy, as large as the store, to the disk that the
mail's own syncs wait for, only to have it read again and thrown away; that is what mail felt of a backup. Here a read
transaction keeps the moment, as it keeps the source of an online backup, and the pages are read where they lie.

Where a page lies is told by the documented file format (sqlite.org/fileformat2.html §4, sqlite.org/walformat.html): its
last frame in the log up to the moment, or its place in the file. Both hold still as long as the transaction is open:

- A checkpoint copies into the file only frames up to the oldest reader's moment, so only pages that are read from the
  log here; and the log is not begun anew while a reader needs it.
- Where the whole log was in the file already, SQLite lets a new log begin but no checkpoint write. The frames of the
  old one are known by their salts; one that is gone is in the file.

The writer waits for nothing; its log grows by what is committed meanwhile.
"""

import os
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

from gateway.storage.errors import StorageUnavailable, from_os, from_sqlite
from gateway.storage.reader import ReadDatabase

# A log's header; a frame's: page, pages after a commit, two salts, two checksums.
_LOG_HEAD_OCTETS = 32
_FRAME_HEAD = struct.Struct(">II8s8s")
# An index's header: version, unused, change counter, initialised, order, page size, frames, pages, checksum, salts,
# checksum. In the machine's own order, but salts as they stand in the log; twice, and equal unless being written.
_INDEX_HEAD = struct.Struct("=IIIBBHII8s8s8s")
# Looking and beginning take some ten microseconds, in which a busy store may be committed to.
_TRIES = 1000


class Moment(ReadDatabase):
    """A store as it is when this is made; raises StorageError.

    For a process that does not write the store: closing a descriptor of a file lets go of all the locks that the
    process has on it, so those here are closed after SQLite's.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._descriptors: list[int] = []
        self._frames: dict[int, int] = {}
        self._salts = b""
        try:
            self._begin()
        except sqlite3.Error as error:
            self.close()
            raise from_sqlite(error, path) from error
        except OSError as error:
            self.close()
            raise from_os(error, path) from error
        except StorageUnavailable:
            self.close()
            raise

    def _begin(self) -> None:
        self._file = self._open("")
        self._log, index = self._open_beside("-wal"), self._open_beside("-shm")
        self._index = index
        if index is None and self._log is not None and os.fstat(self._log).st_size:
            raise StorageUnavailable(f"{self.path}-wal has no index, and none can be made here")
        head = self._hold(index)
        self._page_octets = int(self._connection.execute("PRAGMA page_size").fetchone()[0])
        self._pages = int(self._connection.execute("PRAGMA page_count").fetchone()[0])
        if head and self._log is not None:
            *_, frames, _, _, self._salts, _ = _INDEX_HEAD.unpack(head)
            self._frames = dict(self._found(self._log, frames))

    def _open(self, ending: str) -> int:
        descriptor = os.open(f"{self.path}{ending}", os.O_RDONLY | os.O_CLOEXEC)
        self._descriptors.append(descriptor)
        read_no_further(descriptor)
        return descriptor

    def _open_beside(self, ending: str) -> int | None:
        try:
            return self._open(ending)
        except FileNotFoundError:
            return None

    def _hold(self, index: int | None) -> bytes:
        """Begin to read, and return the index as it was at that moment; b"" without one: nothing is in a log."""
        for _ in range(_TRIES):
            before = _head(index)
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if before is not None and before == _head(index):
                return before
            self._connection.execute("ROLLBACK")
        raise StorageUnavailable(f"{self.path} is never still for a moment")

    def _found(self, log: int, frames: int) -> Iterator[tuple[int, int]]:
        """Yield each page that has a frame, and where; a later one takes the place of an earlier."""
        step = _FRAME_HEAD.size + self._page_octets
        for at in range(_LOG_HEAD_OCTETS, _LOG_HEAD_OCTETS + frames * step, step):
            page, _, salts, _ = _FRAME_HEAD.unpack(os.pread(log, _FRAME_HEAD.size, at))
            if salts == self._salts:
                yield page, at

    @property
    def octets(self) -> int:
        """Return how large the store is."""
        return self._pages * self._page_octets

    def logged_octets(self) -> int:
        """Return how much of a log there is that cannot begin anew before this is closed."""
        head = _head(self._index)
        frames = int(_INDEX_HEAD.unpack(head)[6]) if head else 0
        return frames * (_FRAME_HEAD.size + self._page_octets)

    def pieces(self, octets: int) -> Iterator[bytes]:
        """Yield the store as one file would have it, ``octets`` (some pages) at a time; OSError."""
        for at in range(0, self.octets, octets):
            yield self._piece(at, min(octets, self.octets - at))

    def _piece(self, at: int, octets: int) -> bytes:
        found = os.pread(self._file, octets, at)
        first = at // self._page_octets
        logged = [page for page in range(first + 1, first + 1 + octets // self._page_octets) if page in self._frames]
        if not logged and len(found) == octets:
            return found
        # The file grows at a checkpoint only; pages behind its end are in the log.
        piece = bytearray(found.ljust(octets, b"\0"))
        for page in logged:
            if content := self._logged(page):
                place = (page - 1) * self._page_octets - at
                piece[place : place + self._page_octets] = content
        return bytes(piece)

    def _logged(self, page: int) -> bytes | None:
        """Return a page from the log, None when a new log has taken its place."""
        if self._log is None:
            return None
        at = self._frames[page]
        frame = os.pread(self._log, _FRAME_HEAD.size + self._page_octets, at)
        # SQLite writes a frame's header before its content: an old header afterwards stands before old content.
        head = os.pread(self._log, _FRAME_HEAD.size, at)
        number, _, salts, _ = _FRAME_HEAD.unpack(head)
        if frame[: _FRAME_HEAD.size] != head or (number, salts) != (page, self._salts):
            return None
        return frame[_FRAME_HEAD.size :]

    def close(self) -> None:
        """Let go of the moment."""
        super().close()
        while self._descriptors:
            os.close(self._descriptors.pop())


def read_no_further(descriptor: int) -> None:
    """Have the reads of a file fetch from the disk what they ask for, and no more; OSError.

    Linux reads ahead of who reads in order, by as much as the device is set to: where that is 8 MiB, who reads 128 KiB
    a sixtieth of a second makes it read 4 MiB at once twice a second, and a sync of the mail waits for all of that.
    """
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)


def _head(index: int | None) -> bytes | None:
    """Return the index's header, None while it is being written, b"" where there is no log."""
    if index is None:
        return b""
    first, second = (os.pread(index, _INDEX_HEAD.size, copy * _INDEX_HEAD.size) for copy in range(2))
    return first if first == second and len(first) == _INDEX_HEAD.size else None
