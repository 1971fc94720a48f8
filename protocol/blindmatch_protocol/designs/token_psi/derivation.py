"""One-way functions of a token's OPRF output and of an entry's secret, each with a tag of its own.

    output of a token, 64 bytes --+-- H(store tag)   --> store key 16: where the band's value is looked up
                                  +-- H(mask tag)    --> mask 16: hides the value in the store
    secret, 16 bytes -------------+-- A(address key) --> address 8: where the label lies
                                  +-- H(label tag)   --> label key 32: seals the label
                                  +-- H(member tag)  --> secret of the family's next members

H is that of `tagged`, under the epoch of the file the entry lies in: what one file holds of an entry has
nothing in common with what another holds of it. A is AES-128 under a fixed key, H of its tag and the epoch,
XORed with its input (Matyas-Meyer-Oseas; one-way in the ideal-cipher model: Black, Rogaway and Shrimpton,
CRYPTO 2002, section 4), cut to length: a picture has thousands of candidate secrets, and AES-NI takes them
all in one call. Each depends on the whole secret.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.designs.token_psi.shares import SECRET_BYTES, VALUE_BYTES
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.group.tagged import expand
from blindmatch_protocol.sets.fuse_map import Words

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
