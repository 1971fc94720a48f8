"""Hamming distances between many 256-bit hashes, with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Hashes: TypeAlias = npt.NDArray[np.uint8]
"""A matrix of hashes, shape (n, 32), uint8."""

_WORK_BYTES: Final = 8 << 20


def rows(hashes: list[bytes]) -> Hashes:
    """Hashes of 32 bytes as one matrix, shape (n, 32).

    Raises:
        ValueError: if one has another length.
    """
    if any(len(value) != 32 for value in hashes):
        raise ValueError("a hash has 32 bytes")
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


def distance(left: bytes, right: bytes) -> int:
    """Bits in which two hashes of one length differ."""
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).bit_count()


def distances(left: Hashes, right: Hashes) -> npt.NDArray[np.uint16]:
    """All distances, shape (n, m) uint16, for hashes of shape (n, 32) and (m, 32).

    Beyond the result itself no more than about 8 MiB are used.

    Raises:
        ValueError: for another shape or dtype.
    """
    result = np.empty((len(left), len(right)), np.uint16)
    for top, block in _blocks(left, right):
        result[top : top + len(block)] = block
    return result


def near_pairs(left: Hashes, right: Hashes, most: int) -> npt.NDArray[np.intp]:
    """Index pairs (i, j), shape (k, 2), of hashes at a distance of at most `most`, in order.

    Uses about 8 MiB besides the pairs found.

    Raises:
        ValueError: for another shape or dtype.
    """
    found = [np.argwhere(block <= most) + np.array([top, 0]) for top, block in _blocks(left, right)]
    return np.concatenate(found) if found else np.empty((0, 2), np.intp)


def _blocks(left: Hashes, right: Hashes) -> Iterator[tuple[int, npt.NDArray[np.uint16]]]:
    """Distances of a few rows of `left` at a time, each with the index of its first row."""
    first, second = _words(left), _words(right)
    # a word, its XOR and its count per pair of hashes
    step = max(1, _WORK_BYTES // max(1, 20 * len(second)))
    for top in range(0, len(first), step):
        block = np.zeros((len(first[top : top + step]), len(second)), np.uint16)
        for word in range(4):
            block += np.bitwise_count(first[top : top + step, word, None] ^ second[None, :, word])
        yield top, block


def _words(hashes: Hashes) -> npt.NDArray[np.uint64]:
    if hashes.ndim != 2 or hashes.shape[1] != 32 or hashes.dtype != np.uint8:
        raise ValueError("hashes must have shape (n, 32) and dtype uint8")
    return np.ascontiguousarray(hashes).view(np.uint64)
