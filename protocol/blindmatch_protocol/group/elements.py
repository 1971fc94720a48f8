"""Operations on batches of elements; which back end computes them is `backend`'s choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError
from blindmatch_protocol.contract.executor import LEAST_ROWS, Executor, spread
from blindmatch_protocol.group import single, sodium
from blindmatch_protocol.group.backend import LIBSODIUM, BackendError, backend_for, drop
from blindmatch_protocol.group.libsodium import run, total
from blindmatch_protocol.group.rows import (
    ELEMENT_BYTES,
    UNIFORM_BYTES,
    matched,
    matrix,
    one,
    one_row,
    rows_of,
    stretch,
)


def hash_to_group(uniform: npt.NDArray[np.uint8], executor: Executor | None = None) -> Rows:
    """Map uniform bytes, uint8 (n, 64), to elements (n, 32); RFC 9496, section 4.3.4."""
    if one(uniform, width=UNIFORM_BYTES):
        return one_row(single.hash_to_group(uniform.tobytes()))
    return _run(sodium.FROM_HASH, "hash to group", executor, matrix(uniform, UNIFORM_BYTES))


def hash_multiply(
    scalars: npt.NDArray[np.uint8], uniform: npt.NDArray[np.uint8], executor: Executor | None = None
) -> Rows:
    """`multiply` of scalars (n, 32) or (32,) and `hash_to_group(uniform)`, uint8 (n, 64); result (n, 32).

    Raises:
        GroupError: for a zero scalar, or uniform bytes that map to the identity.
    """
    if one(scalars) and one(uniform, width=UNIFORM_BYTES):
        return one_row(single.multiply(scalars.tobytes(), single.hash_to_group(uniform.tobytes())))
    return _scaled("hash_multiply", executor, matrix(scalars), matrix(uniform, UNIFORM_BYTES))


def multiply(
    scalars: npt.NDArray[np.uint8], elements: npt.NDArray[np.uint8], executor: Executor | None = None
) -> Rows:
    """Multiply elements (n, 32) by scalars (n, 32) or (32,); result (n, 32).

    Checks its elements on the way, at no cost: a decoder may rely on it and ask `check_elements` which
    rule was broken afterwards. Scalars must be reduced; that is *not* checked here.

    Raises:
        GroupError: for a non-canonical encoding, the identity or a zero scalar.
    """
    if one(scalars, elements):
        return one_row(single.multiply(scalars.tobytes(), elements.tobytes()))
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
    """The sum of scalar times element over all rows, (n, 32) each, as one row (1, 32).

    No rows sum to the identity.

    Raises:
        GroupError: for a non-canonical encoding, the identity or a zero scalar.
    """
    if one(scalars, elements):
        return one_row(single.multiply(scalars.tobytes(), elements.tobytes()))
    operands = matched(matrix(scalars), matrix(elements))
    backend = backend_for(rows_of(operands))
    parts = _spread(backend.sum_products, backend.task, executor, *operands)
    return total(np.concatenate(parts)) if parts else np.zeros((1, ELEMENT_BYTES), np.uint8)


def multiply_base(scalars: npt.NDArray[np.uint8], executor: Executor | None = None) -> Rows:
    """Multiply the generator by scalars (n, 32); result (n, 32). Three times as fast as `multiply`.

    Raises:
        GroupError: for a zero scalar.
    """
    if one(scalars):
        return one_row(single.multiply_base(scalars.tobytes()))
    return _run(sodium.MULTIPLY_BASE, "multiply base", executor, matrix(scalars))


def add(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8], executor: Executor | None = None) -> Rows:
    """Sums of elements, (n, 32) each; the identity is a valid operand and a valid sum.

    Raises:
        GroupError: for a non-canonical encoding.
    """
    if one(left, right):
        return one_row(single.add(left.tobytes(), right.tobytes()))
    points = matched(matrix(left), matrix(right))
    return _run(sodium.ADD, "add", executor, *points, checked=True)


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
