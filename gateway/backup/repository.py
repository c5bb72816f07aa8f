"""The backup folder: runs in chains, each chain a folder that needs no other.

    tidegate-backup              says that this is a backup folder: a disk that is not mounted has none
    lock                         held by whoever writes; read beside it under a shared lock
    kept.json                    locked accounts whose data are kept longer (retention)
    drills.json                  the drills, as proof
    chain-20261122T190000Z/      a full backup and its increments
        0000.manifest            what the full run saved        0000-0001.pack …   its chunks
        0001.manifest            the first increment            0001-0001.pack …

A run writes its packs, syncs them, and last its manifest under its final name. So what has no manifest is left over
from a run that was interrupted, and the next run removes it; the runs before it are not touched.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from gateway.backup.errors import BackupError, BusyError, DamagedError
from gateway.backup.frames import Sealer
from gateway.backup.manifest import FORMAT, Manifest, decode, encode
from gateway.backup.pace import Pace
from gateway.backup.packs import PackReader, check_frames
from gateway.storage import DurableFiles

MARKER = "tidegate-backup"
DRILLS = "drills.json"
MARKER_TEXT = b"A backup folder of Tidegate, format 2: see gateway/backup/README.md. Change nothing here by hand.\n"
# Its digests were of another kind (BLAKE2b): everything in there would be called damaged.
_OLDER = b"A backup folder of Tidegate, format 1:"
_CHAIN = re.compile(r"chain-(\d{8}T\d{6}Z)(?:-\d+)?")
_MANIFEST = re.compile(r"(\d{4})\.manifest")
_PACK = re.compile(r"(\d{4})-\d{4}\.pack")
# A chain of one-hour increments over months; a number has four digits.
MAX_RUNS = 9999


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """A finished run: its chain's name and its number there (0: full). As text ``chain-…/0001``."""

    chain: str
    number: int

    def __str__(self) -> str:
        return f"{self.chain}/{self.number:04d}"


