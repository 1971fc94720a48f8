"""All pairs of many pictures: how far apart, which are the same picture twice, which match a listed one.

Memory is that of a block of rows x all columns behind them beside the fingerprints, 64 bytes a picture.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.picture import compiled
from blindmatch_server.centre.keys import SAME_PICTURE
from msgspec import Struct

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Prints = npt.NDArray[np.uint8]
"""Fingerprints, (n, 64): PDQ and the second hash; no two alike."""

BITS: Final = 256
REACH: Final = 64
"""Pairs up to this PDQ distance are looked at one by one."""
ROWS: Final = 1024
_COLUMNS: Final = 4096
_AT_ONCE: Final = 64
NONE_NEAR: Final = 255


class Tally(Redacted, Struct, frozen=True):
    """Counts of the pairs so far.

    Attributes:
        histogram: pairs by PDQ distance, (257,).
        same: those of them that are the same picture twice, (65,).
        nearest: of each picture the distance of the nearest different listed one, up to 64, else 255; (n,).
        nearest_all: the same of the nearest listed one, be it the same picture or another.
        repeats: whether a picture before it is the same; (n,).
        blocks: how many blocks of rows are counted.
    """

    histogram: Ints
    same: Ints
    nearest: npt.NDArray[np.uint8]
    nearest_all: npt.NDArray[np.uint8]
    repeats: npt.NDArray[np.bool_]
    blocks: int = 0

    @classmethod
    def empty(cls, count: int) -> Tally:
        near = np.full(count, NONE_NEAR, np.uint8)
        histogram = np.zeros(BITS + 1, np.int64)
        return cls(histogram, np.zeros(REACH + 1, np.int64), near, near.copy(), np.zeros(count, np.bool_))

    def add(self, block: Block) -> Tally:
        """With another block; arrays of one entry a picture are changed in place."""
        np.minimum.at(self.nearest, block.items, block.distances)
        np.minimum.at(self.nearest_all, block.items, block.distances_all)
        self.repeats[block.repeats] = True
        histogram = self.histogram + block.histogram
        same = self.same + block.same
        return Tally(histogram, same, self.nearest, self.nearest_all, self.repeats, self.blocks + 1)


class Block(Redacted, Struct, frozen=True):
    """What one block adds: counts, items with distances of listed pictures, pictures that are repeats."""

    histogram: Ints
    same: Ints
    items: npt.NDArray[np.intp]
    distances: npt.NDArray[np.uint8]
    distances_all: npt.NDArray[np.uint8]
    repeats: npt.NDArray[np.intp]


def listed(prints: Prints) -> Flags:
    """Which half each picture is in, (n,): listed, or an item that is asked about. By a keyed digest of both
    hashes, so that a picture with another's PDQ hash can be in the other half."""
    bits = (blake2b(one.tobytes(), digest_size=1, key=b"halves").digest()[0] & 1 for one in prints)
    return np.fromiter(bits, np.bool_, len(prints))


