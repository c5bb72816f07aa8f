"""Verify: every octet read back, every chain followed, every database opened; and what a restore would give.

Every octet of a pack belongs to one frame with a digest of its own, and frames follow each other without a gap, so one
changed octet is found and named by file and place, with what would be lost by it; where the key is another, as after
it was changed, without what would be lost. Then the databases of the run asked
about are put together in a temporary folder, checked by SQLite's ``integrity_check``, and their rows counted against
the manifest. The chain of evidence is walked, and every message kept as evidence is held against it
(``gateway.incidents``).
"""

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from gateway.backup.databases import discard
from gateway.backup.drill import drills
from gateway.backup.errors import BackupError, DamagedError
from gateway.backup.evidence import DATABASE, SavedIncidents
from gateway.backup.manifest import Chunk, Manifest, SavedFile
from gateway.backup.pace import READ_SECONDS
from gateway.backup.packs import PackReader
from gateway.backup.repository import DRILLS, MARKER, MARKER_TEXT, Repository, Run
from gateway.backup.restore import write_file
from gateway.backup.retention import NAME as KEPT
from gateway.backup.retention import kept_accounts
from gateway.backup.scratch import Scratch
from gateway.storage import StorageError, open_readonly
from gateway.storage.online import integrity, table_rows

Progress = Callable[[str, int], None]

_ANYWHERE = Scratch()
# Mail shrinks to about half (``frames``).
_SHRUNK = 2

