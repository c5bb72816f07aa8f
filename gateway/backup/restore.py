"""Restore: a whole gateway into an empty folder, as it was when the run was made.

    INTO/data            the data folder, its databases checked and brought in line
    INTO/configuration   tidegate.toml and what it names; what lay outside its folder is in elsewhere/ under its path

All is made in ``INTO/.restoring`` and moved to its name when it is whole and on the disk: a restore that was killed
leaves no data folder that a gateway could start on, and the next one begins anew.

Brought in line: messages whose custody had ended when the run saved their contents are taken out, and so are copies
that the ledger knows as ended, in the backup or, with ``surviving``, in what is left of the old data folder; so nothing
known as delivered is sent again.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from gateway.backup.errors import BackupError, DamagedError
from gateway.backup.manifest import Manifest, SavedFile, SpoolSummary
from gateway.backup.packs import PackReader
from gateway.backup.repository import Repository, Run
from gateway.ledger import Ledger
from gateway.storage import StorageError, free_octets, open_readonly
from gateway.storage.online import amend, integrity

Progress = Callable[[str, int], None]

_UNFINISHED = ".restoring"
_ENDED = "DELETE FROM recipient WHERE trace_id = ?"
# Rows of the queue and of the ledger are of one message when number and id agree; the index by time keeps it short.
_KNOWN = (
    "DELETE FROM recipient WHERE (trace_id, number) IN (SELECT trace_id, number FROM ledger "
    "WHERE received_at >= (SELECT min(received_at) - 86400 FROM message))"
)
_KNOWN_ELSEWHERE = "DELETE FROM recipient WHERE trace_id = ? AND number = ?"
_SWEEP = "DELETE FROM message WHERE trace_id NOT IN (SELECT trace_id FROM recipient)"
_OLDEST = "SELECT min(received_at) FROM message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came of it: ``known`` copies were taken out because they had ended; ``lost`` are files left out, and why."""

    run: str
    files: int
    octets: int
    known: int
    complete_until: float
    lost: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """``surviving`` is what is left of the old data folder; with ``salvage`` what is damaged is left out, and named."""

    surviving: Path | None = None
    salvage: bool = False


def restore(repository: Repository, run: Run, into: Path, progress: Progress, wishes: Wishes | None = None) -> Restored:
    """Restore a run; BackupError, DamagedError or StorageError, and then ``into`` has neither folder."""
    wishes = wishes or Wishes()
    with repository.reading():
        manifest = repository.manifest(run)
        part = _begin(into, manifest)
        with repository.reader(manifest) as reader:
            lost = _write_all(manifest, reader, part, progress)
    lost += _unsound(manifest, part, {path for path, _ in lost})
    if lost and not wishes.salvage:
        rmtree(part)
        more = f"; and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise DamagedError(lost[0][1], f"{lost[0][0]} cannot be restored{more}; with --salvage the others can")
    known = _bring_in_line(manifest, part, wishes.surviving, {path for path, _ in lost})
    _finish(part, into, {file.path for file in manifest.files})
    return Restored(
        run=str(run),
        files=len(manifest.files) - len(lost),
        octets=manifest.octets,
        known=known,
        complete_until=manifest.complete_until,
        lost=tuple(lost),
    )


def _begin(into: Path, manifest: Manifest) -> Path:
    try:
        into.mkdir(parents=True, exist_ok=True, mode=0o750)
        others = [entry.name for entry in into.iterdir() if entry.name not in {_UNFINISHED, "lost+found"}]
        if others:
            raise BackupError(f"{into} is not empty ({', '.join(sorted(others)[:3])}); restore into an empty folder")
        part = into / _UNFINISHED
        if part.exists():
            rmtree(part)
        part.mkdir(mode=0o700)
    except OSError as error:
        raise BackupError(f"{into}: {error.strerror or error}") from error
    if (free := free_octets(into)) < manifest.octets:
        rmtree(part)
        raise BackupError(f"{into}: {free} octets are free, the restore needs {manifest.octets}")
    return part


