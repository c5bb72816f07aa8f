"""Clocks of all kinds (contract.md §§4, 5, 7, 8, 9): something is to be done by a moment, in calendar or working time.

A deadline begins at ``start`` and is due after so many seconds, or after so many working days by the Chinese calendar
with its make-up days (``gateway.blocklist.local.workdays``). Met at a moment, it was kept when that moment is not after
the due one. The due moment is computed when it is opened and stays: a calendar announced later changes nothing.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.blocklist.local.workdays import WorkingCalendar

HOUR = 3600.0
DAY = 86_400.0
# An alarm comes when that share of the time is used up: of a working day, at least two hours are left.
NEAR_SHARE = 0.75


class DeadlineState(StrEnum):
    """Where a deadline stands."""

    OPEN = "open"
    NEAR = "near"
    OVERDUE = "overdue"
    MET = "met"
    MISSED = "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """How long something may take: ``seconds`` of calendar time, or working ``days``."""

    seconds: float = 0.0
    working_days: int = 0

    def due(self, start: float, calendar: WorkingCalendar) -> tuple[float, bool]:
        """Return the moment it ends, and whether the calendar of those days is official."""
        if not self.working_days:
            return start + self.seconds, True
        deadline = calendar.deadline(start, self.working_days)
        return deadline.at, deadline.official


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineKind:
    """A clock of the contract: its ``clause`` and how long it may take."""

    name: str
    clause: str
    allowed: Duration


PROVISIONING = "8"
"""The clause whose clocks concern those who are no customers yet."""

KINDS = {
    kind.name: kind
    for kind in (
        DeadlineKind(name="provisioning", clause="8", allowed=Duration(seconds=24 * HOUR)),
        DeadlineKind(name="provisioning-with-domain", clause="8", allowed=Duration(seconds=48 * HOUR)),
        DeadlineKind(name="complaint-response", clause="4", allowed=Duration(working_days=1)),
        DeadlineKind(name="complaint-outcome", clause="4", allowed=Duration(seconds=3 * DAY)),
        DeadlineKind(name="association-list", clause="4", allowed=Duration(working_days=1)),
        DeadlineKind(name="signatures", clause="5", allowed=Duration(seconds=7 * DAY)),
        DeadlineKind(name="backup-incremental", clause="7", allowed=Duration(seconds=DAY)),
        DeadlineKind(name="backup-full", clause="7", allowed=Duration(seconds=3 * DAY)),
        DeadlineKind(name="ticket-response", clause="9", allowed=Duration(working_days=1)),
        DeadlineKind(name="ticket-outcome", clause="9", allowed=Duration(seconds=3 * DAY)),
    )
}
"""The contract's clocks by name (contract.md §§4, 5, 7, 8, 9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """One running or ended clock; times are UTC seconds.

    ``met_at`` None: not done yet. ``official`` False: the calendar of a day on the way was not announced when it was
    opened. ``customer`` "" concerns all.
    """

    number: int
    kind: str
    clause: str
    subject: str
    customer: str
    start: float
    due: float
    official: bool
    by: str
    met_at: float | None = None
    met_by: str = ""

    def state(self, now: float) -> DeadlineState:
        """Return where it stands at ``now``."""
        if self.met_at is not None:
            return DeadlineState.MET if self.met_at <= self.due else DeadlineState.MISSED
        if now > self.due:
            return DeadlineState.OVERDUE
        near = self.start + (self.due - self.start) * NEAR_SHARE
        return DeadlineState.NEAR if now >= near else DeadlineState.OPEN
