r"""The wire to clamd (clamd(8)): ``zINSTREAM\0``, chunks with a length of four octets, big-endian, and a length of 0.

Everything for one message goes through one session, between two answers that tell the version: they say which
signatures the message was scanned with, and whether they changed on the way. The second is asked for when all else is
answered: clamd writes a version's number and its text apart, and another thread's answer may come between them (seen in
one of a hundred sessions of clamd 1.4).

A piece is sent as it lies, in memory or in a file; only the few octets around it are made here. One chunk is as long
as the stream.
"""

from collections.abc import Iterator
from dataclasses import field

from gateway.value import value

Octets = bytes | memoryview


@value()
class FileSpan:
    """The ``size`` octets of an open file from ``start`` on, which the kernel sends from where they lie."""

    descriptor: int
    size: int
    start: int = 0

    def __len__(self) -> int:
        return self.size


Sendable = Octets | FileSpan

# The length is 32 bits; clamd's own limits lie far below.
MAX_STREAM_OCTETS = 0xFFFF_FFFF
# What begins a session, and one that scans.
SESSION = b"zIDSESSION\0"
BEGIN = SESSION + b"zVERSION\0"
_STREAM = b"zINSTREAM\0"
_END_OF_STREAM = b"\0\0\0\0"
# What is asked when streams are answered.
VERSION = b"zVERSION\0"


@value(kw_only=True)
class Piece:
    """Octets to scan, without a copy: ``octets`` of ``size``, and the hexadecimal SHA-256 that names them."""

    octets: Sendable = field(repr=False)
    digest: str

    @property
    def size(self) -> int:
        """The number of octets."""
        return len(self.octets)


def stream(octets: Sendable) -> Iterator[Sendable]:
    """Yield one INSTREAM command; an empty stream is its end alone, since a chunk of length 0 is the end."""
    yield _STREAM + len(octets).to_bytes(4, "big") if len(octets) else _STREAM
    if len(octets):
        yield octets
    yield _END_OF_STREAM


def announced(octets: int) -> bytes:
    """Return the beginning of a stream with a chunk of ``octets`` of which none is sent.

    clamd refuses it at once when that is beyond StreamMaxLength.
    """
    return _STREAM + octets.to_bytes(4, "big")
