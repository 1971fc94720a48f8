"""Randomness that follows from a seed, so that an interrupted build can draw the same again."""

from __future__ import annotations

from hashlib import sha512

SEED_BYTES = 32
SEED_TAG = b"blindmatch/publication-seed/v1"


class SeedStream:
    """Randomness from a seed: SHA-512 over tag, seed and a counter, block after block."""

    __slots__ = ("_counter", "_held", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed, self._counter, self._held = seed, 0, b""

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        while len(self._held) < count:
            self._held += sha512(SEED_TAG + self._seed + self._counter.to_bytes(8, "big")).digest()
            self._counter += 1
        taken, self._held = self._held[:count], self._held[count:]
        return taken
