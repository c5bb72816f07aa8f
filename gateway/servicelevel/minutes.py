"""Reachable or not, minute by minute (contract.md §1). Pure.

What was observed is kept as runs of minutes per direction. A minute that no run covers, and in which real mail was
taken and passed on, is up in that direction without a probe's word; any other is unknown. Where two runs cover a
minute, down wins, and mail that passed in another part of that minute does not undo it: such minutes are counted as
contradicted, and said. A minute of which something failed is *down*; one that recorded exclusions cover wholly, and
that is not up, is *excluded*; in a minute that is not known the customer is taken to be unreachable, unless the terms
say otherwise. Minutes are numbered from 1970 in UTC, so that no change of clocks doubles or loses one.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise

from gateway.servicelevel.exclusion import Exclusion
from gateway.servicelevel.interval import Interval, Intervals, union
from gateway.servicelevel.month import MINUTE
from gateway.servicelevel.sample import RECEIVE, SEND
from gateway.servicelevel.store import Observed

UP, DOWN = "up", "down"
IDLE = "nobody sends through this gateway"
"""The reason on record of a direction that is up because it has no door: the other direction's mail speaks for both."""
NOT_RUNNING = "the gateway did not run"
"""The reason of minutes of which that holds for half or more: mail in the rest of them contradicts nothing."""


class MinuteState(IntEnum):
    """One minute of one customer."""

    UNKNOWN = 0
    UP = 1
    DOWN_RECEIVE = 2
    DOWN_SEND = 3
    DOWN = 4
    EXCLUDED = 5

    @property
    def word(self) -> str:
        """The state as reports write it."""
        return self.name.lower().replace("_", "-")


DOWN_STATES = frozenset({MinuteState.DOWN_RECEIVE, MinuteState.DOWN_SEND, MinuteState.DOWN})
_UNKNOWN, _SEEN_UP, _SEEN_DOWN = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Minutes:
    """The minutes from number ``first`` on: a state each. ``raw`` is before exclusions, ``states`` after them.

    ``contradicted`` counts those in which a probe failed in a direction, and real mail passed.
    """

    first: int
    raw: bytes
    states: bytes
    contradicted: int = 0

    def count(self, *states: MinuteState) -> int:
        """Return how many minutes have one of the states, after exclusions."""
        return sum(self.states.count(state) for state in states)

    def unreachable(self, *, count_unknown: bool, excluding: bool) -> int:
        """Return how many minutes count as unreachable, after exclusions or (``excluding`` False) before."""
        minutes = self.states if excluding else self.raw
        return sum(minutes.count(state) for state in (*DOWN_STATES, *((MinuteState.UNKNOWN,) if count_unknown else ())))

    def without_pending(self, most: int) -> "Minutes":
        """Return them without the last minutes, at most ``most``, of which nothing can be known yet."""
        pending = 0
        while pending < min(most, len(self.raw)) and self.raw[-1 - pending] == MinuteState.UNKNOWN:
            pending += 1
        judged_so_far = len(self.raw) - pending
        return replace(self, raw=self.raw[:judged_so_far], states=self.states[:judged_so_far])

    def runs(self) -> Iterator[tuple[int, int, MinuteState]]:
        """Yield (first minute, minutes, state) for each stretch of equal states, after exclusions."""
        begin = 0
        for place in range(1, len(self.states) + 1):
            if place == len(self.states) or self.states[place] != self.states[begin]:
                yield self.first + begin, place - begin, MinuteState(self.states[begin])
                begin = place


def span_minutes(span: Interval) -> tuple[int, int]:
    """Return the number of the first minute that begins in a span, and of the first after it."""
    start, end = span
    return -int(-start // MINUTE), -int(-end // MINUTE)


def judged(
    observed: Sequence[Observed],
    span: Interval,
    exclusions: Iterable[Exclusion],
    mailed: Mapping[str, Collection[int]] | None = None,
) -> Minutes:
    """Return the minutes of a span; ``mailed`` are those in which real mail passed, by direction."""
    first, after = span_minutes(span)
    seen = {RECEIVE: bytearray(after - first), SEND: bytearray(after - first)}
    contradicted: set[int] = set()
    passed = _speaking_for_both(observed, mailed or {}, (first, after))
    for direction, minutes in passed.items():
        for minute in minutes:
            if first <= minute < after:
                seen[direction][minute - first] = _SEEN_UP
    for state, mark in ((UP, _SEEN_UP), (DOWN, _SEEN_DOWN)):
        for run in observed:
            begin, end = max(run.first, first) - first, min(run.last + 1, after) - first
            if run.state == state and end > begin:
                seen[run.direction][begin:end] = bytes([mark]) * (end - begin)
                if state == DOWN and run.reason != NOT_RUNNING and passed.get(run.direction):
                    contradicted.update(at for at in range(begin + first, end + first) if at in passed[run.direction])
    raw = bytes(map(_STATES.__getitem__, map(_pair, seen[RECEIVE], seen[SEND])))
    states = _without(raw, first, union(each.interval for each in exclusions))
    return Minutes(first=first, raw=raw, states=states, contradicted=len(contradicted))


def _speaking_for_both(
    observed: Iterable[Observed], mailed: Mapping[str, Collection[int]], span: tuple[int, int]
) -> Mapping[str, Collection[int]]:
    """Return where mail passed; while nobody sent through here, what was received speaks for sending too.

    That holds from one look that found no door for sending to the next look, whatever that one finds.
    """
    looks = [run for run in observed if run.direction == SEND and run.reason != NOT_RUNNING]
    sending = sorted((run.first, run.state == UP and run.reason == IDLE) for run in looks)
    if not any(idle for _, idle in sending):
        return mailed
    # What was not looked at before the first look is as that one found it. One span from change to change: a month of
    # restarts has thousands of runs.
    changes = [sending[0], *(after for before, after in pairwise(sending) if after[1] != before[1])]
    edges = [span[0], *(first for first, _ in changes[1:]), span[1]]
    idle_spans = [(begin, end) for (begin, end), (_, idle) in zip(pairwise(edges), changes, strict=True) if idle]
    received = {minute for minute in mailed.get(RECEIVE, ()) if any(a <= minute < b for a, b in idle_spans)}
    return {**mailed, SEND: {*mailed.get(SEND, ()), *received}}


def _pair(receive: int, send: int) -> int:
    return receive * 3 + send


def _state(receive: int, send: int) -> MinuteState:
    if receive == send == _SEEN_DOWN:
        return MinuteState.DOWN
    if receive == _SEEN_DOWN:
        return MinuteState.DOWN_RECEIVE
    if send == _SEEN_DOWN:
        return MinuteState.DOWN_SEND
    return MinuteState.UP if receive == send == _SEEN_UP else MinuteState.UNKNOWN


_STATES = tuple(_state(receive, send) for receive in range(3) for send in range(3))


def _without(raw: bytes, first: int, excluded: Intervals) -> bytes:
    states = bytearray(raw)
    for start, end in excluded:
        begin = max(0, -int(-start // MINUTE) - first)
        after = min(len(states), int(end // MINUTE) - first)
        for place in range(begin, after):
            if states[place] != MinuteState.UP:
                states[place] = MinuteState.EXCLUDED
    return bytes(states)
