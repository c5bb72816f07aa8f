"""One process writes a file: a lock beside it, held as long as the store is open, naming its holder.

The kernel lets go of the lock when the process ends, however it ends, so a lock found free means that nobody serves the
file.
"""

import fcntl
import os
import time
from pathlib import Path

from gateway.storage.errors import StorageLocked, from_os

_RETRY_SECONDS = 0.02


class FileLock:
    """``<file>.lock``, held from construction to ``release``; StorageLocked names the process that has it.

    ``patience_seconds`` is how long to wait for it: the writer process of a predecessor that was killed first commits
    what it was given.
    """

    def __init__(self, path: Path, patience_seconds: float = 0.0) -> None:
        self.path = path.with_name(path.name + ".lock")
        try:
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise from_os(error, self.path) from error
        try:
            _take(self.descriptor, patience_seconds)
        except OSError as error:
            holder = os.pread(self.descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self.descriptor)
            raise StorageLocked(f"{path} is in use by process {holder}") from error
        self._name_holder()

    def _name_holder(self) -> None:
        try:
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        except OSError:
            # A full disk must not keep the store from being opened and emptied; the pid is for people only.
            return

    def release(self) -> None:
        """Let go; the file stays, since removing it would let two processes lock two files of one name."""
        os.close(self.descriptor)


def _take(descriptor: int, patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return
