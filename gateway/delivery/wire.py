"""The lower half of a connection: octets out, replies in, one timer; what they mean is ``client``'s business.

``_expected`` holds one handler for each reply that is due, in order. Everything here runs in the loop's callbacks;
nothing blocks.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from gateway.delivery import causes
from gateway.smtp.reply import Reply
from gateway.smtp.response import ReplyParser


class Wire(asyncio.Protocol):
    """A transport with a reply parser and a deadline; ``_on_timer`` is called when that has passed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = ReplyParser()
        self._expected: deque[Callable[[Reply], None]] = deque()
        self._broken = False
        self._writable: asyncio.Future[None] | None = None
        self._what = "the greeting"
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; after STARTTLS the encrypted one."""
        # uvloop's transports have all of asyncio.Transport's methods but are none of its subclasses.
        self._transport = cast("asyncio.Transport", transport)

    def eof_received(self) -> bool:
        """Close our half too."""
        return False

    def pause_writing(self) -> None:
        """Stop a streamed content until the next hop has read."""
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Go on."""
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None

    def _send(self, octets: bytes, what: str, seconds: float) -> None:
        self._what = what
        if self._transport is not None:
            self._transport.write(octets)
        self._wait(seconds)

    def _expect(self) -> asyncio.Future[Reply]:
        future = self._future_reply()
        if self._broken or self._transport is None:
            self._expected.pop()(causes.LOST_CONNECTION)
        return future

    def _future_reply(self) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._expected.append(lambda reply: None if future.done() else future.set_result(reply))
        return future

    async def _reply_to(self, command: bytes, what: str, seconds: float) -> Reply:
        future = self._expect()
        if not future.done():
            self._send(command, what, seconds)
        return await future

    def _wait(self, seconds: float) -> None:
        # One timer a connection: a later deadline is noticed when the earlier one fires, so a busy connection makes
        # no timers.
        self._deadline = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._on_deadline)
        elif self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._on_deadline)

    def _on_deadline(self) -> None:
        self._timer = None
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._on_deadline)
        else:
            self._on_timer()

    def _on_timer(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        transport = self._detached()
        if transport is not None:
            transport.close()

    def _cut(self) -> None:
        """Close without sending what still waits in the buffer: a half-sent content, or commands out of step."""
        transport = self._detached()
        if transport is not None:
            transport.abort()

    def _detached(self) -> asyncio.Transport | None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.resume_writing()
        transport, self._transport = self._transport, None
        return transport
