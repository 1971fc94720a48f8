"""Batches of elements and scalars as arrays: uint8 (n, 32), one canonical encoding a row; keys as rows.

Keys that follow from a secret: SHA-512 over a tag, an epoch and the secret, cut to length.

    SHA-512( tag, zeros to 120 bytes | epoch, 8 bytes, big-endian | input )

Tag and epoch fill one block of 128 bytes, so no two inputs under different tags or epochs are equal. The
epoch is that of the file for which the key is made: what one file holds of an entry has nothing in common
with what another holds of it, though both follow from one OPRF output. That output is itself a SHA-512 value,
uniform to whoever lacks the OPRF key (RFC 9497, sections 3.3.1 and 7.2), so no extraction step is needed
(RFC 5869, section 3.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256, sha512, shake_256
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows

ELEMENT_BYTES = 32
SCALAR_BYTES = 32
UNIFORM_BYTES = 64
ORDER = 2**252 + 27742317777372353535851937790883648493
ZERO = bytes(SCALAR_BYTES)


def matrix(rows: npt.NDArray[np.uint8], width: int = 32) -> Rows:
    """`rows` as an (n, width) array whose rows are contiguous."""
    if rows.dtype != np.uint8 or rows.ndim not in (1, 2) or rows.shape[-1] != width:
        raise ValueError(f"a uint8 array of {width} columns is needed, not {rows.dtype} {rows.shape}")
    return (
        rows if rows.flags.c_contiguous and rows.ndim == 2 else np.ascontiguousarray(rows).reshape(-1, width)
    )


def matched(*operands: Rows) -> tuple[Rows, ...]:
    """`operands` with equally many rows, or one row that goes with each row of the others."""
    lengths = {len(operand) for operand in operands} - {1}
    if len(lengths) > 1:
        raise ValueError(f"as many rows are needed on both sides, not {sorted(lengths)}")
    return operands


def rows_of(operands: Sequence[Rows]) -> int:
    return next((len(operand) for operand in operands if len(operand) != 1), 1)


def stretch(operand: Rows, start: int, stop: int) -> Rows:
    """Rows `start` to `stop` of a matched operand; a single row stays, for it goes with each."""
    return operand if len(operand) == 1 else operand[start:stop]


def one(*operands: npt.NDArray[np.uint8], width: int = ELEMENT_BYTES) -> bool:
    """Whether every operand is one row of `width` bytes."""
    for rows in operands:  # a generator would take longer than all that it looks at
        shape = rows.shape
        if (shape != (1, width) and shape != (width,)) or rows.dtype.char != "B":
            return False
    return True


def one_row(encoding: bytes) -> Rows:
    """An element or a scalar of 32 bytes as (1, 32), read-only."""
    return np.ndarray((1, ELEMENT_BYTES), np.uint8, encoding)


def addresses(rows: Rows, count: int) -> Iterable[int]:
    """Where `count` rows lie in memory, one after the other; a single row is repeated."""
    at = rows.ctypes.data
    step = rows.strides[0]
    if len(rows) == 1 or not count:
        return repeat(at, count)
    return range(at, at + count * step, step)


def top_bits(rows: Rows) -> Rows:
    """The top bit of every row, uint8 (n,)."""
    return rows[:, 31] >> np.uint8(7)


def zero_rows(rows: Rows) -> npt.NDArray[np.bool_]:
    """Which rows are all zeros: the encoding of the identity, or the scalar zero."""
    zero: npt.NDArray[np.bool_] = np.bitwise_or.reduce(rows, axis=1) == 0
    return zero


def sample(rows: Rows, count: int) -> npt.NDArray[np.intp]:
    """Numbers of at most `count` rows, which follow from all of them: no fault knows them before."""
    seed = shake_256(sha256(rows.data).digest()).digest(8 * count)
    return np.unique(np.frombuffer(seed, "<u8") % np.uint64(len(rows))).astype(np.intp)


DIGEST_BYTES: Final = 64
_TAG_BYTES: Final = 120


def front_of(tag: bytes, epoch: int) -> bytes:
    return tag.ljust(_TAG_BYTES, b"\0") + epoch.to_bytes(8, "big")


def expand(tag: bytes, epoch: int, parts: Iterable[bytes], length: int) -> Rows:
    """The keys of every part under a tag and an epoch, uint8 (n, length), length up to 64."""
    return np.ascontiguousarray(sha512_behind(front_of(tag, epoch), parts)[:, :length])


def sha512_behind(front: bytes, parts: Iterable[bytes]) -> Rows:
    """SHA-512 (FIPS 180-4) of `front`, which is absorbed once, and every part: uint8 (n, 64)."""
    start = sha512(front).copy
    digests = []
    for part in parts:
        state = start()
        state.update(part)
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)


def cut(rows: Rows) -> list[bytes]:
    raw = rows.tobytes()
    count, width = rows.shape
    return [raw[row * width : (row + 1) * width] for row in range(count)]
