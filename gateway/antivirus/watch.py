"""Watches the scanners: who is there, with which signatures, how old, and whether they still find what they must.

A scanner that is well is asked every few seconds, one that is not every second, so that scanning works again at once
when it is back; it is taken back only when it answers a ping and finds the EICAR test file. One that calls that file
clean is not asked at all. One that was started anew may have other limits, though nothing else tells: it is held on to
(``tether``), and when it ends, what was found out about its limits is forgotten.

Every worker watches for itself; the one that is given the history writes it and raises the alarms.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gateway.antivirus import control
from gateway.antivirus.breaker import Health
from gateway.antivirus.connection import stream_limit
from gateway.antivirus.control import Told, Unanswered
from gateway.antivirus.history import SignatureHistory
from gateway.antivirus.measuring import measure
from gateway.antivirus.reach import Reach
from gateway.antivirus.scanner import Scanner
from gateway.antivirus.scanners import Scanners
from gateway.antivirus.selftest import SelfTest, run_self_test
from gateway.antivirus.signatures import AgeLimits, Freshness, SignatureVersion
from gateway.antivirus.tether import Tether
from gateway.clock import Clock
from gateway.journal.events import Event, EventSink, InternalError, StorageFailed
from gateway.journal.guard_events import ScannerChanged, ScannerTested, SignaturesAged, SignaturesChanged
from gateway.storage import StorageError

# Signatures are loaded in minutes: a change is seen soon enough, and a scanner that hangs is noticed.
WELL_SECONDS = 5.0
# With the time for a ping and a test, scanning works again within 5 s of a scanner's return.
ILL_SECONDS = 1.0
# clamd's first thread answers; while it loads signatures without a second engine it may be silent for some seconds.
PING_SECONDS = 2.0
SELF_TEST_SECONDS = 3600.0
# Where a scanner was too busy to be measured; meanwhile what is large waits, and then comes again.
MEASURE_AGAIN_SECONDS = 10.0


@dataclass(slots=True, kw_only=True)
class Watched:
    """One scanner and what was last found out about it."""

    scanner: Scanner
    told: Health | None = None
    tested_at: float | None = None
    test: SelfTest | None = None
    age_seconds: float | None = None
    freshness: Freshness = Freshness.UNKNOWN
    # Set when it is to be found out how far it looks.
    to_measure: asyncio.Event = field(default_factory=asyncio.Event)
    tether: Tether = field(init=False)
    tied_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """``ages`` of signatures; ``most_octets`` is the largest stream that mail needs (``max_message``)."""

    ages: AgeLimits = field(default_factory=AgeLimits)
    most_octets: int = 50 * 1024 * 1024
    well_seconds: float = WELL_SECONDS
    ill_seconds: float = ILL_SECONDS
    ping_seconds: float = PING_SECONDS


class Watch:
    """Runs beside the mail path; ``start`` looks once and then keeps looking until ``stop``."""

    def __init__(
        self,
        scanners: Scanners,
        settings: WatchSettings,
        *,
        clock: Clock,
        events: EventSink,
        history: SignatureHistory | None = None,
    ) -> None:
        self._scanners = scanners
        self._settings = settings
        self._clock = clock
        self._events = events
        self._history = history
        self.watched = tuple(map(self._watch, scanners.all))
        self._tasks: list[asyncio.Task[None]] = []

    def _watch(self, scanner: Scanner) -> Watched:
        watched = Watched(scanner=scanner)
        watched.tether = Tether(scanner.address, lambda: self._lost(watched))
        return watched

    async def start(self) -> None:
        """Look at every scanner once, then go on looking."""
        for watched in self.watched:
            watched.scanner.forget_limits()
        await asyncio.gather(*(self._guarded(watched, self.check) for watched in self.watched))
        self._tasks = [asyncio.create_task(look(w)) for w in self.watched for look in (self._look, self._measure)]

    async def stop(self) -> None:
        """Look no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for watched in self.watched:
            watched.tether.cut()

    async def _look(self, watched: Watched) -> None:
        settings = self._settings
        while True:
            scanner = watched.scanner
            well = scanner.health is Health.WELL
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.well_seconds if well else settings.ill_seconds):
                    await scanner.doubt.wait()
            scanner.doubt.clear()
            await self._guarded(watched, self.check)

    async def _measure(self, watched: Watched) -> None:
        """Find out how far the scanner looks, beside everything else: it takes seconds."""
        while True:
            again = None if watched.scanner.limits_known.is_set() else MEASURE_AGAIN_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(again):
                    await watched.to_measure.wait()
            watched.to_measure.clear()
            if watched.tether.holds and watched.scanner.health is not Health.OPEN:
                await self._guarded(watched, self._find_reach)

    async def _find_reach(self, watched: Watched) -> None:
        number = watched.tether.number
        if (reach := await measure(watched.scanner)) is not None:
            self._learn(watched, reach, number)

    def _learn(self, watched: Watched, reach: Reach | None, number: int) -> None:
        """Take note of how far a scanner looks (``Scanner.learn_limits``), where it is still the one that was asked."""
        if watched.tether.holds and watched.tether.number == number:
            if not watched.scanner.limits_known.is_set():
                # What it passed before that may be what it will tell of from now on.
                self._scanners.cache.clear()
            watched.scanner.learn_limits(reach)

    async def _guarded(self, watched: Watched, step: Callable[[Watched], Awaitable[None]]) -> None:
        try:
            await step(watched)
        except Exception as error:  # noqa: BLE001 - scanning must come back whatever one look ran into
            self._events.emit(
                InternalError(
                    at=self._clock.stamp().utc,
                    where=f"watch {watched.scanner.name}",
                    error=f"{type(error).__name__}: {error}",
                    traceback="".join(traceback.format_exception(error)),
                )
            )

    async def check(self, watched: Watched) -> None:
        """Look at one scanner: ping, then what its state asks for."""
        scanner = watched.scanner
        pong = await self._ask(scanner, "ping")
        if isinstance(pong, Unanswered):
            scanner.breaker.failed(pong.reason)
            self._scanners.explain_late(scanner, answers=False)
            if scanner.health is Health.OPEN:
                watched.tether.cut()
                scanner.forget_limits()
            if self._another_is_well(scanner):
                scanner.give_up(f"given up: {pong.reason}")
        else:
            self._scanners.explain_late(scanner, answers=True)
            if await self._tied_anew(watched) or scanner.health is not Health.WELL or self._test_is_due(watched):
                await self._test(watched)
            await self._note_version(watched)
        self._tell(watched)

    async def _tied_anew(self, watched: Watched) -> bool:
        """Hold on to a scanner; tell whether it is another one than was held, of whose limits nothing is known."""
        if watched.tether.holds:
            return False
        watched.scanner.forget_limits()
        watched.tied_at = self._clock.monotonic()
        # What cannot be held now is tested all the same, and says what is wrong with it.
        with suppress(OSError):
            async with asyncio.timeout(self._settings.ping_seconds):
                await watched.tether.tie()
        return True

    def _lost(self, watched: Watched) -> None:
        """Take note of the end of what was held on to, and look at once, though no oftener than at one that is ill."""
        watched.scanner.forget_limits()
        held_seconds = self._clock.monotonic() - watched.tied_at
        wait_seconds = max(0.0, self._settings.ill_seconds - held_seconds)
        asyncio.get_running_loop().call_later(wait_seconds, watched.scanner.doubt.set)

    async def _ask(self, scanner: Scanner, command: control.Command) -> Told | Unanswered:
        return await asyncio.to_thread(control.ask, scanner.address, command, self._settings.ping_seconds)

    def _another_is_well(self, scanner: Scanner) -> bool:
        return any(other is not scanner and other.health is Health.WELL for other in self._scanners.all)

    def _test_is_due(self, watched: Watched) -> bool:
        at = watched.tested_at
        return at is None or self._clock.monotonic() - at >= SELF_TEST_SECONDS

    async def _test(self, watched: Watched) -> None:
        scanner, before, number = watched.scanner, watched.test, watched.tether.number
        # Before the test: its own answers count as signs of health.
        was_well = scanner.health is Health.WELL
        test = await run_self_test(scanner)
        watched.test, watched.tested_at = test, self._clock.monotonic()
        if test.passed:
            if not was_well:
                # What was late while it was away may not have been the mail's doing.
                self._scanners.cache.clear()
            scanner.breaker.trust()
            if test.alerts_limits:
                self._learn(watched, None, number)
            else:
                watched.to_measure.set()
            await self._learn_limit(scanner)
        elif test.cause:
            scanner.breaker.failed(test.reason)
        else:
            scanner.breaker.distrust(test.reason)
        if before is None or before.passed != test.passed:
            result = "passed" if test.passed else "failed"
            reason = test.reason or "; ".join(weaknesses(scanner, self._settings.most_octets))
            self._emit(ScannerTested, scanner=scanner.name, result=result, reason=reason)

    async def _learn_limit(self, scanner: Scanner) -> None:
        try:
            async with asyncio.timeout(self._settings.ping_seconds):
                scanner.stream_limit = await stream_limit(scanner.address, self._settings.most_octets)
        except OSError:
            # Not known then; the next test looks again, and a stream beyond the limit is answered as such.
            return

    async def _note_version(self, watched: Watched) -> None:
        scanner = watched.scanner
        told = await self._ask(scanner, "version")
        if isinstance(told, Unanswered):
            return
        if scanner.version != told.text:
            scanner.version = told.text
            self._scanners.cache.clear()
        if self._history is not None:
            await self._record(watched, self._history)
        self._judge_age(watched)

    async def _record(self, watched: Watched, history: SignatureHistory) -> None:
        scanner = watched.scanner
        try:
            change = await history.note(scanner.name, scanner.version)
        except StorageError as error:
            self._emit(StorageFailed, store="signatures", operation="write", error=str(error))
            return
        if change is not None:
            built = change.built_at or 0.0
            self._emit(
                SignaturesChanged, scanner=scanner.name, before=change.before, after=change.after, built_at=built
            )

    def _judge_age(self, watched: Watched) -> None:
        """Say so when signatures have become too old, or are fresh again; once a change, by who keeps the history."""
        name, now = watched.scanner.name, self._clock.stamp().utc
        age = signature_age(SignatureVersion.parse(watched.scanner.version), self._history, name, now)
        watched.age_seconds = age
        freshness = self._settings.ages.judge(age)
        if freshness is not watched.freshness and self._history is not None:
            was, watched.freshness = watched.freshness, freshness
            if {freshness, was} & {Freshness.OLD, Freshness.BREACH}:
                self._emit(
                    SignaturesAged,
                    scanner=name,
                    version=watched.scanner.version,
                    freshness=freshness.value,
                    age_seconds=age or 0.0,
                )

    def _tell(self, watched: Watched) -> None:
        health = watched.scanner.health
        if health is not watched.told:
            watched.told = health
            reason = watched.scanner.breaker.reason
            self._emit(ScannerChanged, scanner=watched.scanner.name, state=health.name.lower(), reason=reason)

    def _emit(self, kind: Callable[..., Event], **fields: Any) -> None:
        self._events.emit(kind(at=self._clock.stamp().utc, **fields))


def weaknesses(scanner: Scanner, most_octets: int) -> list[str]:
    """Return what its configuration leaves unscanned, for the administrator."""
    found = []
    if 0 < scanner.stream_limit < most_octets:
        limit = scanner.stream_limit
        found.append(f"StreamMaxLength is {limit} octets, max_message {most_octets}: what is larger is too-large")
    if not scanner.alerts_limits:
        found.append(
            "AlertExceedsMax is off: what exceeds its limits it calls clean. Archives that do are unscannable, but not"
            " what it unpacks of other files"
        )
    return found


def signature_age(
    version: SignatureVersion, history: SignatureHistory | None, scanner: str, now_utc: float
) -> float | None:
    """Return the age of a scanner's signatures: since they were built, else since this version was first seen."""
    age = version.age_seconds(now_utc)
    state = history.state(scanner) if history is not None else None
    if age is None and state is not None and state.version == version.text:
        return max(0.0, now_utc - state.first_seen_at)
    return age
