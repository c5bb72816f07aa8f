"""A message made ready for scanners: every part of every reading found, decoded, looked at and put where it can wait.

A scan may wait for a scanner, which sends its octets as they lie; so what is decoded does not wait in memory. Up to
IN_MEMORY_OCTETS of a message do, which most mail never reaches; the rest goes into one file without a name, beside the
content's own where that is in a file.
"""

import hashlib
import os
import tempfile
import threading
import weakref
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.antivirus.archive.kinds import is_shut_document, kinds_of
from gateway.antivirus.cms import unwrap
from gateway.antivirus.framing import FileSpan, Octets, Piece
from gateway.mail.content import Content
from gateway.mail.filetype import FileFacts, inspect
from gateway.mail.filetype.risks import risks
from gateway.mail.mime.part import MimePart
from gateway.mail.mime.readings import Leaf, Place, readings
from gateway.mail.mime.transfer import Decoded

# As much as intake holds of a content before it goes to a file, twice.
IN_MEMORY_OCTETS = 256 * 1024
# Messages in signed messages in encoded messages; people come to two.
_MAX_WRAPPED = 8
_UNWRAPPED_OCTETS = 128 * 1024 * 1024
# A sequence in DER, and a zero in ASCII.
_DER = b"\x30"
# By how a file begins clamd tells that it is a mail. Of the names of header fields it knows more with some signature
# databases than with others, and these always.
_SURELY_MAIL = (b"Received: ", b"From: ")


