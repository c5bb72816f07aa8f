"""Mail beside a run that is stopped and let go on in turn: which message belongs to which window, and what that shows.

A machine drifts over minutes by more than is to be told, so a run is stopped (SIGSTOP) and let go on in windows of some
seconds, in pairs: beside, paused · paused, beside · beside, paused · … What changes slowly falls on both.

A message counts for the window in which it was connected and its delivery ended; those of the first SETTLE_SECONDS of a
window count for none, since what the window before left is still being done. Only whole pairs count.

**What is judged**, for the time until the 250 and for the time from the final dot to the next hop: each pair gives the
ratio of its two p99. Their middle is the median of the geometric means of all two of them, each with itself too (Hodges
and Lehmann), and its interval at 95 % comes from the ranks of these means (Wilcoxon's signed ranks, exact). *Kept* is
the promise when all of the interval is below MOST_SLOWED and the ratio of the p99 of all beside windows together to
that of all paused ones is too: a stall in one window in ten is seen by the latter only. *NOT kept* when all of the
interval is above; else *not shown*.

This was chosen before anything was measured at full size, on made-up noise: 14 pairs of 700 messages, log-normal, and
stalls of a Pareto distribution that hold up the messages within them. Of 300 such runs, half with a true ratio of 1.0
and half with 1.2, the interval of 95 % held the truth in so many per cent; in the last column, how many of those of 1.0
on the drifting machine it would call kept:

                                                       few stalls  drift of 15 %  many stalls  rare large  kept
    signed ranks of the pairs' ratios (judged)                 97             95           94          96    83
    median of the pairs' ratios, its ranks (mail_path)         99             99           98          98    55
    mean of their logarithms, Student's t                      95             96           98          98    81
    p99 of all together, bootstrapped over the pairs           94             88           88          88    77

The bootstrap claims more than it knows; the median of the pairs is safe, and needs twice as many. It and the ratio of
all together are printed beside what is judged. In the same seven minutes 21 pairs of windows of 10 seconds tell more
than 14 of 15 seconds: with a true ratio of 1.0 they call it kept in 96 of 100 (86) on the drifting machine, in 56 (33)
with many stalls, with 1.2 in 2 to 4 of 100; shorter ones tell more yet, but what is left over weighs more in them.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from latency import Stamps, percentile
from systems import PROJECT

# A program's path is its own folder.
sys.path.append(str(PROJECT))
from tests.benchmarks.mail_path import verdict_of
from tests.benchmarks.ranks import CONFIDENCE, interval, signed_ranks

State = Literal["beside", "paused"]
What = Literal["accepted", "delivered"]
FIGURES: tuple[tuple[What, str], ...] = (("accepted", "to the 250"), ("delivered", "to the next hop"))
# What a run had begun when it was stopped, and mail that was held up by it, are through by then.
SETTLE_SECONDS = 1.0
# The figure: less than 20 % slower.
MOST_SLOWED = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some seconds (``perf_counter``) in one state, and the octets that the run read in it."""

    state: State
    begin: float
    end: float
    read_octets: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds of every message of some time: from connecting to the 250, and from the final dot to the sink."""

    accepted_ms: tuple[float, ...]
    delivered_ms: tuple[float, ...]

    def p99(self, what: What) -> float:
        """Return the 99th percentile."""
        return percentile(self.accepted_ms if what == "accepted" else self.delivered_ms, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two windows next to each other."""

    beside: Times
    paused: Times


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowed:
    """How many times as long the p99 takes beside a run as beside the same run paused.

    ``each`` are the pairs' ratios, ``middle`` is their pseudomedian and ``within`` its interval, None for too few.
    """

    run: str
    what: What
    beside_ms: float
    paused_ms: float
    each: tuple[float, ...]
    middle: float
    within: tuple[float, float] | None

    @property
    def together(self) -> float:
        """The ratio of the p99 of all messages of all windows."""
        return self.beside_ms / self.paused_ms

    @property
    def verdict(self) -> str:
        """What all of this says of the promise."""
        found = verdict_of(self.within, MOST_SLOWED)
        return "not shown" if found == "kept" and self.together >= MOST_SLOWED else found

    def __str__(self) -> str:
        ranks = interval(self.each)
        return (
            f"{self.run}, {dict(FIGURES)[self.what]}: p99 {self.beside_ms:.1f} ms beside, {self.paused_ms:.1f} paused, "
            f"{self.together:.2f} × of all together; {len(self.each)} pairs: {self.middle:.2f} × "
            f"({_bounds(self.within)}), median {median(self.each):.2f} × ({_bounds(ranks)}) · "
            f"less than {MOST_SLOWED:g} × is {self.verdict}"
        )


