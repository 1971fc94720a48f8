"""Random hashes that look like PDQ's: exactly 128 of 256 bits are ones. For tests, demos and measurements."""

from __future__ import annotations

from typing import Final

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.randomness import Randomness

_BATCH: Final = 1 << 14


def random_hashes(count: int, rng: Randomness) -> Rows:
    """`count` hashes, uint8 (count, 32), each uniform among those with 128 ones.

    32 bytes of `rng` seed a generator; the hashes of a seed may differ between versions of numpy.
    """
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(rng.take(32), "big")))
    half = np.repeat(np.array([0, 1], np.uint8), 128)
    hashes = np.empty((count, 32), np.uint8)
    for at in range(0, count, _BATCH):
        rows = min(_BATCH, count - at)
        bits = generator.permuted(np.broadcast_to(half, (rows, 256)), axis=1)
        hashes[at : at + rows] = np.packbits(bits, axis=1)
    return hashes