class Repository:
    """A backup folder and, when it is encrypted, its key; ``pace`` is that at which it is read back."""

    def __init__(self, folder: Path, key: bytes | None, pace: Pace | None = None) -> None:
        self.folder = folder
        self._key = key
        self.pace = pace or Pace(0)
        self._files = DurableFiles()

    @classmethod
    def make(cls, folder: Path) -> None:
        """Make an empty folder a backup folder; BackupError."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if (folder / MARKER).exists():
                raise BackupError(f"{folder} is a backup folder already")
            if any(entry.name != "lost+found" for entry in folder.iterdir()):
                raise BackupError(f"{folder} is not empty")
            DurableFiles().write(folder / MARKER, [MARKER_TEXT])
        except OSError as error:
            raise BackupError(f"{folder}: {error.strerror or error}") from error

    def check(self) -> None:
        """Raise BackupError when this is no backup folder, as when its disk is not mounted."""
        marker = self.folder / MARKER
        if not marker.is_file():
            raise BackupError(
                f"{self.folder} is no backup folder: is its disk mounted? `tidegate backup init` makes a new one"
            )
        try:
            text = marker.read_bytes()
        except OSError as error:
            raise BackupError(f"{marker}: {error.strerror or error}") from error
        if text.startswith(_OLDER):
            raise BackupError(
                f"{self.folder} was written by an older Tidegate, which alone reads it: keep both for as long as its "
                "backups are wanted, and have `tidegate backup init` make another folder"
            )

    def sealer(self, chain: str) -> Sealer:
        """Return what makes and opens the frames of a chain."""
        return Sealer(self._key, chain)

    @property
    def encrypts(self) -> bool:
        """Whether there is a key."""
        return self._key is not None

    # Locking ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only one at work; BusyError, BackupError."""
        with self._locked(fcntl.LOCK_EX):
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep writers away; BusyError, BackupError."""
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Be the only one who writes one of the small lists, also beside a run; waits for another. BackupError."""
        self.check()
        path = self.folder / MARKER
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise BackupError(f"{path}: {error.strerror or error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
            self._give_lists()
        finally:
            os.close(descriptor)

    def _give_lists(self) -> None:
        """Let the gateway's user write the lists too when root has, as by `tidegate account suspend`."""
        if os.geteuid() == 0:
            owner = self.folder.stat()
            for path in self.folder.glob("*.json"):
                os.chown(path, owner.st_uid, owner.st_gid)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        self.check()
        descriptor = self._lock_file()
        try:
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
                raise BusyError(f"{self.folder} is in use{f' by process {holder}' if holder else ''}") from error
            if how == fcntl.LOCK_EX:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
            yield
        finally:
            os.close(descriptor)

    def _lock_file(self) -> int:
        path = self.folder / "lock"
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            # A backup may be read from where nothing can be written; then nobody writes it either.
            try:
                return os.open(self.folder / MARKER, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                raise BackupError(f"{path}: {error.strerror or error}") from error

    # Looking ----------------------------------------------------------------------------------------------------------

    def chains(self) -> list[str]:
        """Return the chains, oldest first."""
        return sorted(entry.name for entry in self.folder.iterdir() if _CHAIN.fullmatch(entry.name))

    def stored_octets(self) -> int:
        """Return how large all packs are; OSError."""
        return sum(path.stat().st_size for chain in self.chains() for path in (self.folder / chain).glob("*.pack"))

    def runs(self, chain: str = "") -> list[Run]:
        """Return the finished runs of a chain or of all, oldest first."""
        return [Run(name, number) for name in ([chain] if chain else self.chains()) for number in self._numbers(name)]

    def _numbers(self, chain: str) -> list[int]:
        found = (_MANIFEST.fullmatch(entry.name) for entry in (self.folder / chain).iterdir())
        return sorted(int(match[1]) for match in found if match)

    def manifest_path(self, run: Run) -> Path:
        """Return where a run's manifest lies."""
        return self.folder / run.chain / f"{run.number:04d}.manifest"

    def manifest(self, run: Run) -> Manifest:
        """Return what a run saved; DamagedError, BackupError for a wrong key."""
        return self._opened(run, self._stored_manifest(run))

    def _stored_manifest(self, run: Run) -> bytes:
        path = self.manifest_path(run)
        try:
            return path.read_bytes()
        except OSError as error:
            raise DamagedError(str(path), f"cannot be read: {error.strerror or error}") from error

    def _opened(self, run: Run, stored: bytes) -> Manifest:
        place = str(self.manifest_path(run))
        found = decode(self.sealer(run.chain).open(stored, f"manifest {run.number}", place), place)
        if found.format != FORMAT or (found.chain, found.number) != (run.chain, run.number):
            raise DamagedError(place, f"the manifest of {found.chain}/{found.number:04d}, format {found.format}")
        return found

    def reader(self, manifest: Manifest) -> PackReader:
        """Return what reads the chunks of a run."""
        return PackReader(self.folder / manifest.chain, manifest, self.sealer(manifest.chain), self.pace)

    def check_frames(self, path: Path) -> int:
        """Read a file of a chain whose key is another; return its octets. DamagedError."""
        return check_frames(path, self.pace)

    def digest(self, run: Run) -> str:
        """Return the digest by which the next run of the chain names this one."""
        return sha256(self._stored_manifest(run)).hexdigest()

    def newest(self, chain: str = "") -> Run | None:
        """Return the last run, None when there is none."""
        runs = self.runs(chain)
        return runs[-1] if runs else None

    def find(self, name: str) -> Run:
        """Return a run by its name, "" for the newest; BackupError."""
        runs = self.runs()
        if not runs:
            raise BackupError(f"{self.folder} has no finished backup")
        wanted = name.removesuffix(".manifest")
        found = [run for run in runs if str(run) in {wanted, f"chain-{wanted}"}] if name else runs[-1:]
        if not found:
            raise BackupError(f"{self.folder} has no {name}; `tidegate backup list` shows what there is")
        return found[0]

    # Changing (under ``writing``) -------------------------------------------------------------------------------------

    def begin_chain(self, at: float) -> str:
        """Make the folder of a new chain and return its name; BackupError."""
        base = f"chain-{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"
        taken = set(self.chains())
        name = next(n for n in (base, *(f"{base}-{i}" for i in range(1, MAX_RUNS))) if n not in taken)
        try:
            (self.folder / name).mkdir(mode=0o700)
        except OSError as error:
            raise BackupError(f"{self.folder / name}: {error.strerror or error}") from error
        return name

    def put_manifest(self, manifest: Manifest) -> Run:
        """Make a run one that is finished; raises StorageError."""
        run = Run(manifest.chain, manifest.number)
        sealed = self.sealer(run.chain).seal(encode(manifest), f"manifest {run.number}")
        self._files.write(self.manifest_path(run), [sealed])
        return run

    def clean(self) -> list[str]:
        """Remove what interrupted runs left; return the names of the files and folders."""
        removed = []
        for name in self.chains():
            folder = self.folder / name
            numbers = set(self._numbers(name))
            for entry in sorted(folder.iterdir()):
                pack = _PACK.fullmatch(entry.name)
                if entry.name.endswith(".draft") or (pack and int(pack[1]) not in numbers):
                    entry.unlink()
                    removed.append(f"{name}/{entry.name}")
            if not numbers:
                shutil.rmtree(folder)
                removed.append(name)
        for entry in self.folder.glob("removed-*"):
            shutil.rmtree(entry)
        return removed

    def remove_chain(self, name: str) -> None:
        """Remove a chain; one that is half removed is none any more. BackupError."""
        gone = self.folder / f"removed-{name}"
        try:
            (self.folder / name).rename(gone)
            shutil.rmtree(gone)
        except OSError as error:
            raise BackupError(f"{self.folder / name}: {error.strerror or error}") from error
