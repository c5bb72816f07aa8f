"""The ledger's table, its rows, and its pruning."""

from dataclasses import fields
from operator import attrgetter

from gateway.ledger.record import DelayRecord
from gateway.storage import Database, Migration, Phase, Schema, Statement, Write, insert_into

COLUMNS = tuple(field.name for field in fields(DelayRecord))

# A step of pruning must not be felt by the mail that shares its group commit: 200 rows take about a millisecond.
PRUNE_ROWS = 200

_TABLE = """
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY, trace_id TEXT NOT NULL, number INTEGER NOT NULL, customer TEXT NOT NULL, recipient TEXT NOT
    NULL, domain TEXT NOT NULL, reverse_path TEXT NOT NULL, role TEXT NOT NULL, origin TEXT NOT NULL, octets INTEGER NOT
    NULL, action TEXT NOT NULL, connected_at REAL NOT NULL, enveloped_at REAL NOT NULL, received_at REAL NOT NULL,
    filtered_seconds REAL NOT NULL, durable_seconds REAL NOT NULL, antivirus_seconds REAL NOT NULL, held_seconds REAL
    NOT NULL, transfer_started_at REAL, accepted_at REAL, send_delay_seconds REAL, receive_delay_seconds REAL,
    finished_at REAL NOT NULL, status TEXT NOT NULL, next_hop TEXT NOT NULL, relay TEXT NOT NULL, reply TEXT NOT NULL,
    attempts TEXT NOT NULL, attempt_count INTEGER NOT NULL
)"""


def _create(schema: Schema) -> None:
    schema.execute(_TABLE)
    # The one index, and nearly append-only: months are ranges of it, pruning takes its beginning, and a message is
    # found by the time in its trace id.
    schema.execute("CREATE INDEX ledger_received ON ledger (received_at)")


def _add_greylisted_seconds(schema: Schema) -> None:
    schema.execute("ALTER TABLE ledger ADD COLUMN greylisted_seconds REAL NOT NULL DEFAULT 0.0")


MIGRATIONS = (Migration(1, "ledger", _create), Migration(2, "ledger", _add_greylisted_seconds))

INSERT = insert_into("ledger", COLUMNS)
_PRUNE = Statement(
    "DELETE FROM ledger WHERE id IN (SELECT id FROM ledger WHERE received_at < ? ORDER BY received_at LIMIT ?)",
    Phase.DELETE,
)
_values = attrgetter(*COLUMNS)


def rows(record: DelayRecord) -> list[Write]:
    """Return the writes that record one finished recipient."""
    return [(INSERT, _values(record))]


async def prune(database: Database, before_utc: float, limit: int = PRUNE_ROWS) -> bool:
    """Delete at most ``limit`` rows of mail received before ``before_utc`` (UTC); return whether more may be left.

    One small commit: call it again, with pauses, until it returns False. Raises StorageError.
    """
    oldest = await database.read(
        "SELECT count(*) FROM (SELECT 1 FROM ledger WHERE received_at < ? LIMIT ?)", (before_utc, limit)
    )
    found = int(oldest[0][0])
    if found:
        await database.commit([(_PRUNE, (before_utc, limit))])
    return found >= limit
