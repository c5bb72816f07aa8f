"""What many trials show together, from the ranks of their values alone: no distribution is assumed.

Two middles, each with the interval it lies in at CONFIDENCE. The median needs nothing of its values but that each is
one trial's. The median of the means of all two of them, each with itself too (Hodges and Lehmann; Wilcoxon's signed
ranks), needs that too much and too little come alike, and then half as many trials say as much.
"""

from collections.abc import Sequence
from itertools import accumulate
from math import comb, sqrt
from statistics import NormalDist, median

CONFIDENCE = 0.95
# Up to here exactly; beyond it the normal distribution tells the same to a rank or two, of thousands.
MOST_EXACT = 100


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the interval in which the median lies at CONFIDENCE, by ranks; None for too few values to tell (< 6)."""
    ordered, most = sorted(values), (1 - CONFIDENCE) / 2
    # So many of the lowest, and of the highest, can be left out: binomial, each value is below the median or not.
    outside, tail = 0, 0.5 ** len(ordered)
    while tail <= most:
        outside += 1
        tail += comb(len(ordered), outside) * 0.5 ** len(ordered)
    return (ordered[outside - 1], ordered[-outside]) if outside else None


def signed_ranks(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Return the pseudomedian, and the interval it lies in at CONFIDENCE, None for too few values to tell (< 6)."""
    means = sorted((one + other) / 2 for at, one in enumerate(values) for other in values[at:])
    outside = _left_out(len(values))
    return median(means), (means[outside - 1], means[-outside]) if outside else None


def _left_out(count: int) -> int:
    """Return how many of the lowest means, and of the highest, are left out, up to the bound itself.

    Wilcoxon's statistic is the sum of those ranks 1 … ``count`` whose sign, each by chance, is positive; the chance
    that it is below k is that of the k-th lowest mean lying above what is sought.
    """
    if count > MOST_EXACT:
        deviation = sqrt(count * (count + 1) * (2 * count + 1) / 24)
        return int(count * (count + 1) / 4 - NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * deviation)
    chances = [1.0]
    for rank in range(1, count + 1):
        longer = [0.0] * rank
        chances = [(few + many) / 2 for few, many in zip(chances + longer, longer + chances, strict=True)]
    return sum(below <= (1 - CONFIDENCE) / 2 for below in accumulate(chances))
