"""The group ristretto255 (RFC 9496) on batches, by libsodium.

A batch of elements or scalars is a uint8 array of shape (n, 32), one canonical encoding a row. A single
row, of shape (32,) or (1, 32), goes with every row of the other operand. Operations that take `executor`
cut the batch over its threads; libsodium runs outside Python's lock and in constant time.

This is the one module that talks to rbcl, the package that carries libsodium. A faster backend would
replace the functions below and nothing else.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import repeat
from pathlib import Path  # noqa: TID251 - removes the one file that importing rbcl leaves behind
from typing import Any

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.executor import Executor, spread
from blindmatch_protocol.randomness import Randomness

ELEMENT_BYTES = 32
SCALAR_BYTES = 32
UNIFORM_BYTES = 64
ORDER = 2**252 + 27742317777372353535851937790883648493


class GroupError(BlindmatchError):
    """An operation met the identity, a zero scalar or bytes that are no element.

    libsodium does not say which; `check_elements` and `check_scalars` do. In an operation whose scalars
    are known to be good, the elements are to blame.

    Args:
        operation: what was computed.
        row: the first row it failed on.
    """

    def __init__(self, operation: str, row: int) -> None:
        self.row = row
        super().__init__(f"{operation}: row {row} has or gives no proper element")


# --- libsodium -----------------------------------------------------------------------------------


def _load() -> ctypes.CDLL:
    """Import rbcl, which writes libsodium to the temporary folder, maps it and leaves the file there."""
    try:
        from rbcl import _sodium as library  # noqa: TID251 - the one place
    except OSError as error:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            _unlink(frame.f_globals)
        raise ImportError(
            "libsodium could not be loaded: rbcl writes it to the temporary folder (2.8 MB) and maps it; "
            "set TMPDIR to a folder that has room and is not mounted noexec"
        ) from error
    _unlink(vars(sys.modules["rbcl._sodium"]))
    return library  # type: ignore[no-any-return]


def _unlink(module: dict[str, Any]) -> None:
    """Remove the library rbcl wrote. A mapped file outlives its name on POSIX; Windows keeps both."""
    path = module.get("lib_path")
    if module.get("__name__") != "rbcl._sodium" or not isinstance(path, str) or sys.platform == "win32":
        return
    written = Path(path)
    if written.parent == Path(tempfile.gettempdir()) and written.suffix == ".so":
        written.unlink(missing_ok=True)


_LIBRARY = _load()


def _bind(name: str, operands: int, checked: bool = True) -> Any:
    """The function `name` of libsodium, taking addresses: its result, then `operands` inputs.

    Indexing gives a function object of our own, so that rbcl's own calls stay as they are.
    """
    function = _LIBRARY[name]
    function.argtypes = [ctypes.c_void_p] * (1 + operands)
    function.restype = ctypes.c_int if checked else None
    return function


_IS_VALID = _bind("crypto_core_ristretto255_is_valid_point", 0)
_FROM_HASH = _bind("crypto_core_ristretto255_from_hash", 1)
_ADD = _bind("crypto_core_ristretto255_add", 2)
_SUBTRACT = _bind("crypto_core_ristretto255_sub", 2)
_MULTIPLY = _bind("crypto_scalarmult_ristretto255", 2)
_MULTIPLY_BASE = _bind("crypto_scalarmult_ristretto255_base", 1)
_REDUCE = _bind("crypto_core_ristretto255_scalar_reduce", 1, checked=False)
_INVERT_SCALAR = _bind("crypto_core_ristretto255_scalar_invert", 1)
_ADD_SCALARS = _bind("crypto_core_ristretto255_scalar_add", 2, checked=False)
_SUBTRACT_SCALARS = _bind("crypto_core_ristretto255_scalar_sub", 2, checked=False)
_MULTIPLY_SCALARS = _bind("crypto_core_ristretto255_scalar_mul", 2, checked=False)


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
    if rows == 1:
        status, result = _run_one(function, operands)
        if status or any(points[0, 31] & 0x80 for points in elements):
            raise GroupError(operation, 0)
        return result
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
    if rows == 1:
        return _run_one(function, operands)[1]
    result = np.empty((rows, SCALAR_BYTES), np.uint8)
    where = (_addresses(matrix, 0, rows) for matrix in (result, *operands))
    deque(map(function, *where), maxlen=0)
    return result


_Row = ctypes.c_char * 32


def _run_one(function: Any, operands: Sequence[Rows]) -> tuple[int, Rows]:
    """What `function` returns for one row, and its result (1, 32). A private check of one hash is all
    single rows: passing bytes takes a quarter of the time that addresses of arrays take."""
    row = _Row()
    status = function(row, *[matrix.tobytes() for matrix in operands])
    return status, np.frombuffer(row.raw, np.uint8).reshape(1, 32)


# --- elements ------------------------------------------------------------------------------------


def hash_to_group(uniform: npt.NDArray[np.uint8], executor: Executor | None = None) -> Rows:
    """Map uniform bytes, uint8 (n, 64), to elements (n, 32); RFC 9496, section 4.3.4."""
    return _run(_FROM_HASH, "hash to group", executor, _matrix(uniform, UNIFORM_BYTES))


def multiply(
    scalars: npt.NDArray[np.uint8], elements: npt.NDArray[np.uint8], executor: Executor | None = None
) -> Rows:
    """Multiply elements (n, 32) by scalars (n, 32) or (32,); result (n, 32).

    Checks its elements on the way, at no cost: a decoder may rely on it and ask `check_elements` which
    rule was broken afterwards. Scalars must be reduced; that is *not* checked here.

    Raises:
        GroupError: for a non-canonical encoding, the identity or a zero scalar.
    """
    factors, points = _matched(scalars, elements)
    return _run(_MULTIPLY, "multiply", executor, factors, points, elements=[points])


def multiply_base(scalars: npt.NDArray[np.uint8], executor: Executor | None = None) -> Rows:
    """Multiply the generator by scalars (n, 32); result (n, 32). Three times as fast as `multiply`.

    Raises:
        GroupError: for a zero scalar.
    """
    return _run(_MULTIPLY_BASE, "multiply base", executor, _matrix(scalars))


def add(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8], executor: Executor | None = None) -> Rows:
    """Sums of elements, (n, 32) each; the identity is a valid operand and a valid sum.

    Raises:
        GroupError: for a non-canonical encoding.
    """
    points = _matched(left, right)
    return _run(_ADD, "add", executor, *points, elements=points)


def subtract(
    left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8], executor: Executor | None = None
) -> Rows:
    """Differences of elements, (n, 32) each; the identity is a valid operand and a valid difference.

    Raises:
        GroupError: for a non-canonical encoding.
    """
    points = _matched(left, right)
    return _run(_SUBTRACT, "subtract", executor, *points, elements=points)


def combine(
    scalars: npt.NDArray[np.uint8], elements: npt.NDArray[np.uint8], executor: Executor | None = None
) -> Rows:
    """The sum of scalar times element over all rows, (n, 32) each, as one row (1, 32).

    No rows sum to the identity.

    Raises:
        GroupError: for a non-canonical encoding, the identity or a zero scalar.
    """
    left, right = np.broadcast_arrays(*_matched(scalars, elements))
    if len(left) == 1:
        return _combined_one(left, right)

    def work(start: int, stop: int) -> Rows:
        try:
            return _sum(multiply(left[start:stop], right[start:stop]))
        except GroupError as error:
            raise GroupError("combine", start + error.row) from None

    parts = spread(work, len(left), executor)
    return _sum(np.concatenate(parts)) if parts else np.zeros((1, ELEMENT_BYTES), np.uint8)


def _combined_one(scalars: Rows, elements: Rows) -> Rows:
    try:
        return multiply(scalars, elements)
    except GroupError:
        raise GroupError("combine", 0) from None


def _sum(elements: Rows) -> Rows:
    """The sum of valid elements (n, 32), n at least one, as (1, 32)."""
    total = elements[:1].copy()
    at = total.ctypes.data
    where = _addresses(elements, 1, len(elements))
    deque(map(_ADD, repeat(at), repeat(at), where), maxlen=0)
    return total


# --- scalars -------------------------------------------------------------------------------------


def random_scalars(count: int, rng: Randomness) -> Rows:
    """Uniform non-zero scalars (count, 32), each from 64 bytes of `rng` taken at once, in order."""
    while True:
        uniform = np.frombuffer(rng.take(UNIFORM_BYTES * count), np.uint8)
        scalars = reduce_scalars(uniform.reshape(count, UNIFORM_BYTES))
        if not _zero(scalars).any():
            return scalars


def reduce_scalars(wide: npt.NDArray[np.uint8]) -> Rows:
    """Little-endian integers, uint8 (n, 64), modulo the order; result (n, 32)."""
    return _run_scalars(_REDUCE, _matrix(wide, UNIFORM_BYTES))


def add_scalars(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> Rows:
    """Sums modulo the order, (n, 32) each."""
    return _run_scalars(_ADD_SCALARS, *_matched(left, right))


def subtract_scalars(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> Rows:
    """Differences modulo the order, (n, 32) each."""
    return _run_scalars(_SUBTRACT_SCALARS, *_matched(left, right))


def multiply_scalars(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> Rows:
    """Products modulo the order, (n, 32) each."""
    return _run_scalars(_MULTIPLY_SCALARS, *_matched(left, right))


def invert_scalars(scalars: npt.NDArray[np.uint8]) -> Rows:
    """Inverses modulo the order, (n, 32).

    One inversion and three multiplications a row (Montgomery's trick), 1.6 us instead of 30.

    Raises:
        GroupError: for a zero scalar.
    """
    scalars = _matrix(scalars)
    zero = _zero(scalars)
    if zero.any():
        raise GroupError("invert", int(zero.nonzero()[0][0]))
    rows = len(scalars)
    if rows == 1:
        return _run_scalars(_INVERT_SCALAR, scalars)
    # before[i] is the product of all rows before i, after[i] the inverse of the product of rows up to i
    before, after = np.zeros((rows + 1, 32), np.uint8), np.empty((rows + 1, 32), np.uint8)
    before[0, 0] = 1
    _chain(_addresses(before, 1, rows + 1), _addresses(before, 0, rows), _addresses(scalars, 0, rows))
    _INVERT_SCALAR(after[rows:].ctypes.data, before[rows:].ctypes.data)
    down = slice(None, None, -1)
    _chain(
        _addresses(after[down], 1, rows + 1),
        _addresses(after[down], 0, rows),
        _addresses(scalars[down], 0, rows),
    )
    return multiply_scalars(after[1:], before[:-1])


def _chain(results: Iterable[int], left: Iterable[int], right: Iterable[int]) -> None:
    """Scalar products one after the other, each using the one before; arguments are addresses."""
    deque(map(_MULTIPLY_SCALARS, results, left, right), maxlen=0)


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
        valid = map(_IS_VALID, _addresses(rows, start, stop))
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
    for row, scalar in enumerate(scalars):
        value = int.from_bytes(scalar.tobytes(), "little")
        if not 0 < value < ORDER:
            rule = "not reduced modulo the group's order" if value else "zero"
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
