"""The incidents' database: ``data/incidents/incidents.sqlite``, made for people to query (README.md has every column).

Times in tables are UTC seconds; the views show them as ``2026-11-22 10:00:00``. What is asked for often is kept, not
counted: an incident's row has its totals, ``activity`` those of each day, week and month, so that no list or ranking
reads sightings. The other rooms' tables stand in files of their own and are part of this series.
"""

from pathlib import Path

from gateway.incidents import blocks, chain, guarantees, reports, suspensions, tickets
from gateway.storage import Migration, Schema

FOLDER = "incidents"
FILE_NAME = "incidents.sqlite"

_INCIDENT = """
CREATE TABLE incident (
    id INTEGER PRIMARY KEY AUTOINCREMENT, source_kind TEXT NOT NULL, source_key TEXT NOT NULL, address BLOB,
    asn INTEGER, network TEXT NOT NULL DEFAULT '', state TEXT NOT NULL DEFAULT 'open', state_since REAL NOT NULL,
    resolution TEXT NOT NULL DEFAULT '', opened_at REAL NOT NULL, first_seen REAL NOT NULL, last_seen REAL NOT NULL,
    sightings INTEGER NOT NULL DEFAULT 0, viruses INTEGER NOT NULL DEFAULT 0, octets INTEGER NOT NULL DEFAULT 0,
    advertising INTEGER NOT NULL DEFAULT 0, no_opt_out INTEGER NOT NULL DEFAULT 0,
    hidden_sender INTEGER NOT NULL DEFAULT 0, false_source INTEGER NOT NULL DEFAULT 0,
    harmful INTEGER NOT NULL DEFAULT 0,
    blocking INTEGER NOT NULL DEFAULT 0, resumed INTEGER NOT NULL DEFAULT 0, previous INTEGER,
    confirmed_at REAL, reported_at REAL, blocked_at REAL, lifted_at REAL, closed_at REAL
)"""
_SIGHTING = """
CREATE TABLE sighting (
    id INTEGER PRIMARY KEY AUTOINCREMENT, incident INTEGER NOT NULL, day TEXT NOT NULL, at REAL NOT NULL,
    trace_id TEXT NOT NULL, client TEXT NOT NULL, helo TEXT NOT NULL, reverse_path TEXT NOT NULL,
    recipients TEXT NOT NULL, recipient_domain TEXT NOT NULL, message_id TEXT NOT NULL, subject TEXT NOT NULL,
    grounds TEXT NOT NULL, findings TEXT NOT NULL, action TEXT NOT NULL, octets INTEGER NOT NULL, virus TEXT NOT NULL
)"""
_BATCH = """
CREATE TABLE batch (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, until REAL NOT NULL, number INTEGER NOT NULL)"""
_ACTIVITY = """
CREATE TABLE activity (
    period TEXT NOT NULL, what TEXT NOT NULL, name TEXT NOT NULL, sightings INTEGER NOT NULL, octets INTEGER NOT NULL,
    PRIMARY KEY (what, period, name)
) WITHOUT ROWID"""
_DOMAIN = """
CREATE TABLE domain (
    domain TEXT NOT NULL, role TEXT NOT NULL, incident INTEGER NOT NULL, sightings INTEGER NOT NULL,
    PRIMARY KEY (domain, role, incident)
) WITHOUT ROWID"""
_MENTION = """
CREATE TABLE mention (
    id INTEGER PRIMARY KEY, incident INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL, words TEXT NOT NULL
)"""
_NOTE = """
CREATE TABLE note (
    id INTEGER PRIMARY KEY AUTOINCREMENT, incident INTEGER NOT NULL, at REAL NOT NULL, by TEXT NOT NULL,
    text TEXT NOT NULL
)"""
_EVIDENCE = """
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY AUTOINCREMENT, incident INTEGER NOT NULL, trace_id TEXT NOT NULL, at REAL NOT NULL,
    sha256 TEXT NOT NULL, octets INTEGER NOT NULL, stored_sha256 TEXT NOT NULL, stored_octets INTEGER NOT NULL,
    facts TEXT NOT NULL, number INTEGER NOT NULL, removed_at REAL
)"""
_CLOCK = """
CREATE TABLE clock (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL, incident INTEGER, ticket INTEGER,
    started_at REAL NOT NULL, due_at REAL NOT NULL, met_at REAL
)"""
_CURSOR = "CREATE TABLE cursor (journal TEXT PRIMARY KEY, position INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID"

