"""Half-open intervals ``[start, end)`` of UTC seconds, and sets of them as sorted tuples without overlaps. Pure."""

from collections.abc import Iterable, Sequence

Interval = tuple[float, float]
Intervals = tuple[Interval, ...]


def union(intervals: Iterable[Interval]) -> Intervals:
    """Return the same instants as disjoint intervals in order; empty ones vanish."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)


def clipped(intervals: Iterable[Interval], start: float, end: float) -> Intervals:
    """Return what of the intervals lies in ``[start, end)``, as a union."""
    return union((max(start, a), min(end, b)) for a, b in intervals)


def minus(intervals: Iterable[Interval], others: Sequence[Interval]) -> Intervals:
    """Return the instants of ``intervals`` that are in none of ``others``."""
    left = union(intervals)
    for cut_start, cut_end in union(others):
        left = tuple(
            piece
            for start, end in left
            for piece in ((start, min(end, cut_start)), (max(start, cut_end), end))
            if piece[0] < piece[1]
        )
    return left


def seconds(intervals: Iterable[Interval]) -> float:
    """Return how long the intervals are together, overlaps once."""
    return sum(end - start for start, end in union(intervals))


def overlap(one: Iterable[Interval], other: Sequence[Interval]) -> float:
    """Return for how many seconds both hold."""
    mine = union(one)
    return seconds(mine) - seconds(minus(mine, other))
