"""One gateway per data folder: a lock on ``data/tidegate.pid`` held for the process's life."""

import fcntl
import os
import time
from pathlib import Path

# A command that looks whether a gateway runs (``is_held``) has the file for microseconds; no gateway ends so soon.
_TRIES, _TRY_SECONDS = 10, 0.01


class AlreadyRunningError(Exception):
    """Another gateway holds the data folder; the text names its process."""


def hold(data: Path) -> int:
    """Take the lock and write our process id; return the descriptor to keep open. AlreadyRunningError, OSError."""
    path = data / "tidegate.pid"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _locked(descriptor):
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise AlreadyRunningError(f"{data} is in use by another gateway (process {holder}); stop it first")
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
    return descriptor


def _locked(descriptor: int) -> bool:
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_TRY_SECONDS)
        else:
            return True
    return False


def is_held(data: Path) -> bool:
    """Whether a gateway runs on this data folder."""
    try:
        descriptor = os.open(data / "tidegate.pid", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared: two that look at once see no gateway in each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
