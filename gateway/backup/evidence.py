"""The incident record in a backup: its chain walked, its messages held against it, without restoring them all.

The database and the anchor are put together in a scratch folder; of the kept messages one at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.backup.databases import discard
from gateway.backup.errors import BackupError
from gateway.backup.manifest import Manifest
from gateway.backup.packs import PackReader
from gateway.backup.restore import write_file
from gateway.incidents.evidence import EvidenceStore
from gateway.incidents.reader import EvidenceRow
from gateway.incidents.schema import database_path, head_path
from gateway.incidents.verification import Flaw, verify

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
                return verify(data, store=_SavedEvidence(self, data)).flaws
        except (BackupError, OSError) as error:
            return (Flaw(DATABASE, f"cannot be looked into: {error}"),)

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

    def check(self, row: EvidenceRow) -> str:
        """Return what is wrong with a kept message, "" for nothing."""
        path = self.path(row.sha256)
        try:
            self._incidents.write(path.relative_to(self._root).as_posix())
            return super().check(row)
        except FileNotFoundError:
            return super().check(row)
        except BackupError as error:
            return f"evidence {row.id}: {error}"
        finally:
            path.unlink(missing_ok=True)
