"""The incident record in a backup: its chain walked, single incidents taken out, without restoring all of it.

The database and the anchor are put together in a scratch folder; of the kept messages one at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway.backup.databases import discard
from gateway.backup.errors import BackupError
from gateway.backup.manifest import Manifest
from gateway.backup.packs import PackReader
from gateway.backup.restore import write_file
from gateway.incidents.bundle import Bundle, BundleError, Export, Exporter
from gateway.incidents.evidence import EvidenceBrokenError, EvidenceStore
from gateway.incidents.guarantees import Letters, guarantees_of
from gateway.incidents.reader import EvidenceRow, IncidentReader
from gateway.incidents.schema import FOLDER, database_path, head_path
from gateway.incidents.suspensions import suspensions
from gateway.incidents.values import Source, SourceKind
from gateway.incidents.verification import Flaw, verify
from gateway.storage import StorageError

_DATA = Path("data")
DATABASE = database_path(_DATA).as_posix()
_HEAD = head_path(_DATA).as_posix()


class SavedIncidents:
    """The incident record of one run; ``scratch`` is an empty folder of the caller's."""

    def __init__(self, manifest: Manifest, reader: PackReader, scratch: Path) -> None:
        self._saved = {file.path: file for file in manifest.files}
        self._reader, self._scratch = reader, scratch

    def flaws(self) -> tuple[Flaw, ...]:
        """Return what is wrong; nothing where the run has no such record."""
        if DATABASE not in self._saved:
            return ()
        try:
            with self._put_together() as data:
                letters = _SavedLetters(self, data)
                return verify(data, store=_SavedEvidence(self, data), letters=letters).flaws
        except (BackupError, OSError) as error:
            return (Flaw(DATABASE, f"cannot be looked into: {error}"),)

    def bundle(self, number: int, at: float, by: str) -> Bundle | None:
        """Return an incident with its evidence as ``incident export --whole`` does, None where there is none.

        BackupError when what was saved is not sound.
        """
        if DATABASE not in self._saved:
            return None
        try:
            with self._put_together() as data, IncidentReader(data) as reader:
                if reader.incident(number) is None:
                    return None
                return Exporter(reader, _SavedEvidence(self, data)).export(number, Export(at=at, by=by, key=None))
        except (BundleError, EvidenceBrokenError, StorageError) as error:
            raise BackupError(f"incident {number}: {error}") from error

    def of_account(self, account: str) -> list[dict[str, Any]]:
        """Return what is on record of an account: its incidents, suspensions, and the guarantees given for it."""
        if DATABASE not in self._saved:
            return []
        source = Source(SourceKind.ACCOUNT, account.casefold())
        with self._put_together() as data, IncidentReader(data) as reader:
            incidents = reader.by_source(source)
            suspended = [s for s in suspensions(reader.rows, ended=True) if s.source == source]
            numbers = {incident.id for incident in incidents} | {s.incident for s in suspended}
            given = [guarantee for number in sorted(numbers) for guarantee in guarantees_of(reader.rows, number)]
        kinds = (("incident", incidents), ("suspension", suspended), ("guarantee", given))
        return [{"record": kind} | asdict(each) for kind, found in kinds for each in found]

    @contextmanager
    def _put_together(self) -> Iterator[Path]:
        """Give a data folder that has the database and the anchor for the time of it."""
        try:
            for path in {DATABASE, _HEAD} & self._saved.keys():
                self.write(path)
            yield self._scratch / _DATA
        finally:
            discard(self._scratch / DATABASE)
            (self._scratch / _HEAD).unlink(missing_ok=True)

    def write(self, path: str) -> None:
        """Write a saved file into the scratch folder, where it was saved; FileNotFoundError, BackupError."""
        if path not in self._saved:
            raise FileNotFoundError(path)
        write_file(self._saved[path], self._reader, self._scratch / path)


class _SavedEvidence(EvidenceStore):
    """Kept messages out of a backup, one at a time."""

    def __init__(self, incidents: SavedIncidents, data: Path) -> None:
        super().__init__(data)
        self._incidents, self._root = incidents, data.parent

    def read(self, row: EvidenceRow) -> bytes:
        """Return a message as it was received; EvidenceBrokenError when it is gone or not what was kept."""
        with self._at_hand(row):
            return super().read(row)

    def check(self, row: EvidenceRow) -> str:
        """Return what is wrong with a kept message, "" for nothing."""
        try:
            with self._at_hand(row):
                return super().check(row)
        except BackupError as error:
            return f"evidence {row.id}: {error}"

    @contextmanager
    def _at_hand(self, row: EvidenceRow) -> Iterator[None]:
        path = self.path(row.sha256)
        if path.exists():
            yield
            return
        try:
            # One that the backup has not is missing, which is for the caller to find.
            with suppress(FileNotFoundError):
                self._incidents.write(path.relative_to(self._root).as_posix())
            yield
        finally:
            path.unlink(missing_ok=True)


class _SavedLetters(Letters):
    """Scans of guarantees out of a backup, one at a time."""

    def __init__(self, incidents: SavedIncidents, data: Path) -> None:
        super().__init__(data / FOLDER)
        self._incidents, self._root = incidents, data.parent

    def fault(self, sha256: str) -> str:
        """Return what is wrong with a scan, "" for nothing."""
        path = self.path(sha256)
        try:
            with suppress(FileNotFoundError):
                self._incidents.write(path.relative_to(self._root).as_posix())
            return super().fault(sha256)
        except BackupError as error:
            return f"cannot be read: {error}"
        finally:
            path.unlink(missing_ok=True)
