"""What our own verdicts have said of a client network or a domain, fading with time.

Two weights a name, good and bad mail, each halved every week: what somebody sent a month ago counts a sixteenth. Whose
records are kept, and what is good or bad, is the observer's (``gateway.app``); what a standing is worth is policy.
"""

from dataclasses import dataclass

from gateway.clock import Clock
from gateway.state.table import Record, Table

# 131,072 records are 4 MiB: the networks and domains of two months at a busy gateway; of those crowded out, the ones
# not heard of for longest go first.
PLACES = 131_072
HALF_LIFE_SECONDS = 7 * 86_400.0
# After nine half-lives a thousand messages count two.
LIFETIME_SECONDS = 9 * HALF_LIFE_SECONDS
# No name's past weighs more than so many messages, so that a good sender whose machine is broken into loses its name in
# a day, not in a year.
MOST_WEIGHT = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Messages good and bad, faded; both 0 for a stranger."""

    good: float = 0.0
    bad: float = 0.0

    @property
    def known(self) -> float:
        """How much is known at all."""
        return self.good + self.bad

    @property
    def bad_share(self) -> float:
        """The share of bad mail, 0 to 1; 0 for a stranger."""
        return self.bad / self.known if self.known else 0.0


class Reputation:
    """Standings by name; the names are the caller's (``network 192.0.2.0/24``, ``domain example.com``)."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def note(self, name: str, *, good: float = 0.0, bad: float = 0.0) -> None:
        """Add what was seen of a name."""
        now = self._clock.stamp().utc

        def added(record: Record | None) -> Record:
            before = _faded(record, now)
            return Record(
                now + LIFETIME_SECONDS, min(before.good + good, MOST_WEIGHT), min(before.bad + bad, MOST_WEIGHT)
            )

        self._table.update(name, added)

    def standing(self, name: str) -> Standing:
        """Return what is known of a name now."""
        return _faded(self._table.get(name), self._clock.stamp().utc)


def _faded(record: Record | None, now: float) -> Standing:
    if record is None:
        return Standing()
    # A wall clock stepped back must not make the past grow.
    age = max(0.0, now - (record.until - LIFETIME_SECONDS))
    left = 0.5 ** (age / HALF_LIFE_SECONDS)
    return Standing(good=record.first * left, bad=record.second * left)