def blocks_of(count: int) -> int:
    return -(-count // ROWS)


def count_block(prints: str | Prints, number: int) -> Block:
    """Pairs of one block of rows with every picture behind them, of fingerprints or those in a .npy file."""
    return block_of(_mapped(prints) if isinstance(prints, str) else prints, number)


def block_of(prints: Prints, number: int) -> Block:
    """The same of fingerprints in memory."""
    # a word of all hashes lies together: columns are read in a row
    words = np.ascontiguousarray(words_of(prints[:, :32]).T)
    near = _Near(prints)
    histogram = np.zeros(BITS + 1, np.int64)
    counts = np.zeros((8, BITS), np.int64)
    kernels = compiled.once_it_pays(compiled.PAIR_NS * ROWS * (len(prints) - number * ROWS))
    for top in range(number * ROWS, min((number + 1) * ROWS, len(prints)), _AT_ONCE):
        rows = words[:, top : top + _AT_ONCE]
        for left, end in pairwise([top, *range(top + _AT_ONCE, len(prints), _COLUMNS), len(prints)]):
            columns = words[:, left:end]
            if kernels and left > top and not columns.shape[1] % 8:
                found = kernels.apart(np.ascontiguousarray(rows.T), columns, counts)
            else:
                found = apart(rows, columns)
                if left == top:
                    found[np.tril_indices(rows.shape[1])] = NONE_NEAR
                    histogram[NONE_NEAR] -= rows.shape[1] * (rows.shape[1] + 1) // 2
                histogram += np.bincount(found.ravel(), minlength=BITS + 1)
            if found.min() <= REACH:
                histogram[0] -= near.take(found, top, left)
    histogram[:BITS] += counts.sum(axis=0)
    histogram[BITS] += near.opposite
    return Block(histogram, near.same, *near.found())


def histogram_of(hashes: Prints) -> Ints:
    """Pairs by distance of a few thousand hashes, (n, 32)."""
    words = words_of(hashes)
    counts = np.zeros(BITS + 1, np.int64)
    for at in range(len(words) - 1):
        apart = np.bitwise_count(words[at + 1 :] ^ words[at]).sum(axis=1, dtype=np.intp)
        counts += np.bincount(apart, minlength=BITS + 1)
    return counts


def judged(one: Prints, other: Prints, far: npt.NDArray[np.uint8]) -> tuple[Flags, Flags]:
    """Of pairs at distances modulo 256: which are opposite, and which the second hash calls the same."""
    wrapped = (far == 0) & (one[:, :32] != other[:, :32]).any(axis=1)
    return wrapped, np.bitwise_count(one[:, 32:] ^ other[:, 32:]).sum(axis=1, dtype=np.intp) <= SAME_PICTURE


class _Near:
    """Pairs within reach, one by one."""

    def __init__(self, prints: Prints) -> None:
        self._prints = prints
        self.opposite = 0
        self.same = np.zeros(REACH + 1, np.int64)
        self._different = np.full(len(prints), NONE_NEAR, np.uint8)
        self._all = self._different.copy()
        self._repeats = np.zeros(len(prints), np.bool_)

    def take(self, found: npt.NDArray[np.uint8], top: int, left: int) -> int:
        """Look at a tile's near pairs; how many are not near at all: 256 bits apart, which is 0 in 8 bits."""
        at, to = np.nonzero(found <= REACH)
        far = found[at, to]
        one = self._prints[at + top]
        other = self._prints[to + left]
        wrapped, alike = judged(one, other, far)
        self.opposite += int(wrapped.sum())
        self.same += np.bincount(far[alike & ~wrapped], minlength=REACH + 1)
        first = listed(one)
        second = listed(other)
        self._repeats[(to + left)[alike & ~wrapped]] = True
        across = ~wrapped & (first != second)
        items = np.where(first, to + left, at + top)
        np.minimum.at(self._all, items[across], far[across])
        np.minimum.at(self._different, items[across & ~alike], far[across & ~alike])
        return int(wrapped.sum())

    def found(self) -> tuple[npt.NDArray[np.intp], Prints, Prints, npt.NDArray[np.intp]]:
        """Items, their distances of different listed pictures and of all, repeats."""
        items = np.flatnonzero(self._all != NONE_NEAR)
        return items, self._different[items], self._all[items], np.flatnonzero(self._repeats)


def apart(rows: npt.NDArray[np.uint64], columns: npt.NDArray[np.uint64]) -> Prints:
    """Distances, modulo 256, of hashes whose words are (4, n) and (4, m)."""
    made = np.zeros((rows.shape[1], columns.shape[1]), np.uint8)
    for row, column in zip(rows, columns, strict=True):
        made += np.bitwise_count(row[:, None] ^ column)
    return made


def words_of(hashes: Prints) -> npt.NDArray[np.uint64]:
    """Hashes uint8 (n, 32) as words, (n, 4)."""
    return np.ascontiguousarray(hashes).view(np.uint64)


@cache
def _mapped(path: str) -> Prints:
    mapped: Prints = np.load(Path(path), mmap_mode="r", allow_pickle=False)
    return mapped
