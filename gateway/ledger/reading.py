"""Reading the ledger of all shards, beside the workers that write them."""

from collections.abc import Iterator
from pathlib import Path

from gateway.ledger.record import DelayRecord
from gateway.ledger.writing import COLUMNS
from gateway.mail.trace_id import trace_id_time
from gateway.storage import Row, open_readonly

_SELECT = f"SELECT {', '.join(COLUMNS)} FROM ledger"  # noqa: S608 - constants

# A trace id is made when its session begins; a session that is a day old has long been ended by its timeouts.
_SESSION_SECONDS = 86_400.0
# Two machines' clocks, or one before and after it was set.
_CLOCK_SECONDS = 3_600.0


class Ledger:
    """The ledger under a data folder; a query opens the shards anew, StorageError when one cannot be read."""

    def __init__(self, data: Path) -> None:
        self._spool = data / "spool"

    def between(self, start_utc: float, end_utc: float, customer: str = "") -> Iterator[DelayRecord]:
        """Yield the recipients of mail received from ``start_utc`` to before ``end_utc``, of one customer or of all.

        In order of receipt within each shard; in constant memory.
        """
        where = "WHERE received_at >= ? AND received_at < ?" + (" AND customer = ?" if customer else "")
        values = (start_utc, end_utc, customer) if customer else (start_utc, end_utc)
        yield from self._query(f"{where} ORDER BY received_at", values)

    def of_message(self, trace_id: str) -> list[DelayRecord]:
        """Return the finished recipients of one message; ValueError when it is no trace id."""
        made = trace_id_time(trace_id)
        found = self._query(
            "WHERE received_at >= ? AND received_at < ? AND trace_id = ?",
            (made - _CLOCK_SECONDS, made + _SESSION_SECONDS, trace_id),
        )
        return sorted(found, key=lambda record: record.number)

    def delivered_to(self, trace_id: str) -> set[str]:
        """Return the recipients to whom one message was delivered; ValueError when it is no trace id."""
        return {record.recipient for record in self.of_message(trace_id) if record.status == "delivered"}

    def _query(self, where: str, values: tuple[object, ...]) -> Iterator[DelayRecord]:
        for path in sorted(self._spool.glob("shard-*.sqlite")):
            with open_readonly(path) as database:
                if not database.read("SELECT 1 FROM sqlite_master WHERE name = 'ledger'"):
                    continue
                for row in database.rows(f"{_SELECT} {where}", values):
                    yield _record(row)


def _record(row: Row) -> DelayRecord:
    return DelayRecord(**dict(zip(COLUMNS, row, strict=True)))
