"""Quantiles of delays that can be added up: counts in logarithmic classes, exact to a stated relative error.

Class ``i`` holds the values in ``(g^(i-1), g^i]`` microseconds with g = (1 + e) / (1 - e), so that what is reported for
it, 2 * g^i / (g + 1), is within the relative error e of every value in it (Masson, Rim, Lee: DDSketch, VLDB 2019).
Values up to FLOOR_US are one class, reported as 0: an error of at most a tenth of a millisecond. Two sketches of the
same mail are equal however it was divided; five days at a microsecond's resolution need fewer than 1,200 classes.

A quantile is the nearest rank: the smallest value that at least ``q`` of all values do not exceed.
"""

from collections.abc import Iterable, Mapping
from math import ceil, log

RELATIVE_ERROR = 0.01
"""e: what ``quantile`` says is within one per cent of the true value."""

FLOOR_US = 100
"""Values up to here are reported as 0: an error of at most 0.1 ms."""

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_PER_LOG = 1 / log(_GAMMA)
_FLOOR_CLASS = 0
_PER_MILLE = 1000


def class_of(value_us: int) -> int:
    """Return the class of a value, microseconds."""
    return _FLOOR_CLASS if value_us <= FLOOR_US else ceil(log(value_us) * _PER_LOG)


class Sketch:
    """Counts by class; grows only by ``add`` and ``merge``."""

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts = dict(counts or {})

    def add(self, value_us: int) -> None:
        """Count one value, microseconds."""
        self.add_class(class_of(value_us))

    def add_class(self, key: int) -> None:
        """Count one value of a class."""
        self.counts[key] = self.counts.get(key, 0) + 1

    def merge(self, other: "Sketch") -> None:
        """Count everything that ``other`` has counted."""
        for key, count in other.pairs():
            self.counts[key] = self.counts.get(key, 0) + count

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts.values())

    def quantile(self, q: float) -> int | None:
        """Return the ``q`` quantile (thousandths) in microseconds within RELATIVE_ERROR or FLOOR_US, or None."""
        # In whole numbers: 0.95 is no binary fraction, and a rank that is one too high is another value.
        rank = max(1, -(-round(q * _PER_MILLE) * self.count // _PER_MILLE))
        for key in sorted(self.counts):
            rank -= self.counts[key]
            if rank <= 0:
                return 0 if key == _FLOOR_CLASS else round(2 * _GAMMA**key / (_GAMMA + 1))
        return None

    def pairs(self) -> list[list[int]]:
        """Return ``[class, count]`` in order, for storing."""
        return [[key, self.counts[key]] for key in sorted(self.counts)]

    @classmethod
    def of(cls, pairs: Iterable[Iterable[int]]) -> "Sketch":
        """Return the sketch that was stored."""
        return cls(dict((key, count) for key, count in pairs))  # noqa: C402 - dict() of lists is not typed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self.counts == other.counts

    def __hash__(self) -> int:
        raise TypeError("a sketch grows: it is no key")
