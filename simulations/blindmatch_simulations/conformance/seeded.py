"""Reproducible randomness, so that a failure can be replayed from its seed. For checks alone."""

from __future__ import annotations

from hashlib import shake_256


class Seeded:
    """Bytes that `seed` determines, whatever the sizes they are asked for in."""

    __slots__ = ("_count", "_seed")

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._count = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        self._count += 1
        return shake_256(self._seed + b"/" + self._count.to_bytes(8, "big")).digest(count)

    def below(self, bound: int) -> int:
        """A number from 0 to `bound` - 1; the bias is below 2^-32 for bounds under 2^32."""
        return int.from_bytes(self.take(8), "big") % bound

    def flag(self) -> bool:
        """A fair coin."""
        return bool(self.take(1)[0] & 1)
