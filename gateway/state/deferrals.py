"""Since when a content has been deferred: clients come again with the same octets, perhaps to another worker.

Keyed by the content's digest, so that a client which tries from many addresses is still one mail. Forgotten some days
after the last attempt: senders give up after five days at the latest (RFC 5321 §4.5.4.1).
"""

from gateway.clock import Clock
from gateway.state.table import Record, SharedTable

# 32 octets each, 512 KiB: an outage of hours at one deferred mail a second; the oldest give way.
PLACES = 16_384
REMEMBERED_SECONDS = 5 * 86_400.0


class Deferrals:
    """Remembers first deferrals."""

    def __init__(self, table: SharedTable, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def note(self, digest: str) -> float:
        """Take note that the mail with this content is deferred now; return for how many seconds it has been."""
        now = self._clock.stamp().utc

        def seen(record: Record | None) -> Record:
            first = record.first if record is not None else now
            return Record(until=now + REMEMBERED_SECONDS, first=first)

        return max(0.0, now - self._table.update(digest, seen).first)
