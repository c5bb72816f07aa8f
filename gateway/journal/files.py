"""The journal's files: ``YYYY-MM-DD.worker-N.sqlite`` in ``data/journal``, one a day (UTC) and worker.

Retention removes whole files.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

DAY_SECONDS = 86_400
_NAME = re.compile(r"(\d{4}-\d\d-\d\d)\.worker-(\d{1,4})\.sqlite")
# What SQLite and the store keep beside a file.
_COMPANIONS = ("-wal", "-shm", ".lock")


@dataclass(frozen=True, slots=True, order=True)
class JournalFile:
    """One file: ``day`` counts from 1970-01-01."""

    day: int
    worker: int
    path: Path


def file_name(day: int, worker: int) -> str:
    """Return the name of the file of a day and worker."""
    return f"{datetime.fromtimestamp(day * DAY_SECONDS, UTC):%Y-%m-%d}.worker-{worker}.sqlite"


def journal_files(folder: Path, since: float = 0.0) -> list[JournalFile]:
    """Return the files that may hold events from UTC second ``since`` on, oldest first."""
    # A batch is written some seconds after its events: one of yesterday may be in today's file, never the reverse.
    least = int(since // DAY_SECONDS)
    return sorted(file for file in _scan(folder) if file.day >= least)


def prune(folder: Path, before: float, limit: int) -> int:
    """Remove at most ``limit`` files, oldest first, of which every event is older than ``before``; return how many.

    ``before`` is in UTC seconds. Blocks on the file system: call it in a thread. A reader that has a file open
    keeps reading it.
    """
    # A whole day between: whatever a slow worker or a clock a little off wrote is older, and no worker has it open.
    old = [file for file in sorted(_scan(folder)) if (file.day + 2) * DAY_SECONDS <= before]
    for file in old[:limit]:
        file.path.unlink(missing_ok=True)
        for companion in _COMPANIONS:
            file.path.with_name(file.path.name + companion).unlink(missing_ok=True)
    return len(old[:limit])


def _scan(folder: Path) -> Iterator[JournalFile]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        day = _day(match[1]) if match else None
        if match and day is not None:
            yield JournalFile(day, int(match[2]), path)


def _day(text: str) -> int | None:
    try:
        return (date.fromisoformat(text) - date(1970, 1, 1)).days
    except ValueError:
        return None
