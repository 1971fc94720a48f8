"""Batches by libsodium, a row a call: the reference, which every other back end must agree with.

libsodium runs outside Python's lock and in constant time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from hashlib import sha512
from itertools import repeat
from typing import Any, Final

import numpy as np

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError
from blindmatch_protocol.contract.executor import LEAST_ROWS
from blindmatch_protocol.group.rows import ELEMENT_BYTES, addresses, rows_of, top_bits
from blindmatch_protocol.group.sodium import ADD, FROM_HASH, MULTIPLY, SHA512

DIGEST_BYTES: Final = 64


class Libsodium:
    """The group by libsodium, an operation a row; there on every machine."""

    name: Final = "libsodium"
    task: Final = LEAST_ROWS
    sound = True

    def multiply(self, scalars: Rows, elements: Rows) -> Rows:
        return run(MULTIPLY, "multiply", scalars, elements, elements=[elements])

    def hash_multiply(self, scalars: Rows, uniform: Rows) -> Rows:
        return self.multiply(scalars, run(FROM_HASH, "hash to group", uniform))

    def sum_products(self, scalars: Rows, elements: Rows) -> Rows:
        return total(run(MULTIPLY, "sum products", scalars, elements, elements=[elements]))

    def sha512(self, messages: Rows, front: bytes = b"") -> Rows:
        if front:
            return _sha512_behind(front, messages)
        count, width = messages.shape
        digests = np.empty((count, DIGEST_BYTES), np.uint8)
        into, of = addresses(digests, count), addresses(messages, count)
        deque(map(SHA512, into, of, repeat(width)), maxlen=0)
        return digests


LIBSODIUM: Final = Libsodium()
"""The reference."""


def _sha512_behind(front: bytes, messages: Rows) -> Rows:
    """As `Libsodium.sha512`; `front` is absorbed once, which libsodium's one call cannot."""
    start, raw, (count, width) = sha512(front).copy, messages.tobytes(), messages.shape
    digests = []
    for at in range(0, count * width, width) if width else [0] * count:
        state = start()
        state.update(raw[at : at + width])
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)


def run(function: Any, operation: str, *operands: Rows, elements: Sequence[Rows] = ()) -> Rows:
    """Call the checked `function` on every row of matched operands; `GroupError` for the first it refuses.

    libsodium ignores the top bit of an element's encoding, which RFC 9496 wants clear: `elements` are the
    operands in which it is looked at here.
    """
    rows = rows_of(operands)
    result = np.empty((rows, ELEMENT_BYTES), np.uint8)
    where = [addresses(operand, rows) for operand in (result, *operands)]
    status = np.fromiter(map(function, *where), np.int32, rows)
    for points in elements:
        status |= top_bits(points)
    if status.any():
        raise GroupError(operation, int(status.nonzero()[0][0]))
    return result


def total(elements: Rows) -> Rows:
    """The sum of valid elements (n, 32), n at least one, as (1, 32)."""
    held = elements[:1].copy()
    at = held.ctypes.data
    deque(map(ADD, repeat(at), repeat(at), addresses(elements[1:], len(elements) - 1)), maxlen=0)
    return held
