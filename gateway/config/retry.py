"""``queue.retry``: how long a mail waits after each failed attempt (RFC 5321 §4.5.4.1).

``["1m", "5m", "1h*4", "4h*"]``: a minute after the first failure, five after the second, an hour after each of the
next four, then four hours again and again. Without a closing ``*`` the last wait repeats too: only ``queue.expire``
ends the attempts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.config.units import parse_duration


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The waits in seconds, in order; the last one repeats."""

    waits_seconds: tuple[float, ...]

    def wait_seconds(self, failures: int) -> float:
        """Return how long to wait after ``failures`` failed attempts (1 and more); jitter is the caller's."""
        return self.waits_seconds[min(max(failures, 1), len(self.waits_seconds)) - 1]


def parse_retry(entries: Sequence[str]) -> RetrySchedule:
    """Return the schedule of validated entries (``Queue.retry``)."""
    waits: list[float] = []
    for entry in entries:
        duration, _, times = entry.partition("*")
        waits += [parse_duration(duration)] * int(times or 1)
    return RetrySchedule(tuple(waits))
