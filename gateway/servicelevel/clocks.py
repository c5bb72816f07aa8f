"""Opening deadlines: the working-day calendar that holds here, and a clock of one of the contract's kinds."""

from pathlib import Path

from gateway.blocklist.local.declaration import read_declarations
from gateway.blocklist.local.workdays import WorkingCalendar
from gateway.servicelevel.deadline import Deadline, DeadlineKind


def calendar_of(blocklists: Path) -> WorkingCalendar:
    """Return the calendar with the administrator's own days, ``[calendar]`` of lists.toml; ConfigError."""
    return WorkingCalendar(read_declarations(blocklists).calendar)


def new_deadline(kind: DeadlineKind, subject: str, customer: str, start: float, calendar: WorkingCalendar) -> Deadline:
    """Return a clock that begins at ``start``, for ``Writer.open_deadline``, which gives it its number."""
    due, official = kind.allowed.due(start, calendar)
    return Deadline(
        number=0,
        kind=kind.name,
        clause=kind.clause,
        subject=subject,
        customer=customer,
        start=start,
        due=due,
        official=official,
        by="",
    )
