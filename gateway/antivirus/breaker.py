"""How well a scanner is: ``well``, ``suspect`` after a failure, ``open`` after several in a row.

A suspect is asked after those that are well. An open circuit is not asked at all, so that mail hears of it at once
instead of waiting for a time-out each; the watch closes it when a ping is answered and the EICAR test file found.

    well ── failure ─→ suspect ── FAILURES_TO_OPEN in a row ─→ open
      ↑─────────────── success ──────┴────────── success ───────┘
"""

from enum import IntEnum

from gateway.antivirus.result import Cause

# Two may be chance (one hostile mail that kills a thread, one restart); three in a row are a scanner that is gone.
FAILURES_TO_OPEN = 3

# What speaks about the scanner; the other causes speak about the mail or about how much of it there is.
_FAULTS = frozenset({Cause.CONNECT, Cause.RESET, Cause.SILENCE, Cause.GARBAGE})


class Health(IntEnum):
    """In the order in which scanners are asked."""

    WELL = 0
    SUSPECT = 1
    OPEN = 2


class Breaker:
    """Counts failures in a row; ``reason`` is the last one's."""

    def __init__(self) -> None:
        self._failures = 0
        self._distrusted = False
        self.reason = ""

    @property
    def health(self) -> Health:
        """The state now."""
        if self._distrusted or self._failures >= FAILURES_TO_OPEN:
            return Health.OPEN
        return Health.SUSPECT if self._failures else Health.WELL

    def succeeded(self) -> None:
        """Take note of an answer; a scanner that is not trusted stays so, whatever it answers to mail."""
        if not self._distrusted:
            self._failures = 0
            self.reason = ""

    def failed(self, reason: str) -> None:
        """Take note of a failure."""
        self._failures += 1
        self.reason = reason

    def distrust(self, reason: str) -> None:
        """Open at once, until ``trust``: what it answers is worth nothing."""
        self._distrusted = True
        self.reason = reason

    def trust(self) -> None:
        """Take it back: it was there, and found what it must find."""
        self._distrusted = False
        self.succeeded()


def is_fault(cause: Cause) -> bool:
    """Tell whether a cause is held against the scanner."""
    return cause in _FAULTS
