"""What pair distances bound: false matches per item and per pair, for every distance, with intervals.

Pairs of n pictures are not independent, so nothing here divides by the number of pairs as if each had been
drawn for itself; both statements are over pictures (docs/corpus.md). A series of one scene, each of which
looks different, is not found, and makes the intervals too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Final

import msgspec
import numpy as np

from blindmatch_simulations.evaluation.corpus.pairs import BITS, REACH
from blindmatch_simulations.measure.intervals import bounded_mean, clustered_share, resampled_ratio, share
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
        once: pairs by distance of `listed` and `items`; not there in older scans.
        items_all: pictures of the other half, none set apart; not there in older scans.
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
    groups: tuple[tuple[int, ...], ...] = ()
    once: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET
    items_all: int | msgspec.UnsetType = msgspec.UNSET
    nearest_all: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def different(self) -> tuple[int, ...]:
        """Pairs of different pictures by distance."""
        apart = self.same + (0,) * (BITS - REACH)
        return tuple(every - same for every, same in zip(self.histogram, apart, strict=True))

    @property
    def of_once(self) -> tuple[int, ...]:
        """Pairs by distance of pictures each once."""
        return self.histogram if self.once is msgspec.UNSET else self.once

    @property
    def units(self) -> int:
        """Disjoint pairs of pictures, the same picture once."""
        return (self.listed + self.items) // 2

    def wrong(self) -> str:
        """Why these cannot be counts of one scan; empty if they can."""
        if (len(self.histogram), len(self.same), len(self.nearest)) != (BITS + 1, REACH + 1, REACH + 1):
            return "histogram, same, nearest: must have 257, 65 and 65 numbers"
        near_all = (0,) * (REACH + 1) if self.nearest_all is msgspec.UNSET else self.nearest_all
        if (len(self.of_once), len(near_all)) != (BITS + 1, REACH + 1):
            return "once, nearest_all: must have 257 and 65 numbers"
        if any(len(one) != BITS + 1 for one in self.groups):
            return "groups: must have 257 numbers each"
        every = (*self.histogram, *self.same, *self.nearest, *self.different, *sum(self.groups, ()))
        every += (*self.of_once, *near_all)
        if min(*every, self.files, self.broken, self.poor, self.repeated, self.listed, self.items) < 0:
            return "counts: must not be negative, and no more pairs the same than there are"
        if sum(self.histogram) != self.pictures * (self.pictures - 1) // 2:
            return "histogram: must have every pair of pictures once"
        if self.files != self.broken + self.poor + self.repeated + self.pictures:
            return "files: must be the sum of broken, poor, repeated and pictures"
        if self.listed + self.items > self.pictures or sum(self.nearest) > self.items:
            return "items: must be no more than there are pictures, and no fewer than have a listed one near"
        once = self.listed + self.items
        if sum(self.of_once) != once * (once - 1) // 2:
            return "once: must have every pair of listed and items once; a scan without it is made again"
        items_all = 0 if self.items_all is msgspec.UNSET else self.items_all
        if not sum(near_all) <= items_all <= self.pictures:
            return "items_all: must be no more than pictures, and no fewer than have a listed one near"
        return ""


class Bound(Strict, frozen=True):
    """False matches if pictures up to `distance` were called a match; `n` is what the interval is over.

    Attributes:
        item: share of items with a different picture of the list within it; `pairs` were compared.
        pair: share of pairs of different pictures within it.
        item_all, pair_all: the same if every picture is taken for a different one, none set apart: what the
            second hash takes for one picture is a false match. Not there if a scan is older.
    """

    distance: int
    item: Figure
    pair: Figure
    item_all: Figure | msgspec.UnsetType = msgspec.UNSET
    pair_all: Figure | msgspec.UnsetType = msgspec.UNSET


def bounds(parts: Sequence[Counts]) -> tuple[Bound, ...]:
    """One for each distance from 0 to 64, of scans together: shares are means over their pictures."""
    return tuple(_bound(parts, distance) for distance in range(REACH + 1))


def _bound(parts: Sequence[Counts], distance: int) -> Bound:
    item = _item([(one.nearest, one.items, one.listed) for one in parts], distance)
    every = [
        (one.nearest_all, one.items_all, one.pictures - one.items_all)
        for one in parts
        if one.nearest_all is not msgspec.UNSET and one.items_all is not msgspec.UNSET
    ]
    if len(every) < len(parts):
        return Bound(distance, item, pair_share(parts, distance))
    pair_all = share_within([(one.histogram, one.pictures // 2) for one in parts], distance)
    return Bound(distance, item, pair_share(parts, distance), _item(every, distance), pair_all)


def _item(parts: Sequence[tuple[tuple[int, ...], int, int]], distance: int) -> Figure:
    """Of items by the distance of the nearest, how many items and how many listed."""
    hits = sum(sum(nearest[: distance + 1]) for nearest, _, _ in parts)
    pairs = sum(items * listed for _, items, listed in parts)
    found = share(hits, sum(items for _, items, _ in parts), pairs)
    return Figure(found.value, found.why, found.low, found.high, found.n, found.pairs, unit=PER_ITEM)


def pair_share(parts: Sequence[Counts], distance: int) -> Figure:
    """The share of pairs of different pictures, each once."""
    return share_within([(one.of_once, one.units) for one in parts], distance)


def share_within(parts: Sequence[tuple[tuple[int, ...], int]], distance: int) -> Figure:
    """The share of pairs within a distance, of pairs by distance and units; of several scans the mean by
    their units, for which Hoeffding's bound holds with all units together."""
    units = sum(each for _, each in parts)
    if not units:
        return Figure(None, "fewer than two pictures", unit=PER_PAIR)
    shares = [sum(pairs[: distance + 1]) / max(1, sum(pairs)) for pairs, _ in parts]
    mean = float(np.average(shares, weights=[each for _, each in parts]))
    low, high = bounded_mean(mean, units)
    return Figure(mean, "", low, high, units, sum(sum(pairs) for pairs, _ in parts), unit=PER_PAIR)


def paired(more: Sequence[int], copies: Sequence[int]) -> tuple[Figure, Figure | None]:
    """What one way to match finds more than another of the same copies, a share of them, and how many
    pictures would tell if these do not.

    Args:
        more: copies of each picture that the first found, less those that the second found.
        copies: of each picture.
    """
    n, total = sum(one > 0 for one in copies), sum(more)
    value = total / sum(copies)
    if min(more) < 0 < max(more):
        low, high = resampled_ratio(more, copies)
    else:
        low, high = clustered_share(list(map(abs, more)), copies)
        low, high = (-high, high) if not total else (low, high) if total > 0 else (-high, -low)
    found = Figure(value, f"{sum(copies)} copies of {n} pictures, paired, by picture", low, high, n)
    if not low <= 0 <= high:
        return found, None
    if not any(more):
        words = f"if none of them differs, either, it is below {LEAST_DIFFERENCE:.0%}"
        return found, Figure(float(NONE_DIFFERS), words)
    if not total:
        return found, Figure(None, "they differ both ways alike: no number would tell")
    words = "if the difference is as seen, and its interval narrows with the square root"
    return found, Figure(float(ceil(n * ((high - low) / 2 / value) ** 2)), words)
