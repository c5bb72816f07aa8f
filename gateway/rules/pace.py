"""How long a message may be judged, and how long on the loop that carries all others.

What is counted is the time spent judging, not what passes while filters wait for their answers. Between two looks at
the clock lies at most one search of a pattern, whose worst case is known beforehand: RE2 takes time linear in the
text, a step an octet at best and a step an octet and instruction of the pattern's program at worst.
"""

from typing import Protocol

from gateway.clock import Clock

# What an 8 KB mail takes is 1 to 2 ms; this is reached by nothing but an attack or a machine that stands still.
BUDGET_SECONDS = 2.0
# On the loop: beyond it the rest is done in a thread.
LOOP_SECONDS = 0.03
# Octets times instructions of one search: 0.1 to 0.4 s at worst (140 to 600 million a second were measured); longer
# texts are searched in pieces.
MAX_STEPS = 50_000_000
# Of one search on the loop: 10 to 40 ms at worst.
MAX_LOOP_STEPS = 5_000_000


class TimeIsUpError(Exception):
    """The message has had its time. Never leaves this package."""


class HurryError(Exception):
    """The loop has given the message all it can; the rest is for a thread. Never leaves this package."""


class Pace(Protocol):
    """What work of unknown length asks before it goes on."""

    def breathe(self) -> None:
        """Raise when the time is up."""
        ...

    def spend(self, steps: int) -> None:
        """Raise when a search of so many steps should not be begun here."""
        ...


class Unhurried:
    """For work outside of mail: checking patterns."""

    def breathe(self) -> None:
        """Go on."""

    def spend(self, steps: int) -> None:
        """Go on."""


UNHURRIED = Unhurried()


class Deadline:
    """The time of one message."""

    __slots__ = ("_clock", "_end", "_left", "_loop_end", "_on_loop")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = BUDGET_SECONDS
        self._end: float | None = None
        self._on_loop = False
        self._loop_end = 0.0

    def breathe(self) -> None:
        """Raise ``TimeIsUpError`` or ``HurryError`` when the time is up; the first call starts it."""
        now = self._clock.monotonic()
        if self._end is None:
            self._end = now + self._left
            self._loop_end = now + LOOP_SECONDS
        elif now > self._end:
            raise TimeIsUpError
        elif self._on_loop and now > self._loop_end:
            raise HurryError

    def spend(self, steps: int) -> None:
        """Raise ``HurryError`` when a search of so many steps is not for the loop."""
        if self._on_loop and steps > MAX_LOOP_STEPS:
            raise HurryError

    def start(self, *, on_loop: bool) -> None:
        """Let the time run from the next ``breathe`` on."""
        self._on_loop = on_loop

    def pause(self) -> None:
        """Stop the time until the next ``breathe``."""
        if self._end is not None:
            self._left = self._end - self._clock.monotonic()
            self._end = None
