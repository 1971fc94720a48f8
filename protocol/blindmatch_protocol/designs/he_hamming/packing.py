"""The ring of he-hamming, its messages, and the one form in which ciphertexts and keys travel.

Wire: a matrix with a row for each coefficient; a row holds, polynomial after polynomial and prime after
prime, the coefficient modulo the prime, little-endian, in as few whole bytes as hold the prime. Its length
follows from the ring alone, and a number that is not below its prime is refused, so there is one encoding.

SEAL: parms_id, is_ntt_form, sizes, scale, correction factor, then 64-bit numbers, by polynomial, prime and
coefficient; a polynomial drawn from a seed is left out, and the seed follows.

The ring that everything is computed in, and what a device does with its secret key in it.

    vector of 256 numbers --tiled--> slots of one plaintext --Enc--> c0 of the query, the seed of c1
    keys: two rotations (by 1 and by `BABY`), relinearisation, public; made once, by SEAL's own randomness

A secret key has coefficients -1, 0 and 1; it is kept as them, four a byte.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Fixed, Matrix, Message, Rows, UInt, Variable
from blindmatch_protocol.codec.errors import DesignError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.designs.he_hamming import seal
from blindmatch_protocol.designs.he_hamming.seal import sealapi

Polynomials: TypeAlias = npt.NDArray[np.uint64]
"""Numbers modulo primes, shape (polynomials, primes, degree)."""

LEAST_DEGREE: Final = 512
MOST_DEGREE: Final = 16384
SEED_BYTES: Final = 64
WIDTHS: Final = tuple(-(-bits // 8) for bits in seal.PRIME_BITS)
"""Bytes of a number modulo each prime."""
DATA: Final = len(WIDTHS) - 1
"""Primes of a fresh ciphertext."""
KEY: Final = len(WIDTHS)
"""Primes of keys."""
_FRONT: Final = struct.Struct("<32s?QQQdQ")
_COUNT: Final = struct.Struct("<Q")
_HEADER_BYTES: Final = 16


def width(polynomials: int, primes: int) -> int:
    return polynomials * sum(WIDTHS[:primes])


def packed(polynomials: Polynomials) -> Rows:
    count, primes, degree = polynomials.shape
    raw = np.ascontiguousarray(polynomials, "<u8").view(np.uint8).reshape(count, primes, degree, 8)
    columns = [raw[at, prime, :, : WIDTHS[prime]] for at in range(count) for prime in range(primes)]
    return np.concatenate(columns, axis=1)


def unpacked(rows: Rows, primes: int, step: str, field: str) -> Polynomials:
    """The polynomials in wire form; `ProtocolError` if the degree is no power of two from 512 on, or a number
    is not below its prime."""
    degree, row = rows.shape
    if degree < LEAST_DEGREE or degree & (degree - 1):
        raise ProtocolError(step, "must have a row for each coefficient of a ring", field)
    found = np.zeros((row // width(1, primes), primes, degree, 8), np.uint8)
    at = 0
    for polynomial in found:
        for prime, into in enumerate(polynomial):
            into[:, : WIDTHS[prime]] = rows[:, at : at + WIDTHS[prime]]
            at += WIDTHS[prime]
    numbers = found.view("<u8")[..., 0].astype(np.uint64, copy=False)
    bounds = np.array(seal.primes(degree)[:primes], np.uint64)[:, None]
    if (numbers >= bounds).any():
        raise ProtocolError(step, "a coefficient must be below its prime", field)
    return numbers


def ciphertext(parms_id: Sequence[int], polynomials: Polynomials, ntt: bool, seed: bytes = b"") -> bytes:
    """SEAL's form of a ciphertext; with a seed, of which the last polynomial is drawn and left out here."""
    count, primes, degree = polynomials.shape
    raw = np.ascontiguousarray(polynomials, "<u8").tobytes()
    size = count + bool(seed)
    front = _FRONT.pack(_id(parms_id), ntt, size, degree, primes, 1.0, 1)
    drawn = seal.framed(b"\x01" + seed) if seed else b""
    return front + seal.framed(_COUNT.pack(len(raw) // 8) + raw) + drawn


def parse_ciphertext(body: bytes, at: int = 0) -> tuple[Polynomials, bytes, int]:
    """Polynomials, seed or nothing, and where the ciphertext ends, of what SEAL saved."""
    _, _, size, degree, primes, _, _ = _FRONT.unpack_from(body, at)
    at += _FRONT.size + _HEADER_BYTES
    (count,) = _COUNT.unpack_from(body, at)
    at += _COUNT.size
    numbers = np.frombuffer(body, "<u8", count, at).reshape(-1, primes, degree)
    at += 8 * count
    if len(numbers) == size:
        return numbers, b"", at
    at += _HEADER_BYTES + 1
    return numbers, body[at : at + SEED_BYTES], at + SEED_BYTES


def switching_keys(parms_id: Sequence[int], keys: Sequence[Sequence[bytes] | None]) -> bytes:
    """SEAL's form of key-switching keys, each a ciphertext for each prime of data, or none."""
    parts = [_id(parms_id), _COUNT.pack(len(keys))]
    for key in keys:
        parts += [_COUNT.pack(len(key or ())), *map(seal.framed, key or ())]
    return b"".join(parts)


def parse_switching_keys(body: bytes) -> list[tuple[Polynomials, bytes]]:
    """Polynomial and seed of every part of every key that is there, of what SEAL saved."""
    found = list[tuple[Polynomials, bytes]]()
    (keys,) = _COUNT.unpack_from(body, 32)
    at = 32 + _COUNT.size
    for _ in range(keys):
        (parts,) = _COUNT.unpack_from(body, at)
        at += _COUNT.size
        for _ in range(parts):
            polynomials, seed, at = parse_ciphertext(body, at + _HEADER_BYTES)
            found.append((polynomials, seed))
    return found


def _id(parms_id: Sequence[int]) -> bytes:
    return b"".join(_COUNT.pack(word) for word in parms_id)


BITS: Final = 256
"""Of a hash; a slot sees the 256 slots from it on, cyclically in its half of all slots."""
BABY: Final = 16
STEPS: Final = (1, BABY)
"""By how many slots a rotation goes."""
PARTS: Final = 3 * DATA
"""Parts of two rotation keys and a relinearisation key, each with a seed of its own."""
NATIVE: Final = "SEAL draws an account's keys and the zeros that are added to a reply"

_PLACES: Final = np.arange(0, 8, 2, dtype=np.uint8)


class Sizes(Struct, frozen=True):
    """Degree of the ring, which is the number of slots, and whether it must give 128 bits of security."""

    degree: int
    secure: bool = True


FULL: Final = Sizes(MOST_DEGREE)


class Ring:
    """SEAL's objects for `sizes`; with a seed, for one encryption."""

    __slots__ = ("context", "degree", "encoder", "evaluator", "seeded", "sizes")

    def __init__(self, sizes: Sizes, seed: bytes | None = None) -> None:
        self.sizes = sizes
        self.degree = sizes.degree
        self.seeded = seed is not None
        self.context = seal.context(sizes.degree, sizes.secure, seed)
        self.encoder = sealapi.BatchEncoder(self.context)
        self.evaluator = sealapi.Evaluator(self.context)

    def plain(self, slots: npt.NDArray[Any]) -> Any:
        """Numbers modulo `PLAIN_MODULUS`, one a slot, as a plaintext."""
        made = sealapi.Plaintext()
        self.encoder.encode(slots.tolist(), made)
        return made

    def ciphertext(
        self, parms_id: Any, polynomials: Polynomials, ntt: bool = False, seed: bytes = b""
    ) -> Any:
        """A ciphertext; `ProtocolError` if SEAL refuses it."""
        body = ciphertext(parms_id, polynomials, ntt, seed)
        return seal.restored(sealapi.Ciphertext, self.context, body)

    def new_keys(self) -> tuple[bytes, bytes, Rows]:
        """A new account's secret key, and seeds and wire form of the keys that go to the matcher;
        `DesignError` with a seed: all parts would have one mask, and show the secret key."""
        if self.seeded:
            raise DesignError("keys are never made from a seed")
        generator = sealapi.KeyGenerator(self.context)
        public = sealapi.PublicKey()
        generator.create_public_key(public)
        rotations = generator.create_galois_keys(self.elements)
        switching = [
            part
            for keys in (rotations, generator.create_relin_keys())
            for part in parse_switching_keys(seal.saved(keys))
        ]
        whole, _, _ = parse_ciphertext(seal.saved(public))
        rows = packed(np.concatenate([*(part for part, _ in switching), whole]))
        return self._trits(generator.secret_key()), b"".join(seed for _, seed in switching), rows

    @property
    def elements(self) -> list[int]:
        """The Galois elements of the rotations, ascending (SEAL takes these for steps elsewhere)."""
        return sorted(pow(3, step, 2 * self.degree) for step in STEPS)

    def encrypt(self, secret: bytes, vector: npt.NDArray[np.uint8], rng: Randomness) -> tuple[bytes, Rows]:
        """Seed and c0 of a query for `vector`, (256,). Takes 64 bytes of `rng`, from which all randomness
        follows: the one encryption under a context made for it."""
        drawn = rng.take(SEED_BYTES)
        once = Ring(self.sizes, drawn)
        encryptor = sealapi.Encryptor(once.context, once.secret_key(secret))
        slots = np.tile(vector, self.degree // BITS)
        sealed = seal.saved(encryptor.encrypt_symmetric(once.plain(slots)))
        polynomials, seed, _ = parse_ciphertext(sealed)
        return seed, packed(polynomials)

    def query(self, seed: bytes, rows: Rows) -> Any:
        """The ciphertext of what `encrypt` gave; `ProtocolError` if SEAL refuses it."""
        polynomials = unpacked(rows, DATA, "he-hamming/query", "rows")
        return self.ciphertext(self.context.first_parms_id(), polynomials, seed=seed)

    def decrypt(self, secret: bytes, polynomials: Polynomials) -> npt.NDArray[np.int64]:
        """What the slots of ciphertexts hold, (ciphertexts, degree); two polynomials each, at one prime."""
        decryptor = sealapi.Decryptor(self.context, self.secret_key(secret))
        found = []
        for pair in polynomials.reshape(-1, 2, 1, self.degree):
            plain = sealapi.Plaintext()
            decryptor.decrypt(self.ciphertext(self.context.last_parms_id(), pair), plain)
            found.append(self.encoder.decode_uint64(plain))
        return np.array(found, np.int64)

    def secret_key(self, secret: bytes) -> Any:
        """SEAL's form of a secret key. Its part for key switching is zero: only key generation uses that;
        `DesignError` if the account has no keys in this ring."""
        if 4 * len(secret) != self.degree:
            raise DesignError("the account has no keys in this ring")
        trits = (np.frombuffer(secret, np.uint8)[:, None] >> _PLACES & 3).ravel().astype(np.uint64)
        bounds = np.array(seal.primes(self.degree)[:DATA], np.uint64)[:, None]
        numbers = np.where(trits == 2, bounds - np.uint64(1), trits)
        made = self.ciphertext(self.context.first_parms_id(), np.stack([numbers, numbers]))
        self.evaluator.transform_to_ntt_inplace(made)
        held, _, _ = parse_ciphertext(seal.saved(made))
        whole = np.concatenate([held[:1], np.zeros((1, 1, self.degree), np.uint64)], axis=1)
        parms_id = self.context.key_parms_id()
        raw = np.ascontiguousarray(whole, "<u8").tobytes()
        front = _id(parms_id) + struct.Struct("<Qd").pack(len(raw) // 8, 1.0)
        body = front + seal.framed(_COUNT.pack(len(raw) // 8) + raw)
        return seal.restored(sealapi.SecretKey, self.context, body)

    def _trits(self, key: Any) -> bytes:
        saved = np.frombuffer(seal.saved(key), np.uint8)[-8 * KEY * self.degree :]
        ntt = saved.view("<u8").reshape(1, KEY, self.degree)[:, :DATA]
        made = self.ciphertext(self.context.first_parms_id(), np.concatenate([ntt, ntt]), ntt=True)
        self.evaluator.transform_from_ntt_inplace(made)
        numbers, _, _ = parse_ciphertext(seal.saved(made))
        trits = np.minimum(numbers[0, 0], 2).astype(np.uint8).reshape(-1, 4)
        return bytes((trits << _PLACES).sum(axis=1, dtype=np.uint8))


@cache
def ring_of(sizes: Sizes) -> Ring:
    """The ring without a seed, which nothing changes: one in a process."""
    return Ring(sizes)


REPLY_POLYNOMIALS: Final = 16
_QUERY: Final = Matrix(width(1, DATA), MOST_DEGREE, LEAST_DEGREE)
_REPLY: Final = Matrix(width(REPLY_POLYNOMIALS, 1), MOST_DEGREE, LEAST_DEGREE)
_KEYS: Final = Matrix(width(PARTS + 2, KEY), MOST_DEGREE, LEAST_DEGREE)


class Secret(Message, tag=0x50, name="he-hamming/secret"):
    """An account's state: its secret key; never sent."""

    coefficients: Annotated[bytes, Variable(MOST_DEGREE // 4)]
    """Two bits each, the first in the lowest: 0, 1 or 2 for -1; empty before the account enrolled."""


class Keys(Message, tag=0x51, name="he-hamming/keys"):
    """Device to matcher, once for an account and epoch: rotation, relinearisation and public keys."""

    seeds: Annotated[bytes, Fixed(PARTS * SEED_BYTES)]
    """64 bytes for each of 21 parts, of which SEAL draws its second polynomial."""
    rows: Annotated[Rows, _KEYS]
    """One for each coefficient: 23 polynomials at eight primes. Devices and matchers take 16,384 alone."""

    def check(self) -> None:
        """Every number is below its prime."""
        unpacked(self.rows, KEY, self.NAME, "rows")


class Query(Message, tag=0x52, name="he-hamming/query"):
    """Device to matcher: the encrypted hash."""

    epoch: Annotated[int, UInt(64)]
    """Of the set-up in use."""
    seed: Annotated[bytes, Fixed(SEED_BYTES)]
    """Of the ciphertext's second polynomial."""
    rows: Annotated[Rows, _QUERY]
    """The first polynomial at seven primes."""

    def check(self) -> None:
        """Every number is below its prime."""
        unpacked(self.rows, DATA, self.NAME, "rows")


class Reply(Message, tag=0x53, name="he-hamming/reply"):
    """Matcher to device: eight ciphertexts, whatever the list and the picture are."""

    epoch: Annotated[int, UInt(64)]
    """Of the matcher's file."""
    rows: Annotated[Rows, _REPLY]
    """16 polynomials at one prime."""

    def check(self) -> None:
        """Every number is below its prime."""
        unpacked(self.rows, 1, self.NAME, "rows")
