"""Ed25519 signatures (RFC 8032), as libsodium verifies them."""

from __future__ import annotations

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey


def is_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of a public key, 32 bytes, made this signature, 64 bytes, of `message` (RFC 8032,
    section 5.1.7)."""
    try:
        VerifyKey(key).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True
