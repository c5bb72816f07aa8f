"""Exclusions: time that the contract does not count (contract.md §1, §2), each with who recorded it and why.

Recorded by people (``tidegate sla exclude``), withdrawn by a further entry; never changed. What the gateway excludes by
itself, waiting that systems which are not ours caused, is no entry here: ``gateway.servicelevel.waiting`` finds it
from the attempts each time.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.servicelevel.interval import Interval


class Clause(StrEnum):
    """The clauses that know exclusions."""

    CONNECTIVITY = "connectivity"
    DELAY = "delay"


class ExclusionClass(StrEnum):
    """Why time is not counted; letters as in the contract."""

    MAINTENANCE = "a"
    CUSTOMER_EQUIPMENT = "b"
    CUSTOMER_ERROR = "c"
    CUSTOMER_NEGLIGENCE = "d"
    CARRIER = "e"
    FORCE_MAJEURE = "f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """``[start, end)`` in UTC seconds, for one customer or, with ``customer`` "", for all.

    ``number`` is the record's. ``withdrawn_by`` and ``withdrawn_at`` tell of a withdrawal: the entry stays on record
    and counts no more.
    """

    number: int
    clause: Clause
    kind: ExclusionClass
    start: float
    end: float
    customer: str
    reason: str
    by: str
    recorded_at: float
    withdrawn_by: str = ""
    withdrawn_at: float = 0.0

    @property
    def interval(self) -> Interval:
        """The time it covers."""
        return self.start, self.end

    def concerns(self, clause: Clause, customer: str, span: Interval) -> bool:
        """Whether it counts for a customer's clause within a span of time."""
        start, end = span
        return (
            not self.withdrawn_at
            and self.clause is clause
            and self.customer in {"", customer}
            and self.start < end
            and self.end > start
        )
