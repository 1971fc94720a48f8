"""False matches on the reference corpus: pictures of one source that match a picture of another source.

A source is a package. Pictures of one source are made alike: one file lies in two folders, a wallpaper beside
its own screenshot, a card beside the next card of its deck. Hashes cannot tell whether two of them are one
picture or two. A pair inside a source is therefore never counted, neither as a false match nor as none, and
of pictures of a source within PDQ's distance of each other one alone is asked about and listed
(`set_apart`); the pairs are in the evidence. What this leaves out is a list that holds look-alikes of the
very source that is asked about, such as another card of the deck.

A rate is one of a kind of picture, a kind of list and a length of list. Pairs across sources are counted,
also those that a second hash calls the same picture, such as a flag that two packages hold, which makes the
rates of all kinds too high. Photographs alone were looked at, and one that two packages have is set apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import log
from pathlib import PurePosixPath
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.data import table_of
from blindmatch_simulations.evaluation.corpus.pairs import REACH, Flags, Prints, apart, judged, words_of
from blindmatch_simulations.evaluation.studies.another import LEAST_PACKAGES, RATE_WORDS, rate_interval
from blindmatch_simulations.evaluation.studies.reference import PHOTOGRAPH, Reference
from blindmatch_simulations.evaluation.studies.reference import Row as Original
from blindmatch_simulations.measure.intervals import clopper_pearson, package_draws, share
from blindmatch_simulations.measure.results import Figure, Row

FALSE: Final = "evidence/false"
GROWTH: Final = "evidence/growth"
NEAR_DUPLICATES: Final = "evidence/near-duplicates"
NEAR_DUPLICATE: Final = "evidence/near-duplicate"
ACROSS: Final = "evidence/across"
ALL: Final = "all"
PARTS: Final = (64, 32, 16, 8, 4, 2, 1)
"""The list is shortened to one in so many of its pictures, drawn at random."""
FITTED: Final = 8
"""The exponent is that from one in so many pictures of the list to all of them."""
OVER_PICTURES: Final = "95 %, Clopper and Pearson, over pictures as if each were drawn for itself"
_ROWS: Final = 64
_GROWN: Final = (ALL, PHOTOGRAPH)
"""Kinds of lists of which the growth is measured."""


class NearPairs(Struct, frozen=True):
    """Pairs of originals within 64 bits: places, distance, whether the second hash calls them the same."""

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    bits: npt.NDArray[np.uint8]
    same: Flags

    def take(self, which: Flags) -> NearPairs:
        return NearPairs(self.first[which], self.second[which], self.bits[which], self.same[which])


def near_pairs(prints: Prints) -> NearPairs:
    """Return all pairs within `REACH` of fingerprints (n, 64)."""
    words = np.ascontiguousarray(words_of(prints[:, :32]).T)
    first = []
    second = []
    bits = []
    for top in range(0, len(prints), _ROWS):
        found = apart(words[:, top : top + _ROWS], words[:, top:])
        at, to = np.nonzero(found <= REACH)
        ahead = to > at
        at = at[ahead]
        to = to[ahead]
        first.append(at + top)
        second.append(to + top)
        bits.append(found[at, to])
    i = np.concatenate(first)
    j = np.concatenate(second)
    d = np.concatenate(bits)
    wrapped, same = judged(prints[i], prints[j], d)
    return NearPairs(i, j, d, same).take(~wrapped)


def inside(corpus: Reference, near: NearPairs) -> Flags:
    """Return which pairs lie inside one source, (pairs,)."""
    packages = corpus.packages
    return np.asarray(packages[near.first] == packages[near.second])


def set_apart(corpus: Reference, near: NearPairs) -> Flags:
    """Return which originals are near-duplicates, (n,): of the same source and within PDQ's distance of one
    before them, photographs first, then by line of the corpus; and photographs that another package has."""
    n = len(corpus.rows)
    rank = np.empty(n, np.intp)
    rank[np.lexsort((np.arange(n), corpus.kinds != PHOTOGRAPH))] = np.arange(n)
    close = near.take(inside(corpus, near) & (near.bits <= MATCH_DISTANCE))
    later = np.where(rank[close.first] > rank[close.second], close.first, close.second)
    again = {first for first, _ in same_photographs()}
    named = np.array([f"{row.package}/{row.path}" in again for row in corpus.rows])
    return np.asarray(np.isin(np.arange(n), later) | named)


@cache
def same_photographs() -> frozenset[tuple[str, str]]:
    """Return the photographs that two packages have, found by looking, ``same_photograph`` of
    ``reference.toml``: package and path of both."""
    return frozenset((first, second) for first, second in table_of("reference")["same_photograph"])


class Matches(Struct, frozen=True):
    """Matches across sources, of those originals that `kept` has.

    Attributes:
        kinds, packages: of each original, (n,).
        kept: which originals are asked about and listed, (n,).
        near: how many listed pictures of each kind match each original, (n, kinds of `of`).
        listed: how many pictures of each kind other sources than the original's have, (n, kinds of `of`).
        of: the kinds of lists, `ALL` first.
    """

    kinds: npt.NDArray[np.str_]
    packages: npt.NDArray[np.str_]
    kept: Flags
    near: npt.NDArray[np.int64]
    listed: npt.NDArray[np.int64]
    of: tuple[str, ...]

    def asked(self, kind: str) -> npt.NDArray[np.intp]:
        """Return the places of the originals of a kind that are asked about."""
        return np.flatnonzero(self.kept & ((self.kinds == kind) | (kind == ALL)))


def matches_across(corpus: Reference, near: NearPairs, within: int, kept: Flags) -> Matches:
    """Return the matches within a distance of the originals in `kept`, (n,), across sources."""
    kinds = corpus.kinds
    packages = corpus.packages
    of = (ALL, *sorted(set(kinds.tolist())))
    n = len(kinds)
    place = {kind: at for at, kind in enumerate(of)}
    column = np.array([place[kind] for kind in kinds.tolist()])
    counted = near.take(~inside(corpus, near) & (near.bits <= within) & kept[near.first] & kept[near.second])
    hits = np.zeros((n, len(of)), np.int64)
    for mine, other in ((counted.first, counted.second), (counted.second, counted.first)):
        np.add.at(hits, (mine, column[other]), 1)
        hits[:, 0] += np.bincount(mine, minlength=n)
    listed = np.zeros((n, len(of)), np.int64)
    whole = np.bincount(column[kept], minlength=len(of))
    for package in set(packages.tolist()):
        mine = packages == package
        left = whole - np.bincount(column[kept & mine], minlength=len(of))
        left[0] = left.sum()
        listed[mine] = left
    return Matches(kinds, packages, kept, hits, listed, of)


def false_rows(corpus: Reference, near: NearPairs, within: int) -> list[Row]:
    """Return the false matches within a distance, a row for each kind of picture and kind of list, those of
    all kinds first; and how they grow with the list."""
    once = matches_across(corpus, near, within, ~set_apart(corpus, near))
    every = matches_across(corpus, near, within, np.ones(len(corpus.rows), np.bool_))
    told = near.take(~near.same)
    different = matches_across(corpus, told, within, ~set_apart(corpus, near))
    rows = list[Row]()
    growth = list[Row]()
    for listed in once.of:
        for kind in once.of:
            parameters: dict[str, int | float | str] = {"within": within, "kind": kind, "list": listed}
            item = rate(once, kind, listed)
            figures = {
                "item": item,
                "item_all": rate(every, kind, listed),
                "item_different": rate(different, kind, listed),
                "item_by_package": by_package(once, kind, listed, item),
                "length": length(item),
            }
            rows.append(Row(id=FALSE, parameters=parameters, figures=figures))
            if item.value and listed in _GROWN:
                growth.append(Row(id=GROWTH, parameters=parameters, figures=grown(once, kind, listed)))
    return rows + growth


def rate(matches: Matches, kind: str, listed: str) -> Figure:
    """Return the share of pictures of a kind that match one of a list of a kind; `pairs` / `n` is the mean
    length of the list, which lacks the pictures of the asked one's source.

    Where nothing matched, the interval is that of Clopper and Pearson, which says what rates are excluded if
    pictures are drawn each for itself; else it is one for another package, with 0 as its lower end as soon as
    some packages have no match.
    """
    asked = matches.asked(kind)
    column = matches.of.index(listed)
    lengths = matches.listed[asked, column]
    if not lengths.sum():
        return Figure(None, "no other source has pictures of this kind")
    hit = matches.near[asked, column] > 0
    counted = f"{hit.sum()} of {len(asked):,}"
    found = share(int(hit.sum()), len(asked), int(lengths.sum()))
    if not hit.any():
        return replace(found, why=f"{counted}; {OVER_PICTURES}")
    of_package = _counts_by_package(hit, matches.packages[asked])
    many = len(of_package[0])
    if many < LEAST_PACKAGES:
        words = f"{counted}, of {_packages(many)}: no interval holds for another"
        return replace(found, why=words, low=None, high=None)
    low, high = rate_interval(*of_package)
    return replace(found, why=f"{counted}; {RATE_WORDS}", low=low, high=high)


def length(item: Figure) -> Figure:
    """Return how long the list is that a rate is of."""
    if item.n is None or item.pairs is None:
        return Figure(None, item.why)
    return Figure(
        item.pairs / item.n, "pictures of other sources, the mean over those asked about", unit="pictures"
    )


def by_package(matches: Matches, kind: str, listed: str, item: Figure) -> Figure:
    """Return the same rate with an interval of its mean over packages: packages are drawn again, then
    pictures of each, since those of a package are alike."""
    if item.value is None:
        return item
    asked = matches.asked(kind)
    column = matches.of.index(listed)
    hits, counts = _counts_by_package(matches.near[asked, column] > 0, matches.packages[asked])
    many = len(counts)
    if many < LEAST_PACKAGES:
        return Figure(None, f"too few to resample: {_packages(many)}")
    if not hits.any():
        low, high = clopper_pearson(0, many)
        words = f"95 %, Clopper and Pearson, over {many} packages"
        return replace(item, why=words, low=low, high=high)
    # of a package drawn m times, its n pictures are drawn m n times, and each of them matches with its share
    drawn = package_draws(many)
    rng = np.random.Generator(np.random.PCG64(many))
    trials = drawn * counts
    found = rng.binomial(trials, hits / counts).sum(axis=1)
    low, high = np.quantile(found / trials.sum(axis=1), [0.025, 0.975])
    words = f"of the mean over packages: 95 %, {many} drawn again, then pictures of each"
    return replace(item, why=words, low=float(low), high=float(high))


def _packages(many: int) -> str:
    return "1 package" if many == 1 else f"{many} packages"


def _counts_by_package(
    hit: Flags, packages: npt.NDArray[np.str_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return how many pictures of each package match, and how many it has, in the order of their names."""
    _, of = np.unique(packages, return_inverse=True)
    return np.bincount(of, hit).astype(np.int64), np.bincount(of).astype(np.int64)


