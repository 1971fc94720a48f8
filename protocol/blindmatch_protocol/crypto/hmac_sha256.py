"""HMAC-SHA-256 (RFC 2104) of short data.

Python's own `hmac.digest` releases the interpreter's lock each time, which costs more than such a hash takes
where other threads wait for the lock.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

_SHA256: Final = SHA256()


def keyed(key: bytes) -> HMAC:
    """HMAC-SHA-256 under `key`, of nothing so far."""
    return HMAC(key, _SHA256)


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256 of `data`, 32 bytes."""
    mac = keyed(key)
    mac.update(data)
    return mac.finalize()
