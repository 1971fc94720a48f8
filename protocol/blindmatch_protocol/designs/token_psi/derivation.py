"""One-way functions of a token's OPRF output and of an entry's secret, each with a tag of its own.

    output of a token, 64 bytes --+-- H(store tag)   --> store key 16: where the band's value is looked up
                                  +-- H(mask tag)    --> mask 8: hides the value in the store
    secret, 16 bytes -------------+-- A(address key) --> address 8: where the label lies
                                  +-- H(label tag)   --> label key 32: seals the label
                                  +-- H(member tag)  --> secret of the family's next members

H is SHA-512 over the tag, zero-padded to a block of 128 bytes, and the input, cut to length. A is AES-128
under a fixed key, the hash of its tag, XORed with its input (Matyas-Meyer-Oseas; one-way in the ideal-cipher
model: Black, Rogaway and Shrimpton, CRYPTO 2002, section 4), cut to length: a picture has thousands of
candidate secrets, and AES-NI takes them all in one call. Each depends on the whole secret: an address made
of one half would tell that half, and with a single value of a band the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256, sha512
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.designs.token_psi.gf64 import Elements
from blindmatch_protocol.designs.token_psi.shares import SECRET_BYTES

STORE_TAG: Final = b"blindmatch/token-psi/store-key/v1"
MASK_TAG: Final = b"blindmatch/token-psi/mask/v1"
ADDRESS_TAG: Final = b"blindmatch/token-psi/address/v1"
LABEL_TAG: Final = b"blindmatch/token-psi/label-key/v1"
MEMBER_TAG: Final = b"blindmatch/token-psi/member/v1"
POLYNOMIAL_TAG: Final = b"blindmatch/token-psi/polynomial/v1"
FILLER_TAG: Final = b"blindmatch/token-psi/filler/v1"
TAGS: Final = (STORE_TAG, MASK_TAG, ADDRESS_TAG, LABEL_TAG, MEMBER_TAG, POLYNOMIAL_TAG, FILLER_TAG)

STORE_KEY_BYTES: Final = 16
LABEL_KEY_BYTES: Final = 32

_BLOCK: Final = 128
_ADDRESS_KEY: Final = sha256(ADDRESS_TAG).digest()[:16]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TokenKeys:
    """Keys of `n` tokens.

    Attributes:
        store_keys: uint8 (n, 16).
        masks: uint64 (n,).
    """

    store_keys: Rows
    masks: Elements


def token_keys(outputs: Rows) -> TokenKeys:
    """Keys of the tokens with these OPRF outputs, uint8 (n, 64)."""
    parts = cut(outputs)
    masks = tagged(MASK_TAG, parts, 8).view("<u8").ravel().astype(np.uint64)
    return TokenKeys(tagged(STORE_TAG, parts, STORE_KEY_BYTES), masks)


def addresses(secrets: Rows) -> Elements:
    """Label addresses of secrets, uint8 (n, 16): uint64 (n,)."""
    encryptor = Cipher(algorithms.AES(_ADDRESS_KEY), modes.ECB()).encryptor()  # noqa: S305 - a permutation
    permuted = np.frombuffer(encryptor.update(np.ascontiguousarray(secrets).data), "<u8").reshape(-1, 2)
    found: Elements = (permuted[:, 0] ^ np.ascontiguousarray(secrets).view("<u8")[:, 0]).astype(np.uint64)
    return found


def label_keys(secrets: Rows) -> Rows:
    """Label keys of secrets, uint8 (n, 16): uint8 (n, 32)."""
    return tagged(LABEL_TAG, cut(secrets), LABEL_KEY_BYTES)


def member_secret(first: bytes, member: int) -> bytes:
    """The secret of a family's member, 16 bytes; the family's own for member 0."""
    if member == 0:
        return first
    return tagged(MEMBER_TAG, [first + member.to_bytes(4, "big")], SECRET_BYTES).tobytes()


def tagged(tag: bytes, parts: Iterable[bytes], length: int) -> Rows:
    """H of every part under a tag, uint8 (n, length), length up to 64."""
    start = sha512(tag.ljust(_BLOCK, b"\0")).copy
    digests = []
    for part in parts:
        state = start()
        state.update(part)
        digests.append(state.digest())
    rows = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 64)
    return np.ascontiguousarray(rows[:, :length])


def cut(rows: Rows) -> list[bytes]:
    """The rows as byte strings."""
    raw, width = rows.tobytes(), rows.shape[1]
    return [raw[at : at + width] for at in range(0, len(raw), width)]
