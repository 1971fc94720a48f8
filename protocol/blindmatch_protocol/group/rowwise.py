"""SHA-512 and ChaCha20-Poly1305 on every row of an array; no Python runs between the rows.

The group's back end hashes, since hashing is most of what is left around its arithmetic; libsodium seals, a
call a row, which keeps Python's lock (see `sodium`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import repeat

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.group import sodium
from blindmatch_protocol.group.backend import LEAST_ROWS, backend_for
from blindmatch_protocol.group.rows import front_of

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


def of_one_length(messages: Sequence[bytes]) -> Rows | None:
    """Byte strings as rows, uint8 (n, w), if they all have one length and are enough to be worth it."""
    if len(messages) < LEAST_ROWS or len(set(map(len, messages))) != 1:
        return None
    return np.frombuffer(b"".join(messages), np.uint8).reshape(len(messages), -1)


def sha512(messages: Rows, front: bytes = b"") -> Rows:
    """SHA-512 (FIPS 180-4) of `front`, public whole blocks of 128 bytes, and a row, each of uint8 (n, w)."""
    return backend_for(len(messages)).sha512(np.ascontiguousarray(messages), front)


def expand(tag: bytes, epoch: int, rows: Rows, length: int) -> Rows:
    """`rows.expand` of every row, uint8 (n, w) to (n, length)."""
    return np.ascontiguousarray(sha512(rows, front_of(tag, epoch))[:, :length])


def seal(keys: Rows, plain: Rows) -> Rows:
    """ChaCha20-Poly1305 (RFC 8439, section 2.8) of every row, uint8 (n, w), under nonce zero and a key, uint8
    (n, 32), that is for this row alone: ciphertext and tag, uint8 (n, w + 16)."""
    keys = np.ascontiguousarray(keys)
    plain = np.ascontiguousarray(plain)
    count, width = plain.shape
    if keys.shape != (count, KEY_BYTES):
        raise ValueError(f"{count} keys of {KEY_BYTES} bytes are needed, not {keys.shape}")
    sealed = np.empty((count, width + TAG_BYTES), np.uint8)
    none = repeat(None)
    nonce = repeat(_NONCE.ctypes.data)
    arguments = (none, _addresses(plain), repeat(width), none, repeat(0), none, nonce, _addresses(keys))
    deque(map(sodium.CHACHA20_POLY1305, _addresses(sealed), *arguments), maxlen=0)
    return sealed


def _addresses(rows: Rows) -> range:
    at = rows.ctypes.data
    step = max(rows.shape[1], 1)
    return range(at, at + len(rows) * step, step)
