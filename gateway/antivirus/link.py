"""One connection to one clamd and its session, which serves message after message for as long as nothing goes wrong.

All of a message is sent, then the answers are read, then the version is asked. The version that ends one message's
scan begins the next one's: signatures that were loaded in between are a change midway for that message, which is
scanned again.

What clamd answered is read even when sending failed: beyond StreamMaxLength it says so and closes while we still
write. The connection's end, however it comes, is never an answer.
"""

import asyncio
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gateway.antivirus.answer import AnswerReader, GarbageError, read_verdict, read_version
from gateway.antivirus.connection import send
from gateway.antivirus.framing import BEGIN, VERSION, Piece, Sendable, stream
from gateway.antivirus.result import Cause, Outcome, ScanResult, temperror
from gateway.value import value

_READ_OCTETS = 4096
# Numbers of answers have six digits at most (``answer``).
_MOST_QUESTIONS = 900_000
# With these the session goes on.
_IN_ORDER = frozenset({Cause.NONE, Cause.VERSION_CHANGED})


@value(kw_only=True)
class Session:
    """What one message's scan gave: a result for each piece, in order, and the version they were scanned with.

    ``broken`` is why it is worth nothing as a sign of health as a whole, NONE when it ran to its end.
    """

    results: tuple[ScanResult, ...]
    version: str = ""
    broken: Cause = Cause.NONE


@dataclass(slots=True)
class Lost:
    """Why no more answers come; the first cause is the one that counts."""

    cause: Cause = Cause.NONE
    reason: str = ""

    def because(self, cause: Cause, reason: str) -> None:
        """Take note of a cause."""
        if not self.cause:
            self.cause, self.reason = cause, reason


class Link:
    """A connected socket that does not block, which it closes; one message at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._reader: AnswerReader | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._lost = Lost()
        # Nothing more can be read.
        self._ended = False
        self._next = 1
        self._version = ""
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def is_usable(self) -> bool:
        """Whether another message may be scanned: all that was asked was answered, and nothing else was said."""
        return bool(self._version) and not self._lost.cause and self._next < _MOST_QUESTIONS

    def close(self) -> None:
        """End it; harmless when it has ended."""
        self._end(Cause.RESET, "the connection was given up")
        self._sock.close()

    async def scan(self, pieces: Sequence[Piece]) -> Session:
        """Have ``pieces`` scanned; never raises but for cancellation, and then it is to be closed."""
        before, first = self._version, self._next
        self._version = ""
        # The version before, where it is not known yet, and the streams.
        reader = self._reader = AnswerReader(len(pieces) + (not before), first)
        await self._ask(_streams(pieces) if before else (BEGIN, *_streams(pieces)))
        if reader.complete:
            reader.ask_another()
            await self._ask((VERSION,))
        self._reader, self._next = None, reader.next
        if self._lost.cause is Cause.GARBAGE:
            return _nothing(len(pieces), Cause.GARBAGE, self._lost.reason)
        answers = list(map(reader.answers.get, range(first, reader.next)))
        session = _conclude([before, *answers] if before else answers, len(pieces), self._lost)
        if reader.complete and all(result.cause in _IN_ORDER for result in session.results):
            self._version = session.version
        return session

    async def _ask(self, buffers: Iterable[Sendable]) -> None:
        """Send, and wait until everything asked is answered or nothing more can come."""
        try:
            await send(self._sock, buffers)
        except OSError as error:
            self._lost.because(Cause.RESET, f"the connection broke while sending: {error.strerror or error}")
            # Where it is still open, the scanner is not to wait for the rest.
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
        if not self._ended and self._reader is not None and not self._reader.complete:
            self._waiting = self._loop.create_future()
            await self._waiting

    def _readable(self) -> None:
        try:
            octets = self._sock.recv(_READ_OCTETS)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(Cause.RESET, f"the connection broke: {error.strerror or error}")
            return
        if not octets:
            self._end(Cause.SILENCE, "the scanner closed the connection without an answer")
        elif self._reader is None:
            self._end(Cause.GARBAGE, "an answer without a question")
        else:
            self._take(self._reader, octets)

    def _take(self, reader: AnswerReader, octets: bytes) -> None:
        try:
            reader.feed(octets)
        except GarbageError as error:
            self._lost = Lost()
            self._end(Cause.GARBAGE, str(error))
        else:
            if reader.complete:
                self._wake()

    def _end(self, cause: Cause, reason: str) -> None:
        self._lost.because(cause, reason)
        if not self._ended:
            self._ended = True
            self._loop.remove_reader(self._sock.fileno())
        if self._reader is None:
            self._sock.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _streams(pieces: Sequence[Piece]) -> Iterator[Sendable]:
    """Yield what is sent to have ``pieces`` scanned; each buffer that is a piece's is the piece's own."""
    for piece in pieces:
        yield from stream(piece.octets)


def _nothing(count: int, cause: Cause, reason: str) -> Session:
    return Session(results=(temperror(cause, reason),) * count, broken=cause)


def _conclude(answers: Sequence[str | None], count: int, lost: Lost) -> Session:
    """Make results of the answers: the version before, the verdicts, and the version after where it was asked."""
    try:
        before = read_version(answers[0]) if answers[0] is not None else ""
        last = answers[count + 1] if len(answers) > count + 1 else None
        after = read_version(last) if last is not None else ""
    except GarbageError as error:
        return _nothing(count, Cause.GARBAGE, str(error))
    broken, missing = lost.cause, temperror(lost.cause, lost.reason)
    results = [read_verdict(text) if text is not None else missing for text in answers[1 : count + 1]]
    if any(result.cause is Cause.SIZE_LIMIT for result in results):
        # It closed because of that one piece: no sign of ill health, and the others are only unanswered.
        broken = Cause.NONE
    elif any(result.cause is Cause.GARBAGE for result in results):
        broken = Cause.GARBAGE
    if after and before != after:
        changed = temperror(Cause.VERSION_CHANGED, f"signatures changed from {before} to {after}")
        results = [changed if result.outcome is Outcome.CLEAN else result for result in results]
    elif not after:
        # Without the version after, nobody can tell which signatures said that a piece is clean.
        results = [missing if result.outcome is Outcome.CLEAN else result for result in results]
    return Session(results=tuple(results), version=after or before, broken=broken)