def _write_all(manifest: Manifest, reader: PackReader, part: Path, progress: Progress) -> list[tuple[str, str]]:
    lost: list[tuple[str, str]] = []
    done = 0
    for file in manifest.files:
        target = part / file.path
        try:
            write_file(file, reader, target)
        except DamagedError as error:
            target.unlink(missing_ok=True)
            lost.append((file.path, str(error)))
        except OSError as error:
            raise BackupError(f"{target}: {error.strerror or error}") from error
        done += file.octets
        progress(file.path, done)
    return lost


def write_file(file: SavedFile, reader: PackReader, target: Path) -> None:
    """Write a saved file to ``target`` with its mode, times and, for root, owner; DamagedError, OSError."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    with target.open("xb") as written:
        digest = reader.write(file.chunks, written)
    if digest != file.digest:
        raise DamagedError(file.path, "its chunks are sound, but together they are not what was saved")
    target.chmod(file.mode)
    _give(target, file.owner)
    os.utime(target, ns=(file.modified_ns, file.modified_ns))


def _unsound(manifest: Manifest, part: Path, lost: set[str]) -> list[tuple[str, str]]:
    """Take out databases that were damaged already when they were saved; they stay under a name that says so."""
    found = []
    for file in manifest.files:
        path = part / file.path
        if file.kind == "database" and file.path not in lost and (wrong := _problems(path)):
            path.rename(path.with_name(f"{path.name}.corrupt"))
            found.append((file.path, f"{file.path}.corrupt: damaged when it was saved: {'; '.join(wrong)}"))
    return found


def _problems(path: Path) -> list[str]:
    try:
        return integrity(path)
    except StorageError as error:
        return [str(error)]


def _bring_in_line(manifest: Manifest, part: Path, surviving: Path | None, lost: set[str]) -> int:
    shards = [shard for shard in manifest.spool if shard.path not in lost]
    known = sum(_end_known(shard, part / shard.path, surviving) for shard in shards)
    _own_folders(manifest, part)
    return known


def _end_known(shard: SpoolSummary, path: Path, surviving: Path | None) -> int:
    with open_readonly(path) as database:
        before = int(database.read("SELECT count(*) FROM recipient")[0][0])
        has_ledger = bool(database.read("SELECT 1 FROM sqlite_master WHERE name = 'ledger'"))
        oldest = database.read(_OLDEST)[0][0]
    elsewhere = [] if surviving is None or oldest is None else _ended_in(surviving, float(oldest))
    amend(
        path,
        [
            (_ENDED, [(trace_id,) for trace_id in shard.ended]),
            *([(_KNOWN, [()])] if has_ledger else []),
            (_KNOWN_ELSEWHERE, elsewhere),
            (_SWEEP, [()]),
        ],
    )
    with open_readonly(path) as database:
        return before - int(database.read("SELECT count(*) FROM recipient")[0][0])


def _ended_in(data: Path, since: float) -> list[tuple[str, int]]:
    try:
        return [(record.trace_id, record.number) for record in Ledger(data).between(since, float("inf"))]
    except StorageError as error:
        raise BackupError(f"the ledger that survived cannot be read: {error}") from error


def _own_folders(manifest: Manifest, part: Path) -> None:
    """Give folders to the owner of the first file in them; for the data folder that is the gateway's user."""
    for file in reversed(manifest.files):
        for folder in (part / file.path).parents:
            if folder == part:
                break
            _give(folder, file.owner)


def _give(path: Path, owner: tuple[int, int]) -> None:
    # Only root may give files away; a service that may not is not even allowed to try (systemd's system call filter).
    if os.geteuid() == 0 and path.exists():
        os.chown(path, *owner)


def _finish(part: Path, into: Path, saved: set[str]) -> None:
    try:
        for path in part.rglob("*"):
            # What SQLite made beside the databases that were looked into.
            made = path.name.endswith((".sqlite-wal", ".sqlite-shm"))
            if made and path.relative_to(part).as_posix() not in saved:
                path.unlink()
        os.sync()
        # The configuration first: a gateway starts on the data.
        for name in ("configuration", "data"):
            if (part / name).exists():
                (part / name).rename(into / name)
        part.rmdir()
        os.sync()
    except OSError as error:
        raise BackupError(f"{into}: {error.strerror or error}") from error
