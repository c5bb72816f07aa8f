"""The figures of one set of delays: exact count, sum, maximum and number over the limit; quantiles by a sketch.

Delays are whole microseconds: integers add up to the same sum in every order, so that a month made of summaries equals
the month made of its mail, to the last digit.
"""

from dataclasses import dataclass, field
from typing import Any

from gateway.servicelevel.sketch import Sketch

MICRO = 1_000_000


def micros(seconds: float) -> int:
    """Return seconds as whole microseconds."""
    return round(seconds * MICRO)


@dataclass(slots=True)
class Figures:
    """``count`` delivered copies, the sum and the maximum of their delays, and how many were ``over`` the limit.

    ``undelivered_over`` counts copies that were given up without delivery after waiting longer than the limit: their
    delay has no end, so they stand in no average, but they did exceed the maximum.
    """

    count: int = 0
    sum_us: int = 0
    max_us: int = 0
    over: int = 0
    undelivered_over: int = 0
    sketch: Sketch = field(default_factory=Sketch)

    def add(self, delay_us: int, limit_us: int, delay_class: int) -> None:
        """Count one delivered copy; ``delay_class`` is the sketch's class of its delay."""
        self.count += 1
        self.sum_us += delay_us
        if delay_us > self.max_us:  # noqa: PLR1730 - ten million times: a call costs more than the rest
            self.max_us = delay_us
        if delay_us > limit_us:
            self.over += 1
        counts = self.sketch.counts
        counts[delay_class] = counts.get(delay_class, 0) + 1

    def merge(self, other: "Figures") -> None:
        """Count everything that ``other`` has."""
        self.count += other.count
        self.sum_us += other.sum_us
        self.max_us = max(self.max_us, other.max_us)
        self.over += other.over
        self.undelivered_over += other.undelivered_over
        self.sketch.merge(other.sketch)

    @property
    def average_seconds(self) -> float | None:
        """The mean, None without copies."""
        return self.sum_us / self.count / MICRO if self.count else None

    @property
    def max_seconds(self) -> float | None:
        """The longest delay, None without copies."""
        return self.max_us / MICRO if self.count else None

    @property
    def exceeded(self) -> int:
        """How often the limit was exceeded, by mail delivered or given up."""
        return self.over + self.undelivered_over

    def quantile_seconds(self, q: float) -> float | None:
        """Return a quantile within the sketch's error, never beyond the exact maximum; None without copies."""
        found = self.sketch.quantile(q)
        return None if found is None else min(found, self.max_us) / MICRO

    def as_json(self) -> list[Any]:
        """Return the figures as plain values."""
        return [self.count, self.sum_us, self.max_us, self.over, self.undelivered_over, self.sketch.pairs()]

    @classmethod
    def of_json(cls, stored: list[Any]) -> "Figures":
        """Return the figures that were stored."""
        count, sum_us, max_us, over, undelivered_over, pairs = stored
        return cls(count, sum_us, max_us, over, undelivered_over, Sketch.of(pairs))
