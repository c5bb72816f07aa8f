"""Looking into the spool of all workers from outside, read-only, serving or not: for the status and the trace.

Only the worker that holds a shard may change it; whoever reads here sees its last commit. A shard that cannot be read
is passed over and named in ``unreadable``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gateway.admin.protocol import QueueStatus
from gateway.clock import Clock
from gateway.journal.mentions import comparison_form
from gateway.spool import codec, schema
from gateway.spool.message import SpoolMessage
from gateway.spool.opening import shard_names
from gateway.spool.shard import shard_path
from gateway.storage import ReadDatabase, StorageError, open_readonly

_MESSAGE = ", ".join(schema.MESSAGE_COLUMNS[:-2])
_COPY = ", ".join(schema.RECIPIENT_COLUMNS)
_MESSAGE_SQL = f"SELECT {_MESSAGE} FROM message WHERE trace_id = ?"  # noqa: S608 - constants
_COPIES_SQL = f"SELECT {_COPY} FROM recipient WHERE trace_id = ? ORDER BY number"  # noqa: S608 - constants
_STATES_SQL = "SELECT state, count(*) FROM recipient GROUP BY state"
_COUNT_SQL = "SELECT count(*) FROM message"
# Trace ids sort by time: the first queued one is the oldest, and the primary key finds it without a scan of the rest.
_OLDEST_SQL = (
    "SELECT received_at FROM message WHERE trace_id = "
    "(SELECT trace_id FROM recipient WHERE state = 'queued' ORDER BY trace_id LIMIT 1)"
)
_MENTIONS_SQL = (
    "SELECT trace_id FROM recipient WHERE address = ?1 UNION "
    "SELECT trace_id FROM message WHERE sender_address = ?1 OR message_id = ?2 OR message_id = ?3 "
    "ORDER BY trace_id DESC LIMIT ?4"
)

_T = TypeVar("_T")


class ShardReader:
    """All shards under a data folder."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self._data = data
        self._clock = clock
        self.unreadable: dict[Path, str] = {}

    def message(self, trace_id: str) -> SpoolMessage | None:
        """Return a message with its live copies, without content; None when it is not in custody."""
        found = self._each(lambda database, name: self._read(database, name, trace_id))
        return next((message for message in found if message is not None), None)

    def mentioning(self, what: str, limit: int) -> list[str]:
        """Return the trace ids of the latest messages in custody from or to an address, or with a Message-ID."""
        bare = what.strip(" <>")
        values = (comparison_form(what), bare, f"<{bare}>", limit)
        found = self._each(lambda database, _: database.read(_MENTIONS_SQL, values))
        return sorted(row[0] for rows in found for row in rows)[-limit:]

    def queue(self) -> QueueStatus:
        """Return how much is in custody, and how old the oldest queued message is."""
        recipients: dict[str, int] = {}
        messages, oldest = 0, float("inf")
        for states, count, first in self._each(_summary):
            for state, copies in states:
                recipients[state] = recipients.get(state, 0) + copies
            messages += count
            oldest = min(oldest, first)
        age = max(0.0, self._clock.stamp().utc - oldest) if oldest < float("inf") else 0.0
        return {"recipients": recipients, "messages": messages, "oldest_seconds": age}

    def _each(self, ask: Callable[[ReadDatabase, str], _T]) -> list[_T]:
        found: list[_T] = []
        for name in shard_names(self._data):
            path = shard_path(self._data, name)
            try:
                with open_readonly(path) as database:
                    found.append(ask(database, name))
            except StorageError as error:
                self.unreadable[path] = str(error)
        return found

    def _read(self, database: ReadDatabase, name: str, trace_id: str) -> SpoolMessage | None:
        copies = [codec.decode_recipient(row) for row in database.read(_COPIES_SQL, (trace_id,))]
        rows = database.read(_MESSAGE_SQL, (trace_id,))
        return codec.decode_message(rows[0], copies, None, name, self._clock) if rows and copies else None


def _summary(database: ReadDatabase, _: str) -> tuple[list[tuple[str, int]], int, float]:
    oldest = database.read(_OLDEST_SQL)
    states = [(str(state), int(count)) for state, count in database.read(_STATES_SQL)]
    return states, int(database.read(_COUNT_SQL)[0][0]), float(oldest[0][0]) if oldest else float("inf")
