"""How fast is too fast: the generic cell rate algorithm (ITU-T I.371), one number a client.

A rate of ``count`` in ``seconds`` lets ``count`` events through at once and then one every ``seconds / count``. The
number kept is the theoretical arrival time: when the client will have paid for what it did. What is over the limit
costs nothing, so a client that goes on knocking is let in at its rate; a failure costs more than an event and is
always booked, up to one whole ``seconds`` of silence.

Time is the monotonic clock, which all workers of a boot share; a number from another boot lies outside what the
algorithm can write and counts as none.
"""

from dataclasses import dataclass

from gateway.clock import Clock
from gateway.state.table import Record, Table

# Clients, networks and names within one rate's period: 65,536 records are 2 MiB, and 32,768 of them fit with next to
# no eviction; a botnet beyond that has its records of hours ago replaced first.
PLACES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """``count`` events in ``seconds``; a count of 0 limits nothing."""

    count: int
    seconds: float


class Rates:
    """Counts by name; what the names mean is the caller's (``address 192.0.2.1``, ``network 192.0.2.0/24``)."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def allow(self, name: str, allowance: Allowance) -> bool:
        """Book one event and return True, or False (and book nothing) when there is no room for it."""
        if not allowance.count:
            return True
        now = self._clock.stamp()
        interval = allowance.seconds / allowance.count
        allowed = False

        def booked(record: Record | None) -> Record:
            nonlocal allowed
            owed = _owed(record, now.monotonic, allowance) + interval
            allowed = owed <= allowance.seconds
            # What is over the limit costs nothing: the record stays as it is.
            return Record(now.utc + owed, now.monotonic + owed) if allowed or record is None else record

        self._table.update(name, booked)
        return allowed

    def charge(self, name: str, allowance: Allowance, cost: float) -> None:
        """Book ``cost`` events' worth whatever is owed already."""
        if allowance.count:
            self._book(name, allowance, cost * _interval(allowance), 2 * allowance.seconds)

    def is_exhausted(self, name: str, allowance: Allowance) -> bool:
        """Tell whether there is no room for one event more; books nothing."""
        return bool(allowance.count) and self._owed(name, allowance) + _interval(allowance) > allowance.seconds

    def _owed(self, name: str, allowance: Allowance) -> float:
        record = self._table.get(name)
        return _owed(record, self._clock.monotonic(), allowance)

    def _book(self, name: str, allowance: Allowance, seconds: float, most: float) -> None:
        now = self._clock.stamp()

        def booked(record: Record | None) -> Record:
            owed = min(_owed(record, now.monotonic, allowance) + seconds, most)
            return Record(now.utc + owed, now.monotonic + owed)

        self._table.update(name, booked)


def _interval(allowance: Allowance) -> float:
    return allowance.seconds / allowance.count


def _owed(record: Record | None, now: float, allowance: Allowance) -> float:
    if record is None:
        return 0.0
    owed = record.first - now
    # Two periods are the most that is ever booked: more is another boot's clock, or a longer period of before.
    return owed if 0.0 < owed <= 2 * allowance.seconds else 0.0
