"""What the matcher computes under encryption; slot i of batch b holds entry b * degree + i.

    v  = <x, y> + offset      256 diagonals, baby steps of 1 and giant steps; v >= 113 iff near
    Z  = prod_{j < 57} ((2v - 111)^2 - (2j + 1)^2)       0 for v = -1 .. 112; 15 products, 7 levels
    A_c = sum over batches of Z * K_c, c = 1 .. 8        the label key, 16 bits each: no growth with the list
    A_c += s_c V + s'_c V'    V = sum_j rho_j (x_j^2 - x_j) + sigma (sum_j x_j - 128): 0 for a hash
    A_c += Enc(0) + (E, 0), |E| < 2^118, at three primes; then down to one prime of 30 bits

The distance is |x| + |y| - 2 <x, y>; with |x| = 128 it is at most 31 iff <x, y> >= (97 + |y|) / 2. V and V'
have random numbers of their own, s and s' too, in every slot: what an x that is no hash gets under keys that
SEAL made is uniform, but in a slot where both V are 0, with probability 2^-32. Keys of a device's making
can have V come out as 0 for what is no hash. Products and sums of ciphertexts are SEAL's; where a prime is
dropped was chosen so that the noise, measured, is 60 to 62 bits before `FLOOD_BITS` bits are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, reduce
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.designs.he_hamming import packing, seal
from blindmatch_protocol.designs.he_hamming.packing import BABY, BITS, DATA, KEY, STEPS, Polynomials, Ring
from blindmatch_protocol.designs.he_hamming.seal import PLAIN_MODULUS, sealapi

CHUNKS: Final = 8
KEY_BYTES: Final = 2 * CHUNKS
THRESHOLD: Final = 113
"""The least v of an entry within 31 bits."""
MANY: Final = 20
"""Batches whose 15 giant steps each take as long as 240 rotations more beforehand, which take more memory."""


def babies_for(batches: int) -> int:
    """How many rotations of a query are made before all scans: all of them, if that takes fewer than giant
    steps in every batch do. They are 470 MB in the ring that devices use."""
    return BITS if batches > MANY else BABY


class Batch(Redacted, Struct, frozen=True, eq=False, dict=True):
    """As many entries as there are slots.

    Attributes:
        hashes: uint8 (degree, 32).
        keys: uint8 (degree, 16).
        ready: whether the diagonals are kept once they were made: 8 bytes for each bit of a slot and prime.
        babies: rotations of the query that a scan wants (`babies_for`).
    """

    ring: Ring
    hashes: Rows
    keys: Rows
    ready: bool
    babies: int = BABY

    def diagonals(self) -> Iterator[Any]:
        """Plaintexts in NTT form, in the order in which `scan` wants them."""
        return iter(self._kept) if self.ready else self._made()

    @cached_property
    def _kept(self) -> tuple[Any, ...]:
        return tuple(self._made())

    def _made(self) -> Iterator[Any]:
        bits = np.unpackbits(self.hashes, axis=1)
        slot = np.arange(self.ring.degree)
        for giant in reversed(range(0, BITS, self.babies)):
            places = (slot + giant + np.arange(self.babies)[:, None]) % BITS
            columns = bits[slot, places].reshape(self.babies, 2, -1)
            for column in np.roll(columns, giant, axis=2).reshape(self.babies, -1):
                plain = self.ring.plain(column)
                self.ring.evaluator.transform_to_ntt_inplace(plain, self.ring.context.first_parms_id())
                yield plain

    def offsets(self) -> Any:
        """The plaintext that makes <x, y> into v."""
        weights = np.bitwise_count(self.hashes).sum(axis=1, dtype=np.int64)
        return self.ring.plain((THRESHOLD - (97 + weights + 1) // 2) % PLAIN_MODULUS)

    def key_chunks(self) -> npt.NDArray[np.uint64]:
        """The label keys, (8, degree)."""
        return np.ascontiguousarray(self.keys).view(">u2").astype(np.uint64).T


WEIGHT: Final = 128
FLOOD_BITS: Final = 118
_FLOOD_BYTES: Final = 15
_FLOOD_TOP: Final = (1 << FLOOD_BITS + 1 - 8 * (_FLOOD_BYTES - 1)) - 1
"""Those bits of the first byte that count: big-endian, less 2^118."""
_BYTE: Final = np.uint64(8)
_ROOTS: Final = tuple((2 * j + 1) ** 2 for j in range(57))
_FACTORS: Final = 8
CHECKED: Final = 4
"""Primes at which a query is squared to check that it is of a hash."""


def indicator(v: int) -> int:
    """Z(v)."""
    return reduce(lambda product, root: product * ((2 * v - 111) ** 2 - root) % PLAIN_MODULUS, _ROOTS, 1)


class Evaluation:
    """The matcher's side of one query, under the `seeds` and `rows` of the account's keys as on the wire;
    `rng` hides what a query is not entitled to. `ProtocolError` if SEAL refuses the keys."""

    def __init__(self, ring: Ring, seeds: bytes, rows: Rows, rng: Randomness) -> None:
        self._ring = ring
        self._rng = rng
        self._ev = ring.evaluator
        polynomials = packing.unpacked(rows, KEY, "he-hamming/keys", "rows")
        key_id = ring.context.key_parms_id()
        size = packing.SEED_BYTES
        parts = [
            packing.ciphertext(key_id, polynomials[at : at + 1], True, seeds[size * at : size * (at + 1)])
            for at in range(len(seeds) // size)
        ]
        places: list[Sequence[bytes] | None] = [None] * ring.degree
        for number, element in enumerate(ring.elements):
            places[(element - 1) // 2] = parts[DATA * number : DATA * (number + 1)]
        rotations = packing.switching_keys(key_id, places)
        relinearisation = packing.switching_keys(key_id, [parts[-DATA:]])
        public = packing.ciphertext(key_id, polynomials[-2:], True)
        self._rotations = seal.restored(sealapi.GaloisKeys, ring.context, rotations)
        self._relinearisation = seal.restored(sealapi.RelinKeys, ring.context, relinearisation)
        self._encryptor = sealapi.Encryptor(
            ring.context, seal.restored(sealapi.PublicKey, ring.context, public)
        )

    def reply(self, query: Any, batches: Sequence[Batch]) -> Polynomials:
        """The reply to an encrypted x: eight ciphertexts at one prime, (16, 1, degree)."""
        babies = self._babies(query, batches[0].babies)
        totals: list[Any] = []
        for batch in batches:
            near = self._ntt(self._indicator(self._scan(babies, batch)))
            self._add_all(totals, [self._times(near, chunk) for chunk in batch.key_chunks()])
        for term in self._validity(query, totals[0].parms_id()):
            self._add_all(totals, [self._times(term, self._numbers()) for _ in totals])
        return np.concatenate([self._finished(total) for total in totals])

    # --- the scan and the indicator ------------------------------------------------------------------

    def _babies(self, query: Any, count: int) -> list[Any]:
        """The query rotated by 0, 1, ...; each is one rotation away from another."""
        found = [query]
        while len(found) < count:
            row = len(found) % BABY == 0
            found.append(self._rotated(found[-BABY], BABY) if row else self._rotated(found[-1], STEPS[0]))
        for one in found[1:]:
            self._ev.transform_to_ntt_inplace(one)
        return [self._ntt(query), *found[1:]]

    def _scan(self, babies: Sequence[Any], batch: Batch) -> Any:
        diagonals = batch.diagonals()
        total = None
        for _ in range(BITS // len(babies)):
            inner = None
            for baby in babies:
                inner = self._plus(inner, self._multiplied(baby, next(diagonals)))
            self._ev.transform_from_ntt_inplace(inner)
            total = inner if total is None else self._plus(inner, self._rotated(total, BABY))
        self._ev.add_plain_inplace(total, batch.offsets())
        return total

    def _indicator(self, v: Any) -> Any:
        """Z(v): eight polynomials in w = (2v - 111)^2 from shared powers, and their product."""
        y = self._shifted(self._scaled(v, 2), -111)
        powers = [self._down(self._product(y, y))]
        for low, high in ((0, 0), (1, 0), (1, 1), (3, 0), (3, 1), (3, 2), (3, 3)):
            powers.append(self._product(powers[low], powers[high]))
        powers = [self._down(power) for power in powers]
        factors = [self._down(self._factor(powers, _ROOTS[at::_FACTORS])) for at in range(_FACTORS)]
        while len(factors) > 1:
            factors = [self._product(*factors[at : at + 2]) for at in range(0, len(factors), 2)]
            if len(factors) == 2:
                factors = [self._down(one) for one in factors]
        return factors[0]

    def _factor(self, powers: Sequence[Any], roots: Sequence[int]) -> Any:
        coefficients = [1]
        for root in roots:
            shifted = [0, *coefficients]
            coefficients = [
                (above - root * one) % PLAIN_MODULUS
                for above, one in zip(shifted, [*coefficients, 0], strict=True)
            ]
        total = None
        for power, coefficient in zip(powers, coefficients[1:], strict=False):
            total = self._plus(total, self._scaled(power, coefficient))
        return self._shifted(total, coefficients[0])

    # --- what hides ----------------------------------------------------------------------------------

    def _validity(self, query: Any, at: Any) -> list[Any]:
        """V and V', in NTT form with the primes of `at`."""
        x = self._down(query, DATA - CHECKED)
        excess = self._product(x, x)
        self._ev.sub_inplace(excess, x)
        made = (self._made(self._ev.mod_switch_to, self._valid(x, excess), at) for _ in range(2))
        return [self._ntt(one) for one in made]

    def _valid(self, x: Any, excess: Any) -> Any:
        sigma = 1 + int.from_bytes(self._rng.take(8), "big") % (PLAIN_MODULUS - 1)
        one = self._multiplied(excess, self._ring.plain(self._numbers()))
        total = self._plus(one, self._scaled(x, sigma))
        for step in STEPS:
            one = total
            for _ in range(BABY - 1):
                total = self._plus(self._rotated(total, step), one)
        return self._shifted(total, -WEIGHT * sigma)

    def _finished(self, total: Any) -> Polynomials:
        """A ciphertext with fresh randomness and noise, at one prime."""
        self._ev.transform_from_ntt_inplace(total)
        parms_id = total.parms_id()
        self._ev.add_inplace(total, self._made(self._encryptor.encrypt_zero, parms_id))
        self._ev.add_inplace(total, self._ring.ciphertext(parms_id, self._flood(total.coeff_modulus_size())))
        last = self._down(total, total.coeff_modulus_size() - 1)
        return packing.parse_ciphertext(seal.saved(last))[0]

    def _flood(self, primes: int) -> Polynomials:
        """(E, 0) with E uniform in -2^118 .. 2^118 - 1."""
        degree = self._ring.degree
        size = _FLOOD_BYTES
        drawn = np.frombuffer(self._rng.take(size * degree), np.uint8).reshape(degree, size)
        found = np.zeros((2, primes, degree), np.uint64)
        for into, prime in zip(found[0], map(np.uint64, seal.primes(degree)[:primes]), strict=True):
            into[:] = drawn[:, 0] & _FLOOD_TOP
            for column in drawn.T[1:]:
                into[:] = (into << _BYTE | column) % prime  # below 2^63, since a prime has at most 55 bits
            into[:] = (into + prime - np.uint64(pow(2, FLOOD_BITS, int(prime)))) % prime
        return found

    def _numbers(self) -> npt.NDArray[np.uint64]:
        """Uniform numbers modulo `PLAIN_MODULUS` but for 2^-64, one a slot."""
        raw = np.frombuffer(self._rng.take(8 * self._ring.degree), "<u8")
        return raw % np.uint64(PLAIN_MODULUS)

    # --- SEAL's operations ---------------------------------------------------------------------------

    def _add_all(self, totals: list[Any], more: Sequence[Any]) -> None:
        totals[:] = [self._plus(a, b) for a, b in zip(totals, more, strict=True)] if totals else more

    def _plus(self, total: Any, one: Any) -> Any:
        if total is None:
            return one
        self._ev.add_inplace(total, one)
        return total

    def _made(self, operation: Callable[..., None], *operands: Any) -> Any:
        """What an operation writes into its last argument."""
        made = sealapi.Ciphertext()
        operation(*operands, made)
        return made

    def _multiplied(self, one: Any, plain: Any) -> Any:
        return self._made(self._ev.multiply_plain, one, plain)

    def _times(self, one: Any, slots: npt.NDArray[np.uint64]) -> Any:
        plain = self._ring.plain(slots)
        self._ev.transform_to_ntt_inplace(plain, one.parms_id())
        return self._multiplied(one, plain)

    def _scaled(self, one: Any, number: int) -> Any:
        return self._multiplied(one, sealapi.Plaintext(f"{number % PLAIN_MODULUS:X}"))

    def _shifted(self, one: Any, number: int) -> Any:
        self._ev.add_plain_inplace(one, sealapi.Plaintext(f"{number % PLAIN_MODULUS:X}"))
        return one

    def _product(self, one: Any, other: Any) -> Any:
        square = one is other
        made = self._made(self._ev.square, one) if square else self._made(self._ev.multiply, one, other)
        self._ev.relinearize_inplace(made, self._relinearisation)
        return made

    def _rotated(self, one: Any, step: int) -> Any:
        return self._made(self._ev.rotate_rows, one, step, self._rotations)

    def _ntt(self, one: Any) -> Any:
        return self._made(self._ev.transform_to_ntt, one)

    def _down(self, one: Any, primes: int = 1) -> Any:
        """A ciphertext with so many primes fewer; `one` stays as it is."""
        for _ in range(primes):
            one = self._made(self._ev.mod_switch_to_next, one)
        return one
