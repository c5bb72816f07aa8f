"""The octets of one connection as they come: command lines with bounds, content in bulk, nothing lost between the two.

What a client sends ahead (PIPELINING) stays here until it is asked for. Waiting for more is the one place where a
session suspends for its client: there the owner writes the replies that are due, sets the deadline, and learns of the
end. Reading is paused while more is buffered than one wants, so memory is bounded whatever a client sends.
"""

import asyncio
from collections.abc import Callable

from gateway.smtp import replies
from gateway.smtp.command import CommandError
from gateway.smtp.limits import MAX_COMMAND_LINE_OCTETS
from gateway.smtp.reply import Reply

# A line longer than this is no mistake but a stream: it is not waited for.
MAX_DISCARDED_LINE_OCTETS = 64 * 1024
# Buffered while the session is busy; a group of a thousand pipelined RCPT commands fits.
MAX_BUFFERED_OCTETS = 64 * 1024


class SessionEnd(Exception):  # noqa: N818 - not an error: how a session that is over unwinds, as StopIteration does
    """The session is over: ``end`` as in ``SessionClosed``, ``reply`` the last words or None when nobody listens.

    ``end`` is "refused" when there was no session at all; then ``reason`` is for ``SessionRefused``.
    """

    def __init__(self, end: str, reply: Reply | None = None, reason: str = "") -> None:
        super().__init__(end)
        self.end = end
        self.reply = reply
        self.reason = reason


def _nothing() -> None:
    """Do nothing: what is left of an owner that is gone."""


class Input:
    """Buffered octets of one connection, with one reader."""

    __slots__ = ("_at", "_before_wait", "_buffer", "_eof", "_fate", "_loop", "_waiter", "goes_on")

    def __init__(self, loop: asyncio.AbstractEventLoop, before_wait: Callable[[], None]) -> None:
        self._loop = loop
        self._before_wait = before_wait
        self._buffer = b""
        self._at = 0
        self._waiter: asyncio.Future[None] | None = None
        self._eof = False
        self._fate: SessionEnd | None = None
        # Whether a line was waited for already, and what has come is not its end.
        self.goes_on = False

    # --- the transport's side

    def feed(self, data: bytes) -> bool:
        """Take what the transport received; return whether that is more than is wanted for now."""
        if self._at == len(self._buffer):
            self._buffer = data
        else:
            self._buffer = self._buffer[self._at :] + data
        self._at = 0
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
            return False
        return len(self._buffer) > MAX_BUFFERED_OCTETS

    def feed_eof(self) -> None:
        """Note that nothing more will come; what is buffered can still be read."""
        self._eof = True
        self._wake()

    def fail(self, fate: SessionEnd) -> None:
        """End the session at its next wait, or now when it is waiting."""
        if self._fate is None:
            self._fate = fate
        self._wake()

    def release(self) -> None:
        """Let go of the owner; nothing will be read any more."""
        self._before_wait = _nothing
        self.clear()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- the session's side

    @property
    def waiting(self) -> bool:
        """Whether the session waits for its client, and nothing has come yet that wakes it."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def pending(self) -> bool:
        """Whether octets have come that nobody asked for yet."""
        return self._at < len(self._buffer)

    @property
    def buffered(self) -> int:
        """How many octets have come that nobody asked for yet."""
        return len(self._buffer) - self._at

    @property
    def at_end(self) -> bool:
        """Whether the client has ended its side."""
        return self._eof

    async def more(self) -> None:
        """Wait until more octets have come; raise ``SessionEnd``."""
        if self._fate is None and self._eof:
            self._fate = SessionEnd("disconnect")
        if self._fate is None:
            self._before_wait()
        if self._fate is not None:
            raise self._fate
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._fate is not None:
            raise self._fate

    async def more_within(self, seconds: float) -> None:
        """Wait until more octets have come or ``seconds`` have passed; raise ``SessionEnd``."""
        timer = self._loop.call_later(seconds, self._wake)
        try:
            await self.more()
        finally:
            timer.cancel()

    async def line(self) -> bytes:
        """Return a line with its LF; raise ``CommandError`` for one too long, ``SessionEnd`` for one without an end."""
        end = self._buffer.find(b"\n", self._at)
        if end < 0:
            end = await self._line_end()
        line = self._buffer[self._at : end + 1]
        self._at = end + 1
        return line

    async def _line_end(self) -> int:
        try:
            while (end := self._buffer.find(b"\n", self._at)) < 0:
                if len(self._buffer) - self._at > MAX_COMMAND_LINE_OCTETS:
                    await self._discard_line()
                await self.more()
                self.goes_on = True
            return end
        finally:
            self.goes_on = False

    async def _discard_line(self) -> None:
        seen = 0
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            seen += self.buffered
            self.clear()
            if seen > MAX_DISCARDED_LINE_OCTETS:
                raise SessionEnd("errors", replies.LINE_TOO_LONG)
            await self.more()
            self.goes_on = True
        self._at = end + 1
        raise CommandError(replies.LINE_TOO_LONG)

    async def some(self) -> bytes:
        """Return everything that has come, one octet at least."""
        while not self.pending:
            await self.more()
        return self.take_all()

    async def at_most(self, octets: int) -> bytes:
        """Return between one octet and ``octets`` of what has come; the rest stays."""
        while not self.pending:
            await self.more()
        data = self._buffer[self._at : self._at + octets]
        self._at += len(data)
        return data

    def take_all(self) -> bytes:
        """Return what has come, b"" when nothing has."""
        data = self._buffer[self._at :]
        self.clear()
        return data

    def unread(self, data: bytes) -> None:
        """Put back what was taken too much."""
        self._buffer = data + self._buffer[self._at :]
        self._at = 0

    def clear(self) -> None:
        """Forget what is buffered."""
        self._buffer = b""
        self._at = 0
