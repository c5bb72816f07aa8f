"""What was read of the journals and is not on record yet, so that many sightings share a transaction.

A transaction takes as long as a hundred sightings, and syncs the disk that mail waits for. So while spam comes in one
is made every ``GATHER_SECONDS``, or of ``MOST_GATHERED``. After a while of nothing the first sighting does not wait;
what may have an effect on mail, as the keeper says, never does. Nothing can be lost meanwhile: how far the journals
were read is put on record by the same transaction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gateway.abuse.local_senders import Excess
from gateway.incidents.values import Sighting, Source

# Whoever asks sees what happened until then; a report leaves a little later.
GATHER_SECONDS = 4.0
# A transaction of some tenths of a second, and 2 MB.
MOST_GATHERED = 1000

Attempt = tuple[Source, str]
"""Who was kept out, and by which filter."""


@dataclass(slots=True)
class Gathered:
    """What one transaction will store."""

    sightings: list[Sighting] = field(default_factory=list)
    excesses: dict[Source, Excess] = field(default_factory=dict)
    _attempts: dict[Attempt, tuple[int, float]] = field(default_factory=dict)
    _counts: dict[Source, tuple[int, int]] = field(default_factory=dict)

    def add(self, sightings: Sequence[Sighting]) -> None:
        """Take sightings."""
        self.sightings += sightings
        for each in sightings:
            spam, viruses = self._counts.get(each.source, (0, 0))
            self._counts[each.source] = spam + 1, viruses + bool(each.virus)

    def attempt(self, source: Source, by: str, at: float) -> None:
        """Take note that somebody was kept out."""
        count, last = self._attempts.get((source, by), (0, at))
        self._attempts[source, by] = count + 1, max(last, at)

    def counted(self, source: Source) -> tuple[int, int]:
        """Return how many sightings there are of a source, and how many with a virus."""
        return self._counts.get(source, (0, 0))

    def attempts(self) -> Iterator[tuple[Source, str, int, float]]:
        """Yield who was kept out, by which filter, how often, when last."""
        return ((source, by, count, last) for (source, by), (count, last) in self._attempts.items())

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store."""
        return not self.sightings and not self._attempts

    @property
    def is_full(self) -> bool:
        """Whether a transaction has enough of it."""
        return len(self.sightings) + len(self._attempts) >= MOST_GATHERED
