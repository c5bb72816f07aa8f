"""What the abuse desk forgets: closed tickets with the mails of both sides, and reports about what is closed.

Who wrote and what was written is personal, so it is erased from the chain with the rows; which tickets and reports
there were stays, with the proof that they were removed by the rules. Nothing that somebody still waits for goes.
"""

from gateway.incidents.book import Change
from gateway.incidents.chain import COLUMNS, erase, stored_row
from gateway.incidents.evidence import EvidenceStore
from gateway.incidents.reader import EVIDENCE_COLUMNS, evidence_of

# Of one step, as ``retention`` has it.
STEP_TICKETS = 50
STEP_REPORTS = 200
# What the chain tells of a ticket, under the fact ``ticket``.
TICKET_ROWS = ("ticket-opened", "ticket-answered", "ticket-undelivered", "mail-bounced", "mail-answered")
_OLD_REPORTS = """
SELECT id, mail FROM report WHERE at < ? AND NOT EXISTS (
    SELECT 1 FROM report_incident JOIN incident ON incident.id = report_incident.incident
    WHERE report_incident.report = report.id AND incident.state <> 'closed'
) AND NOT EXISTS (SELECT 1 FROM desk_mail WHERE desk_mail.id = report.mail AND desk_mail.state = 'composed')
AND (kind <> 'listing' OR EXISTS (
    SELECT 1 FROM report later
    WHERE later.kind = 'listing' AND later.source_key = report.source_key AND later.id > report.id
)) ORDER BY id LIMIT ?"""


def prune_tickets(change: Change, store: EvidenceStore, keep_seconds: float) -> int:
    """Remove tickets that have been closed for so long, a step of them; return how many."""
    rows = change.execute(
        "SELECT id FROM ticket WHERE state = 'closed' AND outcome_at < ? ORDER BY outcome_at LIMIT ?",
        (change.at - keep_seconds, STEP_TICKETS),
    )
    tickets = [int(row[0]) for row in rows]
    if not tickets:
        return 0
    marks = ", ".join("?" * len(tickets))
    evidence = _remove_evidence(change, store, marks, tickets)
    written = f"SELECT mail FROM ticket_mail WHERE ticket IN ({marks}) AND mail IS NOT NULL"  # noqa: S608 - marks
    mails = [row[0] for row in change.execute(written, tickets)]
    for table, column in (("ticket_mail", "ticket"), ("clock", "ticket"), ("desk_seen", "ticket"), ("ticket", "id")):
        change.execute(f"DELETE FROM {table} WHERE {column} IN ({marks})", tickets)  # noqa: S608 - names of this line
    change.execute_many("DELETE FROM desk_mail WHERE id = ?", [(mail,) for mail in mails])
    through = _erase(change, marks, tickets)
    change.record(
        "tickets-pruned", None, {"tickets": tickets, "through": through, "evidence": evidence, "mails": mails}
    )
    return len(tickets)


def _erase(change: Change, marks: str, tickets: list[int]) -> int:
    """Forget what the chain tells of tickets but that there were; return its last row of them, 0 for none."""
    kinds = ", ".join("?" * len(TICKET_ROWS))
    told = change.execute(
        f"SELECT {COLUMNS} FROM chain WHERE kind IN ({kinds})"  # noqa: S608 - constants and marks
        f" AND json_extract(facts, '$.ticket') IN ({marks}) ORDER BY number",
        (*TICKET_ROWS, *tickets),
    )
    for row in told:
        erase(change, stored_row(row), lambda name: name != "facts.ticket")
    return int(told[-1][0]) if told else 0


def _remove_evidence(change: Change, store: EvidenceStore, marks: str, tickets: list[int]) -> list[int]:
    """Remove what complainants wrote, and its rows; return their numbers."""
    rows = change.execute(
        f"SELECT {EVIDENCE_COLUMNS} FROM evidence WHERE trace_id IN"  # noqa: S608 - constants and marks
        f" (SELECT trace_id FROM ticket_mail WHERE ticket IN ({marks}) AND trace_id <> '')"
        " AND json_extract(facts, '$.complaint') IS NOT NULL",
        tickets,
    )
    found = [evidence_of(row) for row in rows]
    store.remove(change, found, "its ticket was kept long enough")
    change.execute_many("DELETE FROM evidence WHERE id = ?", [(row.id,) for row in found])
    return [row.id for row in found]


def prune_reports(change: Change, keep_seconds: float) -> int:
    """Remove reports that are so old and tell of nothing that is open, with their mails; return how many.

    The last one about a name of ours on a list stays: it says what the association knows.
    """
    rows = change.execute(_OLD_REPORTS, (change.at - keep_seconds, STEP_REPORTS))
    if not rows:
        return 0
    numbers = [row[0] for row in rows]
    mails = [row[1] for row in rows if row[1] is not None]
    change.execute_many("DELETE FROM report_incident WHERE report = ?", [(number,) for number in numbers])
    change.execute_many("DELETE FROM report WHERE id = ?", [(number,) for number in numbers])
    change.execute_many("DELETE FROM desk_mail WHERE id = ?", [(mail,) for mail in mails])
    change.execute("DELETE FROM contact WHERE found_at < ?", (change.at - keep_seconds,))
    change.record("reports-pruned", None, {"reports": numbers, "mails": mails})
    return len(numbers)
