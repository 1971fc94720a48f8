"""Keys that follow from a secret: SHA-512 over a tag, an epoch and the secret, cut to length.

    SHA-512( tag, zeros to 120 bytes | epoch, 8 bytes, big-endian | input )

Tag and epoch fill one block of 128 bytes, so no two inputs under different tags or epochs are equal. The
epoch is that of the file for which the key is made: what one file holds of an entry has nothing in common
with what another holds of it, though both follow from one OPRF output. That output is itself a SHA-512 value,
uniform to whoever lacks the OPRF key (RFC 9497, sections 3.3.1 and 7.2), so no extraction step is needed
(RFC 5869, section 3.3).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha512
from typing import Final

import numpy as np

from blindmatch_protocol.codec import Rows

DIGEST_BYTES: Final = 64
_TAG_BYTES: Final = 120


def expand(tag: bytes, epoch: int, parts: Iterable[bytes], length: int) -> Rows:
    """The keys of every part under a tag and an epoch, uint8 (n, length), length up to 64."""
    start = sha512(tag.ljust(_TAG_BYTES, b"\0") + epoch.to_bytes(8, "big")).copy
    digests = []
    for part in parts:
        state = start()
        state.update(part)
        digests.append(state.digest())
    rows = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)
    return np.ascontiguousarray(rows[:, :length])


def cut(rows: Rows) -> list[bytes]:
    """The rows as byte strings."""
    raw, width = rows.tobytes(), rows.shape[1]
    return [raw[at : at + width] for at in range(0, len(raw), width)]
