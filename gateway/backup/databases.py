"""Stores as one moment: copied by SQLite's online backup interface into the staging folder, and looked into there."""

import os
from collections.abc import Iterator
from pathlib import Path

from gateway.backup.manifest import SpoolSummary
from gateway.backup.pace import Pace
from gateway.backup.packs import FLUSH_OCTETS, begin_writing
from gateway.storage import StorageError, StorageFull, free_octets, open_readonly
from gateway.storage.online import copy_online

# SQLite's -wal and -shm beside a copy that was looked into.
_COMPANIONS = ("", "-wal", "-shm", "-journal")


def is_settled(path: Path) -> bool:
    """Tell whether a store's file is all of it: no log with anything in it."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size == 0
    except FileNotFoundError:
        return True


def take(source: Path, image: Path, pace: Pace, *, floor_octets: int) -> None:
    """Copy a store as it is now to ``image``; raises StorageError, StorageFull before the floor is reached."""
    log = source.with_name(source.name + "-wal")
    wanted = source.stat().st_size + (log.stat().st_size if log.exists() else 0)
    if free_octets(image.parent) - wanted < floor_octets:
        raise StorageFull(f"{image.parent}: no room for a copy of {source} ({wanted} octets) above the floor")
    done, flushed = 0, 0

    def progress(pages: int, total: int) -> None:
        nonlocal done, flushed
        octets = wanted * pages // max(total, 1)
        pace.spend(octets - done)
        done = octets
        if done - flushed >= FLUSH_OCTETS:
            flushed = done
            _flush(image)

    copy_online(source, image, progress)


def _flush(image: Path) -> None:
    """Send what was copied on to the disk, bit by bit."""
    descriptor = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    try:
        begin_writing(descriptor)
    finally:
        os.close(descriptor)


def discard(image: Path) -> None:
    """Remove a copy and what SQLite made beside it."""
    for companion in _COMPANIONS:
        image.with_name(image.name + companion).unlink(missing_ok=True)


def filed_contents(image: Path) -> list[str]:
    """Return the trace ids of the messages of a shard whose content is a file."""
    with open_readonly(image) as database:
        return [str(row[0]) for row in database.read("SELECT trace_id FROM message WHERE filed = 1 ORDER BY trace_id")]


def still_there(live: Path, trace_id: str) -> bool:
    """Tell whether a message is in the custody of the shard that serves; when in doubt it is."""
    try:
        with open_readonly(live) as database:
            return bool(database.read("SELECT 1 FROM message WHERE trace_id = ?", (trace_id,)))
    except StorageError:
        return True


def summary(image: Path, *, path: str, shard: str, taken_at: float, ended: tuple[str, ...] = ()) -> SpoolSummary:
    """Return what a shard holds."""
    with open_readonly(image) as database:
        ((messages, last),) = database.read("SELECT count(*), coalesce(max(received_at), 0.0) FROM message")
        copies = database.read("SELECT state, count(*) FROM recipient GROUP BY state ORDER BY state")
    return SpoolSummary(
        shard=shard,
        path=path,
        taken_at=taken_at,
        messages=int(messages),
        copies={str(state): int(count) for state, count in copies},
        last_received_at=float(last),
        ended=ended,
    )


def pieces(path: Path, octets: int, pace: Pace) -> Iterator[bytes]:
    """Yield a file in pieces of ``octets``; OSError."""
    with path.open("rb", buffering=0) as file:
        while piece := file.read(octets):
            pace.spend(len(piece))
            yield piece
