"""HPKE in base mode whose sender takes the ephemeral key as an argument, so that a tape explains every byte.

    sealed = enc 32 | ciphertext | tag 16      DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305

RFC 9180, sections 4.1 (Encap), 5.1 (KeySchedule) and 6.1 (SealBase). The library draws the ephemeral key
itself, which an audit could not derive again; opening is the library's. What answers a sealed message
goes back under a key that travelled in it (`seal_reply`).
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
OVERHEAD: Final = 32 + TAG_BYTES
"""Bytes that a sealed message is longer."""

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_KEM_ID: Final = b"KEM" + (0x0020).to_bytes(2, "big")
_SUITE_ID: Final = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0003))
_BASE: Final = b"\0"
_ONCE: Final = bytes(12)


def public_key(private: bytes) -> bytes:
    """The X25519 public key of 32 private bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def seal(public: bytes, info: bytes, plaintext: bytes, ephemeral: bytes) -> bytes:
    """Seal `plaintext` to the holder of `public`; `OVERHEAD` bytes longer.

    Args:
        public: X25519 public key, 32 bytes.
        info: binds the message to what both sides know.
        plaintext: any bytes.
        ephemeral: 32 fresh random bytes, used for nothing else.

    Raises:
        ValueError: if `public` is no key, or one of small order.
    """
    own = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = own.public_key().public_bytes_raw()
    shared = own.exchange(X25519PublicKey.from_public_bytes(public))
    secret = _expand(_KEM_ID, _extract(_KEM_ID, b"", b"eae_prk", shared), b"shared_secret", enc + public, 32)
    hashed = [_extract(_SUITE_ID, b"", *one) for one in ((b"psk_id_hash", b""), (b"info_hash", info))]
    context = b"".join((_BASE, *hashed))
    schedule = _extract(_SUITE_ID, secret, b"secret", b"")
    key = _expand(_SUITE_ID, schedule, b"key", context, 32)
    nonce = _expand(_SUITE_ID, schedule, b"base_nonce", context, 12)
    return enc + ChaCha20Poly1305(key).encrypt(nonce, plaintext, b"")


def open_sealed(private: bytes, info: bytes, sealed: bytes) -> bytes | None:
    """What was sealed to the holder of the 32 private bytes under `info`; None if nothing was."""
    try:
        return bytes(_SUITE.decrypt(sealed, X25519PrivateKey.from_private_bytes(private), info))
    except (InvalidTag, ValueError):
        return None


def seal_reply(key: bytes, plaintext: bytes) -> bytes:
    """Seal the one reply to a message in which `key`, 32 random bytes, travelled: `TAG_BYTES` longer.

    ChaCha20-Poly1305 (RFC 8439, section 2.8) under nonce zero, since the key seals nothing else.
    """
    return ChaCha20Poly1305(key).encrypt(_ONCE, plaintext, None)


def open_reply(key: bytes, sealed: bytes) -> bytes | None:
    """What `seal_reply` sealed under this key; None if nothing was."""
    try:
        return ChaCha20Poly1305(key).decrypt(_ONCE, sealed, None)
    except InvalidTag:
        return None


def _extract(suite: bytes, salt: bytes, label: bytes, value: bytes) -> bytes:
    """`LabeledExtract`; RFC 9180, section 4."""
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + value, "sha256")


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """`LabeledExpand` of at most one block; RFC 9180, section 4, and RFC 5869, section 2.3."""
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(secret, labelled + b"\1", "sha256")[:length]
