"""Operations on batches of elements and scalars, and checks of such as another party sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract.publishing import LEAST_ROWS, Executor, spread
from blindmatch_protocol.group import sodium
from blindmatch_protocol.group.backend import LIBSODIUM, BackendError, backend_for, backend_for_public, drop
from blindmatch_protocol.group.rows import (
    ELEMENT_BYTES,
    SCALAR_BYTES,
    UNIFORM_BYTES,
    ZERO,
    addresses,
    matched,
    matrix,
    one,
    one_row,
    rows_of,
    stretch,
    top_bits,
    zero_rows,
)
from blindmatch_protocol.group.sodium import run, total


def hash_to_group(uniform: npt.NDArray[np.uint8], executor: Executor | None = None) -> Rows:
    """Map uniform bytes, uint8 (n, 64), to elements (n, 32); RFC 9496, section 4.3.4."""
    if one(uniform, width=UNIFORM_BYTES):
        return one_row(sodium.hash_to_group(uniform.tobytes()))
    return _run(sodium.FROM_HASH, "hash to group", executor, matrix(uniform, UNIFORM_BYTES))


def hash_multiply(
    scalars: npt.NDArray[np.uint8], uniform: npt.NDArray[np.uint8], executor: Executor | None = None
) -> Rows:
    """`multiply` of scalars (n, 32) or (32,) and `hash_to_group(uniform)`, uint8 (n, 64); result (n, 32);
    `GroupError` for a zero scalar, or uniform bytes that map to the identity."""
    if one(scalars) and one(uniform, width=UNIFORM_BYTES):
        return one_row(sodium.multiply(scalars.tobytes(), sodium.hash_to_group(uniform.tobytes())))
    return _scaled("hash_multiply", executor, matrix(scalars), matrix(uniform, UNIFORM_BYTES))


def multiply(
    scalars: npt.NDArray[np.uint8], elements: npt.NDArray[np.uint8], executor: Executor | None = None
) -> Rows:
    """Multiply elements (n, 32) by scalars (n, 32) or (32,); result (n, 32); `GroupError` for a non-canonical
    encoding, the identity or a zero scalar.

    Checks its elements on the way, at no cost: a decoder may rely on it and ask `check_elements` which
    rule was broken afterwards. Scalars must be reduced; that is *not* checked here.
    """
    if one(scalars, elements):
        return one_row(sodium.multiply(scalars.tobytes(), elements.tobytes()))
    return _scaled("multiply", executor, matrix(scalars), matrix(elements))


def _scaled(function: str, executor: Executor | None, scalars: Rows, rows: Rows) -> Rows:
    """What the back end's function makes of every row, or libsodium's where it finds that it went wrong."""
    operands = matched(scalars, rows)
    backend = backend_for(rows_of(operands))

    def checked(*some: Rows) -> Rows:
        try:
            made: Rows = getattr(backend, function)(*some)
        except BackendError as error:
            made = getattr(LIBSODIUM, function)(*some)
            wrong = [] if error.rows is None else (made != error.rows).any(axis=1).nonzero()[0].tolist()
            drop(backend, f"{error}, row {wrong[0]} of {len(made)}" if wrong else str(error))
        return made

    return _joined(checked, backend.task, executor, *operands)


def sum_products(
    scalars: npt.NDArray[np.uint8], elements: npt.NDArray[np.uint8], executor: Executor | None = None
) -> Rows:
    """The sum of scalar times element over all rows, (n, 32) each, as one row (1, 32); of public rows alone;
    `GroupError` for a non-canonical encoding, the identity or a zero scalar.

    No rows sum to the identity. Another back end than libsodium makes some sums twice, the second time over
    the rows shifted by one: see `SecondSums`.
    """
    if one(scalars, elements):
        return one_row(sodium.multiply(scalars.tobytes(), elements.tobytes()))
    operands = matched(matrix(scalars), matrix(elements))
    backend = backend_for_public(rows_of(operands))

    def checked(*some: Rows) -> Rows:
        made = backend.sum_products(*some)
        seconds = backend.second_sums
        if seconds is None or not seconds.is_due(some):
            return made
        again = backend.sum_products(*(np.roll(one, 1, axis=0) for one in some))
        if np.array_equal(made, again):
            seconds.note_agreement(some)
            return made
        drop(backend, f"two sums of the same {rows_of(some)} rows differ")
        return LIBSODIUM.sum_products(*some)

    parts = _spread(checked, backend.task, executor, *operands)
    return total(np.concatenate(parts)) if parts else np.zeros((1, ELEMENT_BYTES), np.uint8)


def multiply_base(scalars: npt.NDArray[np.uint8], executor: Executor | None = None) -> Rows:
    """Multiply the generator by scalars (n, 32); result (n, 32). Three times as fast as `multiply`;
    `GroupError` for a zero scalar."""
    if one(scalars):
        return one_row(sodium.multiply_base(scalars.tobytes()))
    return _run(sodium.MULTIPLY_BASE, "multiply base", executor, matrix(scalars))


def add(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8], executor: Executor | None = None) -> Rows:
    """Sums of elements, (n, 32) each; the identity is a valid operand and a valid sum; `GroupError` for a
    non-canonical encoding."""
    if one(left, right):
        return one_row(sodium.add(left.tobytes(), right.tobytes()))
    points = matched(matrix(left), matrix(right))
    return _run(sodium.ADD, "add", executor, *points, checked=True)


def subtract(
    left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8], executor: Executor | None = None
) -> Rows:
    points = matched(matrix(left), matrix(right))
    return _run(sodium.SUBTRACT, "subtract", executor, *points, checked=True)


def _run(
    function: Any, operation: str, executor: Executor | None, *operands: Rows, checked: bool = False
) -> Rows:
    """What libsodium's `function` makes of every row; `checked`: operands are elements of others."""

    def rows(*some: Rows) -> Rows:
        return run(function, operation, *some, elements=some if checked else ())

    return _joined(rows, LEAST_ROWS, executor, *operands)


