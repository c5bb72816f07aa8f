"""A ticket's two clocks on the service level's record (contract.md §4: first response, outcome).

The record has no transactions with the incidents' database; so a clock is found again by its subject, and what could
not be noted (the record is damaged, its disk full) is tried again at the desk's next start.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.blocklist.local.workdays import WorkingCalendar
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.clocks import new_deadline
from gateway.servicelevel.deadline import KINDS, Deadline
from gateway.servicelevel.records import Records, RecordsBrokenError

RESPONSE, OUTCOME = "complaint-response", "complaint-outcome"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One of a ticket's clocks: due when (UTC seconds), and its number on record, None when it could not be noted."""

    kind: str
    due: float
    number: int | None


class TicketClocks:
    """Starts and stops them in somebody's name; never raises for the record's sake."""

    def __init__(self, data: Path, calendar: WorkingCalendar) -> None:
        self._records, self._calendar = Records(data), calendar

    def start(self, subject: str, started: float, now: float, by: str) -> dict[str, Clock]:
        """Start both for a complaint that came at ``started``; those that run already are found again."""
        running = {each.kind: each for each in self._all() if each.subject == subject}
        found = {}
        for kind in (RESPONSE, OUTCOME):
            wanted = new_deadline(KINDS[kind], subject, "", started, self._calendar)
            number = running[kind].number if kind in running else self._noted(wanted, now, by)
            found[kind] = Clock(kind=kind, due=wanted.due, number=number)
        return found

    def stop(self, numbers: Iterable[int | None], at: float, by: str) -> None:
        """Note that what clocks were for is done; one that is stopped already stays so."""
        for number in numbers:
            try:
                if number is not None:
                    Writer(self._records, at, by).meet_deadline(number, at)
            except (ValueError, OSError, RecordsBrokenError):
                continue

    def running(self) -> frozenset[int]:
        """Return the numbers of the complaint clocks that run."""
        return frozenset(each.number for each in self._all() if each.met_at is None)

    def _noted(self, wanted: Deadline, now: float, by: str) -> int | None:
        try:
            return Writer(self._records, now, by).open_deadline(wanted).number
        except OSError:
            return None

    def _all(self) -> list[Deadline]:
        try:
            deadlines = Book.of(self._records.read()).deadlines.values()
        except (OSError, RecordsBrokenError):
            return []
        return [each for each in deadlines if each.kind in (RESPONSE, OUTCOME)]
