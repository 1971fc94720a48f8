"""Checks of elements and scalars that another party sent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract.executor import Executor, spread
from blindmatch_protocol.group import single, sodium
from blindmatch_protocol.group.rows import (
    ELEMENT_BYTES,
    SCALAR_BYTES,
    addresses,
    matrix,
    top_bits,
    zero_rows,
)


def check_elements(
    elements: npt.NDArray[np.uint8], step: str, field: str, executor: Executor | None = None
) -> None:
    """Make sure that `elements` is uint8 (n, 32) and every row an element other than the identity.

    Raises:
        ProtocolError: naming `step`, `field`, the rule and the first row that breaks it.
    """
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


def _refuse(broken: npt.NDArray[np.bool_], what: str, step: str, field: str) -> None:
    if broken.any():
        raise ProtocolError(step, f"row {int(broken.nonzero()[0][0])} is {what}", field)
