"""The shard's tables and the statements that write them.

``message`` is append-only by rowid with the content last, so that a listing never reads content pages. ``recipient``
holds live copies only and is keyed by the sortable trace id. ``recipient_due`` indexes queued copies alone: what is
held or quarantined for weeks costs the delivery scan nothing.
"""

from gateway.storage import Migration, Phase, Schema, Statement, delete_by, insert_into

MESSAGE_COLUMNS = (
    "trace_id",
    "origin",
    # The reverse-path: NULL address for <>; wire and local part only where they do not follow from the address.
    "sender_address",
    "sender_wire",
    "sender_local",
    "body",
    "smtputf8",
    "declared_octets",
    "ret",
    "envid",
    "octets",
    "client",
    "helo",
    "role",
    "message_id",
    "hostile",
    "received_at",
    "boot_id",
    "stamps",
    "filter_seconds",
    "antivirus_seconds",
    "renditions",
    # 1: the content is a file; 0: it is in the last column.
    "filed",
    "content",
)

RECIPIENT_COLUMNS = (
    "trace_id",
    "number",
    "address",
    "wire",
    "local_part",
    "source_route",
    "notify",
    "orcpt",
    "route",
    "customer",
    "state",
    "rendition",
    "action",
    "score",
    "reason",
    "due",
    "attempts",
    "delay_noticed",
    "held_since",
    "held_seconds",
    "greylisted_seconds",
)

_MESSAGE_TABLE = """
CREATE TABLE message (
    id INTEGER PRIMARY KEY, trace_id TEXT NOT NULL UNIQUE, origin TEXT NOT NULL,
    sender_address TEXT, sender_wire TEXT, sender_local TEXT,
    body TEXT, smtputf8 INTEGER NOT NULL, declared_octets INTEGER, ret TEXT, envid TEXT,
    octets INTEGER NOT NULL, client TEXT NOT NULL, helo TEXT NOT NULL, role TEXT NOT NULL, message_id TEXT NOT NULL,
    hostile INTEGER NOT NULL, received_at REAL NOT NULL, boot_id TEXT NOT NULL, stamps BLOB NOT NULL,
    filter_seconds TEXT, antivirus_seconds REAL NOT NULL, renditions BLOB, filed INTEGER NOT NULL, content BLOB
)"""

_RECIPIENT_TABLE = """
CREATE TABLE recipient (
    trace_id TEXT NOT NULL, number INTEGER NOT NULL, address TEXT NOT NULL, wire TEXT, local_part TEXT, source_route
    INTEGER NOT NULL, notify TEXT, orcpt TEXT, route TEXT NOT NULL, customer TEXT NOT NULL, state TEXT NOT NULL,
    rendition INTEGER NOT NULL, action TEXT NOT NULL, score REAL NOT NULL, reason TEXT NOT NULL, due REAL NOT NULL,
    attempts TEXT, delay_noticed INTEGER NOT NULL, held_since REAL NOT NULL, held_seconds REAL NOT NULL, PRIMARY KEY
    (trace_id, number)
) WITHOUT ROWID"""


def _create(schema: Schema) -> None:
    schema.execute(_MESSAGE_TABLE)
    schema.execute("CREATE INDEX message_filed ON message (trace_id) WHERE filed = 1")
    schema.execute(_RECIPIENT_TABLE)
    # ``state`` stands in the index although its rows all say the same: without it SQLite looks each row up to check.
    schema.execute("CREATE INDEX recipient_due ON recipient (route, due, state) WHERE state = 'queued'")


def _add_greylisted_seconds(schema: Schema) -> None:
    schema.execute("ALTER TABLE recipient ADD COLUMN greylisted_seconds REAL NOT NULL DEFAULT 0.0")


MIGRATIONS = (Migration(1, "spool", _create), Migration(2, "spool", _add_greylisted_seconds))

# Storing a message a second time changes nothing (its waiter may have been cancelled and asked again).
INSERT_MESSAGE = insert_into("message", MESSAGE_COLUMNS, "DO NOTHING")
INSERT_RECIPIENT = insert_into("recipient", RECIPIENT_COLUMNS, "DO NOTHING")

# An attempt that was under way when an operator held the copy does not release it.
UPDATE_RECIPIENT = Statement(
    "UPDATE recipient SET state = CASE state WHEN 'queued' THEN ? ELSE state END, "
    "held_since = CASE state WHEN 'queued' THEN ? ELSE held_since END, held_seconds = max(held_seconds, ?), "
    "due = ?, attempts = ?, delay_noticed = ? WHERE trace_id = ? AND number = ?",
    Phase.UPDATE,
)
HOLD_RECIPIENT = Statement(
    "UPDATE recipient SET state = 'held', held_since = ? WHERE trace_id = ? AND number = ? AND state = 'queued'",
    Phase.UPDATE,
)
RELEASE_RECIPIENT = Statement(
    "UPDATE recipient SET state = 'queued', due = ?, "
    "held_seconds = held_seconds + max(0.0, ? - held_since), held_since = 0.0 "
    "WHERE trace_id = ? AND number = ? AND state IN ('held', 'quarantined')",
    Phase.UPDATE,
)
# What leaves quarantine does so under another rendition, in one statement: statements of one group are not in the order
# in which they were submitted.
LET_OUT_RECIPIENT = Statement(
    "UPDATE recipient SET state = 'queued', rendition = ?, due = ?, "
    "held_seconds = held_seconds + max(0.0, ? - held_since), held_since = 0.0 "
    "WHERE trace_id = ? AND number = ? AND state = 'quarantined'",
    Phase.UPDATE,
)
# Renditions are only ever added: their numbers stay what copies in hand call them.
RERENDER_MESSAGE = Statement("UPDATE message SET renditions = ? WHERE trace_id = ?", Phase.UPDATE)
# A copy more of a message that is in custody; one that has gone meanwhile gets none.
_VALUES = ", ".join("?" * len(RECIPIENT_COLUMNS))
ADD_RECIPIENT = Statement(
    f"INSERT INTO recipient ({', '.join(RECIPIENT_COLUMNS)}) SELECT {_VALUES} "  # noqa: S608 - constants
    "WHERE EXISTS (SELECT 1 FROM message WHERE trace_id = ?)",
    Phase.INSERT,
)
RESCHEDULE_RECIPIENT = Statement(
    "UPDATE recipient SET due = ? WHERE trace_id = ? AND number = ? AND state = 'queued'",
    Phase.UPDATE,
)
DELETE_RECIPIENT = delete_by("recipient", {"trace_id": "TEXT", "number": "INTEGER"})
SWEEP_MESSAGE = Statement(
    "DELETE FROM message WHERE trace_id IN (VALUES {rows}) "
    "AND NOT EXISTS (SELECT 1 FROM recipient WHERE recipient.trace_id = message.trace_id)",
    Phase.SWEEP,
    columns=1,
)
