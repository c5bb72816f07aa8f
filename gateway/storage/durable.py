"""Files made durable: a file is either there whole, under its name, after a crash, or not there at all.

Write under another name, fsync, rename, fsync the folder (the order of chasquid's safeio and of every mail queue).
``DurableFiles`` takes its fsync as a parameter, so that tests can make it fail. Everything here blocks: call it in a
thread.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.storage.errors import from_os


class DurableFiles:
    """Creates and adopts files; raises StorageFull or StorageUnavailable, then nothing has the final name."""

    def __init__(self, fsync: Callable[[int], None] = os.fsync) -> None:
        self._fsync = fsync

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Write ``pieces`` to ``path``, durable on return; an existing file is replaced as a whole."""
        draft = path.with_name(f"{path.name}.draft")
        try:
            self._make_folder(path.parent)
            with draft.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                self._fsync(file.fileno())
            draft.replace(path)
            self._sync_folder(path.parent)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise from_os(error, path) from error

    def adopt(self, path_from: Path, path_to: Path) -> None:
        """Make the finished file ``path_from`` durable and give it the name ``path_to`` on the same file system."""
        try:
            self._make_folder(path_to.parent)
            with path_from.open("rb") as file:
                self._fsync(file.fileno())
            path_from.replace(path_to)
            self._sync_folder(path_to.parent)
        except OSError as error:
            raise from_os(error, path_to) from error

    def size(self, path: Path) -> int:
        """Return the octets of a file."""
        try:
            return path.stat().st_size
        except OSError as error:
            raise from_os(error, path) from error

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            self._sync_folder(folder.parent)

    def _sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise from_os(error, folder) from error


def remove(path: Path) -> None:
    """Remove a file that may be gone already; one that cannot be removed is found again at the next start."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def free_octets(path: Path) -> int:
    """Return the octets an unprivileged process may still write where ``path`` is; raises StorageUnavailable."""
    try:
        status = os.statvfs(path)
    except OSError as error:
        raise from_os(error, path) from error
    return status.f_bavail * status.f_frsize
