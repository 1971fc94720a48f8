"""The field GF(2^64): polynomials over GF(2) modulo x^64 + x^4 + x^3 + x + 1, as 64-bit numbers.

Bit i of a number is the coefficient of x^i; addition is XOR. Multiplying by a constant is linear over
GF(2), so a constant becomes eight tables of 256 products, one for each byte of the other factor, and a
product of many values costs eight look-ups each. The modulus is irreducible (Seroussi, "Table of
Low-Weight Binary Irreducible Polynomials", HPL-98-135, n = 64: 4, 3, 1).
"""

from __future__ import annotations

from functools import cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Elements: TypeAlias = npt.NDArray[np.uint64]
"""Field elements."""
Tables: TypeAlias = npt.NDArray[np.uint64]
"""Products of a constant: entry [i, b] is the constant times b * x^(8 i), uint64 (8, 256)."""

_REDUCTION: Final = 0b11011
_MASK: Final = (1 << 64) - 1


def shifted(value: int) -> int:
    """`value` times x."""
    return (value << 1 & _MASK) ^ (_REDUCTION if value >> 63 else 0)


def multiply(left: int, right: int) -> int:
    """The product; for constants, not for secrets (its time depends on `right`)."""
    product = 0
    while right:
        if right & 1:
            product ^= left
        left, right = shifted(left), right >> 1
    return product


def inverse(value: int) -> int:
    """The inverse, value^(2^64 - 2).

    Raises:
        ZeroDivisionError: for zero.
    """
    if not value:
        raise ZeroDivisionError("zero has no inverse in GF(2^64)")
    result = 1
    for _ in range(63):
        value = multiply(value, value)
        result = multiply(result, value)
    return result


@cache
def tables(constant: int) -> Tables:
    """The products of a constant, uint64 (8, 256)."""
    power, powers = constant, []
    for _ in range(64):
        powers.append(power)
        power = shifted(power)
    found = np.zeros((8, 256), np.uint64)
    for position, power in enumerate(powers):
        byte, bit = divmod(position, 8)
        found[byte, 1 << bit : 2 << bit] = found[byte, : 1 << bit] ^ np.uint64(power)
    found.flags.writeable = False
    return found


def split(values: Elements) -> npt.NDArray[np.uint8]:
    """The bytes of `values`, uint8 (..., 8), the one of x^0 to x^7 first."""
    return np.ascontiguousarray(values, "<u8")[..., None].view(np.uint8)


def scaled(constant: int, values: Elements) -> Elements:
    """`constant` times every value, uint64 of the same shape."""
    products, octets = tables(constant), split(values)
    total: Elements = products[0][octets[..., 0]]
    for byte in range(1, 8):
        total ^= products[byte][octets[..., byte]]
    return total
