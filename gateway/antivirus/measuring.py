"""Finds out how far a scanner looks that does not tell where it stops (``reach``).

Nothing but trying tells: the EICAR test file is put where each of our own limits would still let it be, and nearer
until it is found. Most of what is tried unpacks to zeros: it takes some 100 KB on the way, and the scanner two seconds
altogether.
"""

import asyncio
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from struct import pack

from gateway.antivirus.archive.report import ArchiveLimits
from gateway.antivirus.framing import Piece
from gateway.antivirus.reach import Reach
from gateway.antivirus.result import Outcome
from gateway.antivirus.scanner import Scanner
from gateway.antivirus.selftest import TEST_FILE, piece_of

_MIB = 1024 * 1024
_LIMITS = ArchiveLimits()
# From what our own walk allows downwards.
_OCTETS = (_LIMITS.entry_octets, 50 * _MIB, 25 * _MIB, 10 * _MIB, 5 * _MIB, _MIB, _MIB // 4, _MIB // 16)
_DEPTHS = (_LIMITS.depth, 8, 5, 3, 1)
_ENTRIES = (_LIMITS.entries, 1000, 100)


async def measure(scanner: Scanner) -> Reach | None:
    """Find out how far one scanner looks; None where it did not answer."""
    octets = await _furthest(scanner, _OCTETS, large)
    depth = await _furthest(scanner, _DEPTHS, deep)
    entries = await _furthest(scanner, _ENTRIES, many)
    if octets is None or depth is None or entries is None:
        return None
    return Reach(file_octets=octets, archive_octets=2 * octets, depth=depth, entries=entries)


async def _furthest(scanner: Scanner, steps: Sequence[int], probe: Callable[[int], Piece]) -> int | None:
    """Return the first step at which EICAR is found, 0 for none; None where the scanner did not answer."""
    for step in steps:
        [result] = (await scanner.scan([await asyncio.to_thread(probe, step)])).results
        if result.outcome is Outcome.INFECTED:
            return step
        if result.outcome is Outcome.TEMPERROR:
            return None
    return 0


@cache
def large(octets: int) -> Piece:
    """Return a zip with a zip of ``octets`` in it, nearly all of which is another, at whose end EICAR lies."""
    # Behind an entry of one octet, so that it begins as zips do, a gap: that is no file to look at by itself.
    test = _deflated(b"e.com", TEST_FILE)
    ends = _zip_size(_stored(b"x", b"x"), test), _zip_size(_stored(b"b.zip", b""))
    gap = octets - sum(ends)
    inner = _zip((_stored(b"x", b"x"), test), gap=gap)
    outer = _zip((_Entry(b"b.zip", 0, octets - ends[1], octets - ends[1], inner),))
    packed = _squeezed(outer)
    return piece_of(b"".join(map(_bytes, _zip((_Entry(b"a.zip", 8, len(packed), octets, (packed,)),)))))


@cache
def deep(depth: int) -> Piece:
    """Return EICAR in ``depth`` zips, one in the other."""
    octets = TEST_FILE
    for level in range(depth):
        octets = b"".join(map(_bytes, _zip((_deflated(b"%d.zip" % level if level else b"e.com", octets),))))
    return piece_of(octets)


@cache
def many(entries: int) -> Piece:
    """Return EICAR as the last of so many entries of a zip."""
    others = (_stored(b"%d" % number, b"-") for number in range(entries - 1))
    return piece_of(b"".join(map(_bytes, _zip((*others, _deflated(b"e.com", TEST_FILE))))))


# Octets, or so many zeros.
_Span = bytes | int


@dataclass(frozen=True, slots=True)
class _Entry:
    name: bytes
    method: int
    packed: int
    size: int
    octets: Sequence[_Span]
    crc: int = 0

    @property
    def head(self) -> bytes:
        """What local header and directory say alike."""
        about = (20, 0, self.method, 0, 0, self.crc, self.packed, self.size, len(self.name), 0)
        return pack("<HHHHHIIIHH", *about)


def _stored(name: bytes, octets: bytes) -> _Entry:
    return _Entry(name, 0, len(octets), len(octets), (octets,), zlib.crc32(octets))


def _deflated(name: bytes, octets: bytes) -> _Entry:
    packed = zlib.compress(octets, wbits=-zlib.MAX_WBITS)
    return _Entry(name, 8, len(packed), len(octets), (packed,), zlib.crc32(octets))


def _zip(entries: Sequence[_Entry], gap: int = 0) -> tuple[_Span, ...]:
    """Return a zip (APPNOTE 4.3), with ``gap`` zeros before its last entry."""
    spans: list[_Span] = []
    directory: list[bytes] = []
    at = 0
    for number, entry in enumerate(entries, 1):
        if gap and number == len(entries):
            spans.append(gap)
            at += gap
        spans += (b"PK\x03\x04" + entry.head + entry.name, *entry.octets)
        directory.append(b"PK\x01\x02\x14\0" + entry.head + pack("<HHHII", 0, 0, 0, 0, at) + entry.name)
        at += 30 + len(entry.name) + entry.packed
    listed = b"".join(directory)
    end = pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, len(entries), len(entries), len(listed), at, 0)
    return (*spans, listed + end)


def _zip_size(*entries: _Entry) -> int:
    return sum(len(_bytes(span)) for span in _zip(entries))


def _bytes(span: _Span) -> bytes:
    return span if isinstance(span, bytes) else bytes(span)


def _squeezed(spans: Sequence[_Span]) -> bytes:
    """Return a deflate stream; of many zeros a mebibyte is packed once."""
    return b"".join(_blocks(spans))


def _blocks(spans: Sequence[_Span]) -> Iterator[bytes]:
    zeros = _block(bytes(_MIB))
    for span in spans:
        if isinstance(span, bytes):
            yield _block(span)
        else:
            yield zeros * (span // _MIB)
            yield _block(bytes(span % _MIB))
    yield zlib.compressobj(wbits=-zlib.MAX_WBITS).flush()


def _block(octets: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(octets) + packer.flush(zlib.Z_FULL_FLUSH)
