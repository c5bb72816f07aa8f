"""A ticket's two clocks on the service level's record (contract.md §4: first response, outcome).

That record is the truth about what is due; the table ``clock`` shows it beside tickets and incidents, and ``settling``
keeps the two one. They share no transaction: a clock is found again by its subject, and what could not be noted (the
record is damaged, its disk full) is noted later.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.blocklist.local.workdays import WorkingCalendar
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.clocks import new_deadline
from gateway.servicelevel.deadline import KINDS, Deadline
from gateway.servicelevel.records import Records, RecordsBrokenError

RESPONSE, OUTCOME = "complaint-response", "complaint-outcome"
# Of an answer's kind, the clock that it stops.
CLOCK_OF: Mapping[str, str] = {"response": RESPONSE, "outcome": OUTCOME}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One of a ticket's clocks: since when and due when (UTC seconds); its number, None while it is not on record."""

    kind: str
    subject: str
    started: float
    due: float
    number: int | None


class TicketClocks:
    """Starts and stops them in somebody's name; never raises for the record's sake."""

    def __init__(self, data: Path, calendar: WorkingCalendar) -> None:
        self._records, self._calendar = Records(data), calendar
        # What was read last, by the size the file had then: a flood of complaints must not read it for each.
        self._known: dict[int, Deadline] | None = None
        self._size = -1

    def use(self, calendar: WorkingCalendar) -> None:
        """Take the working days that hold now."""
        self._calendar = calendar

    def start(self, subject: str, started: float, now: float, by: str) -> dict[str, Clock]:
        """Start both for a complaint that came at ``started``; those that run already are found again."""
        found = {}
        for kind in (RESPONSE, OUTCOME):
            wanted = self.wanted(kind, subject, started)
            number = self.find(wanted) or self.note(wanted, now, by)
            found[kind] = Clock(kind=kind, subject=subject, started=started, due=wanted.due, number=number)
        return found

    def wanted(self, kind: str, subject: str, started: float) -> Deadline:
        """Return a clock as it would be noted."""
        return new_deadline(KINDS[kind], subject, "", started, self._calendar)

    def find(self, wanted: Deadline) -> int | None:
        """Return the number of a clock that is on record: it was noted, and what followed was not."""
        same = (
            each.number
            for each in (self.all() or {}).values()
            if (each.kind, each.subject, each.start) == (wanted.kind, wanted.subject, wanted.start)
        )
        return next(same, None)

    def note(self, wanted: Deadline, now: float, by: str) -> int | None:
        """Put a clock on record and return its number; None when that cannot be done now."""
        read = self._size == self._records.size()
        try:
            number = Writer(self._records, now, by).open_deadline(wanted).number
        except OSError:
            return None
        if self._known is not None and read:
            self._known[number] = replace(wanted, number=number, by=by)
            self._size = self._records.size()
        return number

    def stop(self, numbers: Iterable[int | None], at: float, by: str) -> None:
        """Note that what clocks were for is done; one that is stopped already stays so."""
        for number in numbers:
            try:
                if number is not None:
                    Writer(self._records, at, by).meet_deadline(number, at)
            except (ValueError, OSError, RecordsBrokenError):
                continue

    def size(self) -> int:
        """Return what changes with every entry of the record."""
        return self._records.size()

    def all(self) -> Mapping[int, Deadline] | None:
        """Return every deadline on record, of complaints and others; None when the record cannot be read."""
        try:
            size = self._records.size()
            if self._known is None or size != self._size:
                self._known, self._size = Book.of(self._records.read()).deadlines, size
        except (OSError, RecordsBrokenError):
            self._known = None
        return self._known
