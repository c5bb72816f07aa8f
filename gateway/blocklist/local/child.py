"""One round of keeping lists, in a process of its own with the arguments FOLDER DATA [here].

Reading a million entries takes seconds of processor time and hundreds of megabytes; here neither is the gateway's, and
a stranger's list that breaks something breaks this. With ``here`` no source on the web is asked. Prints each event as
a line of JSON: [kind, at, data]; exit 75 when the data folder cannot be written.
"""

import json
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.blocklist.local.keeping import Asking, ListKeeper
from gateway.clock import SystemClock
from gateway.journal.codec import encode
from gateway.storage import StorageError

HERE = "here"
# Some three million entries of any kind, ten million single addresses.
MAX_OCTETS = 3 * 1024**3
# sysexits.h EX_TEMPFAIL
_TRY_AGAIN = 75


def bound_memory() -> None:
    """Have what takes too much memory fail here, before the system looks for somebody to end."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MAX_OCTETS if hard == resource.RLIM_INFINITY else min(MAX_OCTETS, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def main(folder: str, data: str, extent: str = "") -> int:
    """Keep once; return the exit status."""
    keeper = ListKeeper(Path(folder), Path(data), clock=SystemClock())
    try:
        events = keeper.update(Asking.NONE if extent == HERE else Asking.DUE)
    except StorageError as error:
        sys.stderr.write(f"{error}\n")
        return _TRY_AGAIN
    for event in events:
        sys.stdout.write(json.dumps([event.kind, event.at, encode(event)]) + "\n")
    return 0


def begin(arguments: Sequence[str]) -> int:
    """Be the process; return its exit status."""
    bound_memory()
    return main(*arguments)
