"""Time as a parameter: UTC stamps for evidence, the monotonic clock for durations (contract.md §2, invariant 11).

A ``Stamp`` carries both readings of one instant. Durations are differences of the monotonic reading, so a stepped
wall clock never makes a delay negative. Stamps outlive the process in the spool: the monotonic clock counts from boot,
so a stored reading is comparable only within the same boot; ``restore`` falls back to UTC across a reboot.
"""

import time
from pathlib import Path
from typing import Protocol

from gateway.value import value


@value()
class Stamp:
    """One instant: ``utc`` in seconds since 1970-01-01T00:00Z, ``monotonic`` in seconds since an arbitrary origin."""

    utc: float
    monotonic: float

    def until(self, later: "Stamp") -> float:
        """Return the seconds from this instant to ``later``; never negative."""
        return max(0.0, later.monotonic - self.monotonic)


class Clock(Protocol):
    """Where time comes from; only ``gateway.app`` chooses the real one."""

    boot_id: str

    def stamp(self) -> Stamp:
        """Return now."""
        ...

    def monotonic(self) -> float:
        """Return the monotonic reading alone, seconds; cheaper than a whole stamp."""
        ...


def restore(clock: Clock, utc: float, monotonic: float, boot_id: str) -> Stamp:
    """Return a stored instant on this clock's monotonic scale: as stored within one boot, else placed by UTC."""
    if boot_id == clock.boot_id:
        return Stamp(utc, monotonic)
    now = clock.stamp()
    return Stamp(utc, now.monotonic - (now.utc - utc))


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self.boot_id = _boot_id()

    def stamp(self) -> Stamp:
        """Return now."""
        return Stamp(time.time(), time.monotonic())

    def monotonic(self) -> float:
        """Return the monotonic reading alone, seconds."""
        return time.monotonic()


class FakeClock:
    """A clock that moves only when told; ships for tests and for ``explain`` at a given time."""

    def __init__(self, utc: float = 1_790_000_000.0, boot_id: str = "fake") -> None:
        self.boot_id = boot_id
        self._now = Stamp(utc, 1000.0)

    def stamp(self) -> Stamp:
        """Return the instant the clock stands at."""
        return self._now

    def monotonic(self) -> float:
        """Return the monotonic reading alone, seconds."""
        return self._now.monotonic

    def advance(self, seconds: float) -> None:
        """Move both readings forward by ``seconds``."""
        self._now = Stamp(self._now.utc + seconds, self._now.monotonic + seconds)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        # Without a boot identity no stored monotonic reading is trusted.
        return f"unknown-{time.time_ns()}"
