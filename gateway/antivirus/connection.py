"""One session with one clamd over a socket of its own: all is sent, the answers are read, then it is closed.

What clamd answered is read even when sending failed: beyond StreamMaxLength it says so and closes while we still
write. The connection's end, however it comes, is never an answer.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.antivirus.address import ScannerAddress
from gateway.antivirus.answer import AnswerReader, GarbageError, read_verdict, read_version
from gateway.antivirus.framing import END, FileSpan, Octets, Piece, Sendable, announced, session
from gateway.antivirus.result import Cause, Outcome, ScanResult, temperror

_READ_OCTETS = 4096
# Well below the system's IOV_MAX of 1024 buffers a call.
_BUFFERS_AT_ONCE = 256
# A listener whose queue is full refuses a unix socket at once; it is tried again until the connect time-out.
_AGAIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one session gave: a result for each piece, in order, and the version that ``pieces`` were scanned with.

    ``broken`` is why the session as a whole is worth nothing as a sign of health, NONE when it ran to its end.
    """

    results: tuple[ScanResult, ...]
    version: str = ""
    broken: Cause = Cause.NONE


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


async def run_session(sock: socket.socket, pieces: Sequence[Piece]) -> Session:
    """Have ``pieces`` scanned over a connected socket, which the caller closes; never raises but for cancellation."""
    # The version before, and the streams.
    reader = AnswerReader(len(pieces) + 1)
    lost = Lost()
    try:
        await _send(sock, session(pieces), lost)
        await _read(sock, reader, lost)
        if reader.complete:
            reader.ask_another()
            await _send(sock, (END,), lost)
            await _read(sock, reader, lost)
    except GarbageError as error:
        return _nothing(len(pieces), Cause.GARBAGE, str(error))
    return _conclude(reader.answers, len(pieces), lost)


@dataclass(slots=True)
class Lost:
    """Why no more answers come; the first cause is the one that counts."""

    cause: Cause = Cause.NONE
    reason: str = ""

    def because(self, cause: Cause, reason: str) -> None:
        """Take note of a cause."""
        if not self.cause:
            self.cause, self.reason = cause, reason


async def _send(sock: socket.socket, buffers: Iterable[Sendable], lost: Lost) -> None:
    try:
        await send(sock, buffers)
    except OSError as error:
        lost.because(Cause.RESET, f"the connection broke while sending: {error.strerror or error}")


async def _read(sock: socket.socket, reader: AnswerReader, lost: Lost) -> None:
    """Read until everything asked is answered or the connection ends; raise GarbageError."""
    loop = asyncio.get_running_loop()
    try:
        while not reader.complete:
            octets = await loop.sock_recv(sock, _READ_OCTETS)
            if not octets:
                lost.because(Cause.SILENCE, "the scanner closed the connection without an answer")
                break
            reader.feed(octets)
    except OSError as error:
        lost.because(Cause.RESET, f"the connection broke: {error.strerror or error}")


def _nothing(count: int, cause: Cause, reason: str) -> Session:
    return Session(results=(temperror(cause, reason),) * count, broken=cause)


def _conclude(answers: dict[int, str], count: int, lost: Lost) -> Session:
    """Make results of the answers: the first is the version before, the last the version after."""
    last = count + 2
    try:
        before, after = (read_version(answers[n]) if n in answers else "" for n in (1, last))
    except GarbageError as error:
        return _nothing(count, Cause.GARBAGE, str(error))
    broken, missing = lost.cause, temperror(lost.cause, lost.reason)
    results = [read_verdict(answers[n]) if n in answers else missing for n in range(2, last)]
    if any(result.cause is Cause.SIZE_LIMIT for result in results):
        # It closed because of that one piece: no sign of ill health, and the others are only unanswered.
        broken = Cause.NONE
    elif any(result.cause is Cause.GARBAGE for result in results):
        broken = Cause.GARBAGE
    if last in answers and before != after:
        changed = temperror(Cause.VERSION_CHANGED, f"signatures changed from {before} to {after}")
        results = [changed if result.outcome is Outcome.CLEAN else result for result in results]
    elif not after:
        # Without the version after, nobody can tell which signatures said that a piece is clean.
        results = [missing if result.outcome is Outcome.CLEAN else result for result in results]
    return Session(results=tuple(results), version=after or before, broken=broken)


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
            sent = os.sendfile(sock.fileno(), span.descriptor, at, span.size - at)
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
