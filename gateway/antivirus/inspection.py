"""The scanners looked at from outside a running gateway, for ``tidegate av``: once, without watching."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from gateway.antivirus import control
from gateway.antivirus.archive.report import ArchiveLimits
from gateway.antivirus.archive.walker import ArchiveWalker
from gateway.antivirus.cache import ResultCache
from gateway.antivirus.connection import stream_limit
from gateway.antivirus.control import Told
from gateway.antivirus.desk import AntivirusSettings
from gateway.antivirus.history import read_states
from gateway.antivirus.measuring import measure
from gateway.antivirus.message import MessageScan, MessageScanner
from gateway.antivirus.reach import Reach
from gateway.antivirus.scanner import Scanner
from gateway.antivirus.scanners import Scanners
from gateway.antivirus.selftest import SelfTest, run_self_test
from gateway.antivirus.signatures import DAY_SECONDS, AgeLimits, Freshness, SignatureVersion
from gateway.antivirus.watch import weaknesses
from gateway.clock import SystemClock
from gateway.mail.content import Content
from gateway.storage import StorageError

_ASK_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerReport:
    """One scanner as found now; ``stream_limit`` octets, 0 while not known; ``most_octets`` is ``max_message``.

    ``reach`` is how far it looks where it does not tell what it did not look into.

    ``age_days`` counts from when the signatures were built, else from when the gateway first saw them; None when
    neither is known.
    """

    scanner: str
    answers: bool
    reason: str
    version: str
    statistics: str
    test_passed: bool
    test_reason: str
    alerts_limits: bool
    stream_limit: int
    reach: Reach | None
    most_octets: int
    weaknesses: tuple[str, ...]
    age_days: float | None
    freshness: str

    @property
    def problems(self) -> list[str]:
        """What an administrator should do something about."""
        if not self.answers:
            return [self.reason]
        found = [] if self.test_passed else [self.test_reason]
        if self.freshness in (Freshness.OLD, Freshness.BREACH):
            found.append(f"its signatures are {self.age_days:.1f} days old: see to freshclam")
        return found + list(self.weaknesses)


async def inspect_scanners(settings: AntivirusSettings, *, history: Path) -> list[ScannerReport]:
    """Return what is found about each configured scanner."""
    return list(
        await asyncio.gather(*(_inspect(Scanner(a, settings.limits), settings, history) for a in settings.scanners))
    )


async def scan_file(settings: AntivirusSettings, path: Path) -> MessageScan:
    """Return the scan of a mail in a file; raises OSError."""
    scanners = Scanners([Scanner(a, settings.limits) for a in settings.scanners], ResultCache(SystemClock()))
    walker = ArchiveWalker(ArchiveLimits())
    try:
        await asyncio.gather(*map(_learn, scanners.all))
        return await MessageScanner(scanners, walker).scan(Content(await asyncio.to_thread(path.read_bytes)))
    finally:
        walker.close()


async def _inspect(scanner: Scanner, settings: AntivirusSettings, history: Path) -> ScannerReport:
    pong, version, statistics = await asyncio.gather(*(_ask(scanner, c) for c in ("ping", "version", "stats")))
    answers = isinstance(pong, Told)
    test = await _learn(scanner)
    scanner.stream_limit = await _limit(scanner, settings.most_octets) if answers else 0
    told = version.text if isinstance(version, Told) else ""
    age = await asyncio.to_thread(_age, told, scanner.name, history)
    return ScannerReport(
        scanner=scanner.name,
        answers=answers,
        reason="" if isinstance(pong, Told) else pong.reason,
        version=told,
        statistics=statistics.text if isinstance(statistics, Told) else "",
        test_passed=test.passed,
        test_reason=test.reason,
        alerts_limits=test.alerts_limits,
        stream_limit=scanner.stream_limit,
        reach=None if test.alerts_limits or not test.passed else scanner.reach,
        weaknesses=tuple(weaknesses(scanner, settings.most_octets)) if answers else (),
        most_octets=settings.most_octets,
        age_days=None if age is None else age / DAY_SECONDS,
        freshness=_freshness(settings.ages, age),
    )


async def _learn(scanner: Scanner) -> SelfTest:
    """Test a scanner, and find out how far it looks where it does not tell."""
    test = await run_self_test(scanner)
    if test.alerts_limits:
        scanner.learn_limits(None)
    elif test.passed and (reach := await measure(scanner)) is not None:
        scanner.learn_limits(reach)
    return test


async def _ask(scanner: Scanner, command: control.Command) -> control.Told | control.Unanswered:
    return await asyncio.to_thread(control.ask, scanner.address, command, _ASK_SECONDS)


async def _limit(scanner: Scanner, most: int) -> int:
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            return await stream_limit(scanner.address, most)
    except OSError:
        return 0


def _age(version: str, scanner: str, history: Path) -> float | None:
    now = SystemClock().stamp().utc
    age = SignatureVersion.parse(version).age_seconds(now)
    if age is not None:
        return age
    try:
        states = [s for s in read_states(history) if (s.scanner, s.version) == (scanner, version)]
    except StorageError:
        return None
    return max(0.0, now - states[0].first_seen_at) if states else None


def _freshness(ages: AgeLimits, age: float | None) -> str:
    return ages.judge(age).value
