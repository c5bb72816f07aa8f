"""What starting costs: a gateway of two workers to its greeting, and a worker that was killed to its successor's word.

    python -m tests.benchmarks.starting [--starts 5] [--kills 5]

Prints the wall clock and the processor time of all processes until the gateway says that it serves, the memory (PSS) of
each at rest, and for how long a killed worker is missed: from the signal to the log line of the next one that serves.
"""

import argparse
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path

from tests.benchmarks.measure import cpu_seconds, pss_octets, settled_cpu_seconds
from tests.system.parts import Gateway, processes_of, settings, to_maildir, until

_MEGABYTE = 1024**2


def started(gateway: Gateway) -> tuple[float, float]:
    """Start it; return seconds of the wall clock and of the processor."""
    began = time.monotonic()
    gateway.start()
    wall = time.monotonic() - began
    assert gateway.process is not None
    return wall, cpu_seconds(gateway.process.pid)


def missed(gateway: Gateway, worker: int) -> float:
    """Kill a worker; return the seconds until its successor serves."""
    serving = len(gateway.lines(f"worker={worker}", "state=serving"))
    began = time.monotonic()
    os.kill(gateway.workers()[worker], signal.SIGKILL)
    gateway.await_line(f"worker={worker}", "state=serving", count=serving + 1)
    took = time.monotonic() - began
    until(lambda: gateway.ask("status").status == 0)
    return took


def at_rest(gateway: Gateway) -> dict[str, float]:
    """Return each process's PSS in megabytes, by what it is called."""
    assert gateway.process is not None
    settled_cpu_seconds(gateway.process.pid)
    found = processes_of(gateway.folder)
    return {f"{pid} {text[:60].strip()}": pss_octets(pid) / _MEGABYTE for pid, text in found.items()}


def made(folder: Path) -> Gateway:
    """Return a gateway of two workers, not started."""
    gateway = Gateway(folder)
    gateway.configure(settings(workers=2), {"box": to_maildir("box.test")})
    return gateway


def measure(starts: int, kills: int) -> None:
    """Print all of it."""
    costs, gone = [], []
    for number in range(starts):
        with tempfile.TemporaryDirectory() as folder:
            gateway = made(Path(folder))
            try:
                costs.append(started(gateway))
                if number == starts - 1:
                    memory = at_rest(gateway)
                    gone = [missed(gateway, kill % 2) for kill in range(kills)]
            finally:
                gateway.destroy()
    walls, processor = zip(*costs, strict=True)
    print(f"to the greeting, median of {starts} first starts: {statistics.median(walls):.2f} s, ", end="")
    print(f"{statistics.median(processor):.2f} s of processor time ({min(processor):.2f} to {max(processor):.2f})")
    if gone:
        print(f"a killed worker is missed for {statistics.median(gone):.2f} s ({min(gone):.2f} to {max(gone):.2f})")
    for name, megabytes in memory.items():
        print(f"{megabytes:6.1f} MB  {name}")
    print(f"{sum(memory.values()):6.1f} MB  in all, at rest")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    measure(options.starts, options.kills)


if __name__ == "__main__":
    main()
