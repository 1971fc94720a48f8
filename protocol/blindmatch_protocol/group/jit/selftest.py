"""What a compiled kernel must get right before it is used: edge cases, in every lane, against libsodium."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Final

import numpy as np

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError
from blindmatch_protocol.group.backend import BackendError, GroupBackend
from blindmatch_protocol.group.jit.element import SQRT_M1
from blindmatch_protocol.group.jit.field import P
from blindmatch_protocol.group.jit.point import D
from blindmatch_protocol.group.libsodium import LIBSODIUM, run
from blindmatch_protocol.group.rows import zero_rows
from blindmatch_protocol.group.single import ORDER
from blindmatch_protocol.group.sodium import FROM_HASH

_Outcome = tuple[bytes, str, int]


def _root(square: int) -> int:
    """A square root modulo p, or 0 if there is none."""
    root = pow(square, (P + 3) // 8, P)
    return next((one for one in (root, root * SQRT_M1 % P) if one * one % P == square % P), 0)


_SPECIAL: Final = [r * pow(SQRT_M1, -1, P) for r in (-1, 1, -D, D, -pow(D, -1, P), pow(D, -1, P), SQRT_M1)]
"""Squares of t at which a factor of `MAP` is zero or a root changes its case; RFC 9496, section 4.3.4."""
FIELD_EDGES: Final = [
    0, 1, 2, 18, 19, P - 2, P - 1, P, P + 1, 2**255 - 1, 2**255, 2**256 - 1, SQRT_M1, P - SQRT_M1,
    *(_root(square) for square in _SPECIAL),
]  # fmt: skip
"""Numbers of 256 bits around what reductions and square roots treat apart."""
SCALAR_EDGES: Final = [
    1, 2, 3, 15, 16, ORDER - 1, ORDER - 2, (ORDER - 1) // 2, (ORDER + 1) // 2, 2**252 - 1, 2**251,
    int("8" * 62, 16), int("7" * 62, 16), int("f" * 62, 16), 2**128 + 1,
]  # fmt: skip


def number_rows(numbers: Iterable[int]) -> Rows:
    """Numbers below 2^256 as rows, little-endian."""
    return np.frombuffer(b"".join(n.to_bytes(32, "little") for n in numbers), np.uint8).reshape(-1, 32)


def uniform_edges() -> Rows:
    """Uniform bytes of all pairs of neighbours among the field's edges, uint8 (n, 64)."""
    edges = number_rows(FIELD_EDGES)
    return np.concatenate([edges, np.roll(edges, 1, axis=0)], axis=1)


def in_every_lane(rows: Rows) -> Rows:
    """The rows eight times, an odd number of them, so that each comes into every lane of eight or four."""
    odd = rows if len(rows) % 2 else np.concatenate([rows, rows[:1]])
    return np.concatenate([odd] * 8)


def check(backend: GroupBackend) -> None:
    """Make sure that `backend` computes what libsodium does.

    Raises:
        BackendError: naming the function and the case.
    """
    edges = uniform_edges()
    proper = ~zero_rows(run(FROM_HASH, "hash to group", edges))
    uniform, all_uniform = in_every_lane(edges[proper]), in_every_lane(edges)
    own = np.resize(in_every_lane(number_rows(SCALAR_EDGES)), (len(all_uniform), 32))
    for rows, scalars in product((uniform, all_uniform), (own, own[5:6])):
        operands = (scalars[: len(rows)], rows)
        _compare("hash_multiply", backend.hash_multiply, LIBSODIUM.hash_multiply, operands)
    own = own[: len(uniform)]
    good = LIBSODIUM.hash_multiply(own, uniform)
    for function in ("multiply", "sum_products"):
        ours, theirs = getattr(backend, function), getattr(LIBSODIUM, function)
        for some in (own, own[:1]):
            _compare(function, ours, theirs, (some, good))
        for bad, lane in product(number_rows(FIELD_EDGES), (0, 3)):
            mixed = good[:8].copy()
            mixed[lane] = bad
            _compare(function, ours, theirs, (own[:8], mixed))
    _check_sha512(backend)


def _check_sha512(backend: GroupBackend) -> None:
    text = np.resize(np.arange(251, dtype=np.uint8), (11, 256))
    for length, front in ((0, b""), (111, b""), (112, b""), (128, bytes(128)), (256, bytes(range(128)))):
        messages = np.ascontiguousarray(text[:, :length])
        if (backend.sha512(messages, front) != LIBSODIUM.sha512(messages, front)).any():
            raise BackendError(f"sha512 is wrong for {length} bytes")


def _compare(
    name: str, ours: Callable[..., Rows], theirs: Callable[..., Rows], operands: tuple[Rows, ...]
) -> None:
    if _outcome(ours, operands) != _outcome(theirs, operands):
        raise BackendError(f"{name} is not what libsodium computes")


def _outcome(function: Callable[..., Rows], operands: tuple[Rows, ...]) -> _Outcome:
    """The result, or the row that is refused."""
    try:
        return function(*operands).tobytes(), "", -1
    except GroupError as error:
        return b"", "refused", error.row
