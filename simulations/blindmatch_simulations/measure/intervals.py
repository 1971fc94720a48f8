"""Exact intervals (Clopper and Pearson, 1934) for counted shares, resampled ones for paired timings."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, lgamma, log, log1p
from typing import Final

import numpy as np

CONFIDENCE: Final = 0.95
_STEPS: Final = 60
_RESAMPLES: Final = 2000


def interval(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two-sided interval for a share of `hits` in `trials`; (0, 1) if nothing was tried.

    Raises:
        ValueError: if there are more hits than trials.
    """
    if not 0 <= hits <= trials:
        raise ValueError("hits: must be 0 to the number of trials")
    tail = (1 - confidence) / 2
    low = _quantile(hits, trials, tail) if hits else 0.0
    high = 1 - _quantile(trials - hits, trials, tail) if hits < trials else 1.0
    return (low, high)


def median_ratio(
    above: Sequence[float], below: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The interval of median(above) / median(below) over pairs, by resampling them (Efron, 1979).

    The resamples are the same for the same number of pairs, so that the same rows give the same interval.

    Raises:
        ValueError: if there are no pairs, or not as many of one as of the other.
    """
    if not above or len(above) != len(below):
        raise ValueError("pairs: must be as many of one as of the other, and at least one")
    picks = np.random.Generator(np.random.PCG64(len(above))).integers(
        len(above), size=(_RESAMPLES, len(above))
    )
    ratios = np.median(np.array(above)[picks], axis=1) / np.median(np.array(below)[picks], axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def _quantile(least: int, trials: int, tail: float) -> float:
    """The share p for which at least `least` hits in `trials` have probability `tail`."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_least(least, trials, middle) < tail else (low, middle)
    return (low + high) / 2


def _at_least(least: int, trials: int, p: float) -> float:
    """Probability of at least `least` hits; the shorter tail is summed."""
    if least > trials // 2:
        return sum(_term(k, trials, p) for k in range(least, trials + 1))
    return 1 - sum(_term(k, trials, p) for k in range(least))


def _term(k: int, n: int, p: float) -> float:
    ways = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return exp(ways + k * log(p) + (n - k) * log1p(-p))
