"""What the schedule and the commands do with a configuration: save, remove what is too old, carry elsewhere; events.

Each operation returns the events of what happened; whoever called tells them to the gateway (``telling``).
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from gateway.backup.capture import capture
from gateway.backup.drill import Drilled
from gateway.backup.errors import BackupError
from gateway.backup.frames import read_key
from gateway.backup.manifest import Kind, Manifest
from gateway.backup.obligations import keep_clocks
from gateway.backup.pace import Aside, Pace
from gateway.backup.repository import Repository, Run
from gateway.backup.retention import Removal, prune
from gateway.backup.saving import Job, Progress, silent
from gateway.backup.schedule import History, Plan, kind_at
from gateway.backup.sources import commits, sources_of
from gateway.clock import Clock
from gateway.config.models import Backup
from gateway.config.snapshot import Snapshot
from gateway.journal.duty_events import BackupDrilled, BackupFailed, BackupFinished
from gateway.journal.events import Event, OperatorActed

# What a program that carries the folder elsewhere says last.
_SAID_OCTETS = 300
_HOUR = 3600.0
# A program that hangs would keep every later run from being made; one that is not through in half a day needs a better
# line, and goes on the next time where it was, as rclone and restic do.
SEND_SECONDS = 12 * _HOUR


def repository_of(settings: Backup, pace: Pace | None = None) -> Repository:
    """Return the repository that a configuration names; BackupError when it names none or its key is none."""
    if settings.folder is None:
        raise BackupError("no backup folder is configured: [backup] folder in tidegate.toml, or --folder")
    return Repository(settings.folder, read_key(settings.key), pace)


def repository_beside_mail(snapshot: Snapshot, key: Path | None = None) -> Repository:
    """Return the same to be read back beside the mail."""
    settings = snapshot.config.backup
    settings = settings.model_copy(update={"key": key or settings.key})
    return repository_of(settings, Pace(settings.rate, lambda: commits(snapshot.config.data)))


def plan_of(settings: Backup) -> Plan:
    """Return the plan that a configuration asks for."""
    return Plan(increment_seconds=settings.increment, full_seconds=settings.full, at=settings.at)


def without_pace(snapshot: Snapshot) -> Snapshot:
    """Return the same with nothing to hold a run back."""
    backup = snapshot.config.backup.model_copy(update={"rate": 0})
    return replace(snapshot, config=snapshot.config.model_copy(update={"backup": backup}))


def history_of(repository: Repository, failed: float | None = None) -> History:
    """Return when the last runs were, from the folder alone: no key is needed. OSError."""
    runs = repository.runs()
    if not runs:
        return History(failed=failed)
    return History(
        last=repository.manifest_path(runs[-1]).stat().st_mtime,
        last_full=_began(runs[-1].chain),
        failed=failed,
    )


def _began(chain: str) -> float:
    return datetime.strptime(chain.split("-")[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A run that was finished, and what came after it; ``troubles`` are later steps that failed."""

    manifest: Manifest
    removals: tuple[Removal, ...]
    troubles: tuple[str, ...]
    events: tuple[Event, ...]


def run_now(
    snapshot: Snapshot, clock: Clock, *, kind: Kind | None = None, operator: str, progress: Progress = silent
) -> Outcome:
    """Save everything and look after what was saved before; ``kind`` None: as the plan says. BackupError, StorageError.

    Once the run is finished nothing that fails afterwards makes it one that failed.
    """
    settings = snapshot.config.backup
    repository = repository_of(settings)
    repository.check()
    wanted = kind or kind_at(plan_of(settings), history_of(repository), clock.stamp().utc)
    job = Job(
        sources=sources_of(snapshot),
        clock=clock,
        rate=settings.rate,
        floor_octets=snapshot.config.limits.free_disk_floor,
        deadline_seconds=settings.deadline,
        progress=progress,
    )
    manifest = capture(repository, job, wanted)
    events: list[Event] = [finished(manifest)]
    troubles: list[str] = []
    removals: list[Removal] = []
    now = clock.stamp().utc
    try:
        keep_clocks(snapshot.config.data, manifest, operator)
    except BackupError as error:
        troubles.append(str(error))
    try:
        removals = prune(repository, now, settings.keep)
    except BackupError as error:
        troubles.append(f"nothing was removed: {error}")
    events += [removed(removal, now, operator) for removal in removals]
    troubles += send(settings.send, min(SEND_SECONDS, settings.increment), Pace(settings.rate))
    events += [BackupFailed(at=now, backup=name(manifest), state="trouble", reason=trouble) for trouble in troubles]
    return Outcome(manifest=manifest, removals=tuple(removals), troubles=tuple(troubles), events=tuple(events))


def name(manifest: Manifest) -> str:
    """Return a run's name."""
    return str(Run(manifest.chain, manifest.number))


def send(command: Sequence[str], seconds: float, pace: Pace) -> list[str]:
    """Run the program that carries the folder elsewhere, for so long at most; return what went wrong.

    It gives way as a run does: one that compresses or encrypts takes more of the processor.
    """
    if not command:
        return []
    try:
        with TemporaryFile() as said, Aside(pace) as aside:
            how = _ended(command, said, seconds, aside)
            said.seek(max(0, said.tell() - _SAID_OCTETS))
            last = said.read().decode("utf-8", "replace").strip()
    except OSError as error:
        return [f"not sent: {command[0]}: {error.strerror or error}"]
    return [f"not sent: {command[0]} {how}: {last}"] if how else []


def _ended(command: Sequence[str], said: BinaryIO, seconds: float, aside: Aside) -> str:
    """Run a program with all that it starts for so long at most; return how it ended, "" for well. OSError."""

    def start() -> subprocess.Popen[bytes]:
        # A file and not a pipe: who is left over of a program that was ended would keep a pipe open.
        return subprocess.Popen(  # noqa: S603 - the administrator's
            list(command), stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )

    # What a thread that gives way starts does so too.
    with aside.do(start) as program:
        try:
            status = program.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            return f"was ended after {seconds / _HOUR:.3g} h"
        except KeyboardInterrupt:
            os.killpg(program.pid, signal.SIGTERM)
            raise
    return f"ended with {status}" if status else ""


def finished(manifest: Manifest) -> BackupFinished:
    """Return the event of a finished run."""
    return BackupFinished(
        at=manifest.finished_at,
        backup=name(manifest),
        type=manifest.kind,
        octets=manifest.octets,
        added_octets=manifest.added_octets,
        messages=manifest.messages,
        complete_until=manifest.complete_until,
        seconds=manifest.finished_at - manifest.started_at,
        deadline_at=manifest.deadline_at,
        deadline="met" if manifest.finished_at <= manifest.deadline_at else "missed",
        omitted=len(manifest.omitted),
        problems=manifest.problems,
    )


def failed(at: float, reason: str) -> BackupFailed:
    """Return the alarm of a run that came to nothing."""
    return BackupFailed(at=at, backup="", state="failed", reason=reason)


def removed(removal: Removal, now: float, operator: str) -> OperatorActed:
    """Return the audit event of a chain that was removed."""
    return OperatorActed(
        at=now, operation="backup remove", target=removal.chain, changes=(removal.why,), operator=operator
    )


def drilled(outcome: Drilled) -> BackupDrilled:
    """Return the event of a drill."""
    return BackupDrilled(
        at=outcome.started_at + outcome.seconds,
        backup=outcome.run,
        result="passed" if outcome.passed else "failed",
        seconds=outcome.seconds,
        messages=outcome.messages,
        complete_until=outcome.complete_until,
        problems=outcome.problems,
    )
