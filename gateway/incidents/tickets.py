"""Complaints and tickets: their tables in the incidents' database.

A ``ticket`` is one complaint and its clocks; ``ticket_mail`` what was written to and fro about it; ``desk_seen`` every
mail that the abuse desk has read, so that none is read twice, with what was made of it.
"""

from gateway.storage import Migration, Schema

_TICKET = """
CREATE TABLE ticket (
    id INTEGER PRIMARY KEY AUTOINCREMENT, opened_at REAL NOT NULL, state TEXT NOT NULL DEFAULT 'open',
    format TEXT NOT NULL, feedback_type TEXT NOT NULL, trace_id TEXT NOT NULL UNIQUE, address TEXT NOT NULL,
    reporter TEXT NOT NULL, language TEXT NOT NULL, subject TEXT NOT NULL, about_trace_id TEXT NOT NULL,
    about_message_id TEXT NOT NULL, source_kind TEXT NOT NULL, source_key TEXT NOT NULL, matched_by TEXT NOT NULL,
    incident INTEGER, sha256 TEXT NOT NULL, octets INTEGER NOT NULL, unanswerable TEXT NOT NULL, facts TEXT NOT NULL,
    response_clock INTEGER, outcome_clock INTEGER, response_deadline INTEGER, outcome_deadline INTEGER,
    response_due REAL NOT NULL, outcome_due REAL NOT NULL, responded_at REAL, outcome_at REAL,
    outcome TEXT NOT NULL DEFAULT '', answered_by TEXT NOT NULL DEFAULT ''
)"""
_TICKET_MAIL = """
CREATE TABLE ticket_mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT, ticket INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL,
    party TEXT NOT NULL, subject TEXT NOT NULL, message_id TEXT NOT NULL, trace_id TEXT NOT NULL, mail INTEGER
)"""
_SEEN = """
CREATE TABLE desk_seen (
    trace_id TEXT PRIMARY KEY, at REAL NOT NULL, what TEXT NOT NULL, ticket INTEGER, report INTEGER,
    reason TEXT NOT NULL
) WITHOUT ROWID"""
_INDEXES = (
    "CREATE INDEX ticket_incident ON ticket (incident) WHERE incident IS NOT NULL",
    "CREATE INDEX ticket_reporter ON ticket (reporter, opened_at)",
    "CREATE INDEX ticket_open ON ticket (outcome_due) WHERE state <> 'closed'",
    "CREATE INDEX ticket_mail_ticket ON ticket_mail (ticket)",
    "CREATE INDEX ticket_mail_party ON ticket_mail (party, at)",
    "CREATE INDEX ticket_mail_message ON ticket_mail (message_id) WHERE message_id <> ''",
)
_VIEW = """
CREATE VIEW open_tickets AS
SELECT id AS ticket, state, format, feedback_type, reporter, subject, incident, source_kind, source_key AS source,
    datetime(opened_at, 'unixepoch') AS opened_at, datetime(response_due, 'unixepoch') AS response_due,
    datetime(responded_at, 'unixepoch') AS responded_at, datetime(outcome_due, 'unixepoch') AS outcome_due
FROM ticket WHERE state <> 'closed'"""


def _create(schema: Schema) -> None:
    for sql in (_TICKET, _TICKET_MAIL, _SEEN, *_INDEXES, _VIEW):
        schema.execute(sql)


MIGRATIONS: tuple[Migration, ...] = (Migration(1, "tickets", _create),)
