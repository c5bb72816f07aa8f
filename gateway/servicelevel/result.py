"""One line of a judged month: what was promised, what was measured, kept, missed or no data, and the credit owed."""

from dataclasses import dataclass
from enum import StrEnum


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


def outcome_of(known: object, kept: bool) -> Outcome:  # noqa: FBT001 - a judgement, not a switch
    """Return what became of a line; of one that is not known there is no data."""
    if not known:
        return Outcome.NO_DATA
    return Outcome.KEPT if kept else Outcome.MISSED
