"""A customer's month judged, clause by clause (contract.md): limit, value, samples, exclusions, outcome, credit.

Each clause stands by itself: 99.9 %, 99.99 % and "at most 100 minutes" do not agree with each other, and no figure is
bent so that they do. A clause without data says so; it is neither kept nor missed. A month that is not over yet is
judged so far.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from gateway.config.service_level import ServiceTerms
from gateway.servicelevel.book import Book
from gateway.servicelevel.deadline import KINDS, Deadline, DeadlineState
from gateway.servicelevel.exclusion import Clause, Exclusion
from gateway.servicelevel.fault import Adjustment, Fault
from gateway.servicelevel.figures import Figures
from gateway.servicelevel.interval import Interval, clipped, overlap, seconds, union
from gateway.servicelevel.minutes import Minutes, MinuteState, judged
from gateway.servicelevel.month import MINUTE, Month, day_span
from gateway.servicelevel.sample import RECEIVE, SEND
from gateway.servicelevel.sketch import RELATIVE_ERROR
from gateway.servicelevel.store import Observed
from gateway.servicelevel.summary import DaySummary, total


class Outcome(StrEnum):
    """What became of a clause."""

    KEPT = "kept"
    MISSED = "missed"
    NO_DATA = "no-data"


class Credit(StrEnum):
    """What a missed clause owes the customer."""

    NONE = ""
    DOUBLE_TIME = "double-service-time"
    MONTH_FREE = "month-free"


CREDITS = {
    "1": Credit.DOUBLE_TIME,
    "2": Credit.DOUBLE_TIME,
    "3": Credit.DOUBLE_TIME,
    "4": Credit.MONTH_FREE,
    "5": Credit.MONTH_FREE,
    "7": Credit.DOUBLE_TIME,
    "8": Credit.MONTH_FREE,
    "9": Credit.NONE,
}
"""What each clause owes when it is missed (contract.md)."""

# The minute that runs, and the one whose probe may still be under way.
PENDING_MINUTES = 2

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseResult:
    """One line of the report.

    ``measure`` names what was measured (``gateway.reports.words`` has it in both languages), ``unit`` of ``limit``,
    ``before`` and ``value``: percent, minutes, seconds, times, days, share, count. ``before`` is the value without
    exclusions, None where they do not apply. ``samples`` is how much was measured. ``exclusions`` are record numbers;
    ``automatic`` counts waiting excluded on evidence. ``decides`` False: only shown, another line decides.
    """

    clause: str
    measure: str
    unit: str
    limit: float | None
    comparison: str
    value: float | None
    samples: int
    outcome: Outcome
    before: float | None = None
    exclusions: tuple[int, ...] = ()
    automatic: int = 0
    decides: bool = True
    note: str = ""

    @property
    def credit(self) -> Credit:
        """What this line owes."""
        owed = self.decides and self.outcome is Outcome.MISSED
        return CREDITS.get(self.clause, Credit.NONE) if owed else Credit.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatures:
    """What is known of virus signatures in the month: ``changes`` and the longest time between two, seconds."""

    changes: int
    longest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything a month is judged by; ``days`` by direction and ISO date. ``now`` in UTC seconds."""

    customer: str
    month: Month
    now: float
    book: Book
    days: Mapping[tuple[str, str], DaySummary]
    observed: Sequence[Observed]
    signatures: Signatures | None = None
    stale_days: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A judged month: the lines, and what they were made of for charts and lists."""

    customer: str
    month: Month
    judged_at: float
    span: Interval
    terms: ServiceTerms
    results: tuple[ClauseResult, ...]
    delays: Mapping[str, DaySummary]
    days: Mapping[tuple[str, str], DaySummary]
    minutes: Minutes
    exclusions: tuple[Exclusion, ...]
    faults: tuple[Fault, ...]
    adjustments: tuple[Adjustment, ...]
    deadlines: tuple[Deadline, ...]
    stale_days: tuple[str, ...] = ()
    digest: str = field(default="")

    @property
    def complete(self) -> bool:
        """Whether the month was over when it was judged."""
        return self.judged_at >= self.month.span[1]


def evaluate(evidence: Evidence) -> Evaluation:
    """Return the month judged by its evidence; KeyError for a customer of whom there are no terms."""
    month, now, book, customer = evidence.month, evidence.now, evidence.book, evidence.customer
    start, end = month.span
    in_force = book.terms_at(customer, end)
    if in_force is None:
        raise KeyError(customer)
    served_from = book.terms[customer][0].since
    span = max(start, min(served_from, end)), max(start, min(end, now))
    minutes = judged(evidence.observed, span, book.excluding(Clause.CONNECTIVITY, customer, span))
    if now < end:
        minutes = minutes.without_pending(PENDING_MINUTES)
    delays = {
        direction: total([day for (to, _), day in sorted(evidence.days.items()) if to == direction])
        for direction in (SEND, RECEIVE)
    }
    of = _Judge(evidence, in_force.terms, span)
    results = (
        *of.connectivity(minutes),
        *(line for direction in (SEND, RECEIVE) for line in of.delay(direction, delays[direction])),
        *of.operation(),
        *of.deadlines("4"),
        of.signatures(),
        *(line for clause in ("7", "8", "9") for line in of.deadlines(clause)),
    )
    horizon = max([end, *(day.last_finished for day in evidence.days.values())])
    evaluation = Evaluation(
        customer=customer,
        month=month,
        judged_at=now,
        span=span,
        terms=in_force.terms,
        results=results,
        delays=delays,
        days=evidence.days,
        minutes=minutes,
        exclusions=_touching(book, customer, (start, horizon)),
        faults=tuple(each for each in book.faults.values() if of.concerned(each)),
        adjustments=tuple(each for each in book.adjustments.values() if of.adjusted(each)),
        deadlines=tuple(of.due_in_month()),
        stale_days=evidence.stale_days,
    )
    return _sealed(evaluation)


def _touching(book: Book, customer: str, span: Interval) -> tuple[Exclusion, ...]:
    """Return the exclusions of both clauses that touch a span, withdrawn ones too: they stay on record."""
    return tuple(
        each
        for each in book.exclusions.values()
        if each.customer in {"", customer} and each.start < span[1] and each.end > span[0]
    )


class _Judge:
    """The clauses of one month."""

    def __init__(self, evidence: Evidence, terms: ServiceTerms, span: Interval) -> None:
        self._evidence, self._terms, self._span = evidence, terms, span
        self._book, self._customer, self._now = evidence.book, evidence.customer, evidence.now

    # §1

    def connectivity(self, minutes: Minutes) -> list[ClauseResult]:
        """Availability in per cent of the month, which decides, and the minutes it is said to be."""
        terms, samples = self._terms, len(minutes.states)
        # The promise is about the whole month: time still to come, or before the service began, is not unreachable.
        month_start, month_end = self._evidence.month.span
        length = (month_end - month_start) / MINUTE
        counts, before = (
            minutes.unreachable(count_unknown=terms.count_unknown, excluding=excluding) for excluding in (True, False)
        )
        # Nothing observed at all is no evidence of an outage; a gap between observations is.
        known = samples > minutes.raw.count(MinuteState.UNKNOWN)
        used = tuple(each.number for each in self._book.excluding(Clause.CONNECTIVITY, self._customer, self._span))
        share, share_before = (100.0 * (1 - count / length) for count in (counts, before))
        unknown = minutes.count(MinuteState.UNKNOWN)
        return [
            ClauseResult(
                clause="1",
                measure="availability",
                unit="percent",
                limit=terms.availability,
                comparison=">=",
                value=share if known else None,
                before=share_before if known else None,
                samples=samples,
                outcome=_outcome(known, share >= terms.availability),
                exclusions=used,
                note=f"unknown:{unknown}" if unknown else "",
            ),
            ClauseResult(
                clause="1",
                measure="unreachable-minutes",
                unit="minutes",
                limit=terms.unreachable_minutes,
                comparison="<",
                value=counts if known else None,
                before=before if known else None,
                samples=samples,
                outcome=_outcome(known, counts < terms.unreachable_minutes),
                exclusions=used,
                decides=False,
            ),
        ]

    # §2

    def delay(self, direction: str, day: DaySummary) -> list[ClauseResult]:
        """Average, maximum exceeded so many times; quantiles and maximum beside them."""
        terms, before, after = self._terms, day.before, day.after
        horizon = max(self._evidence.month.span[1], day.last_finished)
        used = self._book.excluding(Clause.DELAY, self._customer, (self._evidence.month.span[0], horizon))
        exclusions = tuple(each.number for each in used)
        automatic = sum(each.waits for each in day.excluded.values())
        average = after.average_seconds
        common: dict[str, Any] = {"clause": "2", "exclusions": exclusions, "automatic": automatic}
        lines = [
            ClauseResult(
                **common,
                measure=f"{direction}-average",
                unit="seconds",
                limit=terms.average_delay,
                comparison="<=",
                value=average,
                before=before.average_seconds,
                samples=after.count,
                outcome=_outcome(average is not None, average is not None and average <= terms.average_delay),
            ),
            ClauseResult(
                **common,
                measure=f"{direction}-over-maximum",
                unit="times",
                limit=terms.most_over,
                comparison="<=",
                value=after.exceeded if day.copies else None,
                before=before.exceeded if day.copies else None,
                samples=day.copies,
                outcome=_outcome(bool(day.copies), after.exceeded <= terms.most_over),
                note=f"given-up:{day.given_up}" if day.given_up else "",
            ),
            self._shown_delay(common, f"{direction}-maximum", before.max_seconds, after.max_seconds, after.count),
        ]
        for q in QUANTILES:
            values = _quantile(before, q), _quantile(after, q)
            lines.append(self._shown_delay(common, f"{direction}-p{round(q * 100)}", *values, after.count))
        return lines

    def _shown_delay(
        self, common: Mapping[str, Any], measure: str, before: float | None, value: float | None, samples: int
    ) -> ClauseResult:
        estimated = "-p" in measure
        return ClauseResult(
            **common,
            measure=measure,
            unit="seconds",
            limit=None,
            comparison="",
            value=value,
            before=before,
            samples=samples,
            outcome=Outcome.NO_DATA if value is None else Outcome.KEPT,
            decides=False,
            note=f"error:{RELATIVE_ERROR:g}" if estimated and value is not None else "",
        )

    # §3

    def operation(self) -> list[ClauseResult]:
        """Faults, adjustments, availability, fault-free days of the year, billing, pages."""
        terms, (start, end) = self._terms, self._span
        watched = end > start
        faults = clipped((fault.interval(self._now) for fault in self._faults()), start, end)
        planned = clipped((each.interval for each in self._adjustments()), start, end)
        month_start, month_end = self._evidence.month.span
        lost = seconds(faults)
        available = 100.0 * (1 - lost / (month_end - month_start))
        return [
            self._operation("fault-minutes", "minutes", terms.fault_minutes, lost / MINUTE if watched else None),
            self._operation(
                "adjustment-minutes",
                "minutes",
                terms.adjustment_minutes,
                seconds(planned) / MINUTE if watched else None,
            ),
            self._operation(
                "operation-availability",
                "percent",
                terms.operation_availability,
                available if watched else None,
                at_least=True,
            ),
            self._fault_free_days(),
            self._billing(),
            self._operation("page-seconds", "seconds", terms.page_seconds, None),
            self._operation("page-seconds-narrowband", "seconds", terms.page_seconds_narrowband, None),
        ]

    def _operation(
        self, measure: str, unit: str, limit: float, value: float | None, *, at_least: bool = False
    ) -> ClauseResult:
        kept = value is not None and (value >= limit if at_least else value <= limit)
        start, end = self._span
        return ClauseResult(
            clause="3",
            measure=measure,
            unit=unit,
            limit=limit,
            comparison=">=" if at_least else "<=",
            value=value,
            samples=0 if value is None else int(max(0.0, end - start) // MINUTE),
            outcome=_outcome(value is not None, kept),
        )

    def _fault_free_days(self) -> ClauseResult:
        """Days of the calendar year without a fault, those still to come or not watched taken as such; so noted."""
        year_start, year_end = self._evidence.month.year_span
        month = self._evidence.month
        served_from = self._book.terms[self._customer][0].since
        watched = max(year_start, served_from), min(self._span[1], year_end)
        lengths = round((year_end - year_start) / 86_400)
        faulty = self._faulty_days(clipped((f.interval(self._now) for f in self._faults()), *watched), month)
        known = watched[1] > watched[0]
        value = lengths - faulty
        return ClauseResult(
            clause="3",
            measure="fault-free-days",
            unit="days",
            limit=self._terms.fault_free_days,
            comparison=">=",
            value=value if known else None,
            samples=round((watched[1] - watched[0]) / 86_400) if known else 0,
            outcome=_outcome(known, value >= self._terms.fault_free_days),
            note=f"faulty-days:{faulty}",
        )

    @staticmethod
    def _faulty_days(faults: Iterable[Interval], month: Month) -> int:
        days: set[str] = set()
        spans = list(faults)
        at = Month(month.year, 1, month.zone)
        while at.year == month.year:
            for day in at.days:
                span = day_span(at.first_day.fromisoformat(day), month.zone)
                if overlap(spans, [span]) > 0:
                    days.add(day)
            at = at.following
        return len(days)

    def _billing(self) -> ClauseResult:
        billing = self._book.billings.get(str(self._evidence.month))
        share = billing.wrong / billing.billed if billing and billing.billed else None
        return ClauseResult(
            clause="3",
            measure="billing-error",
            unit="share",
            limit=self._terms.billing_error,
            comparison="<=",
            value=share,
            samples=billing.billed if billing else 0,
            outcome=_outcome(share is not None, share is not None and share <= self._terms.billing_error),
        )

    # §§4, 5, 7, 8, 9

    def deadlines(self, clause: str) -> list[ClauseResult]:
        """One line for each kind of clock of a clause: how many were due in the month and not met in time."""
        lines = []
        for kind in (kind for kind in KINDS.values() if kind.clause == clause):
            due = [each for each in self.due_in_month() if each.kind == kind.name]
            late = sum(each.state(self._now) in {DeadlineState.MISSED, DeadlineState.OVERDUE} for each in due)
            supposed = sum(not each.official for each in due)
            lines.append(
                ClauseResult(
                    clause=clause,
                    measure=f"deadline-{kind.name}",
                    unit="times",
                    limit=0,
                    comparison="<=",
                    value=late if due else None,
                    samples=len(due),
                    outcome=_outcome(bool(due), late == 0),
                    note=f"calendar-supposed:{supposed}" if supposed else "",
                )
            )
        return lines

    def signatures(self) -> ClauseResult:
        """Judge the longest time that the virus signatures stayed the same."""
        found = self._evidence.signatures
        days = found.longest_seconds / 86_400 if found else None
        return ClauseResult(
            clause="5",
            measure="signature-days",
            unit="days",
            limit=self._terms.signature_days,
            comparison="<=",
            value=days,
            samples=found.changes if found else 0,
            outcome=_outcome(days is not None, days is not None and days <= self._terms.signature_days),
        )

    # What concerns the customer

    def due_in_month(self) -> list[Deadline]:
        """Return the clocks that were due in the month, as far as it has come, or met early in it."""
        start, _ = self._evidence.month.span
        end = self._span[1]
        return [
            each
            for each in self._book.deadlines.values()
            if each.customer in {"", self._customer} and start <= min(each.due, each.met_at or each.due) < end
        ]

    def _faults(self) -> list[Fault]:
        return [fault for fault in self._book.faults.values() if fault.concerns(self._customer)]

    def _adjustments(self) -> list[Adjustment]:
        return [each for each in self._book.adjustments.values() if each.customer in {"", self._customer}]

    def concerned(self, fault: Fault) -> bool:
        """Whether a fault was the customer's and in the month."""
        start, end = fault.interval(self._now)
        return fault.concerns(self._customer) and start < self._span[1] and end > self._span[0]

    def adjusted(self, adjustment: Adjustment) -> bool:
        """Whether a planned change was the customer's and in the month."""
        month = self._evidence.month.span
        mine = adjustment.customer in {"", self._customer}
        return mine and bool(union(clipped([adjustment.interval], *month)))


