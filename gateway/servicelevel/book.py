"""The records as what they mean: exclusions, faults, adjustments, bills, clock jumps, deadlines, terms.

``Book`` is folded from the entries in order. Writing goes through its functions, which know each kind's values; what an
entry refers to must be there. Terms are the contract's numbers and the owners of next hops as the configuration had
them, recorded when they change, so that a past month is judged by what held then.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.config.service_level import ServiceTerms
from gateway.servicelevel.deadline import Deadline
from gateway.servicelevel.exclusion import Clause, Exclusion, ExclusionClass
from gateway.servicelevel.fault import Adjustment, Billing, ClockJump, Fault
from gateway.servicelevel.interval import Interval
from gateway.servicelevel.records import Record, Records


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsInForce:
    """A customer's terms and the owner of each of its domains' next hops, from UTC second ``since``."""

    customer: str
    since: float
    terms: ServiceTerms
    owners: Mapping[str, str]


@dataclass(slots=True)
class Book:
    """Everything on record, by record number; read-only for others."""

    exclusions: dict[int, Exclusion] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)
    adjustments: dict[int, Adjustment] = field(default_factory=dict)
    billings: dict[str, Billing] = field(default_factory=dict)
    deadlines: dict[int, Deadline] = field(default_factory=dict)
    jumps: list[ClockJump] = field(default_factory=list)
    terms: dict[str, list[TermsInForce]] = field(default_factory=dict)
    started: float | None = None

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Book":
        """Return what the entries mean; one of a kind that a later version wrote is passed over."""
        book = cls()
        for record in records:
            take = _TAKERS.get(record.kind)
            if take is not None:
                take(book, record)
        return book

    def excluding(self, clause: Clause, customer: str, span: Interval) -> tuple[Exclusion, ...]:
        """Return the exclusions that count for a customer's clause within a span."""
        return tuple(each for each in self.exclusions.values() if each.concerns(clause, customer, span))

    def terms_at(self, customer: str, utc: float) -> TermsInForce | None:
        """Return the terms in force at an instant: the last recorded before it, else the first; None for nobody."""
        history = self.terms.get(customer, [])
        before = [each for each in history if each.since <= utc]
        return before[-1] if before else next(iter(history), None)

    def open_faults(self) -> list[Fault]:
        """Return the faults that last."""
        return [fault for fault in self.faults.values() if fault.end is None]


# Writing --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Writer:
    """Puts entries on record in somebody's name."""

    records: Records
    at: float
    by: str

    def exclude(
        self, clause: Clause, kind: ExclusionClass, span: Interval, *, customer: str = "", reason: str
    ) -> Record:
        """Record an exclusion; ValueError for one that is empty or has no reason."""
        start, end = span
        if not end > start:
            raise ValueError("an exclusion ends after it starts")
        if not reason.strip():
            raise ValueError("an exclusion needs a reason: the customer will read it")
        values = {"clause": clause.value, "class": kind.value, "start": start, "end": end}
        return self._append("exclusion", values | {"customer": customer, "reason": reason})

    def withdraw(self, number: int, reason: str) -> Record:
        """Withdraw an exclusion; ValueError when there is none of that number that counts."""
        found = Book.of(self.records.read()).exclusions.get(number)
        if found is None or found.withdrawn_at:
            raise ValueError(f"there is no exclusion {number} that still counts")
        return self._append("withdrawal", {"exclusion": number, "reason": reason})

    def open_fault(
        self, cause: str, reason: str, start: float, *, customer: str = "", end: float | None = None
    ) -> Record:
        """Record that something fails since ``start``; with ``end``, that it failed until then."""
        values = {"cause": cause, "reason": reason, "start": start, "customer": customer}
        return self._append("fault-opened", values | ({} if end is None else {"end": end}))

    def close_fault(self, number: int, end: float) -> Record:
        """Record that a fault was over at ``end``; ValueError when there is none of that number that lasts."""
        found = Book.of(self.records.read()).faults.get(number)
        if found is None or found.end is not None:
            raise ValueError(f"there is no open fault {number}")
        if end < found.start:
            raise ValueError("a fault ends after it starts")
        return self._append("fault-closed", {"fault": number, "end": end})

    def adjust(self, span: Interval, *, customer: str, what: str, agreed_with: str) -> Record:
        """Record a planned change; ValueError for an empty one, or one that says neither what nor with whom."""
        start, end = span
        if not end > start:
            raise ValueError("an adjustment ends after it starts")
        if not what.strip() or not agreed_with.strip():
            raise ValueError("an adjustment needs what is changed and with whom it was agreed")
        values = {"start": start, "end": end, "customer": customer, "what": what, "agreed_with": agreed_with}
        return self._append("adjustment", values)

    def bill(self, month: str, billed: int, wrong: int) -> Record:
        """Record a month's bills; a later entry for the month replaces it; ValueError for impossible numbers."""
        if not 0 <= wrong <= billed:
            raise ValueError("between none and all of the customers billed can be billed wrongly")
        return self._append("billing", {"month": month, "billed": billed, "wrong": wrong})

    def jump(self, jump: ClockJump) -> Record:
        """Record that the clock was set."""
        return self._append("clock-jump", {"reading": jump.at, "by": jump.by})

    def open_deadline(self, deadline: Deadline) -> Record:
        """Start a clock; its ``number`` is given here."""
        values = {
            "kind": deadline.kind,
            "clause": deadline.clause,
            "subject": deadline.subject,
            "customer": deadline.customer,
            "start": deadline.start,
            "due": deadline.due,
            "official": deadline.official,
        }
        return self._append("deadline-opened", values)

    def meet_deadline(self, number: int, met_at: float) -> Record:
        """Stop a clock; ValueError when there is none of that number that runs."""
        found = Book.of(self.records.read()).deadlines.get(number)
        if found is None or found.met_at is not None:
            raise ValueError(f"there is no open deadline {number}")
        if met_at < found.start:
            raise ValueError("a deadline is met after it starts")
        return self._append("deadline-met", {"deadline": number, "met_at": met_at})

    def set_terms(self, customer: str, terms: ServiceTerms, owners: Mapping[str, str]) -> Record:
        """Record the terms that hold from now on."""
        values = {"customer": customer, "terms": terms.model_dump(mode="json"), "owners": dict(owners)}
        return self._append("terms", values)

    def _append(self, kind: str, values: Mapping[str, Any]) -> Record:
        return self.records.append(kind, values, at=self.at, by=self.by)


