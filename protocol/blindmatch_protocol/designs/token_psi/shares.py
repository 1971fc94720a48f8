"""Shares of an entry's secret: any `needed` values at distinct bands give it, fewer give nothing of it.

Shamir's scheme (1979) over GF(2^8), for each byte of a value apart: an entry has a random polynomial
c0 + c1 x (+ c2 x^2) of degree needed - 1 whose coefficients are 16 bytes each, its value at band j is the
polynomial at x = j + 1, and its secret is c0. Fewer than `needed` values leave all 128 bits of the secret
uniform: whoever has a lone value, and suspects it is one, has to try 2^128 secrets.

Interpolation is linear: c0 is a sum over the values, each times a constant that the choice of bands
determines (Lagrange). So all combinations of all probes need few products and then only XOR:

    bands i < j    c0[i, j, a, b] = L[i, j] * (probe a's value at band i) + L[j, i] * (probe b's at band j)
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import comb
from typing import Final

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.designs.token_psi.gf256 import PRODUCTS, Elements, inverse, multiply, scaled

SECRET_BYTES: Final = 16
VALUE_BYTES: Final = SECRET_BYTES
"""Bytes of a value, of a coefficient and of the secret."""


def candidate_count(bands: int, probes: int, needed: int) -> int:
    """How many secrets `candidates` gives."""
    return comb(bands, needed) * int(probes**needed)


def values(coefficients: Elements, bands: int) -> Elements:
    """The values of polynomials, uint8 (n, needed, 16) with c0 first, at every band: uint8 (n, bands, 16)."""
    found = np.empty((len(coefficients), bands, VALUE_BYTES), np.uint8)
    columns = [np.ascontiguousarray(column) for column in coefficients.transpose(1, 0, 2)]
    for band in range(bands):
        total = columns[-1]
        for column in columns[-2::-1]:
            products = total.tobytes().translate(PRODUCTS[band + 1].tobytes())
            total = np.frombuffer(products, np.uint8).reshape(column.shape) ^ column
        found[:, band] = total
    return found


def secrets_of(coefficients: Elements) -> Rows:
    """The secrets of polynomials, uint8 (n, needed, 16): c0, uint8 (n, 16)."""
    return np.ascontiguousarray(coefficients[:, 0])


def candidates(found: Elements, needed: int) -> Rows:
    """The secret of every combination of values at `needed` distinct bands.

    Args:
        found: what was read at each band's probes, uint8 (bands, probes, 16).
        needed: 2 or 3.

    Returns:
        uint8 (m, 16), m as in `candidate_count`: combinations of bands in lexicographic order, and for
        each of them the probes', the last band's changing fastest.
    """
    bands, probes, _ = found.shape
    chosen, constants = _lagrange(bands, needed)
    parts = scaled(constants[:, :, None], found[chosen]).view(np.uint64)
    total = parts[:, 0]
    for position in range(1, needed):
        total = total[:, :, None] ^ parts[:, position].reshape(len(chosen), 1, probes, 2)
        total = total.reshape(len(chosen), -1, 2)
    return np.ascontiguousarray(total).view(np.uint8).reshape(-1, SECRET_BYTES)


@cache
def _lagrange(bands: int, needed: int) -> tuple[npt.NDArray[np.intp], Elements]:
    """Combinations of bands, (m, needed), and what the value of each band is multiplied by, (m, needed)."""
    chosen = list(combinations(range(bands), needed))
    rows = [[_constant(combo, at) for at in range(needed)] for combo in chosen]
    return np.array(chosen, np.intp), np.array(rows, np.uint8)


def _constant(combo: tuple[int, ...], at: int) -> int:
    """The Lagrange polynomial of band `combo[at]` at x = 0: over the other bands, x / (own - x)."""
    own, product = combo[at] + 1, 1
    for band in combo[:at] + combo[at + 1 :]:
        product = multiply(product, multiply(band + 1, inverse(own ^ (band + 1))))
    return product
