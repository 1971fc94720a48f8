"""PDQ hashes from hex: many at once, and the reason why one is refused.

A hash is 64 lower-case hex digits of which the bits are roughly balanced. PDQ sets each bit whose
coefficient is above the median, so that 128 of 256 are ones save for ties.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows

from blindmatch_server.curator.rejects import Reason

DIGITS: Final = 64
LEAST_ONES: Final = 64
MOST_ONES: Final = 192

_NO_DIGIT = 255
_NIBBLES = np.full(256, _NO_DIGIT, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)
_HEX = re.compile(rb"[0-9a-fA-F]*")
_LOWER = re.compile(rb"[0-9a-f]*")


def decode_hex(digits: Rows) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Hashes of hex digits.

    Args:
        digits: uint8, shape (n, 64), the ASCII digits of n hashes.

    Returns:
        The hashes, uint8 (n, 32), and which of them are acceptable, bool (n,); the others' rows mean nothing.
    """
    nibbles = _NIBBLES[digits]
    hashes: Rows = np.bitwise_or(nibbles[:, 0::2] << 4, nibbles[:, 1::2] & 15, dtype=np.uint8)
    return hashes, np.asarray((nibbles.max(axis=1) < 16) & are_balanced(hashes))


def count_ones(hashes: Rows) -> npt.NDArray[np.int64]:
    """Number of ones of each hash, shape (n,), for uint8 (n, 32)."""
    words = np.ascontiguousarray(hashes).view(np.uint64)
    return np.asarray(np.bitwise_count(words).sum(axis=1, dtype=np.int64))


def are_balanced(hashes: Rows) -> npt.NDArray[np.bool_]:
    """Which hashes, uint8 (n, 32), have 64 to 192 ones; shape (n,)."""
    count = count_ones(hashes)
    return (count >= LEAST_ONES) & (count <= MOST_ONES)


def fault_of(raw: bytes) -> Reason | None:
    """Why `raw` is refused as a hash; None if `decode_hex` takes it."""
    if not raw:
        return Reason.HASH_MISSING
    if not _LOWER.fullmatch(raw):
        return _character_fault(raw)
    if len(raw) != DIGITS:
        return Reason.HASH_TOO_SHORT if len(raw) < DIGITS else Reason.HASH_TOO_LONG
    count = int(raw, 16).bit_count()
    if LEAST_ONES <= count <= MOST_ONES:
        return None
    return Reason.HASH_UNBALANCED if count else Reason.HASH_ALL_ZERO


def _character_fault(raw: bytes) -> Reason:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return Reason.NOT_UTF8
    if any(character.isspace() for character in text):
        return Reason.HASH_WHITE_SPACE
    if text[:2] in ("0x", "0X"):
        return Reason.HASH_PREFIXED
    return Reason.HASH_UPPER_CASE if _HEX.fullmatch(raw) else Reason.HASH_NOT_HEX
