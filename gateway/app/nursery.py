"""The process that has imported what workers run, and forks them from that: a start takes milliseconds.

Forked from ``tidegate serve`` before there is a loop or a thread (``beside_us``), so that imports are paid once and
their pages are shared by all; a successor, should it die, is begun by exec (``gateway.app.offspring``, which says what
children there are). It has one thread and no loop, opens nothing, and does what ``gateway.app.children`` asks by the
socket it was given:

    supervisor → {"number": n, "entry": what to run, "arguments": […]}, with the descriptors that the child keeps
    nursery    → {"number": n, "pid": p}, with a pidfd of it   or   {"number": n, "refused": why}
    nursery    → {"number": n, "ended": exit status}, when it has been reaped

A packet is a message (SOCK_SEQPACKET). The nursery ends when the other side closes; its children hear of that by lines
of their own. A child begins as one that was started by exec did: in a session of its own, with default dispositions,
nothing blocked, /dev/null on standard input and no other descriptors than those it was sent.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from setproctitle import setproctitle

from gateway.app.children import ASKING_TO_STOP, MOST_DESCRIPTORS, PACKET_OCTETS, Cradle, environment

_FIRST_OTHER_DESCRIPTOR = 3


# Gets its arguments and descriptors, is the child for its life, and returns its exit status.
Entry = Callable[[Sequence[str], Sequence[int]], int]


class Nursery:
    """Serves one supervisor; ``entries`` are what its children may be."""

    def __init__(self, door: socket.socket, entries: Mapping[str, Entry]) -> None:
        self._door, self._entries = door, entries
        # By a pidfd, which is readable when the process has ended: the number it was asked for by, and its id.
        self._children: dict[int, tuple[int, int]] = {}
        self._poll = select.poll()
        self._poll.register(door, select.POLLIN)

    def serve(self) -> None:
        """Fork and reap until the other side closes."""
        with suppress(ConnectionError):
            while True:
                for descriptor, _ in self._poll.poll():
                    if descriptor in self._children:
                        self._reap(descriptor)
                    elif not self._answer():
                        return

    def _answer(self) -> bool:
        """Carry out one request; return whether there was one."""
        packet, descriptors, _, _ = socket.recv_fds(self._door, PACKET_OCTETS, MOST_DESCRIPTORS)
        if not packet:
            return False
        request = json.loads(packet)
        try:
            self._fork(request, descriptors)
        except OSError as error:
            self._tell({"number": request["number"], "refused": str(error)})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork(self, request: dict[str, Any], descriptors: Sequence[int]) -> None:
        pid = os.fork()
        if not pid:
            self._become(request, descriptors)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            # Nobody could end it: it is not begun.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._children[pidfd] = request["number"], pid
        self._poll.register(pidfd, select.POLLIN)
        self._tell({"number": request["number"], "pid": pid}, pidfd)

    def _reap(self, pidfd: int) -> None:
        number, pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        self._tell({"number": number, "ended": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})

    def _tell(self, message: Mapping[str, Any], *descriptors: int) -> None:
        socket.send_fds(self._door, [json.dumps(message).encode("ascii")], descriptors)

    def _become(self, request: dict[str, Any], descriptors: Sequence[int]) -> NoReturn:
        """Be the child, to its end; what it leaves in memory is not taken apart, which would copy what is shared."""
        status = 1
        try:
            self._door.close()
            for pidfd in self._children:
                os.close(pidfd)
            # A terminal's Ctrl-C reaches the supervisor alone, which drains the workers.
            os.setsid()
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING_TO_STOP)
            status = self._entries[request["entry"]](request["arguments"], descriptors)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else status
        except BaseException:  # noqa: BLE001 - a process's outermost frame: told as the interpreter would
            traceback.print_exc()
        finally:
            _exit(status)


def beside_us(entries: Mapping[str, Entry]) -> Cradle:
    """Fork a nursery from this process, which must have no thread and no loop yet; OSError when there can be none."""
    gc.collect()
    gc.freeze()
    for stream in _streams():
        stream.flush()
    # Ours to reap, whatever our parent thought of its own.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING_TO_STOP)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            ours.close()
            # What is imported later must not come from the working directory, where others may write.
            if not sys.flags.safe_path:
                del sys.path[0]
            os.environ.update(environment())
            _live(theirs, entries)
            status = 0
        except BaseException:  # noqa: BLE001 - as for a child
            traceback.print_exc()
        finally:
            _exit(status)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return Cradle(ours, pid)


def _live(door: socket.socket, entries: Mapping[str, Entry]) -> None:
    """Be a nursery until the other side closes."""
    os.setsid()
    setproctitle("tidegate: nursery")
    # They ask the supervisor; a child must hear those that come before it listens for them.
    signal.pthread_sigmask(signal.SIG_BLOCK, ASKING_TO_STOP)
    for number in ASKING_TO_STOP:
        # A shell that starts us in the background has them ignored, or we ourselves handle them.
        signal.signal(number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for descriptor in [int(each.name) for each in Path("/proc/self/fd").iterdir()]:
        if descriptor >= _FIRST_OTHER_DESCRIPTOR and descriptor != door.fileno():
            # The listing's own is among them, and closed already.
            with suppress(OSError):
                os.close(descriptor)
    Nursery(door, entries).serve()


def _exit(status: int) -> NoReturn:
    for stream in _streams():
        # Nobody reads it any more.
        with suppress(OSError):
            stream.flush()
    os._exit(status)


def _streams() -> tuple[TextIO, ...]:
    """Return standard output and error; there is none whose descriptor was closed when the interpreter began."""
    return tuple(filter(None, (sys.stdout, sys.stderr)))


def main(entries: Mapping[str, Entry]) -> None:
    """Run from the command line: one argument, the descriptor of the socket to the supervisor."""
    door = socket.socket(fileno=int(sys.argv[1]))
    door.set_inheritable(False)
    gc.collect()
    gc.freeze()
    _live(door, entries)
