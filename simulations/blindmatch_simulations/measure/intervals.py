"""Intervals of what was counted: exact ones (Clopper and Pearson, 1934; Garwood, 1936), by scipy's incomplete
beta and gamma functions, and resampled ones for paired timings. What is one-sided is called so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

CONFIDENCE: Final = 0.95
_RESAMPLES: Final = 2000


def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two-sided interval for a share of `hits` in `trials`; (0, 1) if nothing was tried.

    Raises:
        ValueError: if there are more hits than trials.
    """
    if not 0 <= hits <= trials:
        raise ValueError("hits: must be 0 to the number of trials")
    tail = (1 - confidence) / 2
    return _low(hits, trials, tail), 1 - _low(trials - hits, trials, tail)


def one_sided_least(hits: int, trials: int) -> float:
    """What a share of `hits` in `trials` is at least, one-sided, at 95 %; 0 if nothing was tried."""
    return _low(hits, trials, 1 - CONFIDENCE)


def one_sided_most_rate(count: int, trials: float) -> float:
    """What a rate of rare events is at most, one-sided, at 95 %: exact for a Poisson count (Garwood);
    infinity if nothing was tried. Nothing seen gives 3.0 in `trials`, the rule of three."""
    from scipy.special import gammaincinv

    return float(gammaincinv(count + 1, CONFIDENCE)) / trials if trials > 0 else float("inf")


def at_least(least: int, trials: int, p: float) -> float:
    """The exact probability of `least` successes or more in `trials`, each of probability `p`."""
    from scipy.special import bdtrc

    return 1.0 if least <= 0 else float(bdtrc(least - 1, trials, p)) if least <= trials else 0.0


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


def _low(hits: int, trials: int, tail: float) -> float:
    """The share for which at least `hits` in `trials` have probability `tail`; 0 without hits."""
    from scipy.special import betaincinv

    return float(betaincinv(hits, trials - hits + 1, tail)) if hits > 0 else 0.0
