"""How fast a run works: never so fast that the mail beside it waits for the processor or the disk.

Measured on two cores: what mail feels most is the processor. So there is little work an octet (``frames``), it is done
evenly, and Linux gives it what nobody else wants: a processor that does nothing but such work counts as idle, so mail
that comes is served there at once. A nice process would be let finish its millisecond first.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress

# A wait shorter than this is not worth its system call, a longer one makes bursts.
_LEAST_SECONDS = 0.005
_NICE = 19


def give_way() -> None:
    """Have this process and what it starts go behind everything else on the machine, as far as that is allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        # A service manager may forbid both; the pace is kept all the same.
        with suppress(OSError):
            os.nice(_NICE)


class Pace:
    """Spends octets at ``octets_per_second`` (0: as fast as it goes); what was not used up is not saved for later."""

    def __init__(
        self,
        octets_per_second: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._monotonic, self._sleep = octets_per_second, monotonic, sleep
        self._next = monotonic()

    def spend(self, octets: int) -> None:
        """Wait until these octets may have been read or written."""
        if not self._rate:
            return
        now = self._monotonic()
        self._next = max(self._next, now) + octets / self._rate
        if self._next - now >= _LEAST_SECONDS:
            self._sleep(self._next - now)
