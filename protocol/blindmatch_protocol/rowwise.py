"""SHA-512 and ChaCha20-Poly1305 on every row of an array, by libsodium.

No Python runs between the rows. A call keeps Python's lock, see `sodium`.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat

import numpy as np
import numpy.typing as npt

from blindmatch_protocol import sodium
from blindmatch_protocol.codec import Rows

DIGEST_BYTES = 64
KEY_BYTES = 32
TAG_BYTES = 16
_NONCE = np.zeros(12, np.uint8)


def joined(rows: int, *parts: bytes | npt.NDArray[np.uint8]) -> Rows:
    """Columns of `rows` rows side by side: bytes are the same in every row, an array has its own (n, w)."""
    columns = [
        np.broadcast_to(np.frombuffer(part, np.uint8), (rows, len(part))) if isinstance(part, bytes) else part
        for part in parts
    ]
    return np.concatenate(columns, axis=1)


def sha512(messages: Rows) -> Rows:
    """SHA-512 (FIPS 180-4) of every row, uint8 (n, w) to (n, 64)."""
    messages = np.ascontiguousarray(messages)
    count, width = messages.shape
    digests = np.empty((count, DIGEST_BYTES), np.uint8)
    into, of = _addresses(digests), _addresses(messages)
    deque(map(sodium.SHA512, into, of, repeat(width)), maxlen=0)
    return digests


def seal(keys: Rows, plain: Rows) -> Rows:
    """ChaCha20-Poly1305 (RFC 8439, section 2.8) of every row under a key of its own and nonce zero.

    Args:
        keys: uint8 (n, 32), each for this one row.
        plain: uint8 (n, w).

    Returns:
        Ciphertext and tag, uint8 (n, w + 16).
    """
    keys, plain = np.ascontiguousarray(keys), np.ascontiguousarray(plain)
    count, width = plain.shape
    if keys.shape != (count, KEY_BYTES):
        raise ValueError(f"{count} keys of {KEY_BYTES} bytes are needed, not {keys.shape}")
    sealed = np.empty((count, width + TAG_BYTES), np.uint8)
    none, nonce = repeat(None), repeat(_NONCE.ctypes.data)
    arguments = (none, _addresses(plain), repeat(width), none, repeat(0), none, nonce, _addresses(keys))
    deque(map(sodium.CHACHA20_POLY1305, _addresses(sealed), *arguments), maxlen=0)
    return sealed


def _addresses(rows: Rows) -> range:
    """Where each row lies."""
    at, step = rows.ctypes.data, max(rows.shape[1], 1)
    return range(at, at + len(rows) * step, step)
