"""An authenticated cipher that commits to its key: AES-256-CTR, then HMAC-SHA-512/256.

The tag of GCM is a polynomial in a key that follows from the cipher key, so whoever knows two keys can solve
for one ciphertext that opens under both (Dodis, Grubbs, Ristenpart and Woodage 2018, "Fast Message Franking",
section 3). Here two keys that open one ciphertext would be a collision of HKDF or of HMAC, thus of
SHA-512/256 (2^128 work); the tag covers the associated data too.

Layout of a sealed value: ciphertext, as long as the plaintext, then the tag of 32 bytes. A key seals
*one* value: cipher key, initial counter and MAC key all follow from it.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, SHA512_256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.codec.errors import ProtocolError

KEYS_TAG: Final = b"blindmatch/committing-aead/keys/v1"
KEY_LENGTH: Final = 32
TAG_LENGTH: Final = 32

_STEP: Final = "committing-aead"


class Sealing:
    """Seals one value chunk by chunk: `update` for each chunk, then `finish` for the tag."""

    __slots__ = ("_cipher", "_mac")

    def __init__(self, key: bytes, associated_data: bytes = b"") -> None:
        """Begin with 32 secret bytes that seal nothing else; `ValueError` if `key` has another length."""
        cipher, self._mac = _start(key, associated_data)
        self._cipher: CipherContext = cipher.encryptor()

    def update(self, chunk: Buffer) -> bytes:
        """The ciphertext of the next chunk, of the same length."""
        sealed = self._cipher.update(chunk)
        self._mac.update(sealed)
        return sealed

    def finish(self) -> bytes:
        """The tag, 32 bytes; nothing can follow."""
        return self._mac.finalize()


class Opening:
    """Opens one value chunk by chunk: `update` for each chunk, then `finish` with the tag. What `update`
    returns is *not* authentic before that: keep it from anybody's eyes and from every decoder until then."""

    __slots__ = ("_cipher", "_mac")

    def __init__(self, key: bytes, associated_data: bytes = b"") -> None:
        """Begin; arguments and errors as for `Sealing`."""
        cipher, self._mac = _start(key, associated_data)
        self._cipher: CipherContext = cipher.decryptor()

    def update(self, chunk: Buffer) -> bytes:
        """The plaintext of the next chunk of ciphertext, not yet authentic."""
        self._mac.update(chunk)
        return self._cipher.update(chunk)

    def finish(self, tag: Buffer) -> None:
        """Check everything that went through `update`, in constant time; `ProtocolError` if key, associated
        data or ciphertext are not those that were sealed."""
        if not hmac.compare_digest(self._mac.finalize(), bytes(tag)):
            raise ProtocolError(
                _STEP, "key, associated data or ciphertext differ from what was sealed", "tag"
            )


def seal(key: bytes, plaintext: Buffer, associated_data: bytes = b"") -> bytes:
    """Ciphertext and tag of `plaintext`; arguments and errors as for `Sealing`."""
    sealing = Sealing(key, associated_data)
    return sealing.update(plaintext) + sealing.finish()


def unseal(key: bytes, sealed: Buffer, associated_data: bytes = b"") -> bytes:
    """The plaintext that `seal` was given; `ProtocolError` if `sealed` is shorter than a tag or does not
    open, `ValueError` if `key` is not 32 bytes."""
    view = memoryview(sealed)
    if len(view) < TAG_LENGTH:
        raise ProtocolError(_STEP, f"shorter than its tag of {TAG_LENGTH} bytes", "tag")
    opening = Opening(key, associated_data)
    plaintext = opening.update(view[:-TAG_LENGTH])
    opening.finish(view[-TAG_LENGTH:])
    return plaintext


def _start(key: bytes, associated_data: bytes) -> tuple[Cipher[modes.CTR], HMAC]:
    """Cipher and MAC, the latter already fed with the associated data behind its length."""
    if len(key) != KEY_LENGTH:
        raise ValueError(f"the key must be {KEY_LENGTH} bytes, not {len(key)}")
    derived = HKDF(SHA512(), 80, salt=None, info=KEYS_TAG).derive(key)  # RFC 5869
    mac = HMAC(derived[48:], SHA512_256())
    mac.update(len(associated_data).to_bytes(8, "big"))
    mac.update(associated_data)
    return Cipher(algorithms.AES(derived[:32]), modes.CTR(derived[32:48])), mac


_SHA256: Final = SHA256()


def keyed(key: bytes) -> HMAC:
    """HMAC-SHA-256 under `key`, of nothing so far."""
    return HMAC(key, _SHA256)
