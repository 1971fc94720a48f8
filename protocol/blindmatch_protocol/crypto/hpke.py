"""HPKE in base mode whose sender takes the ephemeral key as an argument, so that a tape explains every byte.

    sealed = enc 32 | ciphertext | tag 16      DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305

RFC 9180, sections 4.1 (Encap), 5.1 (KeySchedule) and 6.1 (SealBase). The library draws the ephemeral key
itself, which an audit could not derive again; opening is the library's. What answers a sealed message
goes back under a key that travelled in it (`seal_reply`), once.

Where a message may come twice and be answered twice, as to whoever a carrier stands before, each answer has a
key of its own (RFC 9458, section 4.4), and the AEAD is AES-128-GCM, with the shortest response nonce:

    secret = Export(label, 16)        salt = enc | response nonce 16
    answer = response nonce | ciphertext | tag 16      under HKDF(salt, secret; "key", "nonce")
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import CryptoError

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
OVERHEAD: Final = 32 + TAG_BYTES
"""Bytes that a sealed message is longer."""

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_KEM_ID: Final = b"KEM" + (0x0020).to_bytes(2, "big")
_SUITE_ID: Final = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0003))
_ANSWERED_ID: Final = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0001))
ANSWER_NONCE_BYTES: Final = 16
"""The greater of the lengths of an AES-128-GCM key and nonce."""
ANSWER_OVERHEAD: Final = ANSWER_NONCE_BYTES + TAG_BYTES
"""Bytes that an answer is longer."""
_BASE: Final = b"\0"
_ONCE: Final = bytes(12)


def public_key(private: bytes) -> bytes:
    """The X25519 public key of 32 private bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def seal(public: bytes, info: bytes, plaintext: bytes, ephemeral: bytes) -> bytes:
    """Seal `plaintext` to the holder of `public`, an X25519 key of 32 bytes, bound to `info`, what both sides
    know; `OVERHEAD` bytes longer. `ephemeral`: 32 fresh random bytes, used for nothing else. `ValueError` if
    `public` is no key, or of small order."""
    enc, shared = _encapsulated(public, ephemeral)
    key, nonce, _ = _schedule(_SUITE_ID, 32, shared, enc + public, info)
    return enc + ChaCha20Poly1305(key).encrypt(nonce, plaintext, b"")


def open_sealed(private: bytes, info: bytes, sealed: bytes) -> bytes | None:
    """What was sealed to the holder of the 32 private bytes under `info`; None if nothing was."""
    try:
        return bytes(_SUITE.decrypt(sealed, X25519PrivateKey.from_private_bytes(private), info))
    except (InvalidTag, ValueError):
        return None


def seal_reply(key: bytes, plaintext: bytes) -> bytes:
    """Seal the one reply to a message in which `key`, 32 random bytes, travelled: `TAG_BYTES` longer, by
    ChaCha20-Poly1305 (RFC 8439, section 2.8) under nonce zero, since the key seals nothing else."""
    return ChaCha20Poly1305(key).encrypt(_ONCE, plaintext, None)


def open_reply(key: bytes, sealed: bytes) -> bytes | None:
    """What `seal_reply` sealed under this key; None if nothing was."""
    try:
        return ChaCha20Poly1305(key).decrypt(_ONCE, sealed, None)
    except InvalidTag:
        return None


def seal_answered(
    public: bytes, info: bytes, plaintext: bytes, ephemeral: bytes, label: bytes
) -> tuple[bytes, bytes]:
    """Seal as `seal`, for answers: the sealed message, and the secret, 48 bytes, that they are opened with.
    `label` is that of the answers' secret."""
    enc, shared = _encapsulated(public, ephemeral)
    key, nonce, exporter = _schedule(_ANSWERED_ID, 16, shared, enc + public, info)
    secret = enc + _expand(_ANSWERED_ID, exporter, b"sec", label, 16)
    return enc + AESGCM(key).encrypt(nonce, plaintext, b""), secret


