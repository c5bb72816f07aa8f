"""Packs: the chunks of a run in a few large files, written once, never changed.

A file a chunk would be a hundred thousand files and as many syncs, which the mail beside would feel; a pack is synced
once, and whatever copies the folder elsewhere has few files to compare. Equal chunks are stored once a chain.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Self

from gateway.backup.errors import DamagedError
from gateway.backup.frames import Sealer, check, read_frame
from gateway.backup.manifest import Chunk, Manifest, Pack
from gateway.backup.pace import Pace
from gateway.storage import StorageFull
from gateway.storage.errors import from_os
from gateway.storage.moment import read_no_further

# 16 pages of a database: a change of one page stores 128 KiB again at most, and 10 GiB are 82,000 chunks.
CHUNK_OCTETS = 128 * 1024
# Small enough to be sent again when a line breaks, large enough that a month of them is some thousand files.
PACK_OCTETS = 256 * 1024**2
# Sent on to the disk in such pieces: a sync of the mail beside may have to wait for one of them, and no longer.
FLUSH_OCTETS = 256 * 1024


def begin_writing(descriptor: int) -> None:
    """Have what was written to a file go to the disk from now on, waiting for nothing, and leave memory then.

    Linux begins to write back what POSIX_FADV_DONTNEED names. A sync instead would commit the file system's journal
    each time, for which the syncs of the mail would wait; nothing at all would let a flood gather for them.
    """
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a run leaves free: asked for ``free()`` octets from time to time, it stops below ``floor_octets``."""

    free: Callable[[], int]
    floor_octets: int

    def check(self, path: Path) -> None:
        """Raise StorageFull when the floor is reached."""
        free = self.free()
        if free < self.floor_octets:
            raise StorageFull(f"{path}: {free} octets are free, {self.floor_octets} are always left")


class PackWriter:
    """Stores the chunks of run ``number``; ``before`` is the manifest whose chunks need not be stored again."""

    def __init__(self, folder: Path, number: int, sealer: Sealer, before: Manifest | None, room: Room) -> None:
        self._folder, self._number, self._sealer, self._room = folder, number, sealer, room
        self.chunks: list[Chunk] = list(before.chunks) if before else []
        self.packs: list[Pack] = list(before.packs) if before else []
        self._known = {chunk.name: index for index, chunk in enumerate(self.chunks)}
        self._first_new = len(self.chunks)
        self._file: BinaryIO | None = None
        self._octets = 0
        self._unflushed = 0
        self._written: list[Path] = []

    def put(self, octets: bytes) -> int:
        """Store a chunk unless the chain has it; return its place in ``chunks``. Raises StorageError."""
        name = self._sealer.name(octets)
        index = self._known.get(name)
        if index is None:
            index = self._known[name] = len(self.chunks)
            frame = self._sealer.seal(octets, name)
            pack, offset = self._append(frame)
            self.chunks.append(Chunk(name, pack, offset, len(frame)))
        return index

    def _append(self, frame: bytes) -> tuple[int, int]:
        if self._file is not None and self._octets + len(frame) > PACK_OCTETS:
            self._end_pack()
        try:
            file = self._file or self._begin_pack()
            file.write(frame)
            self._unflushed += len(frame)
            if self._unflushed >= FLUSH_OCTETS:
                self._flush(file)
        except OSError as error:
            raise from_os(error, self._written[-1]) from error
        offset, self._octets = self._octets, self._octets + len(frame)
        return len(self.packs), offset

    def _begin_pack(self) -> BinaryIO:
        name = f"{self._number:04d}-{len(self._written) + 1:04d}.pack"
        path = self._folder / name
        self._written.append(path)
        self._room.check(path)
        self._file = path.open("xb")
        self._octets = 0
        return self._file

    def _flush(self, file: BinaryIO) -> None:
        file.flush()
        begin_writing(file.fileno())
        self._unflushed = 0
        self._room.check(self._written[-1])

    def _end_pack(self) -> None:
        if self._file is not None:
            try:
                self._flush(self._file)
                os.fsync(self._file.fileno())
            except OSError as error:
                raise from_os(error, self._written[-1]) from error
            self._file.close()
            self._file = None
            self.packs.append(Pack(self._written[-1].name, self._octets, self._number))

    def finish(self, used: set[int]) -> dict[int, int]:
        """Make all durable and forget chunks that no file of this run needs; return old places → new ones."""
        self._end_pack()
        kept = [index for index in range(len(self.chunks)) if index in used or index >= self._first_new]
        needed = sorted({self.chunks[index].pack for index in kept})
        packs = {old: new for new, old in enumerate(needed)}
        self.packs = [self.packs[old] for old in needed]
        self.chunks = [self.chunks[index]._replace(pack=packs[self.chunks[index].pack]) for index in kept]
        return {old: new for new, old in enumerate(kept)}

    def abandon(self) -> None:
        """Remove what this run wrote: without a manifest it is nothing, and a full disk stays full."""
        if self._file is not None:
            # What it still holds in memory has no room either.
            with suppress(OSError):
                self._file.close()
            self._file = None
        for path in self._written:
            path.unlink(missing_ok=True)


