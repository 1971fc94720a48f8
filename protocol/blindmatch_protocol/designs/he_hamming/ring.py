"""The ring that everything is computed in, and what a device does with its secret key in it.

    vector of 256 numbers --tiled--> slots of one plaintext --Enc--> c0 of the query, the seed of c1
    keys: two rotations (by 1 and by `BABY`), relinearisation, public; made once, by SEAL's own randomness

A secret key has coefficients -1, 0 and 1; it is kept as them, four a byte.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.designs.he_hamming import seal
from blindmatch_protocol.designs.he_hamming.packing import (
    DATA,
    MOST_DEGREE,
    SEED_BYTES,
    Polynomials,
    ciphertext,
    packed,
    parse_ciphertext,
    parse_secret,
    parse_switching_keys,
    secret_key_form,
    unpacked,
)
from blindmatch_protocol.designs.he_hamming.seal import sealapi

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
        self.sizes, self.degree, self.seeded = sizes, sizes.degree, seed is not None
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
        """A new account's secret key, and seeds and wire form of the keys that go to the matcher.

        Raises:
            DesignError: with a seed: all parts would have one mask, and show the secret key.
        """
        if self.seeded:
            raise DesignError("keys are never made from a seed")
        generator, public = sealapi.KeyGenerator(self.context), sealapi.PublicKey()
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
        """Seed and c0 of a query for `vector`, (256,). Takes 64 bytes of `rng`.

        The one encryption under a context made for it; all randomness in it follows from `rng`.
        """
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
        decryptor, found = sealapi.Decryptor(self.context, self.secret_key(secret)), []
        for pair in polynomials.reshape(-1, 2, 1, self.degree):
            plain = sealapi.Plaintext()
            decryptor.decrypt(self.ciphertext(self.context.last_parms_id(), pair), plain)
            found.append(self.encoder.decode_uint64(plain))
        return np.array(found, np.int64)

    def secret_key(self, secret: bytes) -> Any:
        """SEAL's form of a secret key. Its part for key switching is zero: only key generation uses that.

        Raises:
            DesignError: if the account has no keys in this ring.
        """
        if 4 * len(secret) != self.degree:
            raise DesignError("the account has no keys in this ring")
        trits = (np.frombuffer(secret, np.uint8)[:, None] >> _PLACES & 3).ravel().astype(np.uint64)
        bounds = np.array(seal.primes(self.degree)[:DATA], np.uint64)[:, None]
        numbers = np.where(trits == 2, bounds - np.uint64(1), trits)
        made = self.ciphertext(self.context.first_parms_id(), np.stack([numbers, numbers]))
        self.evaluator.transform_to_ntt_inplace(made)
        held, _, _ = parse_ciphertext(seal.saved(made))
        whole = np.concatenate([held[:1], np.zeros((1, 1, self.degree), np.uint64)], axis=1)
        body = secret_key_form(self.context.key_parms_id(), whole)
        return seal.restored(sealapi.SecretKey, self.context, body)

    def _trits(self, key: Any) -> bytes:
        ntt = parse_secret(seal.saved(key), self.degree)[:, :DATA]
        made = self.ciphertext(self.context.first_parms_id(), np.concatenate([ntt, ntt]), ntt=True)
        self.evaluator.transform_from_ntt_inplace(made)
        numbers, _, _ = parse_ciphertext(seal.saved(made))
        trits = np.minimum(numbers[0, 0], 2).astype(np.uint8).reshape(-1, 4)
        return bytes((trits << _PLACES).sum(axis=1, dtype=np.uint8))
