"""The antivirus of one worker: scanners, their watch, the archive walker, and what is being scanned now.

Filters with the settings of several policies ask about the same message: it is scanned once. Of a message that nobody
waits for any more the scan ends, so that what is left behind holds neither a scanner's place nor the mail's memory.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.antivirus.address import ScannerAddress
from gateway.antivirus.archive.report import ArchiveLimits
from gateway.antivirus.archive.walker import ArchiveWalker
from gateway.antivirus.breaker import Health
from gateway.antivirus.cache import MAX_ENTRIES, ResultCache
from gateway.antivirus.history import SignatureHistory
from gateway.antivirus.message import MessageScan, MessageScanner
from gateway.antivirus.scanner import Scanner, ScannerLimits
from gateway.antivirus.scanners import Scanners
from gateway.antivirus.signatures import AgeLimits
from gateway.antivirus.watch import Watch, WatchSettings
from gateway.clock import Clock
from gateway.journal.events import EventSink, StorageFailed
from gateway.mail.content import Content
from gateway.storage import StorageError

# Far below the 30 s after which clamd hangs up (CommandReadTimeout), and of 5 s where that was set for older versions.
REST_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AntivirusSettings:
    """What the node's configuration says: where scanners are, and how they are used.

    ``contact`` is whom notices name. ``history`` is the folder of the signatures' history, None for a worker that does
    not write it.
    """

    scanners: tuple[ScannerAddress, ...] = ()
    limits: ScannerLimits = field(default_factory=ScannerLimits)
    ages: AgeLimits = field(default_factory=AgeLimits)
    most_octets: int = 50 * 1024 * 1024
    contact: str = "postmaster"
    cache_entries: int = MAX_ENTRIES
    history: Path | None = None


class _Scan:
    """One message being scanned in the task of who asked first; others wait for it, and begin anew if that is ended."""

    def __init__(self) -> None:
        self.task = asyncio.current_task()
        self._end: asyncio.Future[MessageScan | None] | None = None

    async def outcome(self) -> MessageScan | None:
        """Wait for what is found; None when the scan came to nothing."""
        if self._end is None:
            self._end = asyncio.get_running_loop().create_future()
        # One that waits no longer ends nobody else's waiting.
        return await asyncio.shield(self._end)

    def ended(self, found: MessageScan | None) -> None:
        """Tell those who wait."""
        if self._end is not None:
            self._end.set_result(found)


class _InUse:
    """Everything that one set of settings needs."""

    def __init__(self, settings: AntivirusSettings, walker: ArchiveWalker, clock: Clock, events: EventSink) -> None:
        limits = replace(settings.limits, rest_seconds=REST_SECONDS)
        self.scanners = Scanners(
            [Scanner(a, limits) for a in settings.scanners], ResultCache(clock, settings.cache_entries)
        )
        self.messages = MessageScanner(self.scanners, walker)
        self.history = _history(settings, clock, events)
        watch = WatchSettings(ages=settings.ages, most_octets=settings.most_octets)
        self.watch = Watch(self.scanners, watch, clock=clock, events=events, history=self.history)

    async def end(self) -> None:
        """Stop watching; what is being scanned goes on."""
        await self.watch.stop()
        for scanner in self.scanners.all:
            scanner.close()
        if self.history is not None:
            await self.history.close()


def _history(settings: AntivirusSettings, clock: Clock, events: EventSink) -> SignatureHistory | None:
    """Open the history; mail is scanned without it too, and the event says that nothing is proved meanwhile."""
    if settings.history is None:
        return None
    try:
        return SignatureHistory(settings.history, clock)
    except StorageError as error:
        now = clock.stamp().utc
        events.emit(StorageFailed(at=now, store="signatures", operation="open", error=str(error)))
        return None


class Antivirus:
    """Asked by filters for what is known of a message; a service of the worker."""

    def __init__(self, settings: AntivirusSettings, *, clock: Clock, events: EventSink) -> None:
        self._clock = clock
        self._events = events
        self._settings = settings
        self._walker = ArchiveWalker(ArchiveLimits())
        self._in_use: _InUse | None = None
        self._scans: dict[str, _Scan] = {}

    @property
    def is_configured(self) -> bool:
        """Whether there is any scanner to ask."""
        return bool(self._settings.scanners)

    @property
    def contact(self) -> str:
        """Whom a recipient may ask."""
        return self._settings.contact

    @property
    def scanners(self) -> Sequence[Scanner]:
        """The scanners in use."""
        return self._in_use.scanners.all if self._in_use else ()

    @property
    def under_way(self) -> int:
        """Messages that are being scanned or wait for a scanner's place."""
        return len(self._scans)

    @property
    def signatures_age_seconds(self) -> float:
        """The age of the oldest signatures in use, 0 while not known."""
        watched = self._in_use.watch.watched if self._in_use else ()
        return max((w.age_seconds for w in watched if w.age_seconds is not None), default=0.0)

    @property
    def is_well(self) -> bool:
        """Whether some scanner answers, or none is asked for."""
        return not self.scanners or any(scanner.health is not Health.OPEN for scanner in self.scanners)

    async def start(self) -> None:
        """Look at the scanners once, then watch them."""
        self._in_use = _InUse(self._settings, self._walker, self._clock, self._events)
        await self._in_use.watch.start()

    async def use(self, settings: AntivirusSettings) -> None:
        """Go over to other settings; what is under way ends as it began."""
        if settings == self._settings:
            return
        before, self._settings = self._in_use, settings
        if before is not None:
            # The history has one writer: the old watch lets go of it before the new one opens it.
            await before.end()
        await self.start()

    async def stop(self) -> None:
        """Scan no more."""
        for scan in tuple(self._scans.values()):
            if scan.task is not None:
                scan.task.cancel()
        if self._in_use is not None:
            await self._in_use.end()
            self._in_use = None
        self._walker.close()

    async def scan(self, trace_id: str, content: Content) -> MessageScan:
        """Return what is known about a message, scanned once however many ask at a time; raises OSError."""
        while (other := self._scans.get(trace_id)) is not None:
            if (found := await other.outcome()) is not None:
                return found
        scan = self._scans[trace_id] = _Scan()
        found = None
        try:
            found = await self.messages.scan(content)
            return found
        finally:
            del self._scans[trace_id]
            scan.ended(found)

    @property
    def messages(self) -> MessageScanner:
        """The scanner of whole messages, for what is not a transaction's: cleaned mail, files given by hand."""
        if self._in_use is None:
            self._in_use = _InUse(self._settings, self._walker, self._clock, self._events)
        return self._in_use.messages