def _joined(function: Callable[..., Rows], least: int, executor: Executor | None, *operands: Rows) -> Rows:
    parts = _spread(function, least, executor, *operands)
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty((0, ELEMENT_BYTES), np.uint8)


def _spread(
    function: Callable[..., Rows], least: int, executor: Executor | None, *operands: Rows
) -> list[Rows]:
    """`function` on stretches of matched operands, in order; a `GroupError` names the row of the whole."""

    def work(start: int, stop: int) -> Rows:
        try:
            return function(*[stretch(operand, start, stop) for operand in operands])
        except GroupError as error:
            raise GroupError(error.operation, start + error.row) from None

    return spread(work, rows_of(operands), executor, least)


def check_elements(
    elements: npt.NDArray[np.uint8], step: str, field: str, executor: Executor | None = None
) -> None:
    """Make sure that `elements` is uint8 (n, 32) and every row an element other than the identity;
    `ProtocolError` naming `step`, `field`, the rule and the first row that breaks it."""
    check_shape(elements, ELEMENT_BYTES, step, field)
    rows = matrix(elements)
    _refuse(zero_rows(rows), "the identity element", step, field)

    def work(start: int, stop: int) -> npt.NDArray[np.bool_]:
        valid = map(sodium.IS_VALID, addresses(rows[start:stop], stop - start))
        return np.fromiter(valid, np.int32, stop - start).astype(np.bool_)

    valid = np.concatenate([np.zeros(0, np.bool_), *spread(work, len(rows), executor)])
    valid &= top_bits(rows) == 0
    _refuse(~valid, "no canonical encoding of an element", step, field)


def check_scalars(scalars: npt.NDArray[np.uint8], step: str, field: str) -> None:
    """Make sure that `scalars` is uint8 (n, 32) and every row between 1 and the order less 1; `ProtocolError`
    naming `step`, `field`, the rule and the first row that breaks it."""
    check_shape(scalars, SCALAR_BYTES, step, field)
    raw = scalars.tobytes()
    for row, at in enumerate(range(0, len(raw), SCALAR_BYTES)):
        encoding = raw[at : at + SCALAR_BYTES]
        if not sodium.is_scalar(encoding):
            rule = "zero" if encoding == ZERO else "not reduced modulo the group's order"
            raise ProtocolError(step, f"row {row} is {rule}", field)