class Depot:
    """Octets that wait: ``in_memory`` counts those that do so there. Its file is gone when nobody refers to it.

    What several archives of a mail hold is put here by several threads at once: each has its own place in the file.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._descriptor = -1
        self._size = 0
        self._placing = threading.Lock()
        self.in_memory = 0

    def piece(self, octets: Octets) -> Piece:
        """Return octets as a piece to scan; raises OSError when there is no room for them."""
        digest = hashlib.sha256(octets).hexdigest()
        with self._placing:
            if self.in_memory + len(octets) <= IN_MEMORY_OCTETS:
                self.in_memory += len(octets)
                return Piece(octets=octets, digest=digest)
            place = self._place(len(octets))
        _write(octets, place)
        return Piece(octets=place, digest=digest)

    def _place(self, size: int) -> FileSpan:
        if self._descriptor < 0:
            self._descriptor = _nameless(self._folder)
            # Not when a scan ends: one that nobody waits for any more may still be written by a thread.
            weakref.finalize(self, os.close, self._descriptor)
        start = self._size
        self._size += size
        return FileSpan(self._descriptor, size, start)


def _write(octets: Octets, place: FileSpan) -> None:
    at, rest = place.start, memoryview(octets)
    while rest:
        written = os.pwrite(place.descriptor, rest, at)
        at += written
        rest = rest[written:]


def _nameless(folder: Path | None) -> int:
    """Return the descriptor of a new file that has no name, so that no crash leaves it behind."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A leaf with its decodings as pieces; one without pieces, but not empty, is scanned as the whole message."""

    leaf: Leaf
    usual: bool
    pieces: tuple[Piece, ...]
    cut_short: bool
    encrypted: bool
    # Of what the usual decoder makes of it.
    size: int
    facts: FileFacts | None = None
    # Those of the pieces that are archives or encrypted documents.
    archives: tuple[Piece, ...] = ()
    risks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A message as it is given to scanners.

    ``depot`` holds what does not lie in memory: pieces live as long as it does. ``kept_octets`` are those that do.
    """

    parts: tuple[Part, ...]
    ambiguities: tuple[str, ...]
    truncated: str
    digest: str
    depot: Depot
    kept_octets: int


def prepare(content: Content) -> Prepared:
    """Find and decode every leaf of every reading, and of what is wrapped in S/MIME; raises OSError."""
    gathered = _Gathered(depot=Depot(content.path.parent if content.path else None))
    gathered.read(content, (), usual=True)
    return Prepared(
        parts=tuple(gathered.parts),
        ambiguities=tuple(sorted(gathered.ambiguities)),
        truncated=gathered.truncated,
        digest=content.sha256,
        depot=gathered.depot,
        kept_octets=gathered.kept_octets(content),
    )


def _only_text(content: Content) -> Part | None:
    """Return a mail's one text without encoding as a part without pieces: clamd takes it out of the whole and scans it.

    It does where it takes the whole for a mail; else that is octets to it, in which signatures of a file's beginning,
    hash or kind find nothing.
    Scanning it once more by itself would cost half as much again (measured with clamd 1.4) and find the same.
    """
    tree = content.one_text
    if tree is None or not content.header.octets.startswith(_SURELY_MAIL):
        return None
    part = tree.parts[0]
    octets = part.raw(content)
    # What begins as S/MIME does is looked into first.
    if octets.startswith(_DER):
        return None
    leaf = Leaf(part=part, content=content)
    return Part(leaf=leaf, usual=True, pieces=(), cut_short=False, encrypted=False, size=len(octets))


@dataclass(slots=True)
class _Gathered:
    """What reading a message and the messages within it brings together."""

    depot: Depot
    parts: list[Part] = field(default_factory=list)
    ambiguities: set[str] = field(default_factory=set)
    truncated: str = ""

    def read(self, content: Content, origin: tuple[Place, ...], *, usual: bool) -> None:
        """Take every reading of a content that was unwrapped from ``origin``."""
        if not origin and (text := _only_text(content)):
            self.parts.append(text)
            return
        found = tuple(readings(content))
        for reading in found:
            self.ambiguities.update(reading.ambiguities)
            self.truncated = self.truncated or reading.truncated
        for reading in found:
            for leaf in reading.leaves:
                inner = replace(leaf, origin=(*origin, *leaf.origin)) if origin else leaf
                self._take(inner, usual=usual and reading.is_usual)

    def _take(self, leaf: Leaf, *, usual: bool) -> None:
        decoded = leaf.decode()
        part = self._part(leaf, decoded, usual=usual)
        opaque = unwrap(decoded.octets, _UNWRAPPED_OCTETS) if decoded.octets.startswith(_DER) else None
        if opaque is None:
            self.parts.append(part)
            return
        self.parts.append(replace(part, encrypted=opaque.encrypted))
        if not opaque.content:
            return
        if len(leaf.origin) >= _MAX_WRAPPED:
            self.truncated = self.truncated or "depth"
            return
        place = (leaf.part.body_start, leaf.part.body_end, "cms")
        self.read(Content(opaque.content), (*leaf.origin, place), usual=usual)

    def _part(self, leaf: Leaf, decoded: Decoded, *, usual: bool) -> Part:
        first, part = decoded.octets, leaf.part
        facts = inspect(first, part.filename) if part.is_attachment and first else None
        # Of a file that the usual reader finds, the filter of attachments tells them.
        is_hidden = not usual or any(undone == "cms" for _, _, undone in leaf.origin)
        pieces, archives = [], []
        for octets in dict.fromkeys(octets for octets in (first, *leaf.alternatives()) if octets):
            piece = self.depot.piece(octets)
            pieces.append(piece)
            if kinds_of(octets) or _is_shut(octets, facts if octets is first else None, part):
                archives.append(piece)
        return Part(
            leaf=leaf,
            usual=usual,
            pieces=tuple(pieces),
            archives=tuple(archives),
            cut_short=decoded.truncated,
            encrypted=part.media_type == "application/pgp-encrypted",
            size=len(first),
            facts=facts,
            risks=tuple(risks(first, facts, part.filenames)) if facts is not None and is_hidden else (),
        )

    def kept_octets(self, content: Content) -> int:
        """Return how much is held in memory beside ``content``: what was undone around parts, and small parts."""
        held = {id(part.leaf.content): part.leaf.content for part in self.parts}
        undone = sum(one.size for one in held.values() if one.octets is not None and one is not content)
        return undone + self.depot.in_memory


def _is_shut(octets: bytes, facts: FileFacts | None, part: MimePart) -> bool:
    if not part.is_attachment:
        return False
    # Those of another decoder's octets are rare enough to look at twice.
    return is_shut_document(facts or inspect(octets, part.filename))
