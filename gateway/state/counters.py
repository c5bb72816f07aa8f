"""Counts shared by all workers: connections, octets in flight, rates per client network.

One file, mapped into every worker. Each worker writes its own column only and reads all of them, so there are no locks
and a crash leaves nothing locked; a worker clears its column when it starts. A reader may see another worker's cell
between two of its writes: a count is then off by one event for a moment, which a limit can bear.

Per network, counts lie in tables of fixed size with two hash rows (count-min sketch): a network has one cell in each
row, an estimate is the smaller of its two cells. It never counts too little. Too much only where both cells are shared:

- connections, 16,384 cells a row: with 2,000 networks connected a row adds 0.12 connections on average, and the odds
that both cells of a
  client are shared are (1 - e^(-2000/16384))² = 1.3 %, of one that also has many connections far less;
- rates, 32,768 cells a row: 3.6 million messages an hour add 110 to a row on average, beside a limit of 20,000; that a
client shares both
  cells with one of 100 others near their limit has odds of (100/32768)², 1 in 100,000.

The hash is keyed with octets drawn when the file is made, so that nobody can choose addresses that share a victim's
cells.

Rates slide: the count of the present window and the part of the one before that still overlaps the last ``seconds``.
Time is the monotonic clock, which all processes of one boot share. The file is reserved on disk when it is made: a
write into a hole of a full disk would kill the worker.
"""

import errno
import fcntl
import mmap
import os
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from gateway.clock import Clock
from gateway.storage import StorageFull, StorageUnavailable

_MAGIC = b"tidegate-counters-1\n"
_KEY_OCTETS = 32
_HEADER_OCTETS = 4096

_CONNECTION_CELLS = 16_384
_RATE_CELLS = 32_768
# A rate's cell: the number of its window, the count in it, the count in the window before.
_RATE_WORDS = 3

