"""Complaints and tickets: their tables in the incidents' database.

A ``ticket`` is one complaint and its clocks: ``open``, ``answered`` once a first response left, ``closed`` with its
outcome, ``undelivered`` where that came back. ``ticket_mail`` is what was written to and fro about it, ``desk_seen``
every mail that the abuse desk has read, so that none is read twice, with what was made of it. What complainants wrote
lies whole among the evidence, by its trace id, of the ticket's incident or of none.
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


_DUE_VIEW = """
CREATE VIEW deadlines_due AS
SELECT id AS clock, kind, subject, incident, ticket, deadline, datetime(started_at, 'unixepoch') AS started_at,
    datetime(due_at, 'unixepoch') AS due_at, due_at < CAST(strftime('%s', 'now') AS INTEGER) AS overdue,
    round((due_at - CAST(strftime('%s', 'now') AS INTEGER)) / 3600.0, 1) AS hours_left
FROM clock WHERE met_at IS NULL"""
_NOTED = """
UPDATE clock SET deadline = coalesce(
    (SELECT response_deadline FROM ticket WHERE response_clock = clock.id),
    (SELECT outcome_deadline FROM ticket WHERE outcome_clock = clock.id)
) WHERE ticket IS NOT NULL"""


def _one_truth(schema: Schema) -> None:
    """Name the service level's deadline beside each clock, and let evidence be of no incident."""
    schema.execute("ALTER TABLE clock ADD COLUMN deadline INTEGER")
    schema.execute(_NOTED)
    for sql in (
        "CREATE UNIQUE INDEX clock_deadline ON clock (deadline) WHERE deadline IS NOT NULL",
        "CREATE INDEX clock_ticket ON clock (ticket) WHERE ticket IS NOT NULL",
        "CREATE INDEX ticket_mail_trace ON ticket_mail (trace_id) WHERE trace_id <> ''",
        "CREATE INDEX ticket_closed ON ticket (outcome_at) WHERE state = 'closed'",
        "DROP VIEW deadlines_due",
        _DUE_VIEW,
    ):
        schema.execute(sql)
    # SQLite cannot take NOT NULL off a column: the table is made again, with all that stood on it.
    made = schema.execute(
        "SELECT type, sql FROM sqlite_master WHERE tbl_name = 'evidence' AND sql IS NOT NULL"
    ).fetchall()
    schema.execute("ALTER TABLE evidence RENAME TO evidence_before")
    schema.execute(
        next(sql for kind, sql in made if kind == "table").replace("incident INTEGER NOT NULL", "incident INTEGER")
    )
    schema.execute("INSERT INTO evidence SELECT * FROM evidence_before")
    schema.execute("DROP TABLE evidence_before")
    for kind, sql in made:
        if kind != "table":
            schema.execute(sql)


MIGRATIONS: tuple[Migration, ...] = (Migration(1, "tickets", _create), Migration(2, "tickets", _one_truth))
