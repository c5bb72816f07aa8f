"""What is put on the incident record, told as events: by the keeper, the desks, and whoever runs a command.

The chain has a row for everything that is done, whichever process did it, so it is what is read: from where it ended
when the gateway began, what is new, in order. What happened while no gateway ran is in the record and the audit trail.
Moves that the keeper made itself are told by its rounds. Reading, never writing; blocking.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.abuse.newness import Newness
from gateway.clock import Clock
from gateway.incidents import IncidentReader
from gateway.incidents.chain import COLUMNS, Row, stored_row
from gateway.incidents.schema import database_path
from gateway.journal.duty_events import DeskActed, IncidentChanged
from gateway.journal.events import Event
from gateway.storage import StorageError

# Rows of one look; the rest at the next.
MOST_A_LOOK = 500
ACTS = (
    *("block-began", "block-ended", "block-refused", "suspended", "restored", "guarantee-recorded"),
    *("ticket-opened", "ticket-answered", "ticket-undelivered"),
    *("reported", "mail-refused", "mail-bounced", "mail-answered", "exported", "evidence-refused"),
)
_MOVES = ("moved", "resumed", "opened-by-hand")
_KINDS = ", ".join(f"'{kind}'" for kind in (*ACTS, *_MOVES))
_HEAD = "SELECT coalesce(max(number), 0) FROM chain"
_NEW = f"SELECT {COLUMNS} FROM chain WHERE number > ? AND number <= ? AND kind IN ({_KINDS}) ORDER BY number"  # noqa: S608 - constants
_BEFORE = """
SELECT kind, json_extract(facts, '$.to') FROM chain
WHERE incident = ? AND number < ? AND kind IN ('moved', 'resumed', 'reported') ORDER BY number DESC LIMIT 1"""
# The first that a row has, in this order.
_SUBJECTS = ("entry", "sender", "subject", "ticket", "report", "block", "suspension", "mail", "trace_id")
_REASONS = ("reason", "why", "override", "problem", "answer", "to")


class RecordTeller:
    """Tells what is new on the record of one data folder; ``silent`` made moves that are told elsewhere."""

    def __init__(self, data: Path, silent: str, clock: Clock) -> None:
        self._silent = silent
        self._reader, self._newness = IncidentReader(data), Newness(database_path(data), clock)
        self._told = self._head()
        self._report: object = None

    def new(self) -> list[Event]:
        """Return the events of what was put on record since the last look; raise StorageError."""
        if not self._newness.look():
            return []
        try:
            return self._told_of_new()
        except (StorageError, OSError):
            self._newness.again()
            raise

    def _told_of_new(self) -> list[Event]:
        if self._reader.follow():
            # Another record, begun anew as a rule: of one that was not, the latest.
            self._told = max(0, self._head() - MOST_A_LOOK)
        last = self._head()
        head = min(last, self._told + MOST_A_LOOK)
        if head <= self._told:
            return []
        if head < last:
            self._newness.again()
        rows = [stored_row(row) for row in self._reader.rows(_NEW, (self._told, head))]
        found = [event for row in rows for event in self._events(row)]
        self._told = head
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def _head(self) -> int:
        rows = self._reader.rows(_HEAD)
        return int(rows[0][0]) if rows else 0

    def _events(self, row: Row) -> Iterator[Event]:
        if row.kind in _MOVES:
            if row.fields.get("by") != self._silent:
                yield from self._moved(row, str(row.facts.get("to", "open")), str(row.facts.get("reason", "")))
            return
        if row.kind == "reported" and row.incident is not None and self._became_reported(row):
            yield from self._moved(row, "reported", "told those whom it concerns")
        # A batch for the association is one report about many incidents.
        if row.kind == "reported" and self._report == (report := row.facts.get("report")):
            return
        if row.kind == "reported":
            self._report = report
        yield DeskActed(
            at=_at(row),
            what=row.kind,
            incident=row.incident or 0,
            subject=_named(row.facts, _SUBJECTS),
            reason=_first(row.facts, _REASONS),
            by=str(row.fields.get("by") or ""),
        )

    def _moved(self, row: Row, state: str, reason: str) -> Iterator[Event]:
        incident = self._reader.incident(row.incident or 0)
        if incident is not None:
            yield IncidentChanged(
                at=_at(row),
                incident=incident.id,
                source=str(incident.source),
                state=state,
                reason=reason,
                sightings=incident.sightings,
            )

    def _became_reported(self, row: Row) -> bool:
        before = self._reader.rows(_BEFORE, (row.incident, row.number))
        return bool(before) and before[0] != ("reported", None) and before[0][1] == "confirmed"


def _at(row: Row) -> float:
    return float(row.fields.get("at") or 0.0)


def _first(facts: dict[str, Any], names: tuple[str, ...]) -> str:
    return next((str(facts[name]) for name in names if facts.get(name)), "")


def _named(facts: dict[str, Any], names: tuple[str, ...]) -> str:
    """Return the first of the facts that is there; a number with the word for what it counts."""
    for name in names:
        value = facts.get(name)
        if value:
            return f"{name} {value}" if isinstance(value, int) else str(value)
    return ""
