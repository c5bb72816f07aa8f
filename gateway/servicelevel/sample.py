"""A finished copy's delays as the contract counts them: before and after exclusions (contract.md §2). Pure.

Receive delay is counted for the customer who owns the recipient's domain, send delay for the customer who sends through
the relay. Notices that the gateway wrote itself, and copies dropped or discarded, are nobody's delay.

``counted`` is the delay less what is excluded within it, each instant once:

1. waiting caused by systems that are not ours (``waiting``), less time in which the gateway did not run, or was late;
2. recorded exclusions of the delay clause;
3. quarantine, unless it counts; time in greylisting of ours lies before the final dot and is added when it counts.
   An operator's hold (``queue hold``) of mail that was not in quarantine always counts: no clause excludes it.

Durations are the monotonic clock's, intervals the wall clock's. Where the wall clock was set while a copy waited, what
was stamped before is moved by the recorded jump: the copy's own stamps, and with them exclusions and the time without
the gateway, which were written by the same clock. A copy that ended before the clock was set has nothing to be moved.
What then still disagrees by more than a second is taken off the exclusion: a doubt never shortens a delay.

When a hold began is not recorded: quarantine begins at the final dot, so as much of it as fits before the first attempt
is taken to lie there, the rest within the waiting that is excluded already.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.ledger.finished import FinishedCopy
from gateway.servicelevel.exclusion import Exclusion
from gateway.servicelevel.fault import ClockJump, corrected, moved
from gateway.servicelevel.figures import micros
from gateway.servicelevel.interval import Intervals, clipped, minus, seconds, union
from gateway.servicelevel.waiting import CUSTOMER, OPERATOR, REMOTE, Wait, caused_elsewhere, first_attempt_at
from gateway.smtp.domain import DomainError, normalise_domain

SEND, RECEIVE = "send", "receive"
DELIVERED = "delivered"
QUARANTINE = "quarantine"
_GIVEN_UP = frozenset({"failed", "expired"})
_OUTGOING = frozenset({"relay", "submission"})
# Wall and monotonic clock drift apart by slewing, 500 ppm at most; a second is two thousand seconds of that.
_DRIFT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What bears on a customer's copies: limits, what counts, exclusions, when the gateway did not run, clock jumps."""

    limit_us: int
    count_quarantine: bool = False
    count_greylisting: bool = False
    exclusions: tuple[Exclusion, ...] = ()
    down: Intervals = ()
    jumps: tuple[ClockJump, ...] = ()

    def recorded(self, jumps: Sequence[ClockJump]) -> Intervals:
        """Return the time that recorded exclusions cover, as a clock shows it that was set by ``jumps`` since."""
        return union((corrected(each.start, jumps), corrected(each.end, jumps)) for each in self.exclusions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One copy in one direction; durations in microseconds.

    ``waits`` are the automatic exclusions with the seconds of each that counted; ``doubtful`` marks a copy whose clocks
    disagree.
    """

    direction: str
    owner: str
    delivered: bool
    before_us: int
    after_us: int
    waits: tuple[tuple[Wait, float], ...] = ()
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Party:
    """Whose copy it is: a ``customer`` in a ``direction``; ``owner`` answers for the next hop."""

    customer: str
    direction: str
    owner: str


OwnerOf = Callable[[str, float], tuple[str, str] | None]
"""Who a domain belonged to at an instant: customer and owner of its next hop, None for a foreign domain."""


def parties(copy: FinishedCopy, owner_of: OwnerOf) -> Iterator[Party]:
    """Yield those for whom a copy counts: nobody, the recipient's customer, the sender's, or both."""
    if copy.origin == "notice" or (copy.status != DELIVERED and copy.status not in _GIVEN_UP):
        return
    to = owner_of(copy.domain, copy.received_at)
    if to is not None:
        yield Party(to[0], RECEIVE, to[1])
    if copy.role in _OUTGOING:
        sender = owner_of(_domain(copy.reverse_path), copy.received_at)
        customer = sender[0] if sender else copy.customer if to is None else ""
        if customer:
            yield Party(customer, SEND, _answering_for(to, customer))


def _domain(reverse_path: str) -> str:
    """Return the normal form of a sender's domain: the ledger has the path as the client wrote it."""
    try:
        return normalise_domain(reverse_path.rpartition("@")[2])
    except DomainError:
        return ""


def _answering_for(to: tuple[str, str] | None, sender: str) -> str:
    """Return who answers for the next hop as the sending customer sees it: another customer's server is not its own."""
    if to is None or (to[1] == CUSTOMER and to[0] != sender):
        return REMOTE
    return to[1]


def counted(copy: FinishedCopy, party: Party, conditions: Conditions) -> Counted | None:
    """Return a copy's delay for one party; None for a delivered one without the stamps (a bug of whoever wrote it)."""
    ended = _ended(copy, party.direction)
    if ended is None:
        return None
    delay, end = ended
    jumps = _while_waiting(copy, ended, conditions.jumps) if conditions.jumps else ()
    delivered = copy.status == DELIVERED
    greylisted_us = (
        micros(copy.greylisted_seconds) if conditions.count_greylisting and party.direction == RECEIVE else 0
    )
    if (
        delivered
        and not (copy.attempts or copy.held_seconds or jumps)
        and not _touched(copy.received_at, end, conditions)
    ):
        before_us = micros(delay)
        return Counted(
            direction=party.direction,
            owner=party.owner,
            delivered=True,
            before_us=before_us,
            after_us=before_us + greylisted_us,
        )
    if not delivered:
        # Of what was given up there is no duration, but two stamps.
        delay = max(0.0, corrected(end, jumps) - corrected(copy.received_at, jumps))
    before_us = micros(delay)
    excluded, waits, doubtful = _excluded(copy, party, replace(conditions, jumps=jumps), (delay, end))
    return Counted(
        direction=party.direction,
        owner=party.owner,
        delivered=delivered,
        before_us=before_us,
        after_us=max(0, before_us - micros(excluded)) + greylisted_us,
        waits=waits,
        doubtful=doubtful,
    )


def _ended(copy: FinishedCopy, direction: str) -> tuple[float, float] | None:
    """Return the delay and its last instant; of a copy that was given up, how long it waited at least."""
    if copy.status != DELIVERED:
        return max(0.0, copy.finished_at - copy.received_at), copy.finished_at
    delay, end = (
        (copy.receive_delay_seconds, copy.accepted_at)
        if direction == RECEIVE
        else (copy.send_delay_seconds, copy.transfer_started_at)
    )
    return None if delay is None or end is None else (delay, end)


def _while_waiting(copy: FinishedCopy, ended: tuple[float, float], jumps: Sequence[ClockJump]) -> tuple[ClockJump, ...]:
    """Return the jumps between a copy's first stamp and its last; none where the duration says that there was none.

    A clock that was put back shows the same readings twice: which of them a stamp was is told by the duration only.
    """
    delay, end = ended
    within = tuple(jump for jump in jumps if copy.received_at < jump.at <= end)
    if not within or copy.status != DELIVERED:
        return within
    as_stamped = abs(end - copy.received_at - delay)
    as_moved = abs(corrected(end, within) - corrected(copy.received_at, within) - delay)
    return () if as_stamped <= _DRIFT_SECONDS < as_moved else within


def _touched(start: float, end: float, conditions: Conditions) -> bool:
    return any(each.start < end and each.end > start for each in conditions.exclusions)


def _excluded(
    copy: FinishedCopy, party: Party, conditions: Conditions, ended: tuple[float, float]
) -> tuple[float, tuple[tuple[Wait, float], ...], bool]:
    """Return the seconds excluded, the automatic part of them, and whether the clocks disagree."""
    delay, end = ended
    jumps = conditions.jumps
    start, true_end = corrected(copy.received_at, jumps), corrected(end, jumps)
    down = moved(conditions.down, jumps)
    waits = [
        (wait, clipped(minus([wait.interval], down), start, true_end))
        for wait in caused_elsewhere(copy, true_end, party.owner, jumps)
    ]
    automatic = union(piece for _, pieces in waits for piece in pieces)
    before_first, within_waits = _hold(copy, start, automatic, jumps)
    hold_counts = conditions.count_quarantine or copy.action != QUARANTINE
    pieces = [*automatic, *clipped(conditions.recorded(jumps), start, true_end)]
    if not hold_counts:
        pieces.append((start, start + before_first))
    excluded = seconds(pieces)
    if hold_counts:
        excluded = max(0.0, excluded - within_waits)
    disagreement = abs((true_end - start) - delay)
    doubtful = disagreement > _DRIFT_SECONDS
    if doubtful:
        excluded = max(0.0, excluded - disagreement)
    listed = tuple((wait, seconds(its_pieces)) for wait, its_pieces in waits)
    return min(excluded, delay), listed, doubtful


def _hold(copy: FinishedCopy, start: float, automatic: Intervals, jumps: Sequence[ClockJump]) -> tuple[float, float]:
    """Return how much of the hold lay before the first attempt, and how much within waiting that is excluded."""
    if not copy.held_seconds or not automatic:
        return copy.held_seconds, 0.0
    if copy.action != QUARANTINE:
        # An operator may have held it at any time: where that is not known, it is not excluded.
        return 0.0, min(copy.held_seconds, seconds(automatic))
    gap = max(0.0, first_attempt_at(copy, jumps) - start)
    before_first = min(copy.held_seconds, gap)
    return before_first, copy.held_seconds - before_first


__all__ = [
    "DELIVERED",
    "OPERATOR",
    "RECEIVE",
    "SEND",
    "Conditions",
    "Counted",
    "OwnerOf",
    "Party",
    "counted",
    "parties",
]
