"""Shares of an entry's secret: any `needed` values at distinct bands give it, fewer give nothing of it.

Shamir's scheme (1979) over GF(2^8), for each byte of a value apart: an entry has a random polynomial c0 + c1
x (+ c2 x^2) of degree needed - 1 whose coefficients are 16 bytes each, its value at band j is the polynomial
at x = j + 1, and its secret is c0. Interpolation is linear (Lagrange), so all combinations of all probes need
few products and then only XOR:

    bands i < j    c0[i, j, a, b] = L[i, j] * (probe a's value at band i) + L[j, i] * (probe b's at band j)

The field GF(2^8) of AES (FIPS 197, section 4): a byte is an element, bit i the coefficient of x^i; addition
is XOR.

One-way functions of a token's OPRF output and of an entry's secret: docs/designs/token-psi.md, "Bytes". The
address is Matyas-Meyer-Oseas (one-way in the ideal-cipher model: Black, Rogaway and Shrimpton, CRYPTO 2002,
section 4).
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import combinations
from math import comb
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.group.rows import expand
from blindmatch_protocol.sets.fuse_map import Words

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
    return int(PRODUCTS[left, right])


def inverse(value: int) -> int:
    """The inverse; `ZeroDivisionError` for zero."""
    if not value:
        raise ZeroDivisionError("zero has no inverse in GF(2^8)")
    return int((PRODUCTS[value] == 1).argmax())


def scaled(constants: Elements, values: Elements) -> Elements:
    """Each row of `values`, (..., w), times the constant at its place in `constants`, (...) or broadcast."""
    places = (constants.astype(np.intp) << 8)[..., None] + values
    products: Elements = PRODUCTS.reshape(-1).take(places)
    return products


SECRET_BYTES: Final = 16
VALUE_BYTES: Final = SECRET_BYTES
"""Bytes of a value, of a coefficient and of the secret."""


def candidate_count(bands: int, probes: int, needed: int) -> int:
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
    """The secret of every combination of values at `needed`, 1 to 3, distinct bands, of what was read at each
    band's probes, uint8 (bands, probes, 16): uint8 (m, 16), m as in `candidate_count`, by bands in
    lexicographic order and then by the probes', the last band's changing fastest."""
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
    own = combo[at] + 1
    product = 1
    for band in combo[:at] + combo[at + 1 :]:
        product = multiply(product, multiply(band + 1, inverse(own ^ (band + 1))))
    return product


STORE_TAG: Final = b"blindmatch/token-psi/store-key/v2"
MASK_TAG: Final = b"blindmatch/token-psi/mask/v2"
ADDRESS_TAG: Final = b"blindmatch/token-psi/address/v2"
LABEL_TAG: Final = b"blindmatch/token-psi/label-key/v2"
MEMBER_TAG: Final = b"blindmatch/token-psi/member/v2"
POLYNOMIAL_TAG: Final = b"blindmatch/token-psi/polynomial/v2"
FILLER_TAG: Final = b"blindmatch/token-psi/filler/v2"
TAGS: Final = (STORE_TAG, MASK_TAG, ADDRESS_TAG, LABEL_TAG, MEMBER_TAG, POLYNOMIAL_TAG, FILLER_TAG)

STORE_KEY_BYTES: Final = 16
LABEL_KEY_BYTES: Final = 32
WORDS: Final = VALUE_BYTES // 8
"""Words of 64 bits of a value in the store: its bytes, little-endian."""


class TokenKeys(Redacted, Struct, frozen=True, eq=False):
    """Keys of `n` tokens in the file of an epoch.

    Attributes:
        store_keys: uint8 (n, 16).
        masks: uint8 (n, 16).
    """

    store_keys: Rows
    masks: Rows

    def values(self, read: Words) -> Rows:
        """The values behind what the store reads for these keys, uint64 (n, 2): uint8 (n, 16)."""
        return read.astype("<u8", copy=False).view(np.uint8) ^ self.masks


def token_keys(outputs: Rows, epoch: int) -> TokenKeys:
    """Keys of the tokens with these OPRF outputs, uint8 (n, 64)."""
    stores = rowwise.expand(STORE_TAG, epoch, outputs, STORE_KEY_BYTES)
    return TokenKeys(stores, rowwise.expand(MASK_TAG, epoch, outputs, VALUE_BYTES))


def addresses(secrets: Rows, epoch: int) -> Words:
    """Label addresses of secrets, uint8 (n, 16): uint64 (n,)."""
    encryptor = Cipher(algorithms.AES(_address_key(epoch)), modes.ECB()).encryptor()  # noqa: S305 - a permutation
    permuted = np.frombuffer(encryptor.update(np.ascontiguousarray(secrets).data), "<u8").reshape(-1, 2)
    found: Words = (permuted[:, 0] ^ np.ascontiguousarray(secrets).view("<u8")[:, 0]).astype(np.uint64)
    return found


@lru_cache(64)
def _address_key(epoch: int) -> bytes:
    return expand(ADDRESS_TAG, epoch, [b""], 16).tobytes()


def label_keys(secrets: Rows, epoch: int) -> Rows:
    """Label keys of secrets, uint8 (n, 16): uint8 (n, 32)."""
    return rowwise.expand(LABEL_TAG, epoch, secrets, LABEL_KEY_BYTES)


def member_secret(first: bytes, member: int, epoch: int) -> bytes:
    """The secret of a family's member, 16 bytes; the family's own for member 0."""
    if member == 0:
        return first
    return expand(MEMBER_TAG, epoch, [first + member.to_bytes(4, "big")], SECRET_BYTES).tobytes()
