"""The line between supervisor and worker: a socket pair with JSON lines, both sides may ask.

A frame is ``{"id": n, "call": name, "with": {…}}``, answered by ``{"id": n, "answer": {…}}``. Both ends are ours, so
there is no version; the operator's own socket speaks ``gateway.admin.protocol``. A question or an answer beyond
MAX_FRAME_OCTETS is not sent: ``{"refused": why}`` is answered in its place.
"""

import asyncio
import itertools
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

Handler = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]

# One frame: a queue listing of 1,000 messages or a page of metrics stays well below, one of 10,000 may not.
MAX_FRAME_OCTETS = 16 * 1024 * 1024


class ChannelClosedError(ConnectionError):
    """The other side is gone."""


class Channel:
    """One end of the line; ``run`` serves until the other side closes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
        self._reader, self._writer, self._handler = reader, writer, handler
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._closed = False

    @classmethod
    async def open(cls, sock: socket.socket, handler: Handler) -> "Channel":
        """Return the end of a connected socket pair."""
        reader, writer = await asyncio.open_connection(sock=sock, limit=MAX_FRAME_OCTETS)
        return cls(reader, writer, handler)

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Ask the other side and return its answer; ChannelClosedError when it goes away first."""
        if self._closed:
            raise ChannelClosedError("the other side is gone")
        number = next(self._ids)
        frame = _frame({"id": number, "call": name, "with": arguments})
        if len(frame) > MAX_FRAME_OCTETS:
            return {"refused": "the request is too long"}
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._writer.write(frame)
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def run(self) -> None:
        """Serve frames until the other side closes."""
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._closed = True
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ChannelClosedError("the other side is gone"))

    def close(self) -> None:
        """Close this end."""
        self._closed = True
        self._writer.close()

    def _take(self, frame: dict[str, Any]) -> None:
        if "call" in frame:
            task = asyncio.create_task(self._serve(frame))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        elif (answer := self._waiting.get(frame["id"])) is not None and not answer.done():
            answer.set_result(frame["answer"])

    async def _serve(self, frame: dict[str, Any]) -> None:
        answer = await self._handler(frame["call"], frame["with"])
        if not self._closed:
            answered = _frame({"id": frame["id"], "answer": answer})
            if len(answered) > MAX_FRAME_OCTETS:
                refusal = {"refused": "the answer is too long, ask for less at a time"}
                answered = _frame({"id": frame["id"], "answer": refusal})
            self._writer.write(answered)


def _frame(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"
