r"""The wire to clamd (clamd(8)): ``zINSTREAM\0``, chunks with a length of four octets, big-endian, and a length of 0.

Everything for one message goes through one session, between two questions for the version: the answers to those say
which signatures the message was scanned with, and whether they changed on the way. The second is asked when all else
is answered: clamd writes a version's number and its text apart, and another thread's answer may come between them
(seen in one of a hundred sessions of clamd 1.4).

A piece is sent as it lies, in memory or in a mapped file; only the few octets around it are made here. One chunk may
be as long as the stream.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

Octets = bytes | memoryview

# The length is 32 bits; clamd's own limits lie far below.
MAX_CHUNK_OCTETS = 0x8000_0000
_BEGIN = b"zIDSESSION\0zVERSION\0"
_STREAM = b"zINSTREAM\0"
_END_OF_STREAM = b"\0\0\0\0"
# What ends a session whose streams are answered.
END = b"zVERSION\0zEND\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Octets to scan, without a copy: ``octets`` of ``size``, and the hexadecimal SHA-256 that names them."""

    octets: Octets = field(repr=False)
    digest: str

    @property
    def size(self) -> int:
        """The number of octets."""
        return len(self.octets)


def session(pieces: Sequence[Piece]) -> Iterator[Octets]:
    """Yield what is sent to have ``pieces`` scanned, but ``END``; each buffer that is a piece's is the piece's own."""
    yield _BEGIN
    for piece in pieces:
        yield from stream(piece.octets)


def stream(octets: Octets) -> Iterator[Octets]:
    """Yield one INSTREAM command."""
    size = len(octets)
    if size <= MAX_CHUNK_OCTETS:
        # An empty stream is its end alone: a chunk of length 0 is the end.
        yield _STREAM + size.to_bytes(4, "big") if size else _STREAM
        if size:
            yield octets
        yield _END_OF_STREAM
        return
    yield _STREAM
    view = memoryview(octets)
    for start in range(0, size, MAX_CHUNK_OCTETS):
        part = view[start : start + MAX_CHUNK_OCTETS]
        yield len(part).to_bytes(4, "big")
        yield part
    yield _END_OF_STREAM


def announced(octets: int) -> bytes:
    """Return the beginning of a stream with a chunk of ``octets`` of which none is sent.

    clamd refuses it at once when that is beyond StreamMaxLength.
    """
    return _STREAM + octets.to_bytes(4, "big")
