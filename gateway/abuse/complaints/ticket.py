"""Tickets as values, and the statements that write and read them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from gateway.incidents import IncidentReader

_COLUMNS = (
    "id, opened_at, state, format, feedback_type, trace_id, address, reporter, language, subject, about_trace_id,"
    " about_message_id, source_kind, source_key, matched_by, incident, sha256, octets, unanswerable, facts,"
    " response_clock, outcome_clock, response_deadline, outcome_deadline, response_due, outcome_due, responded_at,"
    " outcome_at, outcome, answered_by"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One complaint: ``state`` open, answered (a first response left) or closed (the outcome did).

    ``trace_id`` is the complaint mail's, ``about_…`` the mail's it is about. ``unanswerable`` says why no machine
    answered it, "" where one did. ``…_clock`` are clocks of the incident record, ``…_deadline`` the service level's.
    """

    id: int
    opened_at: float
    state: str
    format: str
    feedback_type: str
    trace_id: str
    address: str
    reporter: str
    language: str
    subject: str
    about_trace_id: str
    about_message_id: str
    source_kind: str
    source_key: str
    matched_by: str
    incident: int | None
    sha256: str
    octets: int
    unanswerable: str
    facts: dict[str, Any]
    response_clock: int | None
    outcome_clock: int | None
    response_deadline: int | None
    outcome_deadline: int | None
    response_due: float
    outcome_due: float
    responded_at: float | None
    outcome_at: float | None
    outcome: str
    answered_by: str

    @property
    def about(self) -> str:
        """What it is about, in one line."""
        if self.about_trace_id:
            return f"{self.about_trace_id} {self.about_message_id}".strip()
        return f"{self.source_kind} {self.source_key}".strip() or "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketMail:
    """One mail to or from the complainant."""

    at: float
    kind: str
    party: str
    subject: str
    message_id: str
    trace_id: str
    state: str


_NAMES = tuple(field.name for field in fields(Ticket))


def ticket_of(row: Sequence[Any]) -> Ticket:
    """Return the ticket of a row of all columns in order."""
    values = dict(zip(_NAMES, row, strict=True))
    return Ticket(**values | {"facts": json.loads(values["facts"])})


SELECT = f"SELECT {_COLUMNS} FROM ticket"  # noqa: S608 - constants


class Tickets:
    """Reads tickets; a context manager; StorageError."""

    def __init__(self, data: Path) -> None:
        self._reader = IncidentReader(data)

    def one(self, number: int) -> Ticket | None:
        """Return a ticket."""
        return next(iter(self._found("WHERE id = ?", (number,))), None)

    def of_trace(self, trace_id: str) -> Ticket | None:
        """Return the ticket of a complaint mail."""
        return next(iter(self._found("WHERE trace_id = ?", (trace_id,))), None)

    def find(self, state: str = "", reporter: str = "", incident: int | None = None, limit: int = 100) -> list[Ticket]:
        """Return tickets, the most urgent first among those not closed; "" stands for any."""
        where, values = ["1"], list[object]()
        for condition, value in (("state = ?", state), ("reporter = ?", reporter), ("incident = ?", incident)):
            if value:
                where.append(condition)
                values.append(value)
        return self._found(
            f"WHERE {' AND '.join(where)} ORDER BY state = 'closed', outcome_due, id LIMIT ?", (*values, limit)
        )

    def mails(self, number: int) -> list[TicketMail]:
        """Return what was written to and fro."""
        rows = self._reader.rows(
            "SELECT m.at, m.kind, m.party, m.subject, m.message_id, coalesce(nullif(d.trace_id, ''), m.trace_id),"
            " coalesce(d.state, '') FROM ticket_mail m LEFT JOIN desk_mail d ON d.id = m.mail WHERE m.ticket = ?"
            " ORDER BY m.id",
            (number,),
        )
        names = ("at", "kind", "party", "subject", "message_id", "trace_id", "state")
        return [TicketMail(**dict(zip(names, row, strict=True))) for row in rows]

    def _found(self, where: str, values: tuple[object, ...]) -> list[Ticket]:
        return [ticket_of(row) for row in self._reader.rows(f"{SELECT} {where}", values)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
