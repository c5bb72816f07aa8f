"""What a run saves, store by store and file by file: the inside of ``capture``."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from shutil import disk_usage
from typing import Literal

from gateway.backup import databases
from gateway.backup.manifest import Manifest, SavedFile, SpoolSummary
from gateway.backup.pace import Aside
from gateway.backup.packs import CHUNK_OCTETS, PackWriter
from gateway.backup.sources import Source, Sources, is_shard, shard_name
from gateway.clock import Clock
from gateway.storage import StorageCorrupt, StorageUnavailable
from gateway.storage.moment import Moment
from gateway.storage.online import table_rows

Progress = Callable[[str, int], None]
"""Hears what is being saved, and the octets looked at so far."""

# Lists are replaced file by file within milliseconds; what changes all the time is taken as it is.
_ROUNDS = 5
# Written through memory, so their times say nothing: small, and always read again.
_ALWAYS_READ = ".table"
# Of a run's deadline, for its reading: the other half is there for what that half did not do (``pace``).
_PLANNED = 0.5


def silent(_: str, __: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is saved and how: octets a second (0: no bound), octets always left free, seconds until the deadline."""

    sources: Sources
    clock: Clock
    rate: int = 0
    floor_octets: int = 0
    deadline_seconds: float = 6 * 3600.0
    progress: Progress = silent


