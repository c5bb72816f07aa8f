"""A connection to one clamd: made, written to without copying, and asked how much it takes."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterable, Sequence

from gateway.antivirus.address import ScannerAddress
from gateway.antivirus.framing import FileSpan, Octets, Sendable, announced

_READ_OCTETS = 4096
# Well below the system's IOV_MAX of 1024 buffers a call.
_BUFFERS_AT_ONCE = 256
# A listener whose queue is full refuses a unix socket at once; it is tried again until the connect time-out.
_AGAIN_SECONDS = 0.02


async def connect(address: ScannerAddress) -> socket.socket:
    """Return a connected socket that does not block; raises OSError. Waits for as long as it is left to."""
    loop = asyncio.get_running_loop()
    if address.path:
        return await _connect_unix(address.path)
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    failure: OSError = OSError("no address")
    for family, kind, protocol, _, place in found:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, place)
            # Questions are small and the last one decides: it must not wait for an acknowledgement.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


async def _connect_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(path)
            except BlockingIOError:
                # EAGAIN: unlike TCP, nothing is under way now.
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


async def send(sock: socket.socket, buffers: Iterable[Sendable]) -> None:
    """Send all buffers as they lie, those in memory gathered into few calls; raises OSError."""
    gathered: list[Octets] = []
    for buffer in buffers:
        if isinstance(buffer, FileSpan):
            await _send_gathered(sock, gathered)
            gathered = []
            await _send_file(sock, buffer)
        else:
            gathered.append(buffer)
    await _send_gathered(sock, gathered)


async def _send_gathered(sock: socket.socket, buffers: Sequence[Octets]) -> None:
    at = 0
    while at < len(buffers):
        batch = buffers[at : at + _BUFFERS_AT_ONCE]
        try:
            sent = sock.sendmsg(batch)
        except BlockingIOError:
            sent = 0
        for buffer in batch:
            at += 1
            if sent < len(buffer):
                # The socket is full: the rest of this buffer goes as the other side takes it.
                await asyncio.get_running_loop().sock_sendall(sock, memoryview(buffer)[sent:])
                break
            sent -= len(buffer)


async def _send_file(sock: socket.socket, span: FileSpan) -> None:
    at = 0
    while at < span.size:
        try:
            sent = os.sendfile(sock.fileno(), span.descriptor, span.start + at, span.size - at)
        except BlockingIOError:
            await _writable(sock)
            continue
        if not sent:
            raise OSError(errno.EIO, "the file is shorter than it was")
        at += sent


async def _writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock.fileno(), _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_writer(sock.fileno())


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def stream_limit(address: ScannerAddress, most: int) -> int:
    """Return clamd's StreamMaxLength in octets, ``most`` when it takes at least that; raises OSError.

    A chunk that is announced but not sent is refused at once when it is beyond the limit, and costs nothing when it
    is not.
    """
    if await _takes(address, most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if await _takes(address, middle):
            low = middle
        else:
            high = middle
    return low


async def _takes(address: ScannerAddress, octets: int) -> bool:
    loop = asyncio.get_running_loop()
    sock = await connect(address)
    try:
        await loop.sock_sendall(sock, announced(octets))
        # No more is coming: clamd says that the announcement was too much, or closes without a word.
        sock.shutdown(socket.SHUT_WR)
        said = b""
        while (part := await loop.sock_recv(sock, _READ_OCTETS)) and len(said) < _READ_OCTETS:
            said += part
    finally:
        sock.close()
    return b"size limit exceeded" not in said
