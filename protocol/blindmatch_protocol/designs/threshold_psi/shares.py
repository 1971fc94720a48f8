"""Shares of a device's account key, among shares that are noise: a threshold for which nobody keeps count.

    F = GF(2^61 - 1);  p_1 .. p_D of degree t - 1 over F;  account key = hash(p_1(0) .. p_D(0))
    real        (x, p_1(x) .. p_D(x))
    synthetic   (x, z_1 .. z_D), uniform
    x, z and which of the two = PRF(device key, period, hash); the polynomials = PRF(device key, period)

Bhowmick, Boneh, Myers, Talwar and Tarbe 2021, "The Apple PSI System": the threshold of section 3 with the
synthetic matches of ftPSI-AD. Shamir 1979: t - 1 real shares are uniform and tell nothing of p(0), and so
are like synthetic ones, against anybody. This is so up to the PRF, SHAKE256.

`recovered` is the decoder of interleaved Reed-Solomon codes (Bleichenbacher, Kiayias and Yung 2003, section
3): m real shares among s synthetic ones are found if D * (m - t) >= s, so always from `utility_threshold` on.
Between t and there it finds nothing, and others may: searching for t real ones, or interpolating in several
variables (Coppersmith and Sudan 2003; Parvaresh and Vardy 2005). Nothing between the two is impossible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce
from hashlib import sha512, shake_256
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec.redacted import Redacted

FIELD: Final = (1 << 61) - 1
COORDINATES: Final = 32
"""D: so many synthetic vouchers cost one more real one."""
ELEMENT_BYTES: Final = 8
SHARE_BYTES: Final = ELEMENT_BYTES * (COORDINATES + 1)
KEY_BYTES: Final = 32
COIN_RANGE: Final = 1000
"""A coin is one of so many; those below the set's share of synthetic vouchers make one."""

_PRF_BLOCK: Final = 136
_PLACE_TAG: Final = b"blindmatch/threshold/share-place/v1"
"""SHAKE256 of device key, period, hash: 16, little-endian; modulo 2^61 - 2, plus 1, the share's place."""
_NOISE_TAG: Final = b"blindmatch/threshold/noise/v1"
"""The same: 32 numbers of 16, little-endian, modulo 2^61 - 1."""
_COIN_TAG: Final = b"blindmatch/threshold/coin/v1"
"""The same: 16, little-endian; made up if below `synthetic` modulo 1,000."""
_PATTERN_TAG: Final = b"blindmatch/threshold/pattern/v1"
"""The same: 2, little-endian, for the pattern of threshold-near."""
_POLYNOMIAL_TAG: Final = b"blindmatch/threshold/polynomials/v1"
"""SHAKE256 of device key and period: 8 each, little-endian, of which 61 bits count; the coefficients of x^0
of all 32, then of x^1, ..."""
_NAME_TAG: Final = b"blindmatch/threshold/device/v1"
"""The same: 16, the device's pseudonym."""
_ACCOUNT_KEY_TAG: Final = b"blindmatch/threshold/account-key/v1"
"""SHA-512 of the 32 values at 0, 8 each, little-endian: 32, the account key."""
_FIRST_GUESS: Final = 8
_SPARE_ROWS: Final = 3
_WITNESSES: Final = 3

Numbers: TypeAlias = npt.NDArray[np.uint64]
"""Elements of the field."""
_LOW: Final = np.uint64((1 << 32) - 1)
_PRIME: Final = np.uint64(FIELD)


class Share(Redacted, Struct, frozen=True):
    """A place that is not zero, and a value in each coordinate."""

    place: int
    values: tuple[int, ...]

    def encode(self) -> bytes:
        """264 bytes: place, then values, each 8 bytes, little-endian."""
        return np.array((self.place, *self.values), "<u8").tobytes()

    @classmethod
    def decode(cls, raw: bytes) -> Share | None:
        """Read a share back; None if it is malformed: of another length, or of numbers not in the field."""
        if len(raw) != SHARE_BYTES:
            return None
        place, *values = np.frombuffer(raw, "<u8").tolist()
        return cls(place, tuple(values)) if place and max(place, *values) < FIELD else None


