"""Reports sent, answers to them, and the view ``reports_sent``: their tables in the incidents' database.

``desk_mail`` is every mail the abuse desk has written, whole (zstd), and what became of it: composed, queued, refused,
then bounced or answered. ``report`` is what was told whom about which source; a batch for the association names its
incidents in ``report_incident``. ``contact`` remembers whom to tell, ``desk_mark`` when something was last done.
"""

from gateway.storage import Migration, Schema

_MAIL = """
CREATE TABLE desk_mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, purpose TEXT NOT NULL, sender TEXT NOT NULL,
    token TEXT NOT NULL, recipient TEXT NOT NULL, subject TEXT NOT NULL, message_id TEXT NOT NULL,
    octets INTEGER NOT NULL, sha256 TEXT NOT NULL, content BLOB NOT NULL, state TEXT NOT NULL DEFAULT 'composed',
    queued_at REAL, trace_id TEXT NOT NULL DEFAULT '', problem TEXT NOT NULL DEFAULT ''
)"""
_REPORT = """
CREATE TABLE report (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, day TEXT NOT NULL, kind TEXT NOT NULL,
    format TEXT NOT NULL, recipient TEXT NOT NULL, contact_origin TEXT NOT NULL DEFAULT '', source_kind TEXT NOT NULL,
    source_key TEXT NOT NULL, incident INTEGER, mail INTEGER, file TEXT NOT NULL DEFAULT '',
    sha256 TEXT NOT NULL, bounced_at REAL, bounce TEXT NOT NULL DEFAULT '', answered_at REAL,
    answer TEXT NOT NULL DEFAULT ''
)"""
_REPORT_INCIDENT = """
CREATE TABLE report_incident (
    report INTEGER NOT NULL, incident INTEGER NOT NULL, PRIMARY KEY (report, incident)
) WITHOUT ROWID"""
_CONTACT = """
CREATE TABLE contact (
    source_key TEXT PRIMARY KEY, address TEXT NOT NULL, origin TEXT NOT NULL, found_at REAL NOT NULL
) WITHOUT ROWID"""
_MARK = "CREATE TABLE desk_mark (name TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID"
_INDEXES = (
    "CREATE UNIQUE INDEX desk_mail_token ON desk_mail (token) WHERE token <> ''",
    "CREATE INDEX desk_mail_waiting ON desk_mail (id) WHERE state = 'composed'",
    "CREATE INDEX desk_mail_message ON desk_mail (message_id)",
    "CREATE INDEX report_mail ON report (mail)",
    "CREATE INDEX report_incident_of ON report (incident) WHERE incident IS NOT NULL",
    "CREATE INDEX report_day ON report (day, kind, recipient)",
    # One report of a source to a contact and day, whatever runs twice.
    "CREATE UNIQUE INDEX report_once ON report (source_key, recipient, day) WHERE kind = 'operator'",
    "CREATE INDEX report_incident_batch ON report_incident (incident)",
)
_VIEW = """
CREATE VIEW reports_sent AS
SELECT report.id AS report, datetime(report.at, 'unixepoch') AS at, report.kind, report.format, report.recipient,
    report.contact_origin, report.source_kind, report.source_key AS source, report.incident,
    (SELECT count(*) FROM report_incident WHERE report_incident.report = report.id) AS incidents,
    CASE WHEN report.answered_at IS NOT NULL THEN 'answered' WHEN report.bounced_at IS NOT NULL THEN 'bounced'
        WHEN report.mail IS NULL THEN 'written' ELSE coalesce(desk_mail.state, '') END AS state,
    datetime(report.bounced_at, 'unixepoch') AS bounced_at, report.bounce,
    datetime(report.answered_at, 'unixepoch') AS answered_at, coalesce(desk_mail.trace_id, '') AS trace_id, report.file
FROM report LEFT JOIN desk_mail ON desk_mail.id = report.mail"""


def _create(schema: Schema) -> None:
    for sql in (_MAIL, _REPORT, _REPORT_INCIDENT, _CONTACT, _MARK, *_INDEXES, _VIEW):
        schema.execute(sql)


MIGRATIONS: tuple[Migration, ...] = (Migration(1, "reports", _create),)
