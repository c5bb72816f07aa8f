"""Where a measurement was made: without it a figure cannot be judged or repeated."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from systems import System

FSYNC_TRIALS = 200
MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs", "devtmpfs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The machine, the disk under both systems' data, and the versions compared."""

    measured_at: str
    processor: str
    cores: int
    memory_octets: int
    kernel: str
    file_system: str
    fsync_ms: float
    python: str
    systems: tuple[str, ...]

    @property
    def warnings(self) -> list[str]:
        """What makes the figures worth less than they look."""
        if self.file_system in MEMORY_FILE_SYSTEMS:
            return [f"the data lie on {self.file_system}, where fsync costs nothing; name a disk with --data DIR"]
        return []


def look(data: Path, kinds: Sequence[type[System]]) -> Setting:
    """Describe this machine and the disk under ``data``."""
    return Setting(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        processor=processor(),
        cores=os.cpu_count() or 1,
        memory_octets=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        kernel=platform.release(),
        file_system=file_system(data),
        fsync_ms=fsync_ms(data),
        python=platform.python_version(),
        systems=tuple(kind.version() for kind in kinds),
    )


def processor() -> str:
    """The processor's name as the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def file_system(path: Path) -> str:
    """Type of the file system that holds ``path``: the mount with the longest matching folder."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [(len(folder), kind) for folder, kind in mounts if path.resolve().is_relative_to(folder)]
    return max(holding)[1] if holding else "unknown"


def fsync_ms(folder: Path) -> float:
    """Median milliseconds to append 8 KB to a file and have it on disk: the floor under every durable 250."""
    trial, block, times = folder / "fsync-trial", b"x" * 8192, []
    with trial.open("wb", buffering=0) as file:
        for _ in range(FSYNC_TRIALS):
            started = time.perf_counter()
            file.write(block)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    trial.unlink()
    return 1000 * median(times)
