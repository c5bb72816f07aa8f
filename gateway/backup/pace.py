"""How fast a run works: never so fast that the mail beside it waits for the disk."""

import time
from collections.abc import Callable

# A wait shorter than this is not worth its system call, a longer one makes bursts.
_LEAST_SECONDS = 0.005


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
