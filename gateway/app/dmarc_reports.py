"""DMARC reports, sent: a day's run as the command does it, and the schedule that runs the command every day.

The run is a process of its own: a day of a busy node is some minutes of reading, which neither a worker nor the
supervisor has. It reads the journal, asks DNS who may be sent what, and hands each mail to the gateway by the control
socket. Nothing is sent by the clock without a configuration file, or while ``[dmarc_reports] send`` is off.
"""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway import __version__
from gateway.admin.control import ControlClient
from gateway.admin.protocol import Failed
from gateway.app.own_commands import OwnCommands
from gateway.clock import Clock
from gateway.config.models import GatewayConfig
from gateway.config.snapshot import Snapshot
from gateway.dns.cache import CachingResolver
from gateway.dns.resolver import DnspythonResolver
from gateway.journal.duty_events import DmarcReported
from gateway.journal.events import EventSink, MessageJudged
from gateway.journal.reader import JournalReader
from gateway.mail.own_mail import COMMAND, OwnMail
from gateway.senderauth.dmarc.aggregate import Day, aggregate
from gateway.senderauth.dmarc.report import Reporter
from gateway.senderauth.dmarc.sending import NotTaken, ReportLimits, ReportRun
from gateway.senderauth.dmarc.sent import DayDone, read_day_done

LOOK_SECONDS = 30.0
# While no worker serves there is nobody to hand mail to.
START_SECONDS = 1.0
# What failed for want of DNS or of a worker is tried again so often on the same day.
AGAIN_SECONDS = 3600.0
# Answers of one day's run: the walks and confirmations of some thousand domains.
_CACHED_ANSWERS = 20_000


def reporter_of(config: GatewayConfig) -> Reporter:
    """Return who reports, by the configuration."""
    settings = config.dmarc_reports
    postmaster = config.contact.postmaster or f"postmaster@{config.hostname}"
    return Reporter(
        host=config.hostname,
        organisation=settings.organisation or config.hostname,
        email=settings.author or postmaster,
        contact=settings.contact,
        generator=f"Tidegate {__version__}",
    )


def days_of(data: Path, begin: int, only: str = "") -> tuple[dict[str, Day], dict[Path, str]]:
    """Return each policy domain's day from the journal, and the files that could not be read with the reason."""
    reader = JournalReader(data / "journal")
    try:
        return aggregate(_judged(reader, begin), begin, only), reader.unreadable
    finally:
        reader.close()


def _judged(reader: JournalReader, begin: int) -> Iterator[MessageJudged]:
    for event in reader.of_kind(MessageJudged.kind, begin):
        if isinstance(event, MessageJudged):
            yield event


def report_run(config: GatewayConfig, clock: Clock) -> ReportRun:
    """Return what sends reports by the configuration, through the gateway that serves its data folder."""
    settings = config.dmarc_reports
    client = ControlClient(config.data / "control.sock")

    async def submit(mail: OwnMail) -> str | NotTaken:
        outcome = await client.call(COMMAND, **mail.arguments())
        return NotTaken(outcome.message) if isinstance(outcome, Failed) else str(outcome.result["trace_id"])

    resolver = DnspythonResolver(config.dns.servers, config.dns.timeout, clock)
    return ReportRun(
        resolver=CachingResolver(resolver, clock, _CACHED_ANSWERS),
        reporter=reporter_of(config),
        limits=ReportLimits(most=settings.most, per_minute=settings.per_minute, max_octets=settings.max_size),
        submit=submit,
        clock=clock,
    )


class DmarcReportSchedule:
    """Looks, for the supervisor's life, whether yesterday's reports are due.

    ``serving`` says whether a worker takes mail.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        configuration: Path | None,
        *,
        serving: Callable[[], bool],
        clock: Clock,
        events: EventSink,
    ) -> None:
        self._snapshot, self._configuration, self._serving = snapshot, configuration, serving
        self._clock, self._events = clock, events
        self._tried: float | None = None
        self._commands = OwnCommands("DMARC reports", configuration, clock=clock, events=events)

    async def run(self) -> None:
        """Look until cancelled; a run under way is ended, and goes on at the next start where it was."""
        await self._commands.keep(self.look, lambda: LOOK_SECONDS if self._serving() else START_SECONDS)

    async def look(self) -> None:
        """Send what is due now."""
        config = self._snapshot().config
        if not config.dmarc_reports.send or self._configuration is None or not self._serving():
            return
        now = self._now()
        begin = due_day(now, config)
        if begin is None or (self._tried is not None and now - self._tried < AGAIN_SECONDS):
            return
        before = await asyncio.to_thread(read_day_done, config.data, begin)
        if before is not None and not before.failed:
            return
        self._tried = now
        day = f"{datetime.fromtimestamp(begin, UTC):%Y-%m-%d}"
        said = await self._commands.run("dmarc", "send", "--date", day)
        self._tell(begin, before, await asyncio.to_thread(read_day_done, config.data, begin), said)

    def _tell(self, begin: int, before: DayDone | None, done: DayDone | None, said: str) -> None:
        ended = done is not None and done != before
        self._events.emit(
            DmarcReported(
                at=self._now(),
                day=f"{datetime.fromtimestamp(begin, UTC):%Y-%m-%d}",
                domains=done.domains if done else 0,
                # What an earlier run of the same day did has been told.
                sent=done.sent - (before.sent if before else 0) if done else 0,
                withheld=done.withheld - (before.withheld if before else 0) if done else 0,
                failed=done.failed if done else 0,
                reason="" if ended else said,
            )
        )

    def _now(self) -> float:
        return self._clock.stamp().utc


def due_day(now: float, config: GatewayConfig) -> int | None:
    """Return the first UTC second of yesterday once it is time for its reports, else None."""
    today = datetime.fromtimestamp(now, UTC).date()
    due = datetime.combine(today, config.dmarc_reports.at, UTC)
    if now < due.timestamp():
        return None
    return int(datetime.combine(today - timedelta(days=1), datetime.min.time(), UTC).timestamp())