class PackReader:
    """Reads the chunks of a manifest at a pace; ``close`` lets go of the files."""

    def __init__(self, folder: Path, manifest: Manifest, sealer: Sealer, pace: Pace) -> None:
        self._folder, self._manifest, self._sealer, self._pace = folder, manifest, sealer, pace
        self._files: dict[int, BinaryIO] = {}

    def place(self, index: int) -> str:
        """Return file and octet of a chunk, for people."""
        chunk = self._manifest.chunks[index]
        return f"{self._folder / self._manifest.packs[chunk.pack].name} at octet {chunk.offset}"

    def read(self, index: int) -> bytes:
        """Return a chunk; DamagedError."""
        chunk = self._manifest.chunks[index]
        place = self.place(index)
        try:
            file = self._opened(chunk.pack)
            frame = os.pread(file.fileno(), chunk.octets, chunk.offset)
        except OSError as error:
            raise DamagedError(place, f"cannot be read: {error.strerror or error}") from error
        octets = self._sealer.open(frame, chunk.name, place)
        if self._sealer.name(octets) != chunk.name:
            raise DamagedError(place, "another chunk than the manifest says")
        self._pace.spend(len(octets))
        return octets

    def _opened(self, pack: int) -> BinaryIO:
        if pack not in self._files:
            file = self._files[pack] = (self._folder / self._manifest.packs[pack].name).open("rb")
            read_no_further(file.fileno())
        return self._files[pack]

    def pieces(self, chunks: tuple[int, ...]) -> Iterator[bytes]:
        """Yield the chunks of a file; DamagedError."""
        return map(self.read, chunks)

    def write(self, chunks: tuple[int, ...], file: BinaryIO) -> str:
        """Write the chunks of a saved file to ``file``; return the digest of all. DamagedError, OSError."""
        digest = sha256()
        unflushed = 0
        for piece in self.pieces(chunks):
            digest.update(piece)
            file.write(piece)
            unflushed += len(piece)
            if unflushed >= FLUSH_OCTETS and self._pace.gives_way:
                file.flush()
                begin_writing(file.fileno())
                unflushed = 0
        return digest.hexdigest()

    def close(self) -> None:
        """Let go."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_frames(path: Path, pace: Pace) -> int:
    """Read a file of frames without the manifest that names them; return its octets. DamagedError."""
    at = 0
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            while frame := read_frame(file, size - at):
                check(frame, f"{path} at octet {at}")
                pace.spend(len(frame))
                at += len(frame)
    except OSError as error:
        raise DamagedError(str(path), f"cannot be read: {error.strerror or error}") from error
    return at


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Raise DamagedError when a pack that a manifest needs is missing or has another length; reads nothing."""
    for pack in manifest.packs:
        path = folder / pack.name
        try:
            octets = path.stat().st_size
        except OSError as error:
            raise DamagedError(str(path), f"cannot be read: {error.strerror or error}") from error
        if octets != pack.octets:
            raise DamagedError(f"{path}", f"{octets} octets, {pack.octets} were written")
