"""Numbers and coins from randomness. For checks alone."""

from __future__ import annotations

from blindmatch_protocol.codec.randomness import Randomness


def below(rng: Randomness, bound: int) -> int:
    """A number from 0 to `bound` - 1; the bias is below 2^-32 for bounds under 2^32."""
    return int.from_bytes(rng.take(8), "big") % bound


def flag(rng: Randomness) -> bool:
    """A fair coin."""
    return bool(rng.take(1)[0] & 1)
