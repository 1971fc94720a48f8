"""What pair distances bound: false matches per item and per pair, for every distance, with intervals.

Pairs of n pictures are not independent, so nothing here divides by the number of pairs as if each had been
drawn for itself; both statements are over pictures (docs/how-to/corpus.md). A series of one scene, each of
which looks different, is not found, and makes the intervals too narrow. Nothing is said of distances or of
lists beyond those that were counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from blindmatch_simulations.evaluation.corpus.pairs import REACH, Ints
from blindmatch_simulations.measure.intervals import (
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
    n = int((copies > 0).sum())
    total = int(more.sum())
    value = total / int(copies.sum())
    if (more == more[0] * copies / max(1, copies[0])).all():
        # every picture alike: how far others can differ, by Clopper and Pearson over pictures
        reach = clopper_pearson(0, n)[1]
        low = max(-1.0, value - reach)
        high = min(1.0, value + reach)
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
