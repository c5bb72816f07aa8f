"""§3 of the contract judged: faults, planned changes, availability, fault-free days, bills, pages (pure).

What stops within an adjustment that was on record before it began is no fault: it counts there, once.
"""

from dataclasses import replace
from datetime import date

from gateway.servicelevel.evidence import Evidence
from gateway.servicelevel.interval import Interval, clipped, overlap, seconds
from gateway.servicelevel.month import MINUTE, Month, day_span
from gateway.servicelevel.result import ClauseResult, outcome_of

_DAY = 86_400
NO_CONSOLE = "no-console"


def operation(evidence: Evidence) -> tuple[ClauseResult, ...]:
    """Return the lines of clause 3; page-opening times have no data while there is no web console."""
    terms, (start, end) = evidence.terms, evidence.span
    watched = end > start
    planned = clipped((each.interval for each in evidence.adjustments()), start, end)
    month_start, month_end = evidence.month.span
    lost = seconds(clipped(evidence.fault_intervals(), start, end))
    planned_stops = round((seconds(clipped(evidence.logged_faults(), start, end)) - lost) / MINUTE, 2)
    available = 100.0 * (1 - lost / (month_end - month_start))
    of = _Lines(evidence.span)
    return (
        replace(
            of.at_most("fault-minutes", "minutes", terms.fault_minutes, lost / MINUTE if watched else None),
            note=f"planned:{planned_stops:g}" if planned_stops else "",
        ),
        of.at_most(
            "adjustment-minutes", "minutes", terms.adjustment_minutes, seconds(planned) / MINUTE if watched else None
        ),
        of.at_least("operation-availability", "percent", terms.operation_availability, available if watched else None),
        _fault_free_days(evidence),
        _billing(evidence),
        replace(of.at_most("page-seconds", "seconds", terms.page_seconds, None), note=NO_CONSOLE),
        replace(of.at_most("page-seconds-narrowband", "seconds", terms.page_seconds_narrowband, None), note=NO_CONSOLE),
    )


class _Lines:
    """Lines whose samples are the minutes watched."""

    def __init__(self, span: Interval) -> None:
        start, end = span
        self._minutes = int(max(0.0, end - start) // MINUTE)

    def at_most(self, measure: str, unit: str, limit: float, value: float | None) -> ClauseResult:
        """Return a line that is kept up to its limit."""
        return self._line((measure, unit, "<="), limit, value, value is not None and value <= limit)

    def at_least(self, measure: str, unit: str, limit: float, value: float | None) -> ClauseResult:
        """Return a line that is kept from its limit on."""
        return self._line((measure, unit, ">="), limit, value, value is not None and value >= limit)

    def _line(self, words: tuple[str, str, str], limit: float, value: float | None, kept: bool) -> ClauseResult:  # noqa: FBT001 - a judgement, not a switch
        measure, unit, comparison = words
        return ClauseResult(
            clause="3",
            measure=measure,
            unit=unit,
            limit=limit,
            comparison=comparison,
            value=value,
            samples=0 if value is None else self._minutes,
            outcome=outcome_of(value is not None, kept),
        )


def _fault_free_days(evidence: Evidence) -> ClauseResult:
    """Days of the calendar year without a fault, those still to come or not watched taken as such; so noted."""
    year_start, year_end = evidence.month.year_span
    watched = max(year_start, evidence.served_from), min(evidence.span[1], year_end)
    faulty = _faulty_days(clipped(evidence.fault_intervals(), *watched), evidence.month)
    known = watched[1] > watched[0]
    value = round((year_end - year_start) / _DAY) - faulty
    limit = evidence.terms.fault_free_days
    return ClauseResult(
        clause="3",
        measure="fault-free-days",
        unit="days",
        limit=limit,
        comparison=">=",
        value=value if known else None,
        samples=round((watched[1] - watched[0]) / _DAY) if known else 0,
        outcome=outcome_of(known, value >= limit),
        note=f"faulty-days:{faulty}",
    )


def _faulty_days(faults: tuple[Interval, ...], month: Month) -> int:
    at, days = Month(month.year, 1, month.zone), 0
    while at.year == month.year:
        days += sum(overlap(faults, [day_span(date.fromisoformat(day), month.zone)]) > 0 for day in at.days)
        at = at.following
    return days


def _billing(evidence: Evidence) -> ClauseResult:
    billing = evidence.book.billings.get(str(evidence.month))
    share = billing.wrong / billing.billed if billing and billing.billed else None
    limit = evidence.terms.billing_error
    return ClauseResult(
        clause="3",
        measure="billing-error",
        unit="share",
        limit=limit,
        comparison="<=",
        value=share,
        samples=billing.billed if billing else 0,
        outcome=outcome_of(share is not None, share is not None and share <= limit),
    )
