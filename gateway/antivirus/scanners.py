"""All scanners together: the cache first, then one scanner after another until one answers.

Order: those that are well as configured, then the suspect ones; one whose circuit is open is left out. A session that
broke, or was refused, goes to the next scanner; one that ended because signatures were loaded goes to the same again,
once. A time-out goes to nobody else: what took one scanner the whole time would take the next one's too.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from gateway.antivirus.breaker import Health
from gateway.antivirus.cache import ResultCache
from gateway.antivirus.framing import Piece
from gateway.antivirus.link import Session
from gateway.antivirus.reach import Reach, least
from gateway.antivirus.result import WORTH_ANOTHER, Cause, Outcome, ScanResult, temperror
from gateway.antivirus.scanner import Scanner

# Measuring a scanner takes it two seconds, several times that when it is busy; mail is given minutes (``budget``).
FINDING_SECONDS = 30.0


class Scanners:
    """Asks for the results of pieces; never raises but for cancellation, never takes silence for clean."""

    def __init__(self, scanners: Sequence[Scanner], cache: ResultCache) -> None:
        self.all = tuple(scanners)
        self.cache = cache
        # Time-outs of which nobody knows yet whose doing they were; a look at their scanner tells, within seconds.
        self._late: list[tuple[str, ScanResult]] = []

    @property
    def stream_limit(self) -> int:
        """The octets that every scanner in use takes in one stream, 0 while not known."""
        known = [s.stream_limit for s in self.all if s.stream_limit and s.health is not Health.OPEN]
        return min(known, default=0)

    @property
    def reach(self) -> Reach | None:
        """How far all scanners in use look, None where each tells what it did not look into."""
        return least([s.reach for s in self.all if not s.alerts_limits and s.health is not Health.OPEN])

    async def found_reach(self) -> Reach | None:
        """Return ``reach`` once what is being found out is known, or has taken too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FINDING_SECONDS):
                for scanner in self.all:
                    if not scanner.alerts_limits and scanner.health is not Health.OPEN:
                        await scanner.limits_known.wait()
        return self.reach

    @property
    def versions(self) -> frozenset[str]:
        """The versions that scanners last said they have."""
        return frozenset(s.version for s in self.all if s.version and s.health is not Health.OPEN)

    async def scan(self, pieces: Sequence[Piece]) -> tuple[ScanResult, ...]:
        """Return each piece's result, in order; equal pieces are scanned once."""
        versions = self.versions
        known: dict[str, ScanResult] = {}
        fresh: dict[str, Piece] = {}
        for piece in pieces:
            if (result := self.cache.recall(piece.digest, versions)) is not None:
                known[piece.digest] = result
            else:
                fresh[piece.digest] = piece
        if fresh:
            for digest, result in zip(fresh, await self._ask(list(fresh.values())), strict=True):
                known[digest] = result
                if result.cause is Cause.TIMEOUT:
                    self._late.append((digest, result))
                else:
                    self.cache.keep(digest, result)
        return tuple(known[piece.digest] for piece in pieces)

    def explain_late(self, scanner: Scanner, *, answers: bool) -> None:
        """Say what was behind time-outs: the octets, when the scanner ``answers`` otherwise, and then they are kept."""
        late = [(digest, result) for digest, result in self._late if result.scanner == scanner.name]
        self._late = [pair for pair in self._late if pair not in late]
        for digest, result in late if answers else ():
            self.cache.keep(digest, result)

    async def _ask(self, pieces: Sequence[Piece]) -> tuple[ScanResult, ...]:
        tried: set[Scanner] = set()
        best: tuple[ScanResult, ...] = ()
        while (scanner := self._next(tried)) is not None:
            tried.add(scanner)
            before = scanner.version
            session = await scanner.scan(pieces)
            if _changed(session):
                session = await scanner.scan(pieces)
            if scanner.version != before:
                # Also in the cache: what earlier signatures let pass is looked at again.
                self.cache.clear()
            best = _better(best, session.results)
            if not _worth_another(session):
                return best
        if best:
            return best
        reason = "; ".join(f"{s.name} {s.breaker.reason}" for s in self.all) or "no scanner is configured"
        return (temperror(Cause.CIRCUIT_OPEN, reason),) * len(pieces)

    def _next(self, tried: set[Scanner]) -> Scanner | None:
        """Return the best scanner that is left; a new choice each time, since health may have changed meanwhile."""
        left = [s for s in self.all if s not in tried and s.health is not Health.OPEN]
        return min(left, key=lambda s: s.health, default=None)


def _changed(session: Session) -> bool:
    return any(result.cause is Cause.VERSION_CHANGED for result in session.results)


def _worth_another(session: Session) -> bool:
    return any(r.outcome is Outcome.TEMPERROR and r.cause in WORTH_ANOTHER for r in session.results)


def _better(first: tuple[ScanResult, ...], second: tuple[ScanResult, ...]) -> tuple[ScanResult, ...]:
    """Return, for each piece, the answer of the scanner that gave one; a virus that either found stays found."""
    if not first:
        return second
    return tuple(
        a if a.outcome is Outcome.INFECTED or b.outcome is Outcome.TEMPERROR else b
        for a, b in zip(first, second, strict=True)
    )
