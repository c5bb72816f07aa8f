"""Greylisting (RFC 6647): who is new comes back, says RFC 5321 §4.5.4.1; most spam software does not.

A triplet is the client's network, the reverse-path and the recipient (RFC 6647 §2.3: the network, because large
senders retry from another of their addresses). It is deferred until ``delay_seconds`` have passed, must come back
within ``window_seconds``, and passes from then on as long as it is seen again within ``lifetime_seconds``. A network of
which ``client_after`` triplets have passed is known: its new triplets pass at once.

``ask`` answers and remembers. ``waited_seconds`` of a triplet that passes for the first time is what greylisting cost
the mail (contract.md §2 has it shown apart).
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.clock import Clock
from gateway.state.table import Record, Table

# 262,144 records are 8 MiB: two days of 65,000 new triplets a day beside as many known ones. Those that wait expire
# first, so a flood of new triplets crowds out its own like before any that has passed.
PLACES = 262_144


class Passing(StrEnum):
    """What a triplet is told."""

    NEW = "new"
    EARLY = "early"
    PASSED = "passed"
    KNOWN = "known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """A policy's times; see the module. ``client_after`` 0: no network is ever known as a whole."""

    delay_seconds: float
    window_seconds: float
    lifetime_seconds: float
    client_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplet:
    """``network`` as ``gateway.state.network`` writes it, addresses in comparison form; "" is the null reverse-path."""

    network: str
    reverse_path: str
    recipient: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GreylistAnswer:
    """``waited_seconds``: since the triplet was first seen; 0 for new and known ones.

    ``left_seconds``: what is left of the delay, 0 for those that pass.
    """

    passing: Passing
    waited_seconds: float = 0.0
    left_seconds: float = 0.0

    @property
    def defers(self) -> bool:
        """Whether the client is to come back."""
        return self.passing in (Passing.NEW, Passing.EARLY)


class Greylist:
    """The triplets of all workers; a record's numbers are when it was first seen and how often it passed."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def ask(self, triplet: Triplet, waits: Waits) -> GreylistAnswer:
        """Return what the triplet is told now, and remember that it came."""
        now = self._clock.stamp().utc
        name = f"triplet {triplet.network} {triplet.reverse_path} {triplet.recipient}"
        before = self._table.get(name)
        if before is None and self.knows(triplet.network, waits):
            self._note_client(triplet.network, waits, 0)
            return GreylistAnswer(passing=Passing.KNOWN)
        after = self._table.update(name, lambda record: _seen(record, now, waits))
        if after.second > 1:
            return GreylistAnswer(passing=Passing.KNOWN)
        waited = now - after.first
        if after.second:
            self._note_client(triplet.network, waits, 1)
            return GreylistAnswer(passing=Passing.PASSED, waited_seconds=waited)
        passing = Passing.NEW if before is None else Passing.EARLY
        return GreylistAnswer(passing=passing, waited_seconds=waited, left_seconds=waits.delay_seconds - waited)

    def knows(self, network: str, waits: Waits) -> bool:
        """Tell whether so many triplets of a network have passed that it is not asked to wait any more."""
        record = self._table.get(f"client {network}")
        return record is not None and 0 < waits.client_after <= record.second

    def _note_client(self, network: str, waits: Waits, passed: int) -> None:
        until = self._clock.stamp().utc + waits.lifetime_seconds
        self._table.update(
            f"client {network}", lambda record: Record(until, 0.0, passed + (record.second if record else 0.0))
        )


def _seen(record: Record | None, now: float, waits: Waits) -> Record:
    if record is None:
        return Record(now + waits.window_seconds, now, 0.0)
    first = record.first
    # A stepped clock must not hold mail for longer than its delay.
    if record.second == 0 and 0 <= now - first < waits.delay_seconds:
        return Record(first + waits.window_seconds, first, 0.0)
    return Record(now + waits.lifetime_seconds, min(first, now), record.second + 1)
