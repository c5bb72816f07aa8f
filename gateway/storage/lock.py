"""One process writes a file: a lock beside it, held as long as the store is open, naming its holder.

The kernel lets go of the lock when the process ends, however it ends, so a lock found free means that nobody serves the
file.
"""

import fcntl
import os
from pathlib import Path

from gateway.storage.errors import StorageLocked, from_os


class FileLock:
    """``<file>.lock``, held from construction to ``release``; StorageLocked names the process that has it."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise from_os(error, self.path) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StorageLocked(f"{path} is in use by process {holder}") from error
        self._name_holder()

    def _name_holder(self) -> None:
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        except OSError:
            # A full disk must not keep the store from being opened and emptied; the pid is for people only.
            return

    def release(self) -> None:
        """Let go; the file stays, since removing it would let two processes lock two files of one name."""
        os.close(self._descriptor)
