"""The snapshot that serves, kept by the supervisor for workers that start again (invariant 10).

A worker that dies is replaced while somebody may be in the middle of an edit. So the supervisor keeps the texts it
loaded in a file that has no name, and each worker inherits its descriptor and loads from that: what starts again
serves what the others serve, and a broken file on disk waits for the next reload. Certificates are no part of it; they
are read when a listener starts.
"""

import json
import os
from collections.abc import Mapping

from gateway.config.snapshot import Snapshot


class KeptTexts:
    """One snapshot's texts in memory, as a descriptor to inherit; open from construction to ``close``."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.digest = snapshot.digest
        self.descriptor = os.memfd_create("tidegate-configuration", os.MFD_CLOEXEC)
        with open(self.descriptor, "wb", closefd=False) as file:
            file.write(json.dumps(dict(snapshot.texts)).encode("ascii"))

    def close(self) -> None:
        """Let go; workers that run have read it."""
        os.close(self.descriptor)


def inherited_texts(descriptor: int) -> Mapping[str, str]:
    """Return the texts behind an inherited descriptor and close it."""
    try:
        # By place: all who inherited the descriptor share its position.
        texts: dict[str, str] = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    finally:
        os.close(descriptor)
    return texts