# A column in 32-bit words: connections in all, one unused, octets in flight (64 bits), the two tables; up to a whole
# page.
_CONNECTIONS = 0
_OCTETS_AS_64 = 1
_CONNECTION_TABLE = 4
_RATE_TABLE = _CONNECTION_TABLE + 2 * _CONNECTION_CELLS
_COLUMN_OCTETS = -(-4 * (_RATE_TABLE + 2 * _RATE_CELLS * _RATE_WORDS) // 4096) * 4096

_WORD = 0xFFFFFFFF
# Busy networks of an hour; an entry is some 300 octets.
_REMEMBERED_NETWORKS = 8192


class SharedCounters:
    """This worker's view; open from construction to ``close``.

    ``worker`` of ``workers`` owns a column, which is cleared now. Raises StorageFull or StorageUnavailable.
    ``random_octets`` draws the key of a new file.
    """

    def __init__(
        self, path: Path, *, worker: int, workers: int, clock: Clock, random_octets: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._clock = clock
        self._map, key = _open(path, workers, random_octets)
        column = _HEADER_OCTETS + worker * _COLUMN_OCTETS
        self._map[column : column + _COLUMN_OCTETS] = bytes(_COLUMN_OCTETS)
        whole = memoryview(self._map)
        starts = [_HEADER_OCTETS + n * _COLUMN_OCTETS for n in range(workers)]
        self._columns = [whole[at : at + _COLUMN_OCTETS].cast("I") for at in starts]
        self._columns_64 = [whole[at : at + _COLUMN_OCTETS].cast("q") for at in starts]
        self._own = self._columns[worker]
        self._own_64 = self._columns_64[worker]
        self._whole = whole
        self._hash = lru_cache(maxsize=_REMEMBERED_NETWORKS)(lambda text: _hash(text, key))

    def open_connection(self, network: str) -> tuple[int, int]:
        """Count one connection more; return how many there are in all and from ``network``, this one included."""
        self._add(network, 1)
        return self.connections(), self.connections_from(network)

    def close_connection(self, network: str) -> None:
        """Count one connection less."""
        self._add(network, -1)

    def _add(self, network: str, change: int) -> None:
        own = self._own
        own[_CONNECTIONS] = max(0, own[_CONNECTIONS] + change)
        for cell in self._connection_cells(network):
            own[cell] = max(0, own[cell] + change)

    def _connection_cells(self, network: str) -> tuple[int, int]:
        first, second = self._hash(network)
        return (
            _CONNECTION_TABLE + first % _CONNECTION_CELLS,
            _CONNECTION_TABLE + _CONNECTION_CELLS + second % _CONNECTION_CELLS,
        )

    def connections(self) -> int:
        """Return the connections of all workers."""
        return sum([column[_CONNECTIONS] for column in self._columns])

    def connections_from(self, network: str) -> int:
        """Return the connections from ``network`` to all workers."""
        first, second = self._connection_cells(network)
        return min(sum([c[first] for c in self._columns]), sum([c[second] for c in self._columns]))

    def add_octets(self, octets: int) -> int:
        """Add to the octets in flight (less when negative); return those of all workers."""
        self._own_64[_OCTETS_AS_64] = max(0, self._own_64[_OCTETS_AS_64] + octets)
        return self.octets()

    def octets(self) -> int:
        """Return the octets in flight of all workers."""
        return sum([column[_OCTETS_AS_64] for column in self._columns_64])

    def count(self, kind: str, network: str, seconds: float) -> int:
        """Count one event; return how many of its kind the network had in the last ``seconds``, this one included."""
        window, share = self._window(seconds)
        own = self._own
        cells = self._rate_cells(kind, network)
        for cell in cells:
            if own[cell] != window:
                own[cell + 2] = own[cell + 1] if own[cell] == (window - 1) & _WORD else 0
                own[cell + 1] = 0
                own[cell] = window
            own[cell + 1] += 1
        return min(self._rate_at(cells[0], window, share), self._rate_at(cells[1], window, share))

    def rate(self, kind: str, network: str, seconds: float) -> int:
        """Return how many events of a kind the network had in the last ``seconds``."""
        window, share = self._window(seconds)
        first, second = self._rate_cells(kind, network)
        return min(self._rate_at(first, window, share), self._rate_at(second, window, share))

    def _window(self, seconds: float) -> tuple[int, float]:
        """Return the present window's number and the share of the one before that the last ``seconds`` still cover."""
        windows = self._clock.monotonic() / seconds
        # Numbers start at 1, so that a cell never written belongs to no window.
        whole = int(windows)
        return (whole + 1) & _WORD, 1.0 - (windows - whole)

    def _rate_cells(self, kind: str, network: str) -> tuple[int, int]:
        first, second = self._hash(f"{kind} {network}")
        return (
            _RATE_TABLE + _RATE_WORDS * (first % _RATE_CELLS),
            _RATE_TABLE + _RATE_WORDS * (_RATE_CELLS + second % _RATE_CELLS),
        )

    def _rate_at(self, cell: int, window: int, share: float) -> int:
        present, before = 0, 0
        for column in self._columns:
            at = column[cell]
            if at == window:
                present += column[cell + 1]
                before += column[cell + 2]
            elif at == (window - 1) & _WORD:
                before += column[cell + 1]
        return present + int(before * share)

    def close(self) -> None:
        """Give back this worker's counts and the mapping."""
        self._own_64[_OCTETS_AS_64] = 0
        for view in (*self._columns, *self._columns_64, self._whole):
            view.release()
        self._map.close()


def _hash(text: str, key: bytes) -> tuple[int, int]:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def _open(path: Path, workers: int, random_octets: Callable[[int], bytes]) -> tuple[mmap.mmap, bytes]:
    size = _HEADER_OCTETS + workers * _COLUMN_OCTETS
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Workers start together; the first one makes the file.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size < size:
                os.posix_fallocate(descriptor, 0, size)
            header = os.pread(descriptor, len(_MAGIC) + _KEY_OCTETS, 0)
            if not header.startswith(_MAGIC):
                header = _MAGIC + random_octets(_KEY_OCTETS)
                os.pwrite(descriptor, header, 0)
            return mmap.mmap(descriptor, size), header[len(_MAGIC) :]
        finally:
            # The mapping keeps a duplicate of the descriptor, and with it the lock unless it is given up here.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
    except OSError as error:
        kind = StorageFull if error.errno == errno.ENOSPC else StorageUnavailable
        raise kind(f"{path}: {error}") from error
