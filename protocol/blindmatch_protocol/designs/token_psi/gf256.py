"""The field GF(2^8) of AES (FIPS 197, section 4): polynomials over GF(2) modulo x^8 + x^4 + x^3 + x + 1.

A byte is an element, bit i the coefficient of x^i; addition is XOR. All products are one table of 65,536
bytes, so an array times constants is one look-up an element.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Elements: TypeAlias = npt.NDArray[np.uint8]
"""Field elements."""

_MODULUS: Final = 0x11B


def _products() -> Elements:
    """The product of a and b at [a, b], uint8 (256, 256)."""
    found: npt.NDArray[np.int64] = np.zeros((256, 256), np.int64)
    power: npt.NDArray[np.int64] = np.arange(256)
    for bit in range(8):
        rows = np.arange(256) >> bit & 1 == 1
        found[rows] ^= power
        power = power << 1 ^ np.where(power & 0x80, _MODULUS, 0)
    return found.astype(np.uint8)


PRODUCTS: Final = _products()
"""The product of a and b at [a, b], uint8 (256, 256)."""
PRODUCTS.flags.writeable = False


def multiply(left: int, right: int) -> int:
    """The product of two elements."""
    return int(PRODUCTS[left, right])


def inverse(value: int) -> int:
    """The inverse.

    Raises:
        ZeroDivisionError: for zero.
    """
    if not value:
        raise ZeroDivisionError("zero has no inverse in GF(2^8)")
    return int((PRODUCTS[value] == 1).argmax())


def scaled(constants: Elements, values: Elements) -> Elements:
    """Each row of `values`, (..., w), times the constant at its place in `constants`, (...) or broadcast."""
    places = (constants.astype(np.intp) << 8)[..., None] + values
    products: Elements = PRODUCTS.reshape(-1).take(places)
    return products
