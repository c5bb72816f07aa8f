"""Waiting until a disk is calm, and a program at rest: what was done before a measurement must not be felt in it.

After some GiB the kernel has written everything when ``sync`` returns, but the device has not: for minutes the mail's
fsyncs had five times their p99. So small fsyncs are timed, as mail makes them, until they take what they took before.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

FSYNCS = 200
PAUSE_SECONDS = 0.01
# The 95th percentile of so few differs by as much on a calm disk.
ALLOWED = 2.0
# Nothing that is written back after it is worth mentioning; a machine always has something.
DIRTY_OCTETS = 16 * 1024**2
# Longer than any disk has something of its own to do; what comes then is measured, and says so.
PATIENCE_SECONDS = 120.0
# An idle gateway takes 0.01 to 0.02 of a core.
REST_SHARE = 0.05
REST_SECONDS = 5.0
# Two million rows of a ledger are summed up in some minutes.
REST_PATIENCE_SECONDS = 900.0


def slow_fsync_ms(folder: Path) -> float:
    """The 95th percentile of milliseconds to append 8 KB to a file and have it on disk, over some seconds."""
    trial, block, times = folder / "calm-trial", b"x" * 8192, []
    with trial.open("wb", buffering=0) as file:
        for _ in range(FSYNCS):
            time.sleep(PAUSE_SECONDS)
            started = time.perf_counter()
            file.write(block)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    trial.unlink()
    return 1000 * sorted(times)[FSYNCS * 95 // 100]


def dirty_octets(text: str) -> int:
    """What is to be written back, from the text of /proc/meminfo."""
    wanted = {"Dirty:", "Writeback:"}
    return sum(1024 * int(line.split()[1]) for line in text.splitlines() if line.split()[0] in wanted)


def settle(folder: Path, calm_ms: float, trial: Callable[[Path], float] = slow_fsync_ms) -> str:
    """Wait until the disk is as calm as it was when ``slow_fsync_ms`` found ``calm_ms``; return how it went."""
    began = time.monotonic()
    os.sync()
    while True:
        found = trial(folder)
        seconds = time.monotonic() - began
        if found <= ALLOWED * calm_ms and dirty_octets(Path("/proc/meminfo").read_text()) <= DIRTY_OCTETS:
            return f"calm after {seconds:.0f} s"
        if seconds > PATIENCE_SECONDS:
            return (
                f"not calm after {seconds:.0f} s: one fsync in twenty takes {found:.1f} ms, before it was {calm_ms:.1f}"
            )


def rest(
    spent: Callable[[], float],
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Wait until a program is through with what it does by itself; ``spent`` is its processor seconds so far."""
    began, before = monotonic(), spent()
    while True:
        sleep(REST_SECONDS)
        now, seconds = spent(), monotonic() - began
        if now - before <= REST_SHARE * REST_SECONDS:
            return f"at rest after {seconds:.0f} s"
        if seconds > REST_PATIENCE_SECONDS:
            return f"not at rest after {seconds:.0f} s: it takes {(now - before) / REST_SECONDS:.0%} of a core"
        before = now
