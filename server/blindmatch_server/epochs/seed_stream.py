"""Randomness that follows from a seed, so that an interrupted build can draw the same again."""

from __future__ import annotations

from hashlib import sha512

from blindmatch_protocol.codec.randomness import Randomness

SEED_BYTES = 32
SEED_TAG = b"blindmatch/publication-seed/v1"


def seed_stream(seed: bytes) -> Randomness:
    """Randomness from a seed: SHA-512 over tag, seed and a counter, block after block."""
    counter, held = 0, b""

    def draw(count: int) -> bytes:
        nonlocal counter, held
        while len(held) < count:
            held += sha512(SEED_TAG + seed + counter.to_bytes(8, "big")).digest()
            counter += 1
        taken, held = held[:count], held[count:]
        return taken

    return Randomness(draw)
