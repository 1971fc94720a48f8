"""Equal hashes, and families of near ones: entries joined by chains of pairs at a distance of at most 31.

Equal rows are found by sorting: exact, and the same whatever an adversary lists. For near ones hashes are cut
into 16 bands of 16 bits. Two hashes at distance 15 or less agree in one band at least, and two at distance 31
or less have one band in which at most one bit differs (pigeonhole; multi-index hashing, Norouzi, Punjani and
Fleet 2012). Pass 0 compares hashes that agree in a band, passes 1 to 16 those that differ in that band's bit
0 to 15 alone. Among n random hashes a pass compares n^2 / 8192 pairs, so the work is bounded by a budget of
pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct

Indices: TypeAlias = npt.NDArray[np.int64]


def group_rows(rows: Rows) -> tuple[Indices, Indices]:
    """Number equal rows alike.

    Args:
        rows: uint8, shape (n, 32).

    Returns:
        The group of each row, int64 (n,), numbered from 0 on; and for each group the index of its first
        row, int64 (number of groups,).
    """
    words = np.ascontiguousarray(rows).view(np.uint64).reshape(-1, 4)
    order = np.argsort(words[:, 0])
    opens = np.ones(len(order), np.bool_)
    alike = np.zeros(len(order) + 1, np.bool_)
    alike[1:-1] = np.diff(words[order, 0]) == 0
    tied = np.flatnonzero(alike[:-1] | alike[1:])
    order[tied], opens[tied] = _sorted(words, order[tied])
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(opens) - 1
    return group, order[opens]


def _sorted(words: npt.NDArray[np.uint64], rows: Indices) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """These rows in order, equal ones as they came; and which of them differ from the one before."""
    found = words[rows]
    order = np.lexsort((rows, found[:, 3], found[:, 2], found[:, 1], found[:, 0]))
    opens = np.ones(len(rows), np.bool_)
    opens[1:] = (found[order[1:]] != found[order[:-1]]).any(axis=1)
    return rows[order], opens


def latest_rows(group: Indices, times: npt.NDArray[np.int64], removals: npt.NDArray[np.bool_]) -> Indices:
    """For each group that occurs, in order, the index of its latest row.

    Of rows of one time a removal counts, of several alike the last one.
    """
    order = np.lexsort((removals, times, group))
    closes = np.ones(len(order), np.bool_)
    closes[:-1] = group[order][1:] != group[order][:-1]
    return order[closes]


DISTANCE: Final = 31
SURE_AFTER_ONE_PASS: Final = 15
BANDS: Final = 16
PASSES: Final = 17
DEFAULT_PAIRS: Final = 1 << 28

_STEP = 1 << 18
_MOST_HELD = 1 << 20


class Families(Redacted, Struct, frozen=True):
    """What was found.

    Attributes:
        root: for each entry the index of its family's first member, int64 (n,); its own if it has none.
        complete_to: every pair up to this distance was found; -1 if the budget ended the first pass.
    """

    root: Indices
    complete_to: int
    pairs: int

    @property
    def count(self) -> int:
        """Families of two members or more."""
        return int((np.bincount(self.root, minlength=1) > 1).sum())

    @property
    def members(self) -> int:
        """Entries that are in one of those."""
        sizes = np.bincount(self.root, minlength=1)
        return int(sizes[sizes > 1].sum())


def find_families(hashes: Rows, most_pairs: int = DEFAULT_PAIRS) -> Families:
    """Families of `hashes`, uint8 (n, 32), comparing about `most_pairs` pairs at most.

    Beside 4 copies of the hashes it holds about 64 MiB.
    """
    search = _Search(hashes, most_pairs)
    for number in range(PASSES):
        for band in range(BANDS):
            search.compare(band, None if number == 0 else number - 1)
            if search.left <= 0:
                complete = SURE_AFTER_ONE_PASS if number else -1
                return Families(search.root, complete, most_pairs - search.left)
    return Families(search.root, DISTANCE, most_pairs - search.left)


class _Search:
    """Compares pairs band by band and joins those that are near."""

    def __init__(self, hashes: Rows, most_pairs: int) -> None:
        self._words = np.ascontiguousarray(hashes).view(np.uint64).reshape(-1, 4)
        self._bands = np.ascontiguousarray(hashes).view(np.uint16).reshape(-1, BANDS)
        self.root: Indices = np.arange(len(hashes), dtype=np.int64)
        self.left = most_pairs

    def compare(self, band: int, bit: int | None) -> None:
        """Compare entries that agree in `band`, or differ there in `bit` alone."""
        order = np.argsort(self._bands[:, band], kind="stable")
        keys = self._bands[order, band]
        words = self._words[order]
        starts = np.searchsorted(keys, np.arange((1 << 16) + 1))
        for at in range(0, len(order), _STEP):
            rows = np.arange(at, min(at + _STEP, len(order)))
            for pairs in self._near(words, rows, *_partners(keys[rows], rows, starts, bit)):
                self.root = joined(self.root, order[pairs])
            if self.left <= 0:
                break

    def _near(
        self, words: npt.NDArray[np.uint64], rows: Indices, first: Indices, end: Indices
    ) -> Iterator[Indices]:
        """Pairs of `rows` with the rows from `first` to `end` that are near, some at a time, (k, 2)."""
        found, held = [np.empty((0, 2), np.int64)], 0
        while len(rows) and self.left > 0:
            some = first < end
            rows, first, end = rows[some], first[some], end[some]
            self.left -= len(rows)
            near = _is_near(words, rows, first)
            found.append(np.stack((rows[near], first[near]), axis=1))
            held += len(found[-1])
            if held > _MOST_HELD:
                yield np.concatenate(found)
                found, held = [], 0
            first = first + 1
        if held:
            yield np.concatenate(found)


def _partners(
    keys: npt.NDArray[np.uint16], rows: Indices, starts: Indices, bit: int | None
) -> tuple[Indices, Indices]:
    """For each row the range of rows, in key order, that it is compared with; each pair comes up once."""
    if bit is None:
        return rows + 1, starts[keys.astype(np.int64) + 1]
    other = keys.astype(np.int64) | (1 << bit)
    takes = other != keys
    return starts[other], np.where(takes, starts[other + 1], starts[other])


def _is_near(words: npt.NDArray[np.uint64], left: Indices, right: Indices) -> npt.NDArray[np.bool_]:
    """Whether the distance is at most 31; half of the bits rule out nearly every pair."""
    half = np.bitwise_count(words[left, :2] ^ words[right, :2]).sum(axis=1, dtype=np.uint16)
    near = half <= DISTANCE
    at = np.flatnonzero(near)
    rest = np.bitwise_count(words[left[at], 2:] ^ words[right[at], 2:]).sum(axis=1, dtype=np.uint16)
    near[at] = half[at] + rest <= DISTANCE
    return np.asarray(near)


def joined(root: Indices, pairs: Indices) -> Indices:
    """`root` after joining `pairs`, int64 (k, 2): each index points at the smallest of its family."""
    root = root.copy()
    while True:
        ends = root[pairs]
        apart = ends[:, 0] != ends[:, 1]
        if not apart.any():
            return root
        pairs, ends = pairs[apart], ends[apart]
        np.minimum.at(root, ends.max(axis=1), ends.min(axis=1))
        while not np.array_equal(higher := root[root], root):
            root = higher
