"""Everything a month is judged by, and what of it concerns the customer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from gateway.config.service_level import ServiceTerms
from gateway.servicelevel.book import Book, TermsInForce
from gateway.servicelevel.deadline import Deadline
from gateway.servicelevel.exclusion import Clause, Exclusion
from gateway.servicelevel.fault import Adjustment, Fault
from gateway.servicelevel.interval import Interval, Intervals, clipped, minus, union
from gateway.servicelevel.month import Month
from gateway.servicelevel.store import Observed
from gateway.servicelevel.summary import DaySummary


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

    @property
    def in_force(self) -> TermsInForce:
        """The terms that the month is judged by: those that held at its end; KeyError for a customer without any."""
        found = self.book.terms_at(self.customer, self.month.span[1])
        if found is None:
            raise KeyError(self.customer)
        return found

    @property
    def terms(self) -> ServiceTerms:
        """The numbers of ``in_force``."""
        return self.in_force.terms

    @property
    def served_from(self) -> float:
        """When the first terms of the customer's were put on record."""
        return self.book.terms[self.customer][0].since

    @property
    def served_until(self) -> float:
        """When the customer's last domain was taken away; the end of time for one who has any."""
        left = inf
        for terms in reversed(self.book.terms[self.customer]):
            if terms.owners:
                break
            left = terms.since
        return left

    @property
    def span(self) -> Interval:
        """What of the month is judged: since the customer was served, until now or until it was no more."""
        start, end = self.month.span
        return max(start, min(self.served_from, end)), max(start, min(end, self.now, self.served_until))

    def excluding(self, clause: Clause, span: Interval) -> tuple[Exclusion, ...]:
        """Return the exclusions that count for a clause within a span."""
        return self.book.excluding(clause, self.customer, span)

    def exclusions(self, span: Interval) -> tuple[Exclusion, ...]:
        """Return the exclusions of both clauses that touch a span, withdrawn ones too: they stay on record."""
        return tuple(
            each
            for each in self.book.exclusions.values()
            if each.customer in {"", self.customer} and each.start < span[1] and each.end > span[0]
        )

    def logged_faults(self) -> Intervals:
        """Return when something of the customer's did not work, at any time, planned or not."""
        return union(each.interval(self.now) for each in self.book.faults.values() if each.concerns(self.customer))

    def fault_intervals(self) -> Intervals:
        """Return the time of faults; what stopped in a planned adjustment is none and counts there (contract.md §3)."""
        planned = [
            each.interval
            for each in self.book.adjustments.values()
            if each.planned and each.customer in {"", self.customer}
        ]
        return minus(self.logged_faults(), planned)

    def faults(self) -> tuple[Fault, ...]:
        """Return the customer's faults in the judged part of the month."""
        start, end = self.span
        return tuple(
            each
            for each in self.book.faults.values()
            if each.concerns(self.customer) and each.start < end and each.interval(self.now)[1] > start
        )

    def adjustments(self) -> tuple[Adjustment, ...]:
        """Return the customer's planned changes in the month."""
        return tuple(
            each
            for each in self.book.adjustments.values()
            if each.customer in {"", self.customer} and clipped([each.interval], *self.month.span)
        )

    def deadlines(self) -> tuple[Deadline, ...]:
        """Return the clocks that were due in the month, as far as it has come, or met early in it.

        A customer's own also from before it was served, as its opening is, and after; everybody's while it was.
        """
        month_start, month_end = self.month.span
        spans = {"": self.span, self.customer: (month_start, min(month_end, self.now))}
        return tuple(
            each
            for each in self.book.deadlines.values()
            if (span := spans.get(each.customer)) and span[0] <= min(each.due, each.met_at or each.due) < span[1]
        )
