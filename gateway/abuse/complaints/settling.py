"""The service level's record and the table ``clock`` tell the same: what is due, what is done (contract.md §4, §9).

The record is the truth. What could not be noted there when a ticket was opened or answered is noted now, with the
moments that held then; what was stopped by hand (``tidegate deadline met``) is done for its ticket as well; and every
deadline that runs, of complaints or not, has its row in ``deadlines_due``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

from gateway.abuse.complaints.deadlines import OUTCOME, RESPONSE, TicketClocks
from gateway.abuse.post import BY
from gateway.incidents import Change, IncidentBook, IncidentReader
from gateway.servicelevel.deadline import Deadline

_PLACES = {RESPONSE: "response", OUTCOME: "outcome"}


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the table ``clock``."""

    id: int
    kind: str
    subject: str
    ticket: int | None
    deadline: int | None
    started_at: float
    due_at: float
    met_at: float | None


_SELECT = f"SELECT {', '.join(field.name for field in fields(_Row))} FROM clock"  # noqa: S608 - constants


def settle(book: IncidentBook, clocks: TicketClocks, now: float) -> bool:
    """Make both tell the same; False when that has to be tried again. StorageError."""
    with IncidentReader(book.data) as reader:
        missing = _read(reader, "deadline IS NULL AND ticket IS NOT NULL")
    noted = _note(book, clocks, missing, now)
    deadlines = clocks.all()
    if deadlines is None:
        return False
    with IncidentReader(book.data) as reader:
        running = _read(reader, "met_at IS NULL AND deadline IS NOT NULL")
        shown = {row.deadline: row for row in running}
        new: list[Deadline] = []
        for each in deadlines.values():
            if each.met_at is None and each.number not in shown:
                rows = _read(reader, "deadline = ?", each.number)
                clocks.stop([row.deadline for row in rows], rows[0].met_at or now, BY) if rows else new.append(each)
    done = [(row, deadline) for row in running if (deadline := _done(deadlines, row)) is not None]
    if done or new:
        with book.change(BY, "complaint desk") as change:
            for row, deadline in done:
                _met(change, row, deadline)
            for deadline in new:
                _show(change, deadline)
    return noted


def started(change: Change, clock: int, since: float, deadline: int | None) -> None:
    """Say of a clock since when it runs, and which deadline on record it is."""
    change.execute("UPDATE clock SET started_at = ?, deadline = ? WHERE id = ?", (since, deadline, clock))


def _read(reader: IncidentReader, where: str, *values: object) -> list[_Row]:
    return [_Row(*row) for row in reader.rows(f"{_SELECT} WHERE {where}", values)]


def _done(deadlines: Mapping[int, Deadline], row: _Row) -> Deadline | None:
    found = deadlines.get(row.deadline or 0)
    return found if found is not None and found.met_at is not None else None


def _note(book: IncidentBook, clocks: TicketClocks, rows: Iterable[_Row], now: float) -> bool:
    """Put on record what could not be put there when it began, with the moments that held then."""
    for row in rows:
        wanted = replace(clocks.wanted(row.kind, row.subject, row.started_at), due=row.due_at)
        number = clocks.find(wanted) or clocks.note(wanted, now, BY)
        if number is None:
            return False
        with book.change(BY, "complaint desk") as change:
            started(change, row.id, row.started_at, number)
            place = _PLACES[row.kind]
            change.execute(
                f"UPDATE ticket SET {place}_deadline = ? WHERE id = ? AND {place}_clock = ?",  # noqa: S608 - constants
                (number, row.ticket, row.id),
            )
    return True


def _met(change: Change, row: _Row, deadline: Deadline) -> None:
    """Note that a deadline was stopped on the service level's record, by hand: its ticket is told so, too."""
    stopped = "UPDATE clock SET met_at = ? WHERE id = ? AND met_at IS NULL RETURNING id"
    if not change.execute(stopped, (deadline.met_at, row.id)):
        # Somebody answered since the clocks were read: that stands, as the chain has it.
        return
    change.record("clock-stopped", None, {"clock": row.id, "by": deadline.met_by})
    if row.kind == RESPONSE:
        change.execute(
            "UPDATE ticket SET responded_at = ?, answered_by = ?, state = CASE state WHEN 'open' THEN 'answered'"
            " ELSE state END WHERE id = ? AND response_clock = ? AND responded_at IS NULL",
            (deadline.met_at, deadline.met_by, row.ticket, row.id),
        )
    elif row.kind == OUTCOME:
        change.execute(
            "UPDATE ticket SET outcome_at = ?, answered_by = ?, state = 'closed', outcome = 'deadline met'"
            " WHERE id = ? AND outcome_clock = ? AND outcome_at IS NULL",
            (deadline.met_at, deadline.met_by, row.ticket, row.id),
        )


def _show(change: Change, deadline: Deadline) -> None:
    clock = change.start_clock(deadline.kind, deadline.subject, deadline.due)
    started(change, clock, deadline.start, deadline.number)
