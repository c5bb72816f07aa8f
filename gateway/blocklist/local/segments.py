"""Ranges that overlap, cut into ranges that do not: each knows which entries speak for it.

Of the entries that hold an address the narrowest speaks; of equally narrow ones an exclusion, then the one whose note
came first. Entries that expire have those behind them that speak afterwards, at most MAX_CHAIN deep.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise

# Expiring entries on top of each other; networks of IPv4 nest 33 deep at most, and who lists them all has one reason.
MAX_CHAIN = 16

# (breadth, 0 for an exclusion or 1, number of the note, first, last): in this order the narrower speaks first.
Speaker = tuple[int, int, int, int, int]
Chain = tuple[Speaker, ...]


@dataclass(slots=True)
class _Sweep:
    """The entries that hold the present address, narrowest first; ``ends`` which of them ends next."""

    active: list[Speaker] = field(default_factory=list)
    ends: list[tuple[int, Speaker]] = field(default_factory=list)

    def open(self, speaker: Speaker) -> None:
        insort(self.active, speaker)
        heappush(self.ends, (speaker[4], speaker))

    def close_before(self, address: int) -> None:
        while self.ends and self.ends[0][0] < address:
            _, speaker = heappop(self.ends)
            del self.active[bisect_left(self.active, speaker)]


def cut(speakers: Sequence[Speaker], expires: Sequence[bool]) -> Iterator[tuple[int, int, Chain]]:
    """Yield (first, last, chain), ascending and disjoint, of entries sorted by their first address.

    ``expires`` tells of each note whether it ends by itself.
    """
    at, count = 0, len(speakers)
    while at < count:
        start, reach = at, speakers[at][4]
        at += 1
        while at < count and speakers[at][3] <= reach:
            reach = max(reach, speakers[at][4])
            at += 1
        if at - start == 1:
            alone = speakers[start]
            yield alone[3], alone[4], (alone,)
        else:
            yield from _cut_cluster(speakers[start:at], expires)


def _cut_cluster(speakers: Sequence[Speaker], expires: Sequence[bool]) -> Iterator[tuple[int, int, Chain]]:
    edges = sorted({s[3] for s in speakers} | {s[4] + 1 for s in speakers})
    sweep, at = _Sweep(), 0
    before: tuple[int, int, Chain] | None = None
    for first, following in pairwise(edges):
        sweep.close_before(first)
        while at < len(speakers) and speakers[at][3] == first:
            sweep.open(speakers[at])
            at += 1
        chain = _chain(sweep.active, expires)
        if before is not None and before[2] == chain:
            before = (before[0], following - 1, chain)
            continue
        if before is not None:
            yield before
        before = (first, following - 1, chain)
    if before is not None:
        yield before


def _chain(active: Sequence[Speaker], expires: Sequence[bool]) -> Chain:
    """Return who speaks, and who would after each of those has expired."""
    chain: list[Speaker] = []
    for speaker in active[:MAX_CHAIN]:
        chain.append(speaker)
        if not expires[speaker[2]]:
            break
    return tuple(chain)
