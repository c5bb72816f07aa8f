"""What a group of processes costs: CPU and memory, read from ``/proc``.

CPU. A system under test is one root process (Postfix's ``master``, Tidegate's supervisor) and all its descendants.
For each of them the kernel keeps the CPU it used itself (``utime + stime``) and the CPU of children that ended and
were waited for (``cutime + cstime``), those children's own ended children included. The sum of the four over all
*living* processes of the tree is therefore everything the tree ever used: when an smtpd ends, its share moves from its
own line to master's, and nothing is lost or counted twice. The difference of two sums is the cost of what lay between.
This needs no cgroup and holds for a parent that waits for its children, as both systems do. A process's figure is cut
to clock ticks (10 ms), so a run has to cost seconds. CPU that the kernel spends in threads of its own (write-back,
journal commits of the file system) belongs to no process and is in neither system's figure; it appears as other load.

Memory. PSS (proportional set size): a page shared by n processes counts 1/n for each, so that the sum over the tree is
what the machine really gives; RSS would charge Postfix's libraries sixty times. Page cache and socket buffers are not
in it.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count() or 1
PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStat:
    """One line of ``/proc/PID/stat``: ``ticks`` is utime + stime + cutime + cstime (proc(5), fields 14 to 17)."""

    pid: int
    parent: int
    ticks: int


def read_stat(pid: int) -> ProcessStat | None:
    """Read one process; None when it is gone."""
    try:
        line = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name may hold blanks and brackets: fields are counted from the last closing one.
    fields = line.rpartition(")")[2].split()
    return ProcessStat(pid=pid, parent=int(fields[1]), ticks=sum(map(int, fields[11:15])))


def tree(root: int) -> list[ProcessStat]:
    """List the living processes of ``root``'s tree, itself first."""
    children: dict[int, list[ProcessStat]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (stat := read_stat(int(entry.name))):
            children.setdefault(stat.parent, []).append(stat)
    first = read_stat(root)
    members = [first] if first else []
    for member in members:
        members.extend(children.get(member.pid, ()))
    return members


def cpu_seconds(*roots: int) -> float:
    """CPU that these trees have used since their start, ended children included."""
    return sum(member.ticks for root in roots for member in tree(root)) / TICKS_PER_SECOND


def settled_cpu_seconds(*roots: int, patience_seconds: float = 5.0) -> float:
    """Wait until the trees rest (under 3 % of a core), then read their CPU: work after delivery is counted too."""
    deadline = time.monotonic() + patience_seconds
    before = cpu_seconds(*roots)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = cpu_seconds(*roots)
        if now - before <= 0.015:
            return now
        before = now
    return before


def pss_octets(pid: int) -> int:
    """Proportional set size of one process; 0 when it is gone, RSS where the kernel hides PSS."""
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except PermissionError:
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def tree_pss_octets(root: int) -> int:
    """Memory of the whole tree now."""
    return sum(pss_octets(member.pid) for member in tree(root))


class PeakMemory:
    """Samples a tree's memory in a thread; ``octets`` is the highest sum seen, ``processes`` the most processes."""

    def __init__(self, root: int, period_seconds: float = 0.5) -> None:
        self._root = root
        self._period_seconds = period_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
        self.octets = 0
        self.processes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def _watch(self) -> None:
        while not self._stop.wait(self._period_seconds):
            self._sample()

    def _sample(self) -> None:
        members = tree(self._root)
        self.processes = max(self.processes, len(members))
        self.octets = max(self.octets, sum(pss_octets(member.pid) for member in members))


@dataclass(slots=True, kw_only=True)
class MachineShare:
    """CPU seconds of the whole machine over a stretch of time; ``share`` gives a part as 0 to 1 of all cores."""

    wall_seconds: float = 0.0
    busy_seconds: float = 0.0

    def share(self, seconds: float) -> float:
        """CPU seconds as a share of everything the machine had to give."""
        return seconds / (self.wall_seconds * CORES) if self.wall_seconds else 0.0


def machine_busy_seconds() -> float:
    """CPU seconds that all cores were not idle since boot, time stolen by the hypervisor included."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


@contextmanager
def machine() -> Iterator[MachineShare]:
    """Measure the machine while the block runs; the figures are filled in at its end."""
    share = MachineShare()
    wall, busy = time.monotonic(), machine_busy_seconds()
    try:
        yield share
    finally:
        share.wall_seconds = time.monotonic() - wall
        share.busy_seconds = machine_busy_seconds() - busy