class Saver:
    """Saves everything once; ``spool``, ``omitted`` and ``problems`` are complete after ``everything``."""

    def __init__(
        self, job: Job, writer: PackWriter, before: Manifest | None, aside: Aside, *, keys: Literal["saved", "omitted"]
    ) -> None:
        self._job, self._writer, self._keys, self._aside, self._pace = job, writer, keys, aside, aside.pace
        self._before = {file.path: file for file in before.files} if before else {}
        self._before_spool = {shard.path: shard for shard in before.spool} if before else {}
        self._octets = 0
        self.spool: list[SpoolSummary] = []
        self.omitted: list[tuple[str, str]] = []
        self.problems: list[str] = []

    def everything(self) -> list[SavedFile]:
        """Save all there is."""
        octets = self._aside.do(lambda: sum(map(self._to_read, self._job.sources.everything())))
        self._pace.plan(octets, _PLANNED * self._job.deadline_seconds)
        return self._everything()

    def _to_read(self, source: Source) -> int:
        try:
            status = source.origin.stat()
        except FileNotFoundError:
            return 0
        return 0 if self._unchanged(source, _seen(status)) else status.st_size

    def _everything(self) -> list[SavedFile]:
        files: list[SavedFile] = []
        for source in self._aside.do(self._job.sources.anchors):
            files += self._optional(source)
        for source in self._aside.do(self._job.sources.databases):
            files += self._database(source)
        files += self._plain_files()
        for source in self._job.sources.configuration:
            if source.secret and self._keys == "omitted":
                self.omitted.append((str(source.origin), "a key, and this backup is not encrypted"))
            else:
                files += self._optional(source)
        return files

    # Databases

    def _database(self, source: Source) -> list[SavedFile]:
        """Save a store with what belongs to it; nothing when retention has removed it meanwhile."""
        try:
            return self._store(source)
        except (FileNotFoundError, StorageUnavailable):
            if source.origin.exists():
                raise
            return []

    def _store(self, source: Source) -> list[SavedFile]:
        taken_at = self._job.clock.stamp().utc
        status = source.origin.stat()
        seen = _seen(status) if databases.is_settled(source.origin) else ()
        known = self._unchanged(source, seen)
        if known is not None:
            self._tell(source.path, known.octets)
            return [known, *self._known_contents(source, taken_at)]
        try:
            free = disk_usage(source.origin.parent).free
            with Moment(source.origin) as moment, self._pace.holding(moment.logged_octets, free):
                saved = self._save(source, status, moment.pieces(CHUNK_OCTETS))
                tables = self._aside.do(lambda: table_rows(moment))
                saved = replace(saved, kind="database", seen=seen, tables=tables)
                found = self._aside.do(lambda: self._shard(source, moment, taken_at))
        except StorageCorrupt as error:
            self.problems.append(f"{source.origin} is damaged and was saved as it lies there: {error}")
            return self._raw(source)
        return [saved, *(self._contents(source, *found) if found else ())]

    def _shard(self, source: Source, moment: Moment, taken_at: float) -> tuple[SpoolSummary, list[str]] | None:
        """Return what a shard holds, and the messages with a content file; None for another store."""
        if not is_shard(source.path):
            return None
        summary = databases.summary(moment, path=source.path, shard=shard_name(source.path), taken_at=taken_at)
        return summary, databases.filed_contents(moment)

    def _raw(self, source: Source) -> list[SavedFile]:
        log = source.origin.with_name(source.origin.name + "-wal")
        return [*self._optional(source), *self._optional(Source(f"{source.path}-wal", log))]

    def _contents(self, source: Source, summary: SpoolSummary, filed: list[str]) -> list[SavedFile]:
        files: list[SavedFile] = []
        ended: list[str] = []
        for trace_id in filed:
            content = self._job.sources.content(summary.shard, trace_id)
            found = self._optional(content)
            files += found
            if found:
                continue
            if databases.still_there(source.origin, trace_id):
                self.problems.append(f"{content.origin} is missing: the content of a message in custody")
            else:
                ended.append(trace_id)
        self.spool.append(replace(summary, ended=tuple(ended)))
        return files

    def _known_contents(self, source: Source, taken_at: float) -> list[SavedFile]:
        """Return the contents of a shard that has not changed since the run before."""
        if not is_shard(source.path):
            return []
        self.spool.append(replace(self._before_spool[source.path], taken_at=taken_at))
        prefix = f"data/spool/content/{shard_name(source.path)}/"
        return [file for path, file in self._before.items() if path.startswith(prefix)]

    # Files

    def _plain_files(self) -> list[SavedFile]:
        saved: dict[str, SavedFile] = {}
        for _ in range(_ROUNDS):
            sources = {source.path: source for source in self._aside.do(self._job.sources.plain)}
            fresh = [s for s in sources.values() if s.path not in saved or _changed(s, saved[s.path])]
            if not fresh and saved.keys() <= sources.keys():
                break
            saved = {path: file for path, file in saved.items() if path in sources}
            for source in fresh:
                saved |= {file.path: file for file in self._optional(source)}
        return [saved[path] for path in sorted(saved)]

    def _optional(self, source: Source) -> list[SavedFile]:
        """Save a file that may be gone by now."""
        try:
            status = source.origin.stat()
            return [self._unchanged(source, _seen(status)) or self._file(source, status)]
        except FileNotFoundError:
            return []

    def _file(self, source: Source, status: os.stat_result) -> SavedFile:
        seen = () if source.origin.suffix == _ALWAYS_READ else _seen(status)
        return replace(self._save(source, status, databases.pieces(source.origin, CHUNK_OCTETS)), seen=seen)

    def _unchanged(self, source: Source, seen: tuple[int, ...]) -> SavedFile | None:
        known = self._before.get(source.path)
        return known if known and known.seen and known.seen == seen else None

    def _save(self, source: Source, status: os.stat_result, pieces: Iterable[bytes]) -> SavedFile:
        """Save ``pieces`` under the path of ``source``, which was like that before they were read."""
        digest = sha256()
        chunks: list[int] = []
        octets = 0
        left = iter(pieces)

        def step() -> int:
            piece = next(left, b"")
            if piece:
                digest.update(piece)
                chunks.append(self._writer.put(piece))
            return len(piece)

        while done := self._aside.do(step):
            octets += done
            self._tell(source.path, done)
            self._pace.spend(done)
        return SavedFile(
            path=source.path,
            origin=str(source.origin),
            kind="file",
            octets=octets,
            digest=digest.hexdigest(),
            mode=status.st_mode & 0o7777,
            owner=(status.st_uid, status.st_gid),
            modified_ns=status.st_mtime_ns,
            chunks=tuple(chunks),
            secret=source.secret,
        )

    def _tell(self, what: str, octets: int) -> None:
        self._octets += octets
        self._job.progress(what, self._octets)


def _seen(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _changed(source: Source, saved: SavedFile) -> bool:
    try:
        return saved.seen not in {(), _seen(source.origin.stat())}
    except FileNotFoundError:
        return True
