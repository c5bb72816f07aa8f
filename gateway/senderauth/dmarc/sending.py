"""A day's reports, sent (RFC 9990 §3.5): each domain once, to the mailboxes that want them, at a bounded rate.

``ReportRun.day`` may be repeated: what was sent or withheld before stays so, what failed is tried again. The limits
are the operator's: reports a day (the busiest domains first), mails a minute, octets a mail; beside them the size that
a mailbox says it takes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from gateway.clock import Clock
from gateway.dns.resolver import Resolver
from gateway.mail.own_mail import OwnMail
from gateway.senderauth.dmarc.aggregate import Day
from gateway.senderauth.dmarc.destinations import Destination, destinations
from gateway.senderauth.dmarc.record import report_addresses
from gateway.senderauth.dmarc.report import Reporter, packed, report_mail, report_xml
from gateway.senderauth.dmarc.sent import DayDone, SentReport, SentReports, State

_MINUTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class NotTaken:
    """The gateway did not take a mail; ``reason`` for people."""

    reason: str


Submit = Callable[[OwnMail], Awaitable[str | NotTaken]]
"""Hands a mail to the gateway and returns its trace id."""

Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLimits:
    """``most`` reports a day, ``per_minute`` mails, ``max_octets`` of one mail."""

    most: int
    per_minute: int
    max_octets: int


class ReportRun:
    """Goes through days; ``submit`` hands mail over, ``pause`` waits between two."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        reporter: Reporter,
        limits: ReportLimits,
        submit: Submit,
        clock: Clock,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._resolver, self._reporter, self._limits = resolver, reporter, limits
        self._submit, self._clock, self._pause = submit, clock, pause
        self._packed: tuple[tuple[str, int], bytes] = (("", 0), b"")

    async def day(self, days: Mapping[str, Day], begin: int, record: SentReports) -> DayDone:
        """Send what is due of one day, put it on record, and return how it went."""
        final = {(r.domain, r.address) for r in record.of_day(begin) if r.state is not State.FAILED}
        left = self._limits.most - sum(r.state is State.SENT for r in record.of_day(begin))
        for domain, day in days.items():
            for wanted in await self._destinations(domain, day):
                if (domain, wanted.address) in final:
                    continue
                row = await self._one(domain, day, begin, wanted, over=left <= 0)
                left -= row.state is State.SENT
                await record.keep(row)
        rows = record.of_day(begin)
        counts = {state: sum(row.state is state for row in rows) for state in State}
        done = DayDone(
            begin=begin,
            at=self._now(),
            domains=len(days),
            sent=counts[State.SENT],
            withheld=counts[State.WITHHELD],
            failed=counts[State.FAILED],
        )
        await record.keep_day(done)
        return done

    async def preview(self, days: Mapping[str, Day], begin: int) -> list[SentReport]:
        """Return what ``day`` would do, and do nothing but ask DNS."""
        return [
            self._judged(domain, day, begin, wanted, b"")
            for domain, day in days.items()
            for wanted in await self._destinations(domain, day)
        ]

    async def _destinations(self, domain: str, day: Day) -> tuple[Destination, ...]:
        return await destinations(self._resolver, domain, report_addresses(day.record))

    async def _one(self, domain: str, day: Day, begin: int, wanted: Destination, *, over: bool) -> SentReport:
        row = self._judged(domain, day, begin, wanted, b"")
        if row.state is not State.SENT:
            return row
        if over:
            return _with(row, State.WITHHELD, f"more than {self._limits.most} reports a day")
        gzipped = await self._gzipped(domain, day, begin)
        mail = report_mail(gzipped, wanted.address, (domain, begin), self._reporter, self._now())
        row = self._judged(domain, day, begin, wanted, mail.octets)
        if row.state is not State.SENT:
            return row
        taken = await self._submit(mail)
        await self._pause(_MINUTE_SECONDS / self._limits.per_minute)
        if isinstance(taken, NotTaken):
            return _with(row, State.FAILED, taken.reason)
        return _with(row, State.SENT, "", taken)

    async def _gzipped(self, domain: str, day: Day, begin: int) -> bytes:
        """Return the report, written once for all of a domain's mailboxes."""
        if self._packed[0] != (domain, begin):
            xml = await asyncio.to_thread(report_xml, day, domain, begin, self._reporter)
            self._packed = (domain, begin), await asyncio.to_thread(packed, xml)
        return self._packed[1]

    def _judged(self, domain: str, day: Day, begin: int, wanted: Destination, octets: bytes) -> SentReport:
        """Return the row of a report as it stands before it is handed over; *sent* when nothing speaks against it."""
        state, reason = State.SENT, ""
        if wanted.refused:
            state, reason = State.WITHHELD, wanted.refused
        elif wanted.unknown:
            state, reason = State.FAILED, wanted.unknown
        elif wanted.max_octets is not None and len(octets) > wanted.max_octets:
            # RFC 7489 §6.2, what is left of it: the size counts after every encoding.
            state, reason = State.WITHHELD, f"{len(octets)} octets; {wanted.max_octets} are taken there"
        elif len(octets) > self._limits.max_octets:
            state, reason = State.WITHHELD, f"{len(octets)} octets; max_size is {self._limits.max_octets}"
        return SentReport(
            domain=domain,
            begin=begin,
            address=wanted.address,
            state=state,
            at=self._now(),
            messages=day.messages,
            octets=len(octets),
            reason=reason,
        )

    def _now(self) -> float:
        return self._clock.stamp().utc


def _with(row: SentReport, state: State, reason: str, trace_id: str = "") -> SentReport:
    return replace(row, state=state, reason=reason, trace_id=trace_id)
