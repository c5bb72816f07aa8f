"""The contract's clocks of backups (contract.md §7): each run meets those that run, and starts the next.

An increment is owed for every calendar day (UTC) and a full backup for every three: due is the end of that day, not
the hour of the last one, so that a run which takes some minutes longer than yesterday's is none that was missed.
"""

from pathlib import Path

from gateway.backup.errors import BackupError
from gateway.backup.manifest import Manifest
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.deadline import DAY, KINDS, Deadline
from gateway.servicelevel.records import Records, RecordsBrokenError

INCREMENTAL, FULL = KINDS["backup-incremental"], KINDS["backup-full"]


def keep_clocks(data: Path, manifest: Manifest, by: str) -> None:
    """Put on record what a finished run has kept, and what is owed next; BackupError."""
    records = Records(data)
    done = manifest.finished_at
    writer = Writer(records, done, by)
    try:
        for kind in (INCREMENTAL, FULL) if manifest.kind == "full" else (INCREMENTAL,):
            for deadline in Book.of(records.read()).deadlines.values():
                if deadline.kind == kind.name and deadline.met_at is None:
                    writer.meet_deadline(deadline.number, max(done, deadline.start))
            writer.open_deadline(
                Deadline(
                    number=0,
                    kind=kind.name,
                    clause=kind.clause,
                    subject=f"the backup after {manifest.chain}/{manifest.number:04d}",
                    customer="",
                    start=done,
                    due=due(done, kind.allowed.seconds),
                    official=True,
                    by=by,
                )
            )
    except (RecordsBrokenError, OSError) as error:
        raise BackupError(f"the service level's records: {error}") from error


def due(done: float, allowed_seconds: float) -> float:
    """Return the end of the day that lies ``allowed_seconds`` after the day of ``done``."""
    return (done // DAY + 1) * DAY + allowed_seconds
