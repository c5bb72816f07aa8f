"""The gateway's own heartbeat: when it was last known to serve, so that what it did not notice is on record.

A small file, written anew every BEAT_SECONDS while a worker serves. A beat that comes too late tells of a time in which
the gateway did not run (killed, hung, without a worker), exact to one beat. Where the wall clock moved otherwise than
the monotonic one, it was set: within one boot both readings are compared, across a restart of the gateway too. A
machine that slept looks the same as one whose clock was set forward.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import Clock, Stamp
from gateway.servicelevel.fault import ClockJump
from gateway.servicelevel.interval import Interval
from gateway.servicelevel.records import FOLDER
from gateway.storage import DurableFiles

FILE_NAME = "heartbeat"
BEAT_SECONDS = 5.0
# Beats may be late on a busy machine without anything having stood still.
LATE_SECONDS = 10.0
# NTP slews half a millisecond a second; a step is more.
JUMP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a beat found since the one before: ``missed``, when the gateway did not run, and a ``jump`` of the clock."""

    missed: Interval | None = None
    jump: ClockJump | None = None


class Heartbeat:
    """The heart of one gateway; both block, ``beat`` for an fsync, and raises StorageError."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self._path, self._clock = data / FOLDER / FILE_NAME, clock
        self._files = DurableFiles()

    def look(self) -> Beat:
        """Return what the last beat says of the time since; put it on record before the next."""
        return self._since(self._last(), self._clock.stamp())

    def beat(self) -> None:
        """Say that the gateway serves now."""
        now = self._clock.stamp()
        said = {"utc": now.utc, "monotonic": now.monotonic, "boot": self._clock.boot_id}
        self._files.write(self._path, [json.dumps(said).encode("ascii")])

    def _last(self) -> tuple[Stamp, str] | None:
        try:
            said = json.loads(self._path.read_bytes())
            return Stamp(float(said["utc"]), float(said["monotonic"])), str(said["boot"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _since(self, last: tuple[Stamp, str] | None, now: Stamp) -> Beat:
        if last is None:
            return Beat()
        before, boot = last
        passed = now.utc - before.utc
        jump = None
        if boot == self._clock.boot_id:
            moved = passed - (now.monotonic - before.monotonic)
            passed = now.monotonic - before.monotonic
            jump = ClockJump(now.utc, moved) if abs(moved) > JUMP_SECONDS else None
        missed = (now.utc - passed, now.utc) if passed > LATE_SECONDS else None
        return Beat(missed=missed, jump=jump)
