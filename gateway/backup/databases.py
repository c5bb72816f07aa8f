"""Looking into stores: as they are at one moment (``gateway.storage.moment``), and as they were put together again."""

from collections.abc import Iterator
from pathlib import Path

from gateway.backup.manifest import SpoolSummary
from gateway.storage import ReadDatabase, StorageError, open_readonly
from gateway.storage.moment import read_no_further

# SQLite's -wal and -shm beside a copy that was looked into.
_COMPANIONS = ("", "-wal", "-shm", "-journal")


def is_settled(path: Path) -> bool:
    """Tell whether a store's file is all of it: no log with anything in it."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size == 0
    except FileNotFoundError:
        return True


def discard(image: Path) -> None:
    """Remove a copy and what SQLite made beside it."""
    for companion in _COMPANIONS:
        image.with_name(image.name + companion).unlink(missing_ok=True)


def filed_contents(database: ReadDatabase) -> list[str]:
    """Return the trace ids of the messages of a shard whose content is a file."""
    return [str(row[0]) for row in database.read("SELECT trace_id FROM message WHERE filed = 1 ORDER BY trace_id")]


def still_there(live: Path, trace_id: str) -> bool:
    """Tell whether a message is in the custody of the shard that serves; when in doubt it is."""
    try:
        with open_readonly(live) as database:
            return bool(database.read("SELECT 1 FROM message WHERE trace_id = ?", (trace_id,)))
    except StorageError:
        return True


def summary(database: ReadDatabase, *, path: str, shard: str, taken_at: float) -> SpoolSummary:
    """Return what a shard holds."""
    ((messages, last),) = database.read("SELECT count(*), coalesce(max(received_at), 0.0) FROM message")
    copies = database.read("SELECT state, count(*) FROM recipient GROUP BY state ORDER BY state")
    return SpoolSummary(
        shard=shard,
        path=path,
        taken_at=taken_at,
        messages=int(messages),
        copies={str(state): int(count) for state, count in copies},
        last_received_at=float(last),
    )


def pieces(path: Path, octets: int) -> Iterator[bytes]:
    """Yield a file in pieces of ``octets``; OSError."""
    with path.open("rb", buffering=0) as file:
        read_no_further(file.fileno())
        while piece := file.read(octets):
            yield piece
