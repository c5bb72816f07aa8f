"""A nursery that has imported next to nothing, with children that tell how they began and end as they are told."""

import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.app import nursery


def tell(_: Sequence[str], descriptors: Sequence[int]) -> int:
    """Write how this process began to the first descriptor; complain to the second."""
    out, err = descriptors
    open_ones = [int(each.name) for each in Path("/proc/self/fd").iterdir()]
    state = {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "dispositions": [repr(signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)],
        "stdin": str(Path("/proc/self/fd/0").readlink()),
        # The listing's own is the last.
        "others": len([each for each in open_ones if each not in (0, 1, 2, out, err)]) - 1,
        "inheritable": [os.get_inheritable(each) for each in descriptors],
        "cwd": str(Path.cwd()),
        "path": sys.path,
        "random": random.random(),  # noqa: S311 - whether it is another's
    }
    os.write(out, json.dumps(state).encode())
    os.write(err, b"so far")
    return 0


def stay(_: Sequence[str], descriptors: Sequence[int]) -> int:
    """Say that it is there, and stay until it is ended."""
    os.write(descriptors[0], b"here")
    signal.pause()
    return 0


def end(arguments: Sequence[str], _: Sequence[int]) -> int:
    """End as the argument says."""
    match arguments:
        case ["exit", status]:
            sys.exit(int(status))
        case ["raise", what]:
            raise ValueError(what)
    return int(arguments[0])


ENTRIES = {"tell": tell, "stay": stay, "end": end}

if __name__ == "__main__":
    nursery.main(ENTRIES)
