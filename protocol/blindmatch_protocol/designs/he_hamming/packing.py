"""The one form in which ciphertexts and keys travel, and SEAL's own form of the same.

Wire: a matrix with a row for each coefficient; a row holds, polynomial after polynomial and prime after
prime, the coefficient modulo the prime, little-endian, in as few whole bytes as hold the prime. Its length
follows from the ring alone, and a number that is not below its prime is refused, so there is one encoding.

SEAL: parms_id, is_ntt_form, sizes, scale, correction factor, then 64-bit numbers, by polynomial, prime and
coefficient; a polynomial drawn from a seed is left out, and the seed follows.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.designs.he_hamming import seal

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
    """Bytes of a row."""
    return polynomials * sum(WIDTHS[:primes])


def packed(polynomials: Polynomials) -> Rows:
    """The wire form of `polynomials`."""
    count, primes, degree = polynomials.shape
    raw = np.ascontiguousarray(polynomials, "<u8").view(np.uint8).reshape(count, primes, degree, 8)
    columns = [raw[at, prime, :, : WIDTHS[prime]] for at in range(count) for prime in range(primes)]
    return np.concatenate(columns, axis=1)


def unpacked(rows: Rows, primes: int, step: str, field: str) -> Polynomials:
    """The polynomials in wire form.

    Raises:
        ProtocolError: if the degree is no power of two from 512 on, or a number is not below its prime.
    """
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


def parse_secret(body: bytes, degree: int) -> Polynomials:
    """A secret key as SEAL saved it, in NTT form, (1, primes, degree)."""
    at = len(body) - 8 * KEY * degree
    return np.frombuffer(body, "<u8", offset=at).reshape(1, KEY, degree)


def secret_key_form(parms_id: Sequence[int], polynomials: Polynomials) -> bytes:
    """SEAL's form of a secret key, (1, primes, degree), in NTT form."""
    raw = np.ascontiguousarray(polynomials, "<u8").tobytes()
    front = _id(parms_id) + struct.Struct("<Qd").pack(len(raw) // 8, 1.0)
    return front + seal.framed(_COUNT.pack(len(raw) // 8) + raw)


def _id(parms_id: Sequence[int]) -> bytes:
    return b"".join(_COUNT.pack(word) for word in parms_id)
