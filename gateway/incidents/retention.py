"""What is forgotten, and when; every removal is on record in the chain, which itself loses nothing but values.

Sightings go by whole batches, as the chain sealed them. A message goes when it is old and its incident is closed; what
was said about it (envelope, addresses) is erased from the chain with it. A closed incident goes with everything that
belongs to it, and its rows of the chain keep their digests only. Each step is a short change, so that whoever writes
beside it is held up for some tenths of a second at most.

The abuse desk's rows go as well: tickets that are closed, with the mails of both sides, and reports about incidents
that are all closed. A message that belongs to a ticket goes with it.
"""

from dataclasses import dataclass

from gateway.incidents.book import Change, IncidentBook
from gateway.incidents.chain import COLUMNS, erase, stored_row
from gateway.incidents.desk_retention import STEP_REPORTS, STEP_TICKETS, prune_reports, prune_tickets
from gateway.incidents.evidence import EvidenceStore
from gateway.incidents.folding import day_of
from gateway.incidents.reader import EVIDENCE_COLUMNS, RANKINGS, evidence_of
from gateway.storage import Row

# Of one step: a writer that waits for it waits for some tenths of a second, also where the disk is slow.
STEP_BATCHES = 1
STEP_MESSAGES = 100
STEP_INCIDENTS = 50
STEP_PERIODS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How long things are kept, seconds: sightings, messages of closed incidents, closed incidents and rankings.

    ``tickets`` are those that are closed, with their mails; ``reports`` what was told of incidents that are closed.
    """

    sightings: float = 90 * 86_400.0
    evidence: float = 180 * 86_400.0
    closed: float = 730 * 86_400.0
    tickets: float = 730 * 86_400.0
    reports: float = 730 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What one step removed; ``more`` while something is left to remove."""

    sightings: int = 0
    messages: int = 0
    incidents: int = 0
    tickets: int = 0
    reports: int = 0
    more: bool = False


class Pruner:
    """Removes what is old, a step at a time."""

    def __init__(self, book: IncidentBook, store: EvidenceStore, keeping: Keeping) -> None:
        self._book, self._store, self._keeping = book, store, keeping

    def step(self) -> Pruned:
        """Do one step of each kind; raises StorageError."""
        with self._book.change("retention", "prune") as change:
            sightings, batches = self._sightings(change)
            tickets = prune_tickets(change, self._store, self._keeping.tickets)
            reports = prune_reports(change, self._keeping.reports)
            messages = self._messages(change)
            incidents = self._incidents(change)
            periods = self._periods(change)
        more = (
            batches >= STEP_BATCHES
            or messages >= STEP_MESSAGES
            or incidents >= STEP_INCIDENTS
            or periods >= STEP_PERIODS
            or tickets >= STEP_TICKETS
            or reports >= STEP_REPORTS
        )
        return Pruned(
            sightings=sightings, messages=messages, incidents=incidents, tickets=tickets, reports=reports, more=more
        )

    def _sightings(self, change: Change) -> tuple[int, int]:
        """Remove whole batches from the oldest on; return how many sightings and batches."""
        oldest = change.execute("SELECT first, last, until FROM batch ORDER BY first LIMIT ?", (STEP_BATCHES,))
        through, batches = 0, 0
        for _, last, until in oldest:
            if until >= change.at - self._keeping.sightings:
                break
            through, batches = last, batches + 1
        if not batches:
            return 0, 0
        removed = change.execute_many("DELETE FROM sighting WHERE id <= ?", [(through,)])
        change.execute("DELETE FROM batch WHERE last <= ?", (through,))
        change.record("sightings-pruned", None, {"through": through, "sightings": removed})
        return removed, batches

    def _messages(self, change: Change) -> int:
        rows = change.execute(
            f"SELECT {EVIDENCE_COLUMNS} FROM evidence WHERE removed_at IS NULL AND at < ?"  # noqa: S608 - constants
            " AND (incident IS NULL"
            " OR EXISTS (SELECT 1 FROM incident WHERE id = evidence.incident AND state = 'closed'))"
            " AND NOT EXISTS (SELECT 1 FROM ticket_mail WHERE ticket_mail.trace_id = evidence.trace_id)"
            " ORDER BY at LIMIT ?",
            (change.at - self._keeping.evidence, STEP_MESSAGES),
        )
        self._store.remove(change, [evidence_of(row) for row in rows], "kept long enough")
        return len(rows)

    def _incidents(self, change: Change) -> int:
        """Remove closed incidents whose sightings and tickets are gone already."""
        rows = change.execute(
            "SELECT id FROM incident INDEXED BY incident_closed WHERE state = 'closed' AND closed_at < ? AND NOT EXISTS"
            " (SELECT 1 FROM sighting WHERE incident = incident.id) AND NOT EXISTS (SELECT 1 FROM ticket"
            " WHERE ticket.incident = incident.id) ORDER BY closed_at LIMIT ?",
            (change.at - self._keeping.closed, STEP_INCIDENTS),
        )
        for (number,) in rows:
            self._forget(change, number)
        return len(rows)

    def _forget(self, change: Change, number: int) -> None:
        found = change.execute(
            f"SELECT {EVIDENCE_COLUMNS} FROM evidence WHERE incident = ? AND removed_at IS NULL",  # noqa: S608 - constants
            (number,),
        )
        self._store.remove(change, [evidence_of(row) for row in found], "its incident was kept long enough")
        gone = {
            table: [row[0] for row in change.execute(f"DELETE FROM {table} WHERE incident = ? RETURNING id", (number,))]  # noqa: S608 - constants
            for table in ("note", "evidence", "mention", "clock")
        }
        change.execute("DELETE FROM domain WHERE incident = ?", (number,))
        change.execute("DELETE FROM incident WHERE id = ?", (number,))
        rows = change.execute(f"SELECT {COLUMNS} FROM chain WHERE incident = ? ORDER BY number", (number,))  # noqa: S608 - constants
        for row in rows:
            erase(change, stored_row(row), lambda _: True)
        facts = {"pruned": number, "through": rows[-1][0], "notes": gone["note"], "evidence": gone["evidence"]}
        change.record("pruned", None, facts)

    def _periods(self, change: Change) -> int:
        """Remove old rankings; a week sorts behind the days of its year, and goes when that is over."""
        before = day_of(change.at - self._keeping.closed)
        rows: list[Row] = []
        for what in RANKINGS.values():
            old = "SELECT what, period, name FROM activity WHERE what = ? AND period < ? LIMIT ?"
            rows += change.execute(old, (what, before, STEP_PERIODS - len(rows)))
        change.execute_many("DELETE FROM activity WHERE what = ? AND period = ? AND name = ?", rows)
        return len(rows)