class DeviceShares(Redacted, Struct, frozen=True):
    """What a device derives in a period; the same again whenever it is asked.

    Attributes:
        key: the device's PRF key, 32 bytes.
        threshold: t, 2 or more.
    """

    key: bytes
    period: bytes
    threshold: int

    def _drawn(self, tag: bytes, length: int, more: bytes = b"") -> bytes:
        """`length` bytes of the PRF: SHAKE256 of tag, key, period and `more`, all of one length for a tag."""
        return shake_256(tag.ljust(_PRF_BLOCK, b"\0") + self.key + self.period + more).digest(length)

    @property
    def name(self) -> bytes:
        """The device's pseudonym of the period, 16 bytes."""
        return self._drawn(_NAME_TAG, 16)

    def is_synthetic(self, own_hash: bytes, share: int) -> bool:
        """Is the picture with this hash one of the `share` per 1,000 that give a synthetic voucher?"""
        return int.from_bytes(self._drawn(_COIN_TAG, 16, own_hash), "little") % COIN_RANGE < share

    def pattern(self, own_hash: bytes) -> int:
        """What the pattern of a synthetic voucher of a hash is chosen by: a number below 2^16."""
        return int.from_bytes(self._drawn(_PATTERN_TAG, 2, own_hash), "little")

    def derive(self, own_hash: bytes) -> tuple[Share, Share, bytes]:
        """The real share of a hash, a synthetic one at the same place, and the account key, 32 bytes: what at
        least t real shares give. All are always computed."""
        drawn = int.from_bytes(self._drawn(_PLACE_TAG, 16, own_hash), "little")
        place = 1 + drawn % (FIELD - 1)
        noise = _elements(self._drawn(_NOISE_TAG, 16 * COORDINATES, own_hash))
        powers, account_key = _of_period(self.key, self.period, self.threshold)
        real = Share(place, tuple(_evaluated_packed(powers, place)))
        return real, Share(place, tuple(noise)), account_key

    def polynomials(self) -> list[int]:
        """For each power, the coefficients of all polynomials, packed into one number, 128 bits each."""
        raw = np.frombuffer(self._drawn(_POLYNOMIAL_TAG, 8 * COORDINATES * self.threshold), "<u8")
        slots = np.zeros((self.threshold, COORDINATES, 2), "<u8")
        slots[:, :, 0] = raw.reshape(self.threshold, COORDINATES) & np.uint64(FIELD)
        packed = slots.tobytes()
        width = 16 * COORDINATES
        return [int.from_bytes(packed[at : at + width], "little") for at in range(0, len(packed), width)]


@lru_cache(maxsize=4)
def _of_period(key: bytes, period: bytes, threshold: int) -> tuple[list[int], bytes]:
    """A device's polynomials and account key, the same for all pictures of a period: of t = 30 drawing them
    took longer than a multiplication."""
    powers = DeviceShares(key, period, threshold).polynomials()
    return powers, key_of(_unpacked(powers[0]))


def _evaluated_packed(powers: Sequence[int], place: int) -> list[int]:
    """All polynomials at a place. Sums of 32 products of 61 by 61 bits fit into 128 bits."""
    total = 0
    power = 1
    for at, coefficients in enumerate(powers, 1):
        total += coefficients * power
        power = power * place % FIELD
        if at % 32 == 0:
            values = _unpacked(total)
            total = int.from_bytes(b"".join(one.to_bytes(16, "little") for one in values), "little")
    return _unpacked(total)


def _unpacked(total: int) -> list[int]:
    return _elements(total.to_bytes(16 * COORDINATES, "little"))


def _elements(raw: bytes) -> list[int]:
    """Numbers of 16 bytes in the field, where 2^64 = 8; of uniform bytes within 2^-67 of uniform."""
    words = np.frombuffer(raw, "<u8").tolist()
    return [(low + 8 * high) % FIELD for low, high in zip(words[::2], words[1::2], strict=True)]


def key_of(secrets: Sequence[int]) -> bytes:
    """The account key that the polynomials' values at 0 give, 32 bytes."""
    raw = b"".join(one.to_bytes(ELEMENT_BYTES, "little") for one in secrets)
    return sha512(_ACCOUNT_KEY_TAG.ljust(128, b"\0") + raw).digest()[:KEY_BYTES]