def open_answered(
    private: bytes, public: bytes, info: bytes, sealed: bytes, label: bytes
) -> tuple[bytes, bytes] | None:
    """What `seal_answered` sealed to the holder of the 32 private bytes, whose public key is given, and the
    secret of answers to it; None if nothing was."""
    enc = sealed[:KEY_BYTES]
    try:
        shared = _shared(private, enc)
        key, nonce, exporter = _schedule(_ANSWERED_ID, 16, shared, enc + public, info)
        plaintext = AESGCM(key).decrypt(nonce, sealed[KEY_BYTES:], b"")
    except (InvalidTag, ValueError):
        return None
    return plaintext, enc + _expand(_ANSWERED_ID, exporter, b"sec", label, 16)


def seal_answer(secret: bytes, nonce: bytes, plaintext: bytes) -> bytes:
    """Seal an answer, `ANSWER_OVERHEAD` bytes longer, under the message's secret, 48 bytes, and 16 fresh
    random bytes: two answers to one message share no key then."""
    key, once = _answer_keys(secret, nonce)
    return nonce + AESGCM(key).encrypt(once, plaintext, b"")


def open_answer(secret: bytes, sealed: bytes) -> bytes | None:
    """What `seal_answer` sealed under this secret; None if nothing was."""
    key, once = _answer_keys(secret, sealed[:ANSWER_NONCE_BYTES])
    try:
        return AESGCM(key).decrypt(once, sealed[ANSWER_NONCE_BYTES:], b"")
    except (InvalidTag, ValueError):
        return None


def _answer_keys(secret: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    """Key and nonce of an answer; RFC 9458, section 4.4, and RFC 5869, sections 2.2 and 2.3."""
    prk = hmac.digest(secret[:KEY_BYTES] + nonce, secret[KEY_BYTES:], "sha256")
    key, once = (hmac.digest(prk, info + b"\1", "sha256") for info in (b"key", b"nonce"))
    return key[:16], once[:12]


def _encapsulated(public: bytes, ephemeral: bytes) -> tuple[bytes, bytes]:
    """`Encap` without its KDF: the encapsulated key and the Diffie-Hellman value; RFC 9180, section 4.1."""
    return crypto_scalarmult_base(ephemeral), _shared(ephemeral, public)


def _shared(private: bytes, public: bytes) -> bytes:
    """X25519 by libsodium, in half of OpenSSL's time for a key used once; `ValueError` if `public` is
    no key, or of small order."""
    try:
        return crypto_scalarmult(private, public)
    except CryptoError as error:
        raise ValueError("X25519: no shared key") from error


def _schedule(
    suite: bytes, length: int, shared: bytes, kem: bytes, info: bytes
) -> tuple[bytes, bytes, bytes]:
    """Key of `length` bytes, nonce and exporter secret in base mode, `kem` being the encapsulated key and the
    recipient's; RFC 9180, sections 4.1 and 5.1."""
    secret = _expand(_KEM_ID, _extract(_KEM_ID, b"", b"eae_prk", shared), b"shared_secret", kem, 32)
    context = _context(suite, info)
    schedule = _extract(suite, secret, b"secret", b"")
    lengths = ((b"key", length), (b"base_nonce", 12), (b"exp", 32))
    key, nonce, exporter = (_expand(suite, schedule, label, context, size) for label, size in lengths)
    return key, nonce, exporter


@lru_cache
def _context(suite: bytes, info: bytes) -> bytes:
    """Mode and hashes of a key schedule; `info` is no secret, and the same for many messages."""
    return _BASE + b"".join(
        _extract(suite, b"", *one) for one in ((b"psk_id_hash", b""), (b"info_hash", info))
    )


def _extract(suite: bytes, salt: bytes, label: bytes, value: bytes) -> bytes:
    """`LabeledExtract`; RFC 9180, section 4."""
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + value, "sha256")


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """`LabeledExpand` of at most one block; RFC 9180, section 4, and RFC 5869, section 2.3."""
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(secret, labelled + b"\1", "sha256")[:length]
