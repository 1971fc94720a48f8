"""Pictures as numbers: hash, quality, coefficients and a few pixels, all written down in the vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct

SIDE: Final = 4


class VectorItem(Redacted, Struct, frozen=True):
    """An `Item`.

    Attributes:
        name: what it is to the list.
        hash: 32 bytes.
        quality: 0 to 100.
        weights: coefficients as integers, 256 of them: bit j of the hash is set where number j is positive.
        raw_pixels: SIDE x SIDE x 3 bytes.
    """

    SHOWN: ClassVar = ("name", "quality")

    name: str
    hash: bytes
    quality: int
    weights: tuple[int, ...]
    raw_pixels: bytes

    @property
    def coefficients(self) -> npt.NDArray[np.float32]:
        return np.array(self.weights, np.float32)

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.raw_pixels, np.uint8).reshape(SIDE, SIDE, 3)

    @property
    def luminance(self) -> npt.NDArray[np.float32]:
        """See `Item.luminance`: the mean of the three channels."""
        return np.asarray(self.pixels.mean(axis=2), np.float32)

    def as_json(self) -> dict[str, Any]:
        """The item's numbers."""
        return {
            "name": self.name,
            "hash": self.hash.hex(),
            "quality": self.quality,
            "coefficients": list(self.weights),
            "pixels": self.raw_pixels.hex(),
        }


def from_json(held: dict[str, Any]) -> VectorItem:
    """The item of a vector."""
    return VectorItem(
        held["name"],
        bytes.fromhex(held["hash"]),
        held["quality"],
        tuple(held["coefficients"]),
        bytes.fromhex(held["pixels"]),
    )


def make_item(name: str, quality: int) -> VectorItem:
    """The item that `name` determines: 128 ones, every magnitude from 1 to 128 once on either side."""
    return numbered(name, quality, f"vector/{name}", lambda rank, at: bool(rank % 2))


def numbered(name: str, quality: int, seed: str, positive: Callable[[int, int], bool]) -> VectorItem:
    """An item whose magnitudes and pixels follow from a seed, and the signs of its coefficients from their
    rank and place."""
    rng = seeded(seed)
    order = sorted(range(256), key=lambda at: (rng.take(8), at))
    weights = [0] * 256
    for rank, at in enumerate(order):
        weights[at] = (rank // 2 + 1) * (1 if positive(rank, at) else -1)
    bits = np.array([weight > 0 for weight in weights], np.uint8)
    return VectorItem(name, np.packbits(bits).tobytes(), quality, tuple(weights), rng.take(SIDE * SIDE * 3))
