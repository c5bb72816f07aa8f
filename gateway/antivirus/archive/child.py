"""The child that walks archives: reads a request from its socket, walks, answers; ends when the other side closes.

Started by ``gateway.antivirus.archive.walker`` with the descriptor of its socket. Before anything else it gives up
what it does not need: memory beyond a bound, writing files, starting processes, new privileges, and its life once the
parent is gone.
"""

import ctypes
import json
import resource
import signal
import socket
import sys
import time
from typing import Any

from gateway.antivirus.archive.report import ArchiveLimits, ArchiveReport, as_plain
from gateway.antivirus.archive.walk import Walk
from gateway.antivirus.archive.wire import LENGTH_OCTETS, pack
from gateway.antivirus.memory import give_back_large_blocks

# What prctl(2) calls them.
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
# Its socket, the interpreter's own, and the few that importing takes.
_DESCRIPTORS = 32


def restrict(limits: ArchiveLimits) -> None:
    """Give up what is not needed."""
    for what, most in (
        (resource.RLIMIT_AS, limits.memory_octets),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
    ):
        resource.setrlimit(what, (most, most))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def serve(sock: socket.socket) -> None:
    """Answer requests until the other side closes."""
    # Read as a file: that gives what was asked for in one piece, and less only at the end.
    asked = sock.makefile("rb")
    while len(head := asked.read(LENGTH_OCTETS * 2)) == LENGTH_OCTETS * 2:
        request = json.loads(asked.read(int.from_bytes(head[:LENGTH_OCTETS], "big")))
        octets = asked.read(int.from_bytes(head[LENGTH_OCTETS:], "big"))
        report = walk(request, octets)
        sock.sendall(pack(as_plain(report), sum(len(e.octets) for e in report.entries if e.octets is not None)))
        for entry in report.entries:
            if entry.octets is not None:
                sock.sendall(entry.octets)
        # Not kept until the next archive comes.
        del octets, report


def walk(request: dict[str, Any], octets: bytes) -> ArchiveReport:
    """Return the report on one archive."""
    limits = ArchiveLimits(**request["limits"])
    return Walk(limits, request["passwords"], time.monotonic).run(octets, request["name"])


def main() -> None:
    """Run from the command line: descriptor, limits as JSON."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # The end of the socket says when; a signal to the whole group must not cost a mail its answer.
        signal.signal(number, signal.SIG_IGN)
    sock = socket.socket(fileno=int(sys.argv[1]))
    give_back_large_blocks()
    restrict(ArchiveLimits(**json.loads(sys.argv[2])))
    try:
        serve(sock)
    except ConnectionError:
        return


if __name__ == "__main__":
    main()