def check_shape(rows: npt.NDArray[np.uint8], width: int, step: str, field: str) -> None:
    """Make sure that `rows` is uint8 (n, width); `ProtocolError` names `step` and `field`."""
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != width:
        raise ProtocolError(step, f"must be a uint8 matrix of {width} columns", field)


def _refuse(broken: npt.NDArray[np.bool_], what: str, step: str, field: str) -> None:
    if broken.any():
        raise ProtocolError(step, f"row {int(broken.nonzero()[0][0])} is {what}", field)


def random_scalars(count: int, rng: Randomness) -> Rows:
    """Uniform non-zero scalars (count, 32), each from 64 bytes of `rng` taken at once, in order."""
    while count == 1:
        scalar = sodium.reduce_scalar(rng.take(UNIFORM_BYTES))
        if scalar != ZERO:
            return one_row(scalar)
    while True:
        uniform = np.frombuffer(rng.take(UNIFORM_BYTES * count), np.uint8)
        scalars = reduce_scalars(uniform.reshape(count, UNIFORM_BYTES))
        if not zero_rows(scalars).any():
            return scalars


def reduce_scalars(wide: npt.NDArray[np.uint8]) -> Rows:
    """Little-endian integers, uint8 (n, 64), modulo the order; result (n, 32)."""
    if one(wide, width=UNIFORM_BYTES):
        return one_row(sodium.reduce_scalar(wide.tobytes()))
    return _each(sodium.REDUCE, matrix(wide, UNIFORM_BYTES))


def add_scalars(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> Rows:
    """Sums modulo the order, (n, 32) each."""
    return _each(sodium.ADD_SCALARS, *matched(matrix(left), matrix(right)))


def subtract_scalars(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> Rows:
    """Differences modulo the order, (n, 32) each."""
    if one(left, right):
        return one_row(sodium.subtract_scalars(left.tobytes(), right.tobytes()))
    return _each(sodium.SUBTRACT_SCALARS, *matched(matrix(left), matrix(right)))


def multiply_scalars(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> Rows:
    """Products modulo the order, (n, 32) each."""
    if one(left, right):
        return one_row(sodium.multiply_scalars(left.tobytes(), right.tobytes()))
    return _each(sodium.MULTIPLY_SCALARS, *matched(matrix(left), matrix(right)))


def invert_scalars(scalars: npt.NDArray[np.uint8]) -> Rows:
    """Inverses modulo the order, (n, 32), by one inversion and three multiplications a row (Montgomery's
    trick): 1.6 us instead of 30. `GroupError` for a zero scalar."""
    if one(scalars):
        return one_row(sodium.invert_scalar(scalars.tobytes()))
    scalars = matrix(scalars)
    zero = zero_rows(scalars)
    if zero.any():
        raise GroupError("invert", int(zero.nonzero()[0][0]))
    rows = len(scalars)
    # before[i] is the product of all rows before i, after[i] the inverse of the product of rows up to i
    before = np.zeros((rows + 1, 32), np.uint8)
    after = np.empty((rows + 1, 32), np.uint8)
    before[0, 0] = 1
    _chain(before[1:], before[:-1], scalars)
    sodium.INVERT_SCALAR(after[rows:].ctypes.data, before[rows:].ctypes.data)
    _chain(after[:-1][::-1], after[1:][::-1], scalars[::-1])
    return multiply_scalars(after[1:], before[:-1])


def _chain(results: Rows, left: Rows, right: Rows) -> None:
    """Scalar products one after the other, each using the one before."""
    where = (addresses(operand, len(results)) for operand in (results, left, right))
    deque(map(sodium.MULTIPLY_SCALARS, *where), maxlen=0)


def _each(function: Any, *operands: Rows) -> Rows:
    """Call the unchecked `function` on every row; too short a work to be worth an executor."""
    rows = rows_of(operands)
    result = np.empty((rows, SCALAR_BYTES), np.uint8)
    deque(map(function, *(addresses(operand, rows) for operand in (result, *operands))), maxlen=0)
    return result