# Reading --------------------------------------------------------------------------------------------------------------


def _exclusion(book: Book, record: Record) -> None:
    values = record.values
    book.exclusions[record.number] = Exclusion(
        number=record.number,
        clause=Clause(values["clause"]),
        kind=ExclusionClass(values["class"]),
        start=values["start"],
        end=values["end"],
        customer=values["customer"],
        reason=values["reason"],
        by=record.by,
        recorded_at=record.at,
    )


def _withdrawal(book: Book, record: Record) -> None:
    number = record.values["exclusion"]
    found = book.exclusions[number]
    book.exclusions[number] = replace(found, withdrawn_by=record.by, withdrawn_at=record.at)


def _fault_opened(book: Book, record: Record) -> None:
    values = record.values
    book.faults[record.number] = Fault(
        number=record.number,
        customer=values["customer"],
        cause=values["cause"],
        reason=values["reason"],
        start=values["start"],
        end=values.get("end"),
        opened_by=record.by,
        closed_by=record.by if "end" in values else "",
    )


def _fault_closed(book: Book, record: Record) -> None:
    number = record.values["fault"]
    book.faults[number] = replace(book.faults[number], end=record.values["end"], closed_by=record.by)


def _adjustment(book: Book, record: Record) -> None:
    book.adjustments[record.number] = Adjustment(
        number=record.number, by=record.by, recorded_at=record.at, **record.values
    )


def _billing(book: Book, record: Record) -> None:
    book.billings[record.values["month"]] = Billing(number=record.number, by=record.by, **record.values)


def _clock_jump(book: Book, record: Record) -> None:
    book.jumps.append(ClockJump(record.values["reading"], record.values["by"]))


def _deadline_opened(book: Book, record: Record) -> None:
    book.deadlines[record.number] = Deadline(number=record.number, by=record.by, **record.values)


def _deadline_met(book: Book, record: Record) -> None:
    number = record.values["deadline"]
    book.deadlines[number] = replace(book.deadlines[number], met_at=record.values["met_at"], met_by=record.by)


def _terms(book: Book, record: Record) -> None:
    values = record.values
    in_force = TermsInForce(
        customer=values["customer"],
        since=record.at,
        terms=ServiceTerms.model_validate(values["terms"]),
        owners=values["owners"],
    )
    book.terms.setdefault(in_force.customer, []).append(in_force)
    book.started = record.at if book.started is None else min(book.started, record.at)


_TAKERS: dict[str, Callable[[Book, Record], None]] = {
    "exclusion": _exclusion,
    "withdrawal": _withdrawal,
    "fault-opened": _fault_opened,
    "fault-closed": _fault_closed,
    "adjustment": _adjustment,
    "billing": _billing,
    "clock-jump": _clock_jump,
    "deadline-opened": _deadline_opened,
    "deadline-met": _deadline_met,
    "terms": _terms,
}
