"""What there is to save, found anew by each run: everything below the data folder, the configuration, its keys.

A store that comes with a later version is saved without being named here: what is left out is named instead. Below
``data`` a file is a database when its name ends in ``.sqlite`` and it begins as SQLite's do; its log is part of it.
Contents of the spool's shards belong to their shard's rows and are asked for by them (``capture``).
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from gateway.config.snapshot import Snapshot
from gateway.storage.online import is_database

SCRATCH = "backup-scratch"

# Below the data folder: what this machine's processes hold in common now (counters), their door and lock, what is being
# received and was not acknowledged, and our own working folder.
_LEFT_OUT = {"counters", "control.sock", "tidegate.pid", SCRATCH, "spool/incoming"}
_COMPANIONS = (".sqlite-wal", ".sqlite-shm", ".lock", ".draft")
_CONTENTS = PurePath("spool/content")
# Where the chain of evidence ended (gateway.incidents): saved before its database, so that what it names is in there.
_ANCHORS = ("data/incidents/head",)
_PRIVATE_KEY = b"PRIVATE KEY-----"
# The mark of a key stands in the first line; comments before it are short.
_LOOKED_AT_OCTETS = 4096


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A file to save: ``path`` is where a restore puts it."""

    path: str
    origin: Path
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where everything lies: the data folder, and the files of the configuration."""

    data: Path
    hostname: str
    configuration: tuple[Source, ...]

    def databases(self) -> list[Source]:
        """Return the databases, the spool's shards first: mail is what cannot be had again."""
        found = [s for s in self._data_files() if s.path.endswith(".sqlite") and _is_database(s.origin)]
        return sorted(found, key=lambda s: (not is_shard(s.path), s.path))

    def anchors(self) -> list[Source]:
        """Return the files that must be no newer than the databases."""
        found = [Source(path, self.data / path.removeprefix("data/")) for path in _ANCHORS]
        return [source for source in found if _is_regular(source.origin)]

    def plain(self) -> list[Source]:
        """Return the other files below the data folder that belong to no shard."""
        databases = {source.path for source in self.databases()} | set(_ANCHORS)
        shards = {shard_name(path) for path in databases if is_shard(path)}
        return [s for s in self._data_files() if s.path not in databases and not _is_content(s.path, shards)]

    def everything(self) -> list[Source]:
        """Return all files, however they are saved."""
        return [*self._data_files(), *self.configuration]

    def commits(self) -> list[int]:
        """Return something else after a commit of a shard."""
        return commits(self.data)

    def content(self, shard: str, trace_id: str) -> Source:
        """Return the content file of a message of a shard."""
        inside = _CONTENTS / shard / trace_id[-2:] / trace_id
        return Source(f"data/{inside}", self.data / inside)

    def _data_files(self) -> Iterator[Source]:
        for inside, path in _files_below(self.data, _LEFT_OUT):
            if not inside.endswith(_COMPANIONS):
                yield Source(f"data/{inside}", path)


def commits(data: Path) -> list[int]:
    """Return when each shard's log was written to last, which every commit does."""
    found = []
    for path in sorted((data / "spool").glob("shard-*.sqlite-wal")):
        with suppress(FileNotFoundError):
            found.append(path.stat().st_mtime_ns)
    return found


def sources_of(snapshot: Snapshot) -> Sources:
    """Return the sources that a configuration names."""
    config = snapshot.config
    base = (snapshot.path.parent if snapshot.path else Path()).absolute()
    paths = {Path(name).absolute() for name in snapshot.texts if snapshot.path is not None or Path(name).is_file()}
    for folder in (config.policies, config.blocklists):
        paths |= {path.absolute() for _, path in _files_below(folder, set())}
    named = {path.absolute() for listen in config.listen if listen.tls for path in (listen.tls.certificate,)}
    keys = {path.absolute() for listen in config.listen if listen.tls for path in (listen.tls.key,)}
    found = [
        Source(_place(path, base), path, secret=path in keys or _holds_key(path))
        for path in sorted(paths | named | keys)
        if path.is_file()
    ]
    return Sources(data=config.data.absolute(), hostname=config.hostname, configuration=tuple(found))


def is_shard(path: str) -> bool:
    """Tell whether the path of a saved file is a shard's database."""
    return path.startswith("data/spool/shard-") and path.endswith(".sqlite")


def shard_name(path: str) -> str:
    """Return the name of the shard in a saved file's path."""
    return path.removeprefix("data/spool/shard-").removesuffix(".sqlite")


def _place(path: Path, base: Path) -> str:
    inside = path.relative_to(base) if path.is_relative_to(base) else Path("elsewhere") / path.relative_to("/")
    return f"configuration/{inside.as_posix()}"


def _files_below(folder: Path, left_out: set[str]) -> Iterator[tuple[str, Path]]:
    """Yield regular files, in order, each with its path in the folder; folders that go meanwhile are passed over."""
    for at, folders, names in os.walk(folder):
        inside = os.path.relpath(at, folder)
        before = "" if inside == os.curdir else f"{inside}/"
        folders[:] = sorted(name for name in folders if f"{before}{name}" not in left_out)
        for name in sorted(names):
            path = Path(at, name)
            if f"{before}{name}" not in left_out and _is_regular(path):
                yield f"{before}{name}", path


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _is_database(path: Path) -> bool:
    try:
        return is_database(path)
    except OSError:
        return False


def _is_content(path: str, shards: set[str]) -> bool:
    parts = path.split("/")
    return tuple(parts[1:3]) == _CONTENTS.parts and parts[3] in shards


def _holds_key(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _PRIVATE_KEY in file.read(_LOOKED_AT_OCTETS)
    except OSError:
        return False
