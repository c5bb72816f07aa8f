"""Counts what a walk has used up, and stops it at the first limit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.antivirus.archive.report import ArchiveLimits

# Below this nothing is a bomb, however well it was compressed.
_FREE_OCTETS = 16 * 1024 * 1024


class LimitReachedError(Exception):
    """Ends a walk; the text is the limit's name."""


class Budget:
    """One walk's account; ``monotonic`` gives seconds, ``packed`` is the size of the outermost archive."""

    def __init__(self, limits: ArchiveLimits, packed: int, monotonic: Callable[[], float]) -> None:
        self.limits = limits
        self._packed = max(1, packed)
        self._monotonic = monotonic
        self._begun = monotonic()
        self._entries = 0
        self._octets = 0
        self._carried = 0

    @property
    def seconds(self) -> float:
        """How long the walk has taken."""
        return self._monotonic() - self._begun

    def enter(self, depth: int) -> None:
        """Account for going into an archive ``depth`` levels deep."""
        if depth >= self.limits.depth:
            raise LimitReachedError("depth")

    def entry(self) -> None:
        """Account for an entry."""
        self._entries += 1
        if self._entries > self.limits.entries:
            raise LimitReachedError("entries")
        self.tick()

    def unpacked(self, octets: int) -> None:
        """Account for octets that came out."""
        self._octets += octets
        if self._octets > self.limits.octets:
            raise LimitReachedError("octets")
        if self._octets > _FREE_OCTETS and self._octets > self._packed * self.limits.ratio:
            raise LimitReachedError("ratio")
        self.tick()

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Take back, when the block ends, what it accounted for: a wrong password unpacked what is not there."""
        entries, octets = self._entries, self._octets
        yield
        self._entries, self._octets = entries, octets
        self.tick()

    def carried(self, octets: int) -> None:
        """Account for octets that go back to be scanned."""
        self._carried += octets
        if self._carried > self.limits.carried_octets:
            raise LimitReachedError("carried")

    def tick(self) -> None:
        """Account for nothing but time."""
        if self.seconds > self.limits.seconds:
            raise LimitReachedError("seconds")