def grown(matches: Matches, kind: str, listed: str) -> dict[str, Figure]:
    """Return the rate at shorter lists and the exponent with which it grows.

    A list of m of the L pictures, drawn at random, lacks all h near ones with the chance C(L - h, m) /
    C(L, m), so that the expected rate needs no drawing: it is the mean of 1 less that, over those asked.
    """
    asked = matches.asked(kind)
    column = matches.of.index(listed)
    near = matches.near[asked, column]
    lengths = matches.listed[asked, column]
    hit = near > 0
    packages = matches.packages[asked]
    curve = {part: _met(near[hit], lengths[hit], part) for part in PARTS}
    figures = {
        f"part_{part}": Figure(
            float(met.sum()) / len(asked),
            f"lists of one in {part} of the pictures",
            n=len(asked),
            pairs=int((lengths // part).sum()),
        )
        for part, met in curve.items()
    }
    if not curve[FITTED].sum():
        return {"exponent": Figure(None, "the list is too short to be shortened"), **figures}
    exponent = log(curve[1].sum() / curve[FITTED].sum()) / log(FITTED)
    names = sorted(set(packages[hit].tolist()))
    words = f"from one in {FITTED} of the list to all of it"
    if len(names) < LEAST_PACKAGES:
        found = Figure(exponent, f"{words}; matches of {len(names)} packages are too few for an interval")
    else:
        sums = [
            np.array([met[packages[hit] == name].sum() for name in names])
            for met in (curve[1], curve[FITTED])
        ]
        whole, part = (package_draws(len(names)) @ each for each in sums)
        drawn = np.log(whole[part > 0] / part[part > 0]) / log(FITTED)
        low, high = np.quantile(drawn, [0.025, 0.975])
        words += f"; 95 %, {len(names)} packages with matches drawn again"
        found = Figure(exponent, words, float(low), min(1.0, float(high)), len(names))
    return {"exponent": found, **figures}


def _met(near: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], part: int) -> npt.NDArray[np.float64]:
    """Return the chance that one in `part` of a list has one of the near pictures in it."""
    from scipy.special import gammaln

    chosen = lengths // part
    # log C(L - h, m) - log C(L, m); no way to choose m of fewer than m
    missing = lengths - near
    can = missing >= chosen
    ways = gammaln(missing + 1) - gammaln(np.maximum(missing - chosen, 0) + 1)
    every = gammaln(lengths + 1) - gammaln(lengths - chosen + 1)
    return np.asarray(1 - np.where(can, np.exp(ways - every), 0.0), np.float64)


def at_length(item: Figure, exponent: Figure, wanted: float) -> Figure:
    """Return a rate measured with one length of list at another length, `wanted`.

    With P(m) the chance to meet one of h near pictures in m drawn ones, P is concave and P(0) = 0. So
    P(m) / m never grows with m: a list r times as long has at most r times the rate, whatever the pictures,
    which is the union bound; a list r times as short has at least 1 / r of it, and at most all. Between
    these the value goes by the measured exponent, as m^e. A longer list is taken to be more of the same
    sources.

    Args:
        item: a rate with `pairs` / `n` as length of its list.
        exponent: of `grown`; no value where nothing matched.
        wanted: pictures of the list.
    """
    if item.value is None or item.n is None or item.pairs is None:
        return item
    times = wanted * item.n / item.pairs
    own = 1.0 if exponent.value is None else exponent.value
    low = own if exponent.low is None else exponent.low
    high = item.high if item.high is not None else item.value
    least = item.low or 0.0
    if times >= 1:
        ends = least * times**low, high * times
    else:
        ends = least * times, high * (times**low if exponent.low is not None else 1.0)
    value = min(1.0, item.value * times**own)
    words = (
        f"scaled from a list of {item.pairs / item.n:,.0f} to {wanted:,.0f}, exponent {own:.2f}; {item.why}"
    )
    return replace(
        item, value=value, why=words, low=min(1.0, ends[0], value), high=min(1.0, max(ends[1], value))
    )


def pair_rows(corpus: Reference, near: NearPairs) -> Iterator[Row]:
    """Yield the pairs within PDQ's distance: those inside a source, which are set apart, in one row a source;
    of these, pairs with a photograph one by one with their reason; and all pairs across sources."""
    close = near.take(near.bits <= MATCH_DISTANCE)
    mine = inside(corpus, close)
    gone = set_apart(corpus, near)
    packages = corpus.packages
    for source in sorted(set(packages[close.first[mine]].tolist())):
        of = close.take(mine & (packages[close.first] == source))
        figures = {
            "pairs": Figure(float(len(of.bits)), "within 31 bits of each other"),
            "apart": Figure(float((gone & (packages == source)).sum()), "pictures set apart"),
            "told_apart": Figure(float((~of.same).sum()), "pairs that the second hash tells apart"),
        }
        listed = " ".join(f"{i}-{j}:{d}" for i, j, d in zip(of.first, of.second, of.bits, strict=True))
        yield Row(
            id=NEAR_DUPLICATES,
            what="pairs of lines of reference.csv, counted from 0, and their distance in bits",
            parameters={"source": source, "pairs": listed},
            figures=figures,
            why="one source: made alike, or the same picture twice",
        )
    photographs = (corpus.kinds[close.first] == PHOTOGRAPH) | (corpus.kinds[close.second] == PHOTOGRAPH)
    for number in np.flatnonzero(mine & photographs).tolist():
        yield _pair_row(corpus, close, number, NEAR_DUPLICATE)
    for number in np.flatnonzero(~mine).tolist():
        yield _pair_row(corpus, close, number, ACROSS)


def _pair_row(corpus: Reference, close: NearPairs, number: int, name: str) -> Row:
    first, second = (corpus.rows[places[number]] for places in (close.first, close.second))
    parameters: dict[str, int | float | str] = {
        "first": f"{first.package}/{first.path}",
        "second": f"{second.package}/{second.path}",
    }
    second_hash = "the same picture" if close.same[number] else "another picture"
    why = f"second hash: {second_hash}"
    if name == NEAR_DUPLICATE:
        why = f"{reason(first, second)}; {why}"
    elif (str(parameters["first"]), str(parameters["second"])) in same_photographs():
        why = f"set apart: the same photograph in two packages, by eye; {why}"
    return Row(id=name, parameters=parameters, figures={"bits": Figure(float(close.bits[number]))}, why=why)


def reason(first: Original, second: Original) -> str:
    """Return why two pictures of one source are taken for the same, by their paths."""
    one = PurePosixPath(first.path)
    other = PurePosixPath(second.path)
    if one.name == other.name:
        return "one file name in two folders"
    if "screenshot" in {one.stem, other.stem} and one.parts[:-3] == other.parts[: len(one.parts) - 3]:
        return "a wallpaper and its own screenshot"
    if one.parent == other.parent:
        return "two files of one folder"
    return "two folders of one source"
