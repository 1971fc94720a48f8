"""Shares of an entry's secret: any `needed` values at distinct bands give it, fewer give nothing of it.

A Reed-Solomon code over GF(2^64): an entry has a random polynomial c0 + c1 x (+ c2 x^2) of degree
needed - 1, its value at band j is the polynomial at x = j + 1, and its secret is (c0, c1), 128 bits. Fewer
than `needed` values leave c0 and c1 with at least 64 bits that they do not determine (Shamir 1979).

Interpolation is linear: c0 and c1 are sums over the values, each times a constant that the choice of bands
determines (Lagrange). So all combinations of all probes need few products (`gf64.scaled`) and then only XOR:

    bands i < j    S[i, j, a, b] = L[i, j](value of probe a of band i) + R[i, j](value of probe b of band j)
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.designs.token_psi import gf64
from blindmatch_protocol.designs.token_psi.gf64 import Elements

SECRET_BYTES = 16


def candidate_count(bands: int, probes: int, needed: int) -> int:
    """How many secrets `candidates` gives."""
    return comb(bands, needed) * int(probes**needed)


def values(coefficients: Elements, bands: int) -> Elements:
    """The values of polynomials, uint64 (n, needed) with c0 first, at every band: uint64 (n, bands)."""
    found = np.empty((len(coefficients), bands), np.uint64)
    for band in range(bands):
        total = coefficients[:, -1]
        for column in range(coefficients.shape[1] - 2, -1, -1):
            total = gf64.scaled(band + 1, total) ^ coefficients[:, column]
        found[:, band] = total
    return found


def secrets_of(coefficients: Elements) -> Rows:
    """The secrets of polynomials, uint64 (n, needed): c0 and c1, little-endian, uint8 (n, 16)."""
    return np.ascontiguousarray(coefficients[:, :2], "<u8").view(np.uint8).reshape(-1, SECRET_BYTES)


def candidates(found: Elements, needed: int) -> Rows:
    """The secret of every combination of values at `needed` distinct bands.

    Args:
        found: what was read at each band's probes, uint64 (bands, probes).
        needed: 2 or 3.

    Returns:
        uint8 (m, 16), m as in `candidate_count`: combinations of bands in lexicographic order, and for
        each of them the probes', the last band's changing fastest.
    """
    bands, probes = found.shape
    chosen, tables = _tables(bands, needed)
    parts = _scaled(tables, found[chosen])
    total = parts[:, 0]
    for position in range(1, needed):
        total = total[:, :, None] ^ parts[:, position].reshape(len(chosen), 1, probes, 2)
        total = total.reshape(len(chosen), -1, 2)
    return np.ascontiguousarray(total, "<u8").view(np.uint8).reshape(-1, SECRET_BYTES)


def _scaled(tables: Elements, found: Elements) -> Elements:
    """Parts of c0 and c1: (m, needed, probes, 2) from tables (m, needed, 2, 8, 256), (m, needed, probes)."""
    octets = gf64.split(found).astype(np.intp)
    count = tables.shape[0] * tables.shape[1] * 2
    flat = tables.reshape(-1)
    starts = (np.arange(count) * 2048).reshape(tables.shape[0], tables.shape[1], 1, 2)
    total = flat[starts + octets[..., 0, None]]
    for byte in range(1, 8):
        total ^= flat[starts + byte * 256 + octets[..., byte, None]]
    return total


@cache
def _tables(bands: int, needed: int) -> tuple[npt.NDArray[np.intp], Elements]:
    """Combinations of bands, (m, needed), and their products' tables, uint64 (m, needed, 2, 8, 256)."""
    chosen = list(combinations(range(bands), needed))
    rows = [[[gf64.tables(c) for c in _lagrange(combo, at)] for at in range(needed)] for combo in chosen]
    return np.array(chosen, np.intp), np.array(rows, np.uint64)


@cache
def _lagrange(combo: tuple[int, ...], at: int) -> tuple[int, int]:
    """What the value of band `combo[at]` is multiplied by in c0 and in c1."""
    own, scale, basis = combo[at] + 1, 1, [1]
    for band in combo[:at] + combo[at + 1 :]:
        # the basis polynomial grows by the factor (x + band + 1) / (own + band + 1)
        lower, upper = [gf64.multiply(c, band + 1) for c in basis] + [0], [0, *basis]
        basis = [a ^ b for a, b in zip(lower, upper, strict=True)]
        scale = gf64.multiply(scale, own ^ (band + 1))
    factor = gf64.inverse(scale)
    return gf64.multiply(basis[0], factor), gf64.multiply(basis[1], factor)
