"""A model of the tail of pair distances, to extrapolate to distances at which no pair was seen.

Of the nearest hundredth of all pairs, the share within d bits is taken for exp(b y + c y^2) of those within
the threshold u, y = (d - u) / 2 steps below it, b > 0 and c <= 0, by maximum likelihood: c = 0 is the
exponential tail of peaks over a threshold (Pickands, 1975), a normal one has c < 0. Where a corpus has
look-alikes that its pairs do not show yet, the model says too little. It is a model, and is called one.

Its error is that of `GROUPS` disjoint groups of pictures, each fitted for itself: a t-interval over groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE

from blindmatch_simulations.evaluation.corpus.pairs import Ints, Prints, histogram_of
from blindmatch_simulations.measure.intervals import CONFIDENCE
from blindmatch_simulations.measure.results import Figure

GROUPS: Final = 8
MOST_PICTURES: Final = 16_384
"""Pictures that groups are made of, at most; they take a second."""
UNIT: Final = "log10 of the share of pairs"
TAIL: Final = 0.01
_LEAST_PAIRS: Final = 50
_LEAST_GROUP: Final = 16


def groups_of(prints: Prints) -> tuple[tuple[int, ...], ...]:
    """Pair distances within disjoint groups of pictures, drawn at random; none of fewer than 128 pictures."""
    if len(prints) < GROUPS * _LEAST_GROUP:
        return ()
    order = np.random.Generator(np.random.PCG64(len(prints))).permutation(len(prints))[:MOST_PICTURES]
    return tuple(tuple(map(int, histogram_of(prints[order[at::GROUPS], :32]))) for at in range(GROUPS))


def tail(groups: Sequence[Sequence[int]], distance: int = MATCH_DISTANCE) -> Figure:
    """Log10 of the share of pairs within `distance`, by the model, with its error."""
    from scipy.special import stdtrit

    counts = np.array(groups, np.int64).reshape(-1, 257)
    whole = counts.sum(axis=0)
    threshold = _threshold(whole, len(counts))
    if threshold <= distance + 1:
        return Figure(None, "too few independent pictures, or too many close ones, for a model", unit=UNIT)
    found = [_fitted(one, threshold, distance) for one in counts]
    if any(one is None for one in found):
        return Figure(None, "a group has no pairs in the tail", unit=UNIT)
    value, values = _fitted(whole, threshold, distance), np.array(found, np.float64)
    assert value is not None
    t = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    reach = t * float(values.std(ddof=1)) / float(np.sqrt(len(values)))
    why = f"model of the tail below {threshold} bits; {_fit(whole, threshold)}"
    return Figure(
        value, why, value - reach, min(0.0, value + reach), len(counts), int(whole.sum()), unit=UNIT
    )


def _threshold(whole: Ints, groups: int) -> int:
    """The smallest even distance up to which the nearest hundredth of pairs lies, and 50 pairs a group."""
    wanted = max(TAIL * whole.sum(), _LEAST_PAIRS * max(1, groups))
    at = int(np.searchsorted(np.cumsum(whole), wanted))
    return at + at % 2 if groups and at < len(whole) else 0


def _fitted(counts: Ints, threshold: int, distance: int) -> float | None:
    steps = (threshold - np.arange(threshold + 1)) // 2
    below = np.bincount(steps, counts[: threshold + 1]).astype(np.float64)
    if below[1:].sum() == 0:
        return None
    linear, square = _likeliest(below)
    down = -(-(threshold - distance) // 2)
    share = below.sum() / counts.sum()
    return float((np.log(share) - linear * down + square * down**2) / np.log(10))


def _likeliest(below: npt.NDArray[np.float64]) -> tuple[float, float]:
    from scipy.optimize import minimize

    down = np.arange(len(below) + 1)

    def unlikely(at: npt.NDArray[np.float64]) -> float:
        logs = -at[0] * down + at[1] * down**2
        # the share in one step is the difference of two cumulated ones
        each = logs[:-1] + np.log1p(-np.exp(np.minimum(logs[1:] - logs[:-1], -1e-12)))
        return -float((below * each).sum() / below.sum())

    mean = float((below * down[:-1]).sum() / below.sum())
    began = np.array([np.log1p(1 / mean), -0.01])
    found = minimize(unlikely, began, method="L-BFGS-B", bounds=[(1e-6, None), (None, 0.0)])
    return float(found.x[0]), float(found.x[1])


def _fit(whole: Ints, threshold: int) -> str:
    """How the model stands to the nearest pairs that were seen."""
    sums = np.cumsum(whole)
    at = int(np.searchsorted(sums, max(10, 0.01 * sums[threshold])))
    modelled = _fitted(whole, threshold, at)
    assert modelled is not None
    return f"within {at} it gives {10**modelled * sums[-1] / sums[at]:.2g} times the {sums[at]} pairs seen"