def _bounds(within: tuple[float, float] | None) -> str:
    return f"{within[0]:.2f} to {within[1]:.2f} at {CONFIDENCE:.0%}" if within else "too few to tell how certain"


def states(pairs: int) -> list[State]:
    """Return the states of the windows of so many pairs, in order; the first of a pair alternates."""
    return [
        state for pair in range(pairs) for state in (("beside", "paused") if pair % 2 == 0 else ("paused", "beside"))
    ]


def split(windows: Sequence[Window], serials: Sequence[int], stamps: Stamps) -> list[Times]:
    """Return the times of the messages of each window."""
    found: list[list[int]] = [[] for _ in windows]
    at = 0
    for serial in serials:
        opened = stamps.opened[serial]
        while at < len(windows) and opened >= windows[at].end:
            at += 1
        if at == len(windows):
            break
        window = windows[at]
        ended = max(stamps.accepted[serial], stamps.arrived[serial])
        if opened >= window.begin + SETTLE_SECONDS and ended < window.end:
            found[at].append(serial)
    return [times(each, stamps) for each in found]


def times(serials: Sequence[int], stamps: Stamps) -> Times:
    """Return the times of messages."""
    return Times(
        accepted_ms=tuple(1000 * (stamps.accepted[serial] - stamps.opened[serial]) for serial in serials),
        delivered_ms=tuple(1000 * (stamps.arrived[serial] - stamps.dot[serial]) for serial in serials),
    )


def together(found: Sequence[Times]) -> Times:
    """Return the times of several windows as those of one."""
    return Times(
        accepted_ms=tuple(ms for each in found for ms in each.accepted_ms),
        delivered_ms=tuple(ms for each in found for ms in each.delivered_ms),
    )


def paired(windows: Sequence[Window], found: Sequence[Times]) -> list[Pair]:
    """Put the windows of a pair together; a window whose other one is missing, or in which no mail ended, is left."""
    couples = zip(windows[::2], found[::2], found[1::2], strict=False)
    return [
        Pair(beside=first, paused=second) if window.state == "beside" else Pair(beside=second, paused=first)
        for window, first, second in couples
        if first.accepted_ms and second.accepted_ms
    ]


def judged(run: str, pairs: Sequence[Pair]) -> list[Slowed]:
    """Return what the pairs of a run show, for both figures."""
    beside, paused = (together([getattr(pair, state) for pair in pairs]) for state in ("beside", "paused"))
    return [_slowed(run, what, pairs, (beside, paused)) for what, _ in FIGURES]


def _slowed(run: str, what: What, pairs: Sequence[Pair], all_of: tuple[Times, Times]) -> Slowed:
    beside, paused = all_of
    each = tuple(pair.beside.p99(what) / pair.paused.p99(what) for pair in pairs)
    middle, within = of_ratios(each)
    return Slowed(
        run=run,
        what=what,
        beside_ms=beside.p99(what),
        paused_ms=paused.p99(what),
        each=each,
        middle=middle,
        within=within,
    )


def of_ratios(ratios: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Return the middle of ratios and the interval it lies in (``ranks.signed_ranks`` of their logarithms)."""
    middle, within = signed_ranks([math.log(ratio) for ratio in ratios])
    return math.exp(middle), (math.exp(within[0]), math.exp(within[1])) if within else None
