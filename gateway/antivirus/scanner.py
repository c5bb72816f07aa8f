"""One clamd: how many sessions at a time, how long each may take, how it is.

Time-outs scale with size: a session has ``timeout_seconds`` and the time its octets take at the slowest rate that is
still waited for. Waiting for a place counts, so that mail hears in time that nobody has looked at it.

A time-out is not held against the scanner: one mail that is hard to unpack must not switch scanning off for all the
others. Whether the scanner itself is there, the health check finds out.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.antivirus.address import ScannerAddress
from gateway.antivirus.breaker import Breaker, Health, is_fault
from gateway.antivirus.connection import connect
from gateway.antivirus.framing import Piece
from gateway.antivirus.link import Link, Session
from gateway.antivirus.reach import ASSUMED, UNKNOWN, Reach
from gateway.antivirus.resting import RestingLinks
from gateway.antivirus.result import Cause, Outcome, temperror

# A loaded clamd on one core unpacks and scans some 4 MiB a second; a quarter of that is a scanner in trouble.
SLOWEST_OCTETS_PER_SECOND = 1024 * 1024
# A connection to a socket of this machine or network takes microseconds; seconds are a machine that is gone.
CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerLimits:
    """What a scanner is given.

    ``timeout_seconds`` for a session of no size. ``sessions`` at a time: clamd has 10 threads (MaxThreads), several
    workers share them, and what waits here costs less than what waits there. ``rest_seconds`` is how long a connection
    waits for the next message, 0 for not at all.
    """

    timeout_seconds: float = 30.0
    connect_seconds: float = CONNECT_SECONDS
    octets_per_second: int = SLOWEST_OCTETS_PER_SECOND
    sessions: int = 8
    rest_seconds: float = 0.0

    def seconds(self, octets: int) -> float:
        """Return how long a session of ``octets`` may take."""
        return self.timeout_seconds + octets / self.octets_per_second


class _Attempt:
    """A session under way: ``stage`` is the cause that a time-out has now."""

    def __init__(self, seconds: float) -> None:
        self.deadline = asyncio.timeout(seconds)
        self.stage = Cause.BUSY
        self.given_up = ""


class Scanner:
    """One clamd as this worker sees it.

    ``version`` is what it last said. ``stream_limit`` is its StreamMaxLength in octets as far as it was looked for,
    0 while nothing is known.
    """

    def __init__(self, address: ScannerAddress, limits: ScannerLimits) -> None:
        self.address = address
        self.name = str(address)
        self.limits = limits
        self.breaker = Breaker()
        self.version = ""
        self.stream_limit = 0
        # Whether it reports what exceeds its limits (AlertExceedsMax); without that it passes such files as clean
        self.alerts_limits = False
        # Where it does not: how far it looks.
        self.reach = ASSUMED
        # Clear while its limits are being found out: whether it reports what exceeds them, else how far it looks.
        self.limits_known = asyncio.Event()
        self.limits_known.set()
        # Set by a time-out: the watch is to look now.
        self.doubt = asyncio.Event()
        self._places = asyncio.Semaphore(limits.sessions)
        self._attempts: set[_Attempt] = set()
        self._resting = RestingLinks(limits.rest_seconds)

    @property
    def health(self) -> Health:
        """How it is."""
        return self.breaker.health

    @property
    def under_way(self) -> int:
        """Sessions that run or wait for a place."""
        return len(self._attempts)

    def forget_limits(self) -> None:
        """Believe nothing of its limits: another process may answer in its place."""
        self.alerts_limits, self.reach = False, UNKNOWN
        self.limits_known.clear()

    def learn_limits(self, reach: Reach | None) -> None:
        """Take note of how far it looks, None where it tells what it did not look into."""
        self.alerts_limits = reach is None
        self.reach = reach or self.reach
        self.limits_known.set()

    async def scan(self, pieces: Sequence[Piece]) -> Session:
        """Have ``pieces`` scanned in one session; never raises but for cancellation."""
        attempt = _Attempt(self.limits.seconds(sum(piece.size for piece in pieces)))
        self._attempts.add(attempt)
        try:
            async with attempt.deadline, self._places:
                session = await self._run(attempt, pieces)
        except TimeoutError:
            session = _late(attempt, len(pieces))
        except OSError as error:
            session = _unanswered(len(pieces), Cause.CONNECT, f"cannot be reached: {error.strerror or error}")
        finally:
            self._attempts.discard(attempt)
        return self._noted(session)

    async def _run(self, attempt: _Attempt, pieces: Sequence[Piece]) -> Session:
        if (link := self._resting.take()) is not None:
            attempt.stage = Cause.TIMEOUT
            session = await self._scan_over(link, pieces)
            # One that rested may have been given up by the scanner: only a new connection says how that is.
            if not is_fault(session.broken):
                return session
        attempt.stage = Cause.CONNECT
        async with asyncio.timeout(self.limits.connect_seconds):
            sock = await connect(self.address)
        attempt.stage = Cause.TIMEOUT
        return await self._scan_over(Link(sock), pieces)

    async def _scan_over(self, link: Link, pieces: Sequence[Piece]) -> Session:
        try:
            session = await link.scan(pieces)
        except BaseException:
            link.close()
            raise
        self._resting.put(link)
        return session

    def close(self) -> None:
        """Let no connection rest; what is being scanned goes on."""
        self._resting.close()

    def _noted(self, session: Session) -> Session:
        if is_fault(session.broken):
            self.breaker.failed(session.results[0].reason)
        elif any(result.outcome is not Outcome.TEMPERROR for result in session.results):
            self.breaker.succeeded()
        if any(result.cause is Cause.TIMEOUT for result in session.results):
            self.doubt.set()
        if session.version:
            self.version = session.version
        named = tuple(result.by(self.name, session.version) for result in session.results)
        return Session(results=named, version=session.version, broken=session.broken)

    def give_up(self, reason: str) -> None:
        """End every session that runs or waits for a place: its mail is better off with another scanner."""
        now = asyncio.get_running_loop().time()
        for attempt in self._attempts:
            if not attempt.deadline.expired():
                attempt.given_up = reason
                attempt.deadline.reschedule(now)


def _late(attempt: _Attempt, count: int) -> Session:
    if attempt.given_up:
        return _unanswered(count, Cause.RESET, attempt.given_up)
    reasons = {
        Cause.BUSY: "no scanner was free in time",
        Cause.CONNECT: "the scanner took no connection in time",
        Cause.TIMEOUT: "no answer in time",
    }
    return _unanswered(count, attempt.stage, reasons[attempt.stage])


def _unanswered(count: int, cause: Cause, reason: str) -> Session:
    return Session(results=(temperror(cause, reason),) * count, broken=cause)
