"""Opening shards: a worker's own, those left by workers that no longer exist, and what to do with a damaged one.

Shard k with k ≥ the number of workers belongs to worker k mod that number, so every worker can tell its own without
asking. A shard that another process holds is left alone. A damaged one is moved aside under a name that says when, with
its contents, for ``sqlite3 … .recover``; the others go on.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from gateway.spool.shard import Shard, ShardSettings, shard_path
from gateway.storage import StorageCorrupt, StorageError

_SHARD_FILE = re.compile(r"shard-(\d+)\.sqlite")


class SpoolWitness(Protocol):
    """Hears what the spool did by itself; the app makes events of it. Called in any thread; never raises."""

    def shard_adopted(self, shard: str, queued: int) -> None:
        """Hear that a shard left by a worker that no longer exists was taken over, with ``queued`` copies waiting."""
        ...

    def storage_failed(self, store: str, operation: str, error: str) -> None:
        """Hear that ``operation`` on ``store`` failed."""
        ...


class SilentWitness:
    """Hears and forgets; for tests and one-off commands."""

    def shard_adopted(self, shard: str, queued: int) -> None:
        """Forget it."""

    def storage_failed(self, store: str, operation: str, error: str) -> None:
        """Forget it."""


def open_own(name: str, settings: ShardSettings, witness: SpoolWitness) -> Shard:
    """Open a worker's own shard; a damaged one is moved aside and begun anew. Raises StorageError otherwise."""
    try:
        return _open(name, settings, witness)
    except StorageCorrupt as error:
        _move_aside(name, settings, witness, error)
        return _open(name, settings, witness)


def adopt(names: Iterator[str], settings: ShardSettings, witness: SpoolWitness) -> Iterator[Shard]:
    """Yield those of the shards ``names`` that could be taken over."""
    for name in names:
        try:
            shard = _open(name, settings, witness)
        except StorageCorrupt as error:
            _move_aside(name, settings, witness, error)
        except StorageError as error:
            witness.storage_failed(f"shard-{name}", "adopt", str(error))
        else:
            witness.shard_adopted(shard.name, shard.queued)
            yield shard


def open_free(settings: ShardSettings, witness: SpoolWitness) -> Iterator[Shard]:
    """Yield every shard that can be opened; the others are told and left as they are."""
    for name in shard_names(settings.data):
        try:
            yield _open(name, settings, witness)
        except StorageError as error:
            witness.storage_failed(f"shard-{name}", "open", str(error))


def shard_names(data: Path) -> list[str]:
    """Return the names of all shards that have a file, in order."""
    found = (_SHARD_FILE.fullmatch(path.name) for path in (data / "spool").glob("shard-*.sqlite"))
    return sorted((match[1] for match in found if match), key=int)


def _open(name: str, settings: ShardSettings, witness: SpoolWitness) -> Shard:
    return Shard(
        name, settings, lambda shard, error: witness.storage_failed(f"shard-{shard}", "checkpoint", str(error))
    )


def _move_aside(name: str, settings: ShardSettings, witness: SpoolWitness, error: StorageError) -> None:
    mark = f".corrupt-{int(settings.clock.stamp().utc)}"
    path = shard_path(settings.data, name)
    aside = path.with_name(path.name + mark)
    # SQLite finds a log by its database's name.
    moves = {path.with_name(path.name + end): aside.with_name(aside.name + end) for end in ("", "-wal", "-shm")}
    contents = path.parent / "content" / name
    for source, target in (*moves.items(), (contents, contents.with_name(name + mark))):
        if source.exists():
            source.replace(target)
    advice = f"moved aside to {aside} with its contents, recover with: sqlite3 {aside} .recover"
    witness.storage_failed(f"shard-{name}", "open", f"{error}; {advice}")