_GROUND_COLUMNS = ("advertising", "no_opt_out", "hidden_sender", "false_source", "harmful")
_INDEXES = (
    # One open case a source.
    "CREATE UNIQUE INDEX incident_active ON incident (source_kind, source_key) WHERE state <> 'closed'",
    "CREATE INDEX incident_source ON incident (source_key)",
    "CREATE INDEX incident_address ON incident (address) WHERE address IS NOT NULL",
    "CREATE INDEX incident_asn ON incident (asn, last_seen) WHERE asn IS NOT NULL",
    "CREATE INDEX incident_closed ON incident (closed_at) WHERE state = 'closed'",
    "CREATE INDEX incident_seen ON incident (last_seen)",
    "CREATE INDEX incident_state ON incident (state, last_seen)",
    *(f"CREATE INDEX incident_{name} ON incident (last_seen) WHERE {name} > 0" for name in _GROUND_COLUMNS),
    "CREATE INDEX sighting_incident ON sighting (incident)",
    "CREATE INDEX sighting_trace ON sighting (trace_id)",
    # By day first: Message-IDs are random, and a day's part of the index stays in memory while it is written.
    "CREATE INDEX sighting_message ON sighting (day, message_id)",
    "CREATE INDEX domain_incident ON domain (incident)",
    "CREATE UNIQUE INDEX mention_once ON mention (incident, kind, text)",
    "CREATE INDEX note_incident ON note (incident)",
    "CREATE INDEX evidence_incident ON evidence (incident)",
    "CREATE INDEX evidence_kept ON evidence (at) WHERE removed_at IS NULL",
    "CREATE INDEX evidence_trace ON evidence (trace_id)",
    "CREATE INDEX evidence_sha256 ON evidence (sha256)",
    "CREATE INDEX clock_due ON clock (due_at) WHERE met_at IS NULL",
    *chain.INDEXES,
)
_VIEWS = (
    """
CREATE VIEW spam_sources AS
SELECT id AS incident, source_kind, source_key AS source, asn, network, state, sightings, viruses, advertising,
    no_opt_out, hidden_sender, false_source, harmful, blocking, resumed,
    datetime(first_seen, 'unixepoch') AS first_seen, datetime(last_seen, 'unixepoch') AS last_seen
FROM incident""",
    """
CREATE VIEW open_incidents AS
SELECT id AS incident, source_kind, source_key AS source, asn, network, state,
    datetime(state_since, 'unixepoch') AS state_since, sightings, viruses, blocking, resumed, previous,
    datetime(first_seen, 'unixepoch') AS first_seen, datetime(last_seen, 'unixepoch') AS last_seen
FROM incident WHERE state <> 'closed'""",
    """
CREATE VIEW deadlines_due AS
SELECT id AS clock, kind, subject, incident, ticket, datetime(started_at, 'unixepoch') AS started_at,
    datetime(due_at, 'unixepoch') AS due_at, due_at < CAST(strftime('%s', 'now') AS INTEGER) AS overdue,
    round((due_at - CAST(strftime('%s', 'now') AS INTEGER)) / 3600.0, 1) AS hours_left
FROM clock WHERE met_at IS NULL""",
)


def _create(schema: Schema) -> None:
    tables = (_INCIDENT, _SIGHTING, _BATCH, _ACTIVITY, _DOMAIN, _MENTION, _NOTE, _EVIDENCE, _CLOCK, _CURSOR)
    for sql in (*tables, chain.TABLE, *_INDEXES, *_VIEWS):
        schema.execute(sql)
    # words.py says why the text is indexed in another form than it is shown.
    schema.table("mention").enable_fts(["words"], tokenize="unicode61 remove_diacritics 2", create_triggers=True)


MIGRATIONS: tuple[Migration, ...] = (
    Migration(1, "incidents", _create),
    *tickets.MIGRATIONS,
    *reports.MIGRATIONS,
    *blocks.MIGRATIONS,
    *suspensions.MIGRATIONS,
    *guarantees.MIGRATIONS,
)


def database_path(data: Path) -> Path:
    """Return where the database of a data folder lies."""
    return data / FOLDER / FILE_NAME


def head_path(data: Path) -> Path:
    """Return where the chain's head is anchored beside it."""
    return data / FOLDER / "head"
