"""The content (header section and body) exactly as received: dot-stuffing undone, nothing else changed (invariant 5).

Small contents live in memory; beyond a threshold intake spills them into a file, and readers stream. Either way the
octets are immutable for the transaction's life.
"""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from gateway.mail.header import MAX_HEADER_OCTETS, HeaderSection, has_end
from gateway.mail.mime import MimeTree, parse
from gateway.mail.mime.decodings import Decodings
from gateway.mail.mime.plain import one_text

# One read from a spilled content: large enough that the file system reads ahead, small beside the memory budget.
CHUNK_OCTETS = 256 * 1024

# A spilled content's first read for its header section; beyond it are a few in a million, which cost a second read.
HEADER_READ_OCTETS = 64 * 1024


class Content:
    """Received octets, in memory or in a file; ``size`` in octets.

    Exactly one of ``octets`` and ``path`` is set. Equality is identity: contents are large.
    """

    __slots__ = ("__dict__", "octets", "path", "size")

    def __init__(self, octets: bytes | None = None, *, path: Path | None = None, size: int | None = None) -> None:
        self.octets = octets
        self.path = path
        self.size = len(octets) if octets is not None else size or 0

    def head(self, most: int) -> bytes:
        """Return the first ``most`` octets."""
        if self.octets is not None:
            return self.octets if self.size <= most else self.octets[:most]
        if self.path is None:
            return b""
        with self.path.open("rb") as file:
            return file.read(most)

    @cached_property
    def header(self) -> HeaderSection:
        """The header section, scanned once on first use; reads at most MAX_HEADER_OCTETS of a spilled content."""
        if self.octets is None:
            head = self.head(HEADER_READ_OCTETS)
            if has_end(head):
                return HeaderSection(head)
        return HeaderSection(self.head(MAX_HEADER_OCTETS + 4))

    def slice(self, start: int, end: int) -> bytes:
        """Return the octets from ``start`` to ``end`` in one piece, from a file without a second copy."""
        if self.octets is not None:
            return self.octets[start:end]
        if self.path is None:
            return b""
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(max(0, end - start))

    def chunks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the octets from ``start`` to ``end`` in pieces of CHUNK_OCTETS at most (from memory in one piece)."""
        stop = self.size if end is None else end
        if self.octets is not None:
            if start < stop:
                yield self.octets if (start, stop) == (0, self.size) else self.octets[start:stop]
            return
        if self.path is None:
            return
        with self.path.open("rb") as file:
            file.seek(start)
            while start < stop and (piece := file.read(min(CHUNK_OCTETS, stop - start))):
                start += len(piece)
                yield piece

    @cached_property
    def mime(self) -> MimeTree:
        """The parts by octet offset, with the default limits, found once on first use."""
        return self.one_text or parse(self)

    @cached_property
    def one_text(self) -> MimeTree | None:
        """The parts of a content that is one text to every reader, told by a short way; None when it has to be read."""
        return one_text(self)

    @cached_property
    def decodings(self) -> Decodings:
        """What was decoded of it and is kept; nothing of a content in a file."""
        return Decodings()

    def forget_decodings(self) -> None:
        """Let go of what was decoded: of a message that is judged nobody asks any more, and it may wait for long."""
        self.__dict__.pop("decodings", None)

    @cached_property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of the whole content."""
        digest = hashlib.sha256()
        for piece in self.chunks():
            digest.update(piece)
        return digest.hexdigest()


EMPTY_CONTENT = Content(b"")
