"""The drill: the newest backup restored into a temporary folder, and a gateway started on it that delivers nothing.

Before it starts, every queued copy is held in the restored shards, so nothing can leave; it listens on a free port of
127.0.0.1 alone, with no policies of ours, asks no scanner and fetches no list. It must say that it takes mail, and its
own count of what is in custody must be that of the backup. The restored configuration is loaded as well: what keeps it
from loading here (a key that is not in the backup) is noted.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.backup.manifest import Manifest
from gateway.backup.pace import READ_SECONDS, Aside
from gateway.backup.records import Records
from gateway.backup.repository import DRILLS, Repository, Run
from gateway.backup.restore import Progress, Restored, restore
from gateway.backup.scratch import Scratch
from gateway.clock import Clock
from gateway.config.loader import load
from gateway.config.problem import ConfigError
from gateway.filters import catalogue
from gateway.storage.online import amend

# A large shard is recovered and counted within this; the supervisor itself waits as long for its workers.
START_SECONDS = 120.0
_POLL_SECONDS = 0.2
_STOP_SECONDS = 60.0
_HOLD = "UPDATE recipient SET state = 'held', held_since = ? WHERE state = 'queued'"
_ANYWHERE = Scratch()
_CONFIGURATION = """\
hostname = "drill.invalid"
data = {data}
workers = 1
[[listen]]
address = "127.0.0.1:0"
[limits]
free_disk_floor = 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """How a drill went: ``problems`` empty means that the backup was proved; ``notes`` need a look, no more."""

    run: str
    started_at: float
    seconds: float
    messages: int
    copies: dict[str, int]
    complete_until: float
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the backup is one to rely on."""
        return not self.problems


def drill(
    repository: Repository, run: Run, *, clock: Clock, progress: Progress, scratch: Scratch = _ANYWHERE
) -> Drilled:
    """Try a run; BackupError or StorageError when not even the restore succeeds."""
    began = clock.stamp()
    manifest = repository.manifest(run)
    with TemporaryDirectory(prefix="tidegate-drill-", dir=scratch.room_for(manifest.octets)) as folder:
        into = Path(folder) / "restored"
        repository.pace.plan(manifest.octets, READ_SECONDS)
        # The gateway does not give way: one that nobody lets start would be a backup that is not proved.
        with Aside(repository.pace) as aside:
            restored = aside.do(lambda: restore(repository, run, into, progress))
            aside.do(lambda: _hold(manifest, into, began.utc))
        notes = _configuration_notes(manifest, into)
        counts, problems = _try(Path(folder), into)
    problems += _differences(manifest, restored, counts) if counts else []
    return Drilled(
        run=str(run),
        started_at=began.utc,
        seconds=clock.monotonic() - began.monotonic,
        messages=manifest.messages,
        copies=counts,
        complete_until=manifest.complete_until,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def drills(repository: Repository) -> tuple[Drilled, ...]:
    """Return the drills on record in the backup folder, oldest first; DamagedError."""
    return _records(repository).read()


def record(repository: Repository, drilled: Drilled) -> None:
    """Put a drill on record: the proof outlives the journal. BackupError."""
    with repository.noting():
        _records(repository).write((*drills(repository), drilled))


def _records(repository: Repository) -> Records[Drilled]:
    return Records(repository.folder / DRILLS, Drilled)


def _hold(manifest: Manifest, into: Path, now: float) -> None:
    for shard in manifest.spool:
        amend(into / shard.path, [(_HOLD, [(now,)])])


def _configuration_notes(manifest: Manifest, into: Path) -> list[str]:
    path = into / "configuration" / "tidegate.toml"
    notes = [f"{name} is not in the backup: {why}" for name, why in manifest.omitted]
    if not path.exists():
        return [*notes, "the backup has no tidegate.toml: its gateway ran without one"]
    try:
        load(path, catalogue())
    except ConfigError as error:
        notes += [f"the restored configuration does not load here: {problem}" for problem in error.problems]
    return notes


def _try(folder: Path, into: Path) -> tuple[dict[str, int], list[str]]:
    """Start a gateway on what was restored; return the copies in custody as it counts them, and what went wrong."""
    path = folder / "tidegate.toml"
    for name in ("policies", "blocklists"):
        (folder / name).mkdir()
    path.write_text(_CONFIGURATION.format(data=json.dumps(str(into / "data"))), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", "gateway", "serve", "--config", str(path)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            answer = _wait(lambda: process.poll() is None, path, folder)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    if answer is None:
        said = (folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return {}, [f"the gateway did not start on it: {said[-1] if said else 'it said nothing'}"]
    return {str(state): int(count) for state, count in answer["queue"]["recipients"].items()}, []


def _wait(alive: Callable[[], bool], path: Path, folder: Path) -> dict[str, dict[str, dict[str, int]]] | None:
    """Return the gateway's status once it takes mail, None when it ends or takes too long."""
    command = [sys.executable, "-P", "-m", "gateway", "status", "--json", "--config", str(path)]
    deadline = time.monotonic() + START_SECONDS
    while alive() and time.monotonic() < deadline:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=START_SECONDS)  # noqa: S603 - as above
        if done.returncode == 0:
            answer: dict[str, dict[str, dict[str, int]]] = json.loads(done.stdout)
            return answer
        time.sleep(_POLL_SECONDS)
    return None


def _differences(manifest: Manifest, restored: Restored, counts: dict[str, int]) -> list[str]:
    """Compare with the backup; what was queued is held now, and what had ended is gone."""
    wanted = sum(sum(shard.copies.values()) for shard in manifest.spool) - restored.known
    found = sum(counts.values())
    differences = [] if found == wanted else [f"{found} copies are in custody, the backup has {wanted}"]
    if counts.get("queued"):
        differences.append(f"{counts['queued']} copies are queued, all should be held")
    return differences
