"""``/metrics``, ``/healthz`` and ``/readyz`` over HTTP/1.1 (RFC 9110, RFC 9112), and nothing else.

Answers GET and HEAD, one request a connection (``Connection: close``): scrapers and probes ask seldom. Refuses with a
status: another method (405), another path (404), what is no request (400), a request head beyond MAX_HEAD_OCTETS
(431), more than MAX_CONNECTIONS at once (503). A client that does not finish its request in REQUEST_SECONDS, or does
not take its answer, is cut off. There is no authentication: listen on loopback or a management network only.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus

# A scraper's request head has some 300 octets.
MAX_HEAD_OCTETS = 8192
REQUEST_SECONDS = 10.0
# Probes and a few scrapers; more is somebody's mistake and must not use up the gateway's descriptors.
MAX_CONNECTIONS = 32

TEXT = "text/plain; charset=utf-8"
PATHS = frozenset({"/metrics", "/healthz", "/readyz"})

Answer = tuple[int, str, bytes]
"""Status, content type, body."""
Render = Callable[[str], Awaitable[Answer]]


class AdminHttp:
    """The server; ``render`` is asked with one of PATHS and answers with status, content type and body."""

    def __init__(self, address: str, render: Render) -> None:
        """``address`` is ``host:port``, IPv6 in brackets."""
        self._host, self._port = _split(address)
        self._render = render
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self) -> None:
        """Listen; OSError when the address cannot be had."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=MAX_HEAD_OCTETS)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        if self._server is None:
            return []
        return [sock.getsockname()[:2] for sock in self._server.sockets if sock.family != socket.AF_UNIX]

    async def close(self) -> None:
        """Stop listening; answers under way are finished by their connections."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._answer_one(reader, writer)
        except (TimeoutError, ConnectionError):
            writer.transport.abort()
        finally:
            self._open -= 1
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _read_head(reader)
        method, answer = await self._answer(head)
        writer.write(_head(answer) if method == "HEAD" else _head(answer) + answer[2])
        await writer.drain()
        # What is left unread would make the kernel reset the connection before the answer is read.
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read(MAX_HEAD_OCTETS)

    async def _answer(self, head: bytes | None) -> tuple[str, Answer]:
        if head is None:
            return "GET", _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - RFC 9112 §3: method, target, version
            return "GET", _refusal(HTTPStatus.BAD_REQUEST)
        method, path = words[0], words[1].partition("?")[0]
        if path not in PATHS:
            return method, _refusal(HTTPStatus.NOT_FOUND)
        if method not in {"GET", "HEAD"}:
            return method, _refusal(HTTPStatus.METHOD_NOT_ALLOWED)
        if self._open > MAX_CONNECTIONS:
            return method, _refusal(HTTPStatus.SERVICE_UNAVAILABLE)
        return method, await self._render(path)


async def _read_head(reader: asyncio.StreamReader) -> bytes | None:
    """Return the request head, None when it is too long."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return None
    except asyncio.IncompleteReadError as error:
        return error.partial


def _head(answer: Answer) -> bytes:
    status, kind, body = answer
    allow = "Allow: GET, HEAD\r\n" if status == HTTPStatus.METHOD_NOT_ALLOWED else ""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"{allow}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


def _refusal(status: HTTPStatus) -> Answer:
    return status, TEXT, f"{status.phrase}\n".encode("ascii")


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