def utility_threshold(threshold: int, synthetic: int, coordinates: int = COORDINATES) -> int:
    """t': as many real shares are always found among so many synthetic ones."""
    return threshold + -(-synthetic // coordinates)


def recovered(shares: Sequence[Share], threshold: int) -> Iterator[bytes]:
    """The account key that t or more shares of one device and period, at distinct places, may have; None with
    fewer. Whether it is right its seals say."""
    count = len(shares)
    if count < threshold:
        return
    code = _Code(shares, threshold)
    coordinates = len(shares[0].values)
    most = coordinates * (count - threshold) // (coordinates + 1)
    guess = 0
    while True:
        guess = min(guess, most)
        good = code.consistent(guess)
        if good is not None:
            yield key_of(code.at_zero(good))
        if good is not None or guess == most:
            return
        guess = max(_FIRST_GUESS, 2 * guess)


class _Code:
    """Shares as a word of a generalised Reed-Solomon code of dimension t, once for each coordinate."""

    def __init__(self, shares: Sequence[Share], threshold: int) -> None:
        self._threshold = threshold
        self._places = np.array([one.place for one in shares], np.uint64)
        self._values: Numbers = np.array([one.values for one in shares], np.uint64)
        self._syndromes: list[Numbers] = []
        self._next = _inverses(_products_of_differences(self._places))

    def consistent(self, errors: int) -> list[int] | None:
        """Numbers of the shares that lie on polynomials of degree t - 1, if all but `errors` do or so."""
        locator = self._locator(errors)
        if locator is None:
            return None
        good: list[int] = np.flatnonzero(_evaluated(locator, self._places)).tolist()
        if len(good) < self._threshold:
            return None
        base = good[: self._threshold]
        more = good[self._threshold :][:_WITNESSES]
        fits = all((self._interpolated(base, self._places[at]) == self._values[at]).all() for at in more)
        return good if fits else None

    def at_zero(self, good: list[int]) -> list[int]:
        """The polynomials' values at 0, from the first t of these shares."""
        found: list[int] = self._interpolated(good[: self._threshold], np.uint64(0)).tolist()
        return found

    def _interpolated(self, base: list[int], place: np.uint64) -> Numbers:
        places = self._places[base]
        above = _minus(np.full(len(base), place, np.uint64), places)
        below = _times(above, _products_of_differences(places))
        product = reduce(lambda found, one: found * one % FIELD, above.tolist(), 1)
        weights = _times(_inverses(below), np.full(len(base), product, np.uint64))
        return _sum(_times(weights[:, None], self._values[base]))

    def _locator(self, errors: int) -> Numbers | None:
        """Coefficients of the polynomial of least degree, at most `errors`, that vanishes where the shares
        are wrong: sum_j c_j S_(m+j) = 0 for the syndromes S of every coordinate and each m."""
        shifts = len(self._places) - self._threshold - errors
        if errors == 0 and shifts == 0:
            return np.ones(1, np.uint64)  # exactly t shares: there is nothing to compare them with
        shifts = min(shifts, -(-(errors + _SPARE_ROWS) // self._values.shape[1]))
        while len(self._syndromes) < shifts + errors:
            self._syndromes.append(_sum(_times(self._next[:, None], self._values)))
            self._next = _times(self._next, self._places)
        rows = [np.stack(self._syndromes[m : m + errors + 1], axis=1) for m in range(shifts)]
        return _least_kernel(np.concatenate(rows)) if rows else None


def _least_kernel(rows: Numbers) -> Numbers | None:
    """The vector of a matrix's kernel that ends in the most zeros, without them; None if there is none."""
    rows = rows.copy()
    for column in range(rows.shape[1]):
        below = np.flatnonzero(rows[column:, column])
        if not len(below):  # columns before it are independent: each has its pivot in the row of its number
            found = np.ones(column + 1, np.uint64)
            found[:column] = _minus(np.zeros(column, np.uint64), rows[:column, column])
            return found
        chosen = column + int(below[0])
        rows[[column, chosen]] = rows[[chosen, column]]
        pivot = _times(rows[column, column:], np.uint64(pow(int(rows[column, column]), -1, FIELD)))
        rows[column, column:] = pivot
        factors = rows[:, column].copy()
        factors[column] = 0
        rows[:, column:] = _minus(rows[:, column:], _times(factors[:, None], pivot))
    return None


def _products_of_differences(places: Numbers) -> Numbers:
    """For each place the product of its differences to all others."""
    found = np.ones(len(places), np.uint64)
    for at, one in enumerate(places):
        differences = _minus(places, np.full(len(places), one, np.uint64))
        differences[at] = 1
        found = _times(found, differences)
    return found


def _inverses(values: Numbers) -> Numbers:
    return np.array([pow(one, -1, FIELD) for one in values.tolist()], np.uint64)


def _evaluated(coefficients: Numbers, places: Numbers) -> Numbers:
    found = np.zeros(len(places), np.uint64)
    for one in coefficients[::-1]:
        found = _reduced(_times(found, places) + one)
    return found


def _sum(values: Numbers) -> Numbers:
    high = (values >> np.uint64(32)).sum(axis=0)
    low = (values & _LOW).sum(axis=0)
    return _reduced(_times(_reduced(high), np.uint64(1 << 32)) + _reduced(low))


def _minus(left: Numbers, right: Numbers) -> Numbers:
    return _reduced(left + (_PRIME - right))


def _times(left: Numbers, right: Numbers | np.uint64) -> Numbers:
    """Products in the field, by halves of 32 bits: 2^61 = 1 and 2^64 = 8 there."""
    left_high = left >> np.uint64(32)
    left_low = left & _LOW
    right_high = right >> np.uint64(32)
    right_low = right & _LOW
    middle = left_high * right_low + left_low * right_high
    low = left_low * right_low
    total = (left_high * right_high << np.uint64(3)) + (middle >> np.uint64(29))
    total += (middle & np.uint64((1 << 29) - 1)) << np.uint64(32)
    return _reduced(total + (low & _PRIME) + (low >> np.uint64(61)))


def _reduced(values: Numbers) -> Numbers:
    """Numbers below 2^64 in the field."""
    folded = (values & _PRIME) + (values >> np.uint64(61))
    return np.where(folded >= _PRIME, folded - _PRIME, folded)
