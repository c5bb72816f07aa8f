"""The fault log and the adjustment log (contract.md §3). Intervals are UTC seconds, half-open."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.servicelevel.interval import Interval

GATEWAY = "gateway"
"""The cause of a fault in which the gateway itself did not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something did not work: for one customer, or for all with ``customer`` "".

    ``cause`` is gateway (it did not run), receive, send, or an operator's word; ``end`` None while it lasts.
    """

    number: int
    customer: str
    cause: str
    reason: str
    start: float
    end: float | None
    opened_by: str
    closed_by: str = ""

    def interval(self, now: float) -> Interval:
        """Return the time it lasted, so far."""
        return self.start, max(self.start, now if self.end is None else self.end)

    def concerns(self, customer: str) -> bool:
        """Whether it was a customer's."""
        return self.customer in {"", customer}


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """A planned change (调整): when, what, and with whom at the customer it was agreed.

    One that was on record before it began is ``planned``: what stops in it is no fault. One that was written down
    afterwards takes nothing back.
    """

    number: int
    customer: str
    start: float
    end: float
    what: str
    agreed_with: str
    by: str
    recorded_at: float

    @property
    def interval(self) -> Interval:
        """The time it takes."""
        return self.start, self.end

    @property
    def planned(self) -> bool:
        """Whether it was on record before it began."""
        return self.recorded_at <= self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing:
    """A month's bills, as the operator records them: how many customers were billed, how many of them wrongly."""

    number: int
    month: str
    billed: int
    wrong: int
    by: str


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The wall clock was set: at reading ``at``, the first afterwards, by ``by`` seconds (forward: positive)."""

    at: float
    by: float


def corrected(utc: float, jumps: Sequence[ClockJump]) -> float:
    """Return an instant on the wall clock as it was set last: stamps of before a jump are moved by it."""
    return utc + sum(jump.by for jump in jumps if jump.at > utc)


def moved(spans: Sequence[Interval], jumps: Sequence[ClockJump]) -> Sequence[Interval]:
    """Return spans of time without the gateway on the wall clock as it was set last.

    Each was written down when it was over: by then the clock had been set already where that was found at once.
    """
    if not jumps:
        return spans
    by = [sum(jump.by for jump in jumps if jump.at > end) for _, end in spans]
    return [(start + each, end + each) for (start, end), each in zip(spans, by, strict=True)]


def without_gateway(faults: Iterable[Fault], now: float) -> tuple[Interval, ...]:
    """Return when the gateway did not run."""
    return tuple(fault.interval(now) for fault in faults if fault.cause == GATEWAY)
