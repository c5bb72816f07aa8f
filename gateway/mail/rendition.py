"""What leaves is the received content with edits: our trace fields in front, forged ones cut out (invariants 5 and 6).

An edit replaces one octet range; every octet outside the ranges is identical to what was received. Recipients whose
edits are equal share a rendition, so one transfer serves them all. The received octets themselves stay untouched in
the spool.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from gateway.mail.content import Content
from gateway.value import value


@value(order=True)
class Edit:
    """Octets ``start`` to ``end`` of the content become ``replacement``."""

    start: int
    end: int
    replacement: bytes = b""


@value()
class Rendition:
    """Edits in ascending order that do not overlap; ``Rendition(())`` is the content as received."""

    edits: tuple[Edit, ...] = ()

    @classmethod
    def of(cls, edits: Iterable[Edit]) -> "Rendition":
        """Return a rendition of edits in any order; ValueError when two overlap."""
        ordered = tuple(sorted(edits))
        for before, after in pairwise(ordered):
            if after.start < before.end:
                raise ValueError(f"edits overlap at octet {after.start}")
        return cls(ordered)

    def size(self, content: Content) -> int:
        """Return the octets that will leave."""
        return content.size + sum(len(e.replacement) - (e.end - e.start) for e in self.edits)

    def replaces(self, content: Content) -> bool:
        """Tell whether nothing is left of the content: what leaves is a message of ours in its place."""
        return any(edit.start == 0 < edit.end == content.size and edit.replacement for edit in self.edits)

    def chunks(self, content: Content) -> Iterator[bytes]:
        """Yield the octets that leave, in order."""
        at = 0
        for edit in self.edits:
            if at < edit.start:
                yield from content.chunks(at, edit.start)
            if edit.replacement:
                yield edit.replacement
            at = edit.end
        if at < content.size:
            yield from content.chunks(at)


AS_RECEIVED = Rendition()