def _outcome(known: object, kept: bool) -> Outcome:  # noqa: FBT001 - a judgement, not a switch
    if not known:
        return Outcome.NO_DATA
    return Outcome.KEPT if kept else Outcome.MISSED


def _quantile(figures: Figures, q: float) -> float | None:
    return figures.quantile_seconds(q)


# The digest -----------------------------------------------------------------------------------------------------------


def _sealed(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with a digest over its data: equal data give an equal digest, whenever it is made."""
    stated = {
        "customer": evaluation.customer,
        "month": str(evaluation.month),
        "zone": evaluation.month.zone,
        "span": evaluation.span,
        "terms": evaluation.terms.model_dump(mode="json"),
        "results": [asdict(each) for each in evaluation.results],
        "days": [[*key, day.encode()] for key, day in sorted(evaluation.days.items())],
        "minutes": [[*run] for run in evaluation.minutes.runs()],
        "exclusions": [asdict(each) for each in evaluation.exclusions],
        "faults": [asdict(each) for each in evaluation.faults],
        "adjustments": [asdict(each) for each in evaluation.adjustments],
        "deadlines": [asdict(each) for each in evaluation.deadlines],
        "stale": evaluation.stale_days,
    }
    text = json.dumps(stated, sort_keys=True, ensure_ascii=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return replace(evaluation, digest=digest)
