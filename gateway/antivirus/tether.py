"""A session with one clamd that is held open and asks nothing: when it ends, that clamd has ended.

clamd reads its limits when it starts and never again: RELOAD reads signatures only (tried with clamd 1.4). So what is
known of a scanner's limits holds for as long as the process at the other end lives. Whoever answers after its end is
another one, of which nothing is known; and its end is heard before another can listen in its place.
"""

import asyncio
import socket
from collections.abc import Callable

from gateway.antivirus.address import ScannerAddress
from gateway.antivirus.connection import connect
from gateway.antivirus.framing import SESSION

_READ_OCTETS = 4096
# A host that is gone says nothing: it is asked after so many seconds, so often, and another at its address says no.
_KEPT_ALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3))


class Tether:
    """Held from ``tie`` on; ``lost`` is called when the other side ends it, and not by ``cut``."""

    def __init__(self, address: ScannerAddress, lost: Callable[[], None]) -> None:
        self._address = address
        self._lost = lost
        self._sock: socket.socket | None = None
        # How often it was tied: what was found out under one number says nothing under another.
        self.number = 0

    @property
    def holds(self) -> bool:
        """Whether the process that it was tied to is there."""
        return self._sock is not None

    async def tie(self) -> None:
        """Begin the session; raises OSError. Waits for as long as it is left to."""
        self.cut()
        sock = await connect(self._address)
        loop = asyncio.get_running_loop()
        try:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option, number in _KEPT_ALIVE:
                    sock.setsockopt(socket.IPPROTO_TCP, option, number)
            await loop.sock_sendall(sock, SESSION)
        except BaseException:
            sock.close()
            raise
        self._sock = sock
        self.number += 1
        loop.add_reader(sock.fileno(), self._readable, sock)

    def cut(self) -> None:
        """Let go; harmless where nothing is held."""
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _readable(self, sock: socket.socket) -> None:
        try:
            # Nothing was asked: whatever is said is said before hanging up.
            sock.recv(_READ_OCTETS)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self.cut()
        self._lost()
