"""The index of labels: from a 64-bit address to the numbers of the labels that may lie there.

Labels are numbered in the order of their addresses. A bitmap has 8 to 16 bits for each label, and the low
bits of a label's address set one of them: that one look-up rules out nine in ten candidates. For the rest,
the address's top bits choose a bucket of 4 to 8 labels on average; a directory says where each bucket
starts, and the next 32 bits, kept for each label, tell those of a bucket apart. That is 5.5 to 7 bytes a
label, and thousands of look-ups are a few vector operations.

Section: directory, uint32 little-endian (2^bits + 1,); fingerprints, uint32 little-endian (n,); bitmap,
the bit of the lowest index first in each byte.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.designs.token_psi.gf64 import Elements
from blindmatch_protocol.errors import DesignError, SetFileError

MOST_LABELS: Final = (1 << 32) - 1
_FINGERPRINT_BITS: Final = 32

Numbers: TypeAlias = npt.NDArray[np.intp]


def bucket_bits(labels: int) -> int:
    """How many top bits of an address choose its bucket."""
    return max(0, (max(labels, 1) - 1).bit_length() - 3)


def bitmap_bits(labels: int) -> int:
    """How many low bits of an address choose its bit of the bitmap."""
    return (max(labels, 1) - 1).bit_length() + 3


def index_parts(addresses: Elements) -> list[Buffer]:
    """The section for labels with these addresses, uint64 (n,), ascending.

    Raises:
        DesignError: if there are too many.
    """
    if len(addresses) > MOST_LABELS:
        raise DesignError(f"at most {MOST_LABELS} entries fit one set")
    bits = bucket_bits(len(addresses))
    edges = np.arange((1 << bits) + 1, dtype=np.uint64)
    directory = np.searchsorted(_buckets(addresses, bits), edges).astype("<u4")
    places = _low(addresses, bitmap_bits(len(addresses)))
    bitmap = np.zeros(1 << bitmap_bits(len(addresses)) - 3, np.uint8)
    np.bitwise_or.at(bitmap, places >> 3, np.uint8(1) << (places & 7).astype(np.uint8))
    return [directory.data, _fingerprints(addresses, bits).astype("<u4").data, bitmap.data]


class AddressIndex:
    """An index of `labels` labels over a section's content.

    Raises:
        SetFileError: if the content is no such index.
    """

    __slots__ = ("_bitmap", "_bits", "_directory", "_fingerprints", "_low_bits")

    def __init__(self, content: memoryview, labels: int) -> None:
        self._bits, self._low_bits = bucket_bits(labels), bitmap_bits(labels)
        buckets = (1 << self._bits) + 1
        if len(content) != 4 * (buckets + labels) + (1 << self._low_bits - 3):
            raise SetFileError(f"addresses: {len(content)} bytes are not an index of {labels} labels")
        numbers = np.frombuffer(content, "<u4", buckets + labels)
        self._directory, self._fingerprints = numbers[:buckets], numbers[buckets:]
        self._bitmap = np.frombuffer(content, np.uint8, offset=4 * (buckets + labels))
        steps = np.diff(self._directory.astype(np.int64))
        if (steps < 0).any() or self._directory[0] != 0 or self._directory[-1] != labels:
            raise SetFileError("addresses: the directory does not cover the labels in order")

    def lookup(self, addresses: Elements) -> tuple[Numbers, Numbers]:
        """Which of `addresses`, uint64 (n,), may be labels': rows and label numbers, (m,) each."""
        places = _low(addresses, self._low_bits)
        rows = (self._bitmap[places >> 3] >> (places & 7).astype(np.uint8) & 1).nonzero()[0]
        some = addresses[rows]
        buckets, wanted = _buckets(some, self._bits).astype(np.intp), _fingerprints(some, self._bits)
        first, end = (self._directory[buckets + more].astype(np.intp) for more in (0, 1))
        where, numbers = [], []
        for step in range(int((end - first).max(initial=0))):
            at = np.minimum(first + step, len(self._fingerprints) - 1)
            hit = (self._fingerprints[at] == wanted) & (first + step < end)
            if hit.any():
                where.append(rows[hit])
                numbers.append(at[hit])
        none = np.zeros(0, np.intp)
        return np.concatenate([none, *where]), np.concatenate([none, *numbers])


def _low(addresses: Elements, bits: int) -> Numbers:
    return (addresses & np.uint64((1 << bits) - 1)).astype(np.intp)


def _buckets(addresses: Elements, bits: int) -> Elements:
    return addresses >> np.uint64(64 - bits) if bits else np.zeros(len(addresses), np.uint64)


def _fingerprints(addresses: Elements, bits: int) -> npt.NDArray[np.uint32]:
    """The 32 bits after the bucket's."""
    return (addresses >> np.uint64(64 - bits - _FINGERPRINT_BITS)).astype(np.uint32)
