"""What pair distances bound: false matches per item and per pair, for every distance, with intervals; and a
model of the tail of pair distances, to extrapolate to distances at which no pair was seen.

Pairs of n pictures are not independent, so nothing here divides by the number of pairs as if each had been
drawn for itself; both statements are over pictures (docs/corpus.md). A series of one scene, each of which
looks different, is not found, and makes the intervals too narrow.

Of the nearest hundredth of all pairs, the share within d bits is taken for exp(b y + c y^2) of those within
the threshold u, y = (d - u) / 2 steps below it, b > 0 and c <= 0, by maximum likelihood: c = 0 is the
exponential tail of peaks over a threshold (Pickands, 1975), a normal one has c < 0. Where a corpus has
look-alikes that its pairs do not show yet, the model says too little. It is a model, and is called one.

Its error is that of `GROUPS` disjoint groups of pictures, each fitted for itself: a t-interval over groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from msgspec.structs import replace

from blindmatch_simulations.evaluation.corpus.pairs import REACH, Ints, Prints, histogram_of
from blindmatch_simulations.measure.intervals import (
    CONFIDENCE,
    bounded_mean,
    clopper_pearson,
    package_ratio,
    share,
)
from blindmatch_simulations.measure.results import Figure, Strict

PER_ITEM: Final = "share of items"
PER_PAIR: Final = "share of pairs"
LEAST_DIFFERENCE: Final = 0.01
NONE_DIFFERS: Final = 368
"""Of so many pictures: then a larger difference than that is excluded (Clopper and Pearson)."""


class Counts(Strict, frozen=True):
    """What one scan counted: numbers of pictures and of pairs, no name and no hash.

    Attributes:
        files: with a picture's suffix or none.
        broken: of these, no acceptable pictures.
        poor: pictures of a quality below 50, which never match.
        repeated: good pictures whose fingerprint another one has: copies.
        pictures: the rest, which is compared.
        histogram: their pairs by PDQ distance, 0 to 256.
        same: of these, pairs that are the same picture by a second hash, by distance 0 to 64.
        listed: pictures of the half that is taken as a list; of `listed` and `items` none is the same.
        items: pictures of the other half.
        nearest: items by the distance of the nearest listed picture that is another one, 0 to 64.
        groups: pairs by distance of disjoint random groups of pictures, for the tail model.
        once: pairs by distance of `listed` and `items`.
        items_all: pictures of the other half, none set apart.
        nearest_all: these by the distance of the nearest listed picture, none set apart, 0 to 64.
    """

    files: int
    broken: int
    poor: int
    repeated: int
    pictures: int
    histogram: tuple[int, ...]
    same: tuple[int, ...]
    listed: int
    items: int
    nearest: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    once: tuple[int, ...]
    items_all: int
    nearest_all: tuple[int, ...]


class Bound(Strict, frozen=True):
    """False matches if pictures up to `distance` were called a match; `n` is what the interval is over.

    Attributes:
        item: share of items with a different picture of the list within it; `pairs` were compared.
        pair: share of pairs of different pictures within it.
        item_all, pair_all: the same if every picture is taken for a different one, none set apart: what the
            second hash takes for one picture is a false match.
    """

    distance: int
    item: Figure
    pair: Figure
    item_all: Figure
    pair_all: Figure


def bounds(counts: Counts) -> tuple[Bound, ...]:
    """One for each distance from 0 to 64."""
    every = counts.pictures - counts.items_all
    return tuple(
        Bound(
            distance,
            share_of_items(sum(counts.nearest[: distance + 1]), counts.items, counts.listed),
            share_within(counts.once, (counts.listed + counts.items) // 2, distance),
            share_of_items(sum(counts.nearest_all[: distance + 1]), counts.items_all, every),
            share_within(counts.histogram, counts.pictures // 2, distance),
        )
        for distance in range(REACH + 1)
    )


def share_of_items(near: int, items: int, listed: int) -> Figure:
    """The share of items that are near one of so many listed ones."""
    return replace(share(near, items, items * listed), unit=PER_ITEM)


def share_within(pairs: Sequence[int], units: int, distance: int) -> Figure:
    """The share of pairs within a distance, of pairs by distance; by Hoeffding's bound for so many units,
    disjoint pairs of pictures."""
    if not units:
        return Figure(None, "fewer than two pictures", unit=PER_PAIR)
    mean = sum(pairs[: distance + 1]) / max(1, sum(pairs))
    low, high = bounded_mean(mean, units)
    return Figure(mean, "", low, high, units, sum(pairs), unit=PER_PAIR)


def paired(more: Ints, copies: Ints, packages: npt.NDArray[np.str_]) -> tuple[Figure, Figure | None]:
    """Return what one way to match finds more than another of the same copies, as a share of them, and how
    many pictures would tell if these do not. The interval is of the mean over packages: packages are drawn
    again, then pictures of each.

    Args:
        more: how many more copies the first way found, of each picture, (m,).
        copies: of each picture, (m,).
        packages: of each picture, (m,).
    """
    n, total = int((copies > 0).sum()), int(more.sum())
    value = total / int(copies.sum())
    if (more == more[0] * copies / max(1, copies[0])).all():
        # every picture alike: how far others can differ, by Clopper and Pearson over pictures
        reach = clopper_pearson(0, n)[1]
        low, high = max(-1.0, value - reach), min(1.0, value + reach)
    else:
        low, high = package_ratio(more, copies, packages)
    words = f"95 %, {int(copies.sum())} copies of {n} pictures, paired, packages drawn again, then pictures"
    found = Figure(value, words, low, high, n)
    if not low <= 0 <= high:
        return found, None
    if not more.any():
        none = f"if none of them differs, either, it is below {LEAST_DIFFERENCE:.0%}"
        return found, Figure(float(NONE_DIFFERS), none)
    if not total:
        return found, Figure(None, "they differ both ways alike: no number would tell")
    words = "if the difference is as seen, and its interval narrows with the square root"
    return found, Figure(float(ceil(n * ((high - low) / 2 / value) ** 2)), words)


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
