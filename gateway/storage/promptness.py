"""Getting the interpreter's lock in time: what a store's thread needs beside a busy loop.

A loop thread gives the lock up at every poll and takes it back before a waiting thread has woken; the waiter asks for
it only after a whole switch interval without such a moment. With the default interval of 5 ms a saturated loop starved
a writer thread for seconds (commit p99 9 s at 2 commits a second). The kernel adds its timer slack, 50 µs, to every
such wait. Too short an interval chops the loop into pieces: at 5 µs a saturated gateway spent 1.2 ms of system time a
message, at 200 µs 0.4 ms.

The interval is the process's, the slack the thread's. The mail path's own store is written by a process and needs
neither; the journal's thread and the readers do.
"""

import sys
import threading
from contextlib import suppress
from pathlib import Path

_SWITCH_INTERVAL_SECONDS = 0.0002
_TIMER_SLACK_NS = 1000


def shorten_switch_interval() -> None:
    """Shorten the process's switch interval; without threads that wait for the lock it costs nothing."""
    sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_INTERVAL_SECONDS))


def shorten_timer_slack() -> None:
    """Make the calling thread's waits end in time; where the kernel has no such setting they end a little later."""
    with suppress(OSError):
        Path(f"/proc/{threading.get_native_id()}/timerslack_ns").write_text(str(_TIMER_SLACK_NS), encoding="ascii")
