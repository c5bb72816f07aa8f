"""One gateway per data folder: a lock on ``data/tidegate.pid`` held for the process's life."""

import fcntl
import os
from pathlib import Path


class AlreadyRunningError(Exception):
    """Another gateway holds the data folder; the text names its process."""


def hold(data: Path) -> int:
    """Take the lock and write our process id; return the descriptor to keep open. AlreadyRunningError, OSError."""
    path = data / "tidegate.pid"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise AlreadyRunningError(f"{data} is in use by another gateway (process {holder}); stop it first") from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
    return descriptor


def is_held(data: Path) -> bool:
    """Whether a gateway runs on this data folder."""
    try:
        descriptor = os.open(data / "tidegate.pid", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
