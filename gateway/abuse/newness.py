"""Whether a database may have something new since it was last read, told by one look at its files.

A read of an unchanged SQLite file costs ten times as much, and several times a second nearly all of them are. What is
committed is appended to the log beside the file; where there is none, or nothing in it, to the file itself. Its time,
size and number tell, but for what is written within one tick of the file system's clock: so a file that has changed is
read again until it has been still for longer than a tick. Whatever they tell, it is read now and then.
"""

import os
from pathlib import Path

from gateway.clock import Clock

# Ten times the tick of a kernel with 100 of them a second.
STILL_SECONDS = 0.1
# For file systems that tell no times: a read costs half a millisecond where the processor has forgotten all about it.
READ_SECONDS = 5.0

_Stamp = tuple[int, int, int]


class Newness:
    """What was seen of one database file; ask before each read, and read where it says so."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._log, self._clock = str(path), f"{path}-wal", clock
        self._stamp: _Stamp | None = None
        self._since = self._read_at = 0.0
        self._is_settled = False

    def look(self) -> bool:
        """Whether there may be something that the last read did not give."""
        stamp, now = self._now(), self._clock.monotonic()
        if stamp is None or stamp != self._stamp:
            self._stamp, self._since, self._is_settled = stamp, now, False
        elif self._is_settled and now - self._read_at < READ_SECONDS:
            return False
        else:
            self._is_settled = now - self._since > STILL_SECONDS
        self._read_at = now
        return True

    def again(self) -> None:
        """Have the next look say that there may be something: the last read did not give all."""
        self._stamp = None

    def _now(self) -> _Stamp | None:
        # A reader may leave an empty log behind, which says nothing: then all is in the file.
        return _stamp(self._log, least_octets=1) or _stamp(self._path)


def _stamp(path: str, *, least_octets: int = 0) -> _Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - of each file at each look; Path.stat costs twice that
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size) if status.st_size >= least_octets else None
