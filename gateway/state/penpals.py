"""Who our users wrote to: an answer from there is expected, and lowers suspicion a little.

One record for each pair of our mailbox and a foreign one, renewed by each mail, forgotten after three months.
"""

from gateway.clock import Clock
from gateway.state.table import Record, Table

# 131,072 records are 4 MiB: the correspondence of some thousand mailboxes over three months; the oldest go first.
PLACES = 131_072
# An answer within a quarter is an answer; later it is mail like any other.
LIFETIME_SECONDS = 90 * 86_400.0


class Penpals:
    """Pairs of addresses in comparison form."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def note(self, ours: str, theirs: str) -> None:
        """Remember that ``ours`` wrote to ``theirs``."""
        until = self._clock.stamp().utc + LIFETIME_SECONDS
        self._table.update(f"{ours} {theirs}", lambda record: Record(until, (record.first if record else 0.0) + 1.0))

    def letters(self, ours: str, theirs: str) -> int:
        """Return how many times ``ours`` wrote to ``theirs`` lately."""
        record = self._table.get(f"{ours} {theirs}")
        return int(record.first) if record else 0
