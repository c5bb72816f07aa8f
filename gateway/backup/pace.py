"""How a run makes way for the mail beside it, and is through in time all the same.

What mail feels of a backup is the processor first, then the disk (tests/benchmarks/README.md). So there is little work
an octet (``frames``), it is done evenly, by a thread that Linux gives what nobody else wants (``Aside``), and it is
little for as long as there is mail:

- While mail flows, ``GENTLE`` octets a second: a twentieth of a core, and a disk that the mail has almost to itself.
- After ``SILENCE_SECONDS`` without a commit of the spool, ``rate``: nobody is there who would feel it.
- More than gentle where that would take longer than the time that was planned, half of a run's deadline: what is left,
  spread over what is left of it. Afterwards ``rate``, and an ordinary thread: on a machine that is busy without a pause
  one that gives way gets next to nothing. The other half of the deadline is for what the first did not do.
- ``rate`` too when ``LOG_OCTETS``, or an eighth of the room on its disk, were committed to a store that is being read:
  its log cannot begin anew before it is read to its end, and the disk is the mail's.

``rate`` is the bound of all of it; 0 means that there is none, and that nothing gives way.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from math import inf
from typing import Self, TypeVar

Result = TypeVar("Result")

# At 10 MiB a second the p99 of mail was 0.9 to 1.1 times that without a run, at 40 MiB 1.4 to 1.8 times.
GENTLE = 8 * 1024**2
# Of mail that is rarer than this, each feels a run at ``rate`` at most.
SILENCE_SECONDS = 30.0
# Some ten minutes of 50 messages a second, in which 5 GiB are read gently. The longer the log, the longer it takes to
# find a page in it.
LOG_OCTETS = 2 * 1024**3
_LOG_SHARE = 8
# No run begins beside who reads a backup back, and a day without one is an alarm: 169 GiB at the gentle pace.
READ_SECONDS = 6 * 3600.0
# A look is a stat a shard.
_LOOK_SECONDS = 0.25
# A wait shorter than this is not worth its system call, a longer one makes bursts.
_LEAST_SECONDS = 0.005
_NICE = 19


def give_way() -> None:
    """Have this thread and what it starts go behind everything else on the machine, as far as that is allowed.

    A processor that does nothing but such work counts as idle, so mail that comes is served there at once; a nice
    thread would be let finish its millisecond first.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        # A service manager may forbid both; the pace is kept all the same.
        with suppress(OSError):
            os.nice(_NICE)


def _nothing() -> int:
    return 0


class Pace:
    """Spends octets at ``rate`` a second or more slowly; what was not used up is not saved for later.

    ``commits`` returns another value after the mail has committed something.
    """

    def __init__(
        self,
        rate: int,
        commits: Callable[[], object] = _nothing,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._commits, self._monotonic, self._sleep = rate, commits, monotonic, sleep
        # Whether there is mail is not known yet, so there is.
        self._next = self._looked = self._stirred = monotonic()
        self._seen = commits()
        self._left, self._until = 0, inf
        self._log: Callable[[], int] = _nothing
        self._most_log = LOG_OCTETS
        self._crowded = self._stopped = False

    def plan(self, octets: int, seconds: float) -> None:
        """Be through with so many octets in so many seconds from now."""
        self._left, self._until = octets, self._monotonic() + seconds

    @contextmanager
    def holding(self, log: Callable[[], int], free: int) -> Iterator[None]:
        """Watch how many octets have been committed to a store that is held still, ``free`` of whose disk are left."""
        self._log, self._most_log = log, min(LOG_OCTETS, free // _LOG_SHARE)
        try:
            yield
        finally:
            self._log, self._crowded = _nothing, False

    @property
    def gives_way(self) -> bool:
        """Whether there is time left to give way to others."""
        return bool(self._rate) and self._monotonic() < self._until

    def stop(self) -> None:
        """Have whoever spends more end, because nobody waits for it any more."""
        self._stopped = True

    def spend(self, octets: int) -> None:
        """Wait as long as these octets, which have been read or written, should have taken."""
        if self._stopped:
            # The interrupt was the main thread's.
            raise KeyboardInterrupt
        if not self._rate:
            return
        now = self._monotonic()
        self._next = max(self._next, now) + octets / self._speed(now)
        self._left -= octets
        if self._next - now >= _LEAST_SECONDS:
            self._sleep(self._next - now)

    def _speed(self, now: float) -> float:
        if now - self._looked >= _LOOK_SECONDS:
            self._look(now)
        if now >= self._until or now - self._stirred >= SILENCE_SECONDS or self._crowded:
            return self._rate
        return min(self._rate, max(GENTLE, self._left / (self._until - now)))

    def _look(self, now: float) -> None:
        self._looked = now
        seen, before = self._commits(), self._seen
        if seen != before:
            self._seen, self._stirred = seen, now
        self._crowded = self._log() >= self._most_log


class Aside:
    """Does what it is asked in a thread that gives way, while ``pace`` has time for that; else in the caller's."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._thread = ThreadPoolExecutor(1, "backup", initializer=give_way)

    def do(self, work: Callable[[], Result]) -> Result:
        """Return what ``work`` returns, or raise what it raises."""
        return self._thread.submit(work).result() if self.pace.gives_way else work()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.give_up()
        self._thread.shutdown()

    def give_up(self) -> None:
        """Return when nothing is being done any more: what its caller was interrupted in need not be finished."""
        self.pace.stop()
        self._thread.shutdown()
