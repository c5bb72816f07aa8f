"""The control socket: ``data/control.sock``, JSON lines, for the commands of ``protocol``.

Its mode is 0600: root and the gateway's own user. Whoever may open the socket may command the gateway; the peer's user
(SO_PEERCRED) is put into every request as ``operator``, for the audit. A line beyond MAX_LINE_OCTETS ends the
connection; a command that takes longer than COMMAND_SECONDS is answered ``timeout``. What goes wrong is a ``Failed``
value, never an exception, on both sides.
"""

import asyncio
import contextlib
import json
import os
import pwd
import socket
import struct
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from gateway.admin.protocol import (
    MAX_LINE_OCTETS,
    VERSION,
    Done,
    ErrorCode,
    Failed,
    Outcome,
    RefusedError,
    UnknownCommandError,
)
from gateway.clock import Clock
from gateway.journal.events import EventSink, InternalError

Handler = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]

# A flush of a large queue, or a reload that reads large lists, takes seconds; a minute means that something is stuck.
COMMAND_SECONDS = 60.0
CONNECT_SECONDS = 5.0
# The octets of sockaddr_un.sun_path, with its closing NUL (unix(7)).
_MAX_PATH_OCTETS = 108


class ControlServer:
    """Serves commands; ``handler`` may raise UnknownCommandError, and RefusedError to say no."""

    def __init__(self, path: Path, handler: Handler, *, clock: Clock, events: EventSink) -> None:
        self._path = path
        self._handler = handler
        self._clock = clock
        self._events = events
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen; the socket of a gateway that is gone is replaced. OSError when it cannot be made."""
        sock = _listening(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=MAX_LINE_OCTETS)

    async def close(self) -> None:
        """Stop listening, end the connections, remove the socket."""
        if self._server is None:
            return
        self._server.close()
        # A disk that cannot be written keeps the socket, which the next start replaces; we end all the same.
        with contextlib.suppress(OSError):
            self._path.unlink()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        operator = _peer_name(writer)
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                writer.write(await self._answer(line, operator))
                await writer.drain()
        except ValueError:
            # readline's word for a line beyond the limit; the rest of the stream has no beginning any more.
            writer.write(_line({"error": _error("bad-request", "the request is too long")}))
        except ConnectionError:
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, line: bytes, operator: str) -> bytes:
        request = _parsed(line)
        if isinstance(request, Failed):
            return _line({"error": _error(request.code, request.message)})
        number, command, arguments = request
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                result = await self._handler(command, arguments | {"operator": operator})
            answer = _line({"id": number, "result": result})
            if len(answer) <= MAX_LINE_OCTETS:
                return answer
            error = _error("refused", "the answer is too long, ask for less at a time")
        except TimeoutError:
            error = _error("timeout", f"{command} took longer than {COMMAND_SECONDS:g} seconds")
        except RefusedError as refusal:
            error = _error("refused", str(refusal))
        except UnknownCommandError:
            error = _error("unknown-command", f"{command} is no command of this gateway")
        except Exception as bug:  # noqa: BLE001 - the control loop must survive a bug in any command
            self._events.emit(_internal_error(self._clock.stamp().utc, command, bug))
            error = _error("failed", f"{type(bug).__name__}: {bug}")
        return _line({"id": number, "error": error})


class ControlClient:
    """Calls commands of a gateway, one connection a call."""

    def __init__(self, path: Path, *, seconds: float = COMMAND_SECONDS) -> None:
        self._path = path
        self._seconds = seconds

    async def call(self, command: str, **arguments: Any) -> Outcome:
        """Return what the gateway answers; ``Failed("unavailable", …)`` when nobody serves the socket."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                with _short(self._path) as name:
                    reader, writer = await asyncio.open_unix_connection(name, limit=MAX_LINE_OCTETS)
        except TimeoutError:
            return Failed("unavailable", f"{self._path} does not answer")
        except OSError as error:
            return Failed("unavailable", f"{self._path}: {error.strerror or error}")
        try:
            return await _exchange(reader, writer, command, arguments, self._seconds)
        finally:
            writer.close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: str, arguments: dict[str, Any], seconds: float
) -> Outcome:
    writer.write(_line({"id": 1, "command": command, "arguments": arguments}))
    try:
        async with asyncio.timeout(seconds):
            await writer.drain()
            line = await reader.readline()
    except TimeoutError:
        return Failed("timeout", f"the gateway did not answer {command} within {seconds:g} seconds")
    except (ConnectionError, ValueError) as error:
        return Failed("unavailable", f"the connection was lost: {error}")
    return _outcome(line)


def _outcome(line: bytes) -> Outcome:
    if not line.endswith(b"\n"):
        return Failed("unavailable", "the gateway closed the connection without an answer")
    try:
        answer = json.loads(line)
    except ValueError:
        return Failed("bad-request", "the answer is not JSON")
    if not isinstance(answer, dict) or answer.get("v") != VERSION:
        return Failed("version", f"the gateway speaks another version of the protocol than {VERSION}")
    error = answer.get("error")
    if isinstance(error, dict):
        return Failed(error.get("code", "failed"), str(error.get("message", "")))
    result = answer.get("result")
    return Done(result) if isinstance(result, dict) else Failed("bad-request", "the answer has no result")


def _parsed(line: bytes) -> tuple[Any, str, dict[str, Any]] | Failed:
    try:
        request = json.loads(line)
    except ValueError:
        return Failed("bad-request", "a request is one JSON object on a line")
    if not isinstance(request, dict) or request.get("v") != VERSION:
        return Failed("version", f"this gateway speaks version {VERSION} of the protocol")
    command, arguments = request.get("command"), request.get("arguments", {})
    if not isinstance(command, str) or not isinstance(arguments, dict):
        return Failed("bad-request", 'a request has a "command" and may have "arguments"')
    return request.get("id"), command, arguments


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps({"v": VERSION} | message, separators=(",", ":")).encode("ascii") + b"\n"


def _error(code: ErrorCode, message: str) -> dict[str, str]:
    return {"code": code, "message": message}


def _internal_error(at: float, command: str, error: Exception) -> InternalError:
    trace = "".join(traceback.format_exception(error))
    return InternalError(at=at, where=f"control {command}", error=f"{type(error).__name__}: {error}", traceback=trace)


def _peer_name(writer: asyncio.StreamWriter) -> str:
    """Return the login name of the user at the other end, ``uid N`` for one without."""
    sock = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return user_name(uid)


def user_name(uid: int) -> str:
    """Return the login name of a user, ``uid N`` for one without."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _listening(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must be right from the first moment, not after a chmod.
    mask = os.umask(0o177)
    try:
        with _short(path) as name:
            _remove_stale(path, name)
            sock.bind(name)
        sock.listen()
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock


def _remove_stale(path: Path, name: str) -> None:
    """Remove a socket at which nobody listens; OSError when somebody does, or when it is no socket."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(name)
        except OSError:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a name for ``path`` that fits a socket address, however deep the data folder lies."""
    if len(os.fsencode(path)) < _MAX_PATH_OCTETS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