# What belongs in a backup folder beside its chains.
_OURS = {MARKER, DRILLS, KEPT, "lock", "lost+found"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """``place`` is file and octet; ``needed_by`` the saved files that need it, of the runs named."""

    place: str
    why: str
    needed_by: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found: ``run`` is the one whose databases were opened, ``manifest`` what it says; octets read.

    ``locked`` are chains of another key: each octet has been looked at, but not what they hold.
    """

    run: str
    manifest: Manifest | None
    runs: int
    octets: int
    databases: int
    damages: tuple[Damage, ...]
    locked: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether everything is as it was written."""
        return not self.damages


class Verification:
    """One verification; blocks for as long as reading takes."""

    def __init__(self, repository: Repository, progress: Progress) -> None:
        self._repository, self._progress = repository, progress
        self._octets = 0
        self._damages: list[Damage] = []
        self._locked: list[str] = []
        self._notes: list[str] = []

    def run(self, name: str, scratch: Scratch = _ANYWHERE) -> Verified:
        """Verify every chain, and the databases of one run ("": the newest).

        BackupError when there is nothing, or when its key is not the one at hand, which is no damage.
        """
        with self._repository.reading():
            asked = self._repository.find(name)
            with suppress(DamagedError):
                # Told with its place among the others.
                self._repository.manifest(asked)
            runs = self._repository.runs()
            self._repository.pace.plan(_SHRUNK * self._repository.stored_octets(), READ_SECONDS)
            self._marker()
            for chain in self._repository.chains():
                if self._is_locked(chain):
                    self._frames(chain)
                else:
                    self._chain(chain)
            self._strangers()
            manifest, databases = self._contents(asked, scratch)
        return Verified(
            run=str(asked),
            manifest=manifest,
            runs=len(runs),
            octets=self._octets,
            databases=databases,
            damages=tuple(self._damages),
            locked=tuple(self._locked),
            notes=tuple(self._notes),
        )

    def _marker(self) -> None:
        path = self._repository.folder / MARKER
        if path.read_bytes() != MARKER_TEXT:
            self._damages.append(Damage(place=str(path), why="changed"))
        for read in (kept_accounts, drills):
            try:
                read(self._repository)
            except DamagedError as error:
                self._damages.append(Damage(place=error.place, why=error.why))

    # Chains

    def _is_locked(self, chain: str) -> bool:
        """Tell whether a chain has another key: no manifest of it is opened by ours, though not for damage."""
        found = {self._opens(run) for run in self._repository.runs(chain)}
        return "locked" in found and "opened" not in found

    def _opens(self, run: Run) -> Literal["opened", "damaged", "locked"]:
        try:
            self._repository.manifest(run)
        except DamagedError:
            return "damaged"
        except BackupError:
            return "locked"
        return "opened"

    def _frames(self, chain: str) -> None:
        """Check all that can be without the key: not whether packs are there as a whole, which the manifests know."""
        self._locked.append(chain)
        self._gaps(chain)
        for path in sorted((self._repository.folder / chain).iterdir()):
            if path.suffix in {".pack", ".manifest"}:
                self._progress(str(path), self._octets)
                try:
                    self._octets += self._repository.check_frames(path)
                except DamagedError as error:
                    self._damages.append(Damage(place=error.place, why=error.why))

    def _gaps(self, chain: str) -> None:
        gaps = [number for number, run in enumerate(self._repository.runs(chain)) if run.number != number]
        if gaps:
            place = str(self._repository.folder / chain)
            self._damages.append(Damage(place=place, why=f"run {gaps[0]:04d} is gone"))

    def _chain(self, chain: str) -> None:
        manifests: dict[Run, Manifest] = {}
        runs = self._repository.runs(chain)
        self._gaps(chain)
        previous = ""
        for run in runs:
            try:
                manifests[run] = self._repository.manifest(run)
                if manifests[run].previous != previous:
                    raise DamagedError(str(self._repository.manifest_path(run)), "does not follow the run before it")
                previous = self._repository.digest(run)
            except BackupError as error:
                self._damage(error, self._repository.manifest_path(run), run)
                previous = ""
            self._octets += self._repository.manifest_path(run).stat().st_size
        bad = self._packs(chain, manifests)
        self._name_needs(manifests, bad)

    def _packs(self, chain: str, manifests: dict[Run, Manifest]) -> dict[tuple[str, int], Damage]:
        """Read every pack once; return what is damaged by pack and offset."""
        bad: dict[tuple[str, int], Damage] = {}
        seen: set[str] = set()
        for manifest in manifests.values():
            for number, pack in enumerate(manifest.packs):
                if pack.name in seen:
                    continue
                seen.add(pack.name)
                # The run that wrote a pack names all of its chunks; where that manifest is lost, others name some.
                complete = pack.run == manifest.number
                chunks = sorted((c for c in manifest.chunks if c.pack == number), key=lambda c: c.offset)
                bad |= self._pack(chain, manifest, number, chunks, complete=complete)
        return bad

    def _pack(
        self, chain: str, manifest: Manifest, number: int, chunks: list[Chunk], *, complete: bool
    ) -> dict[tuple[str, int], Damage]:
        pack = manifest.packs[number]
        path = self._repository.folder / chain / pack.name
        bad: dict[tuple[str, int], Damage] = {}
        index = {chunk: place for place, chunk in enumerate(manifest.chunks)}
        with self._repository.reader(manifest) as reader:
            for chunk in chunks:
                try:
                    reader.read(index[chunk])
                except BackupError as error:
                    bad[pack.name, chunk.offset] = Damage(place=reader.place(index[chunk]), why=_why(error))
                self._octets += chunk.octets
                self._progress(str(path), self._octets)
        if complete:
            try:
                _check_seamless(path, chunks, pack.octets)
            except DamagedError as error:
                bad[pack.name, -1] = Damage(place=error.place, why=error.why)
        return bad

    def _name_needs(self, manifests: dict[Run, Manifest], bad: dict[tuple[str, int], Damage]) -> None:
        files: dict[tuple[str, int], dict[str, None]] = defaultdict(dict)
        runs: dict[tuple[str, int], dict[str, None]] = defaultdict(dict)
        for run, manifest in manifests.items() if bad else ():
            places = [(manifest.packs[chunk.pack].name, chunk.offset) for chunk in manifest.chunks]
            for file in manifest.files:
                for place in {places[index] for index in file.chunks} & bad.keys():
                    files[place][file.path] = None
                    runs[place][str(run)] = None
        for place, damage in bad.items():
            self._damages.append(
                Damage(place=damage.place, why=damage.why, needed_by=tuple(files[place]), runs=tuple(runs[place]))
            )

    def _damage(self, error: BackupError, path: Path, run: Run) -> None:
        place = error.place if isinstance(error, DamagedError) else str(path)
        self._damages.append(Damage(place=place, why=_why(error), runs=(str(run),)))

    def _strangers(self) -> None:
        """Name what no run knows: left by one that was interrupted, or put there by somebody."""
        folder = self._repository.folder
        chains = set(self._repository.chains())
        for entry in sorted(folder.iterdir()):
            if entry.name not in _OURS and entry.name not in chains:
                self._notes.append(f"{entry} is no part of any backup")
        for chain in chains:
            known = {f"{run.number:04d}" for run in self._repository.runs(chain)}
            for entry in sorted((folder / chain).iterdir()):
                if entry.name[:4] not in known or not entry.name.endswith((".pack", ".manifest")):
                    self._notes.append(f"{entry} is left over from a run that did not finish; the next run removes it")

    # Contents

    def _contents(self, run: Run, scratch: Scratch) -> tuple[Manifest | None, int]:
        try:
            manifest = self._repository.manifest(run)
        except BackupError:
            # Told already, with its place.
            return None, 0
        checked = 0
        largest = max((file.octets for file in manifest.files if file.kind == "database"), default=0)
        with (
            TemporaryDirectory(prefix="tidegate-verify-", dir=scratch.room_for(largest)) as folder,
            self._repository.reader(manifest) as reader,
        ):
            for file in manifest.files:
                if file.kind == "database":
                    checked += 1
                    self._database(run, file, reader, Path(folder) / "image.sqlite")
            self._evidence(run, SavedIncidents(manifest, reader, Path(folder)))
        return manifest, checked

    def _evidence(self, run: Run, incidents: SavedIncidents) -> None:
        """Follow the chain of evidence; what is wrong with its files is known by now."""
        self._damages += [
            Damage(place=f"{run}: {DATABASE}: {flaw.where}", why=flaw.wrong, runs=(str(run),))
            for flaw in incidents.flaws()
        ]

    def _database(self, run: Run, file: SavedFile, reader: PackReader, image: Path) -> None:
        self._progress(file.path, self._octets)
        try:
            write_file(file, reader, image)
            problems = integrity(image) or _differences(file.tables, image)
        except BackupError as error:
            problems = [str(error)]
        except StorageError as error:
            problems = [f"cannot be opened: {error}"]
        finally:
            discard(image)
        self._damages += [Damage(place=f"{run}: {file.path}", why=problem, runs=(str(run),)) for problem in problems]


def _check_seamless(path: Path, chunks: list[Chunk], octets: int) -> None:
    """Raise DamagedError unless the frames fill the pack from its beginning to its end."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DamagedError(str(path), f"cannot be read: {error.strerror or error}") from error
    at = 0
    for chunk in chunks:
        if chunk.offset != at:
            raise DamagedError(f"{path} at octet {at}", "octets that no manifest names")
        at += chunk.octets
    if size != octets or at != octets:
        raise DamagedError(f"{path} at octet {min(size, octets)}", f"{size} octets, {octets} were written")


def _differences(wanted: dict[str, int], image: Path) -> list[str]:
    with open_readonly(image) as database:
        found = table_rows(database)
    return [
        f"table {table} has {found.get(table, 'no')} rows, {wanted.get(table, 'no')} were saved"
        for table in sorted(wanted.keys() | found.keys())
        if wanted.get(table) != found.get(table)
    ]


def _why(error: BackupError) -> str:
    return error.why if isinstance(error, DamagedError) else str(error)
