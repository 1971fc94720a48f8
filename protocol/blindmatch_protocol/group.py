"""The group ristretto255 (RFC 9496) on batches, by libsodium.

A batch of elements or scalars is a uint8 array of shape (n, 32), one canonical encoding a row. A single
row, of shape (32,) or (1, 32), goes with every row of the other operand. Operations that take `executor`
cut the batch over its threads; libsodium runs outside Python's lock and in constant time.

`single` holds what one row needs, and does it for batches of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from blindmatch_protocol import single, sodium
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.errors import GroupError, ProtocolError
from blindmatch_protocol.executor import Executor, spread
from blindmatch_protocol.randomness import Randomness

ELEMENT_BYTES = 32
SCALAR_BYTES = 32
UNIFORM_BYTES = 64
ORDER = single.ORDER


def _matrix(rows: npt.NDArray[np.uint8], width: int = 32) -> Rows:
    """`rows` as an (n, width) array whose rows are contiguous."""
    if rows.dtype != np.uint8 or rows.ndim not in (1, 2) or rows.shape[-1] != width:
        raise ValueError(f"a uint8 array of {width} columns is needed, not {rows.dtype} {rows.shape}")
    return (
        rows if rows.flags.c_contiguous and rows.ndim == 2 else np.ascontiguousarray(rows).reshape(-1, width)
    )


def _matched(*operands: npt.NDArray[np.uint8]) -> tuple[Rows, ...]:
    """32-byte operands with equally many rows, or one row that goes with each row of the others."""
    matrices = tuple(_matrix(operand) for operand in operands)
    lengths = {len(matrix) for matrix in matrices} - {1}
    if len(lengths) > 1:
        raise ValueError(f"as many rows are needed on both sides, not {sorted(lengths)}")
    return matrices


def _rows_of(operands: Sequence[Rows]) -> int:
    """The number of rows that matched operands have together."""
    return next((len(matrix) for matrix in operands if len(matrix) != 1), 1)


def _addresses(rows: Rows, start: int, stop: int) -> Iterable[int]:
    """Where rows `start` to `stop` lie in memory; a single row is repeated."""
    at, step = rows.ctypes.data, rows.strides[0]
    if len(rows) == 1 or start == stop:
        return repeat(at, stop - start)
    return range(at + start * step, at + stop * step, step)


def _run(
    function: Any, operation: str, executor: Executor | None, *operands: Rows, elements: Sequence[Rows] = ()
) -> Rows:
    """Call the checked `function` on every row; `GroupError` for the first row it refuses.

    libsodium ignores the top bit of an element's encoding, which RFC 9496 wants clear: `elements` are the
    operands in which it is looked at here.
    """
    rows = _rows_of(operands)
    result = np.empty((rows, 32), np.uint8)

    def work(start: int, stop: int) -> None:
        where = [_addresses(matrix, start, stop) for matrix in (result, *operands)]
        status = np.fromiter(map(function, *where), np.int32, stop - start)
        for points in elements:
            status |= _top_bits(points[start:stop] if len(points) > 1 else points)
        if status.any():
            raise GroupError(operation, start + int(status.nonzero()[0][0]))

    spread(work, rows, executor)
    return result


def _run_scalars(function: Any, *operands: Rows) -> Rows:
    """Call the unchecked `function` on every row; too short a work to be worth an executor."""
    rows = _rows_of(operands)
    result = np.empty((rows, SCALAR_BYTES), np.uint8)
    where = (_addresses(matrix, 0, rows) for matrix in (result, *operands))
    deque(map(function, *where), maxlen=0)
    return result


def _one(*operands: npt.NDArray[np.uint8], width: int = ELEMENT_BYTES) -> bool:
    """Whether every operand is one row of `width` bytes."""
    for rows in operands:  # a generator would take longer than all that it looks at
        shape = rows.shape
        if (shape != (1, width) and shape != (width,)) or rows.dtype.char != "B":
            return False
    return True


def _single(function: Callable[..., bytes], *operands: npt.NDArray[np.uint8]) -> Rows:
    """What `function` of `single` makes of one row of each operand, (1, 32)."""
    return one_row(function(*[operand.tobytes() for operand in operands]))


def one_row(encoding: bytes) -> Rows:
    """An element or a scalar of 32 bytes as (1, 32), read-only."""
    return np.ndarray((1, ELEMENT_BYTES), np.uint8, encoding)


# --- elements ------------------------------------------------------------------------------------


def hash_to_group(uniform: npt.NDArray[np.uint8], executor: Executor | None = None) -> Rows:
    """Map uniform bytes, uint8 (n, 64), to elements (n, 32); RFC 9496, section 4.3.4."""
    if _one(uniform, width=UNIFORM_BYTES):
        return _single(single.hash_to_group, uniform)
    return _run(sodium.FROM_HASH, "hash to group", executor, _matrix(uniform, UNIFORM_BYTES))


def multiply(
    scalars: npt.NDArray[np.uint8], elements: npt.NDArray[np.uint8], executor: Executor | None = None
) -> Rows:
    """Multiply elements (n, 32) by scalars (n, 32) or (32,); result (n, 32).

    Checks its elements on the way, at no cost: a decoder may rely on it and ask `check_elements` which
    rule was broken afterwards. Scalars must be reduced; that is *not* checked here.

    Raises:
        GroupError: for a non-canonical encoding, the identity or a zero scalar.
    """
    if _one(scalars, elements):
        return one_row(single.multiply(scalars.tobytes(), elements.tobytes()))
    factors, points = _matched(scalars, elements)
    return _run(sodium.MULTIPLY, "multiply", executor, factors, points, elements=[points])


def multiply_base(scalars: npt.NDArray[np.uint8], executor: Executor | None = None) -> Rows:
    """Multiply the generator by scalars (n, 32); result (n, 32). Three times as fast as `multiply`.

    Raises:
        GroupError: for a zero scalar.
    """
    if _one(scalars):
        return _single(single.multiply_base, scalars)
    return _run(sodium.MULTIPLY_BASE, "multiply base", executor, _matrix(scalars))


def add(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8], executor: Executor | None = None) -> Rows:
    """Sums of elements, (n, 32) each; the identity is a valid operand and a valid sum.

    Raises:
        GroupError: for a non-canonical encoding.
    """
    if _one(left, right):
        return _single(single.add, left, right)
    points = _matched(left, right)
    return _run(sodium.ADD, "add", executor, *points, elements=points)


def subtract(
    left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8], executor: Executor | None = None
) -> Rows:
    """Differences of elements, (n, 32) each; the identity is a valid operand and a valid difference.

    Raises:
        GroupError: for a non-canonical encoding.
    """
    if _one(left, right):
        return _single(single.subtract, left, right)
    points = _matched(left, right)
    return _run(sodium.SUBTRACT, "subtract", executor, *points, elements=points)


def combine(
    scalars: npt.NDArray[np.uint8], elements: npt.NDArray[np.uint8], executor: Executor | None = None
) -> Rows:
    """The sum of scalar times element over all rows, (n, 32) each, as one row (1, 32).

    No rows sum to the identity.

    Raises:
        GroupError: for a non-canonical encoding, the identity or a zero scalar.
    """
    if _one(scalars, elements):
        return _combined_one(scalars, elements)
    left, right = np.broadcast_arrays(*_matched(scalars, elements))

    def work(start: int, stop: int) -> Rows:
        try:
            return _sum(multiply(left[start:stop], right[start:stop]))
        except GroupError as error:
            raise GroupError("combine", start + error.row) from None

    parts = spread(work, len(left), executor)
    return _sum(np.concatenate(parts)) if parts else np.zeros((1, ELEMENT_BYTES), np.uint8)


def _combined_one(scalars: Rows, elements: Rows) -> Rows:
    try:
        return _single(single.multiply, scalars, elements)
    except GroupError:
        raise GroupError("combine", 0) from None


def _sum(elements: Rows) -> Rows:
    """The sum of valid elements (n, 32), n at least one, as (1, 32)."""
    total = elements[:1].copy()
    at = total.ctypes.data
    where = _addresses(elements, 1, len(elements))
    deque(map(sodium.ADD, repeat(at), repeat(at), where), maxlen=0)
    return total


# --- scalars -------------------------------------------------------------------------------------


def random_scalars(count: int, rng: Randomness) -> Rows:
    """Uniform non-zero scalars (count, 32), each from 64 bytes of `rng` taken at once, in order."""
    while count == 1:
        scalar = single.reduce_scalar(rng.take(UNIFORM_BYTES))
        if scalar != single.ZERO:
            return one_row(scalar)
    while True:
        uniform = np.frombuffer(rng.take(UNIFORM_BYTES * count), np.uint8)
        scalars = reduce_scalars(uniform.reshape(count, UNIFORM_BYTES))
        if not _zero(scalars).any():
            return scalars


def reduce_scalars(wide: npt.NDArray[np.uint8]) -> Rows:
    """Little-endian integers, uint8 (n, 64), modulo the order; result (n, 32)."""
    if _one(wide, width=UNIFORM_BYTES):
        return _single(single.reduce_scalar, wide)
    return _run_scalars(sodium.REDUCE, _matrix(wide, UNIFORM_BYTES))


def add_scalars(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> Rows:
    """Sums modulo the order, (n, 32) each."""
    return _run_scalars(sodium.ADD_SCALARS, *_matched(left, right))


def subtract_scalars(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> Rows:
    """Differences modulo the order, (n, 32) each."""
    if _one(left, right):
        return _single(single.subtract_scalars, left, right)
    return _run_scalars(sodium.SUBTRACT_SCALARS, *_matched(left, right))


def multiply_scalars(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> Rows:
    """Products modulo the order, (n, 32) each."""
    if _one(left, right):
        return _single(single.multiply_scalars, left, right)
    return _run_scalars(sodium.MULTIPLY_SCALARS, *_matched(left, right))


def invert_scalars(scalars: npt.NDArray[np.uint8]) -> Rows:
    """Inverses modulo the order, (n, 32).

    One inversion and three multiplications a row (Montgomery's trick), 1.6 us instead of 30.

    Raises:
        GroupError: for a zero scalar.
    """
    if _one(scalars):
        return _single(single.invert_scalar, scalars)
    scalars = _matrix(scalars)
    zero = _zero(scalars)
    if zero.any():
        raise GroupError("invert", int(zero.nonzero()[0][0]))
    rows = len(scalars)
    # before[i] is the product of all rows before i, after[i] the inverse of the product of rows up to i
    before, after = np.zeros((rows + 1, 32), np.uint8), np.empty((rows + 1, 32), np.uint8)
    before[0, 0] = 1
    _chain(_addresses(before, 1, rows + 1), _addresses(before, 0, rows), _addresses(scalars, 0, rows))
    sodium.INVERT_SCALAR(after[rows:].ctypes.data, before[rows:].ctypes.data)
    down = slice(None, None, -1)
    _chain(
        _addresses(after[down], 1, rows + 1),
        _addresses(after[down], 0, rows),
        _addresses(scalars[down], 0, rows),
    )
    return multiply_scalars(after[1:], before[:-1])


def _chain(results: Iterable[int], left: Iterable[int], right: Iterable[int]) -> None:
    """Scalar products one after the other, each using the one before; arguments are addresses."""
    deque(map(sodium.MULTIPLY_SCALARS, results, left, right), maxlen=0)


# --- checks --------------------------------------------------------------------------------------


def check_elements(
    elements: npt.NDArray[np.uint8], step: str, field: str, executor: Executor | None = None
) -> None:
    """Make sure that `elements` is uint8 (n, 32) and every row an element other than the identity.

    Raises:
        ProtocolError: naming `step`, `field`, the rule and the first row that breaks it.
    """
    check_shape(elements, ELEMENT_BYTES, step, field)
    rows = _matrix(elements)
    _refuse(_zero(rows), "the identity element", step, field)

    def work(start: int, stop: int) -> npt.NDArray[np.bool_]:
        valid = map(sodium.IS_VALID, _addresses(rows, start, stop))
        return np.fromiter(valid, np.int32, stop - start).astype(np.bool_)

    valid = np.concatenate([np.zeros(0, np.bool_), *spread(work, len(rows), executor)])
    valid &= _top_bits(rows) == 0
    _refuse(~valid, "no canonical encoding of an element", step, field)


def check_scalars(scalars: npt.NDArray[np.uint8], step: str, field: str) -> None:
    """Make sure that `scalars` is uint8 (n, 32) and every row between 1 and the order less 1.

    Raises:
        ProtocolError: naming `step`, `field`, the rule and the first row that breaks it.
    """
    check_shape(scalars, SCALAR_BYTES, step, field)
    raw = scalars.tobytes()
    for row, at in enumerate(range(0, len(raw), SCALAR_BYTES)):
        encoding = raw[at : at + SCALAR_BYTES]
        if not single.is_scalar(encoding):
            rule = "zero" if encoding == single.ZERO else "not reduced modulo the group's order"
            raise ProtocolError(step, f"row {row} is {rule}", field)


def check_shape(rows: npt.NDArray[np.uint8], width: int, step: str, field: str) -> None:
    """Make sure that `rows` is uint8 (n, width).

    Raises:
        ProtocolError: naming `step` and `field`.
    """
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != width:
        raise ProtocolError(step, f"must be a uint8 matrix of {width} columns", field)


def _top_bits(rows: Rows) -> Rows:
    """The top bit of every row, uint8 (n,)."""
    return rows[:, 31] >> np.uint8(7)


def _zero(rows: Rows) -> npt.NDArray[np.bool_]:
    """Which rows are all zeros: the encoding of the identity, or the scalar zero."""
    zero: npt.NDArray[np.bool_] = np.bitwise_or.reduce(rows, axis=1) == 0
    return zero


def _refuse(broken: npt.NDArray[np.bool_], what: str, step: str, field: str) -> None:
    if broken.any():
        raise ProtocolError(step, f"row {int(broken.nonzero()[0][0])} is {what}", field)
