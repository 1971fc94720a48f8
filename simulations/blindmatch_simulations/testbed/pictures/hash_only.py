"""An item without a picture behind it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct


class HashOnly(Redacted, Struct, frozen=True):
    """An `Item` of whoever has a hash, perhaps with its coefficients, and no picture."""

    hash: bytes
    quality: int = 100
    known: npt.NDArray[np.float32] | None = None

    @property
    def coefficients(self) -> npt.NDArray[np.float32]:
        """Those that are known; else each equally far from the median, on the side that its bit says."""
        if self.known is not None:
            return self.known
        bits = np.unpackbits(np.frombuffer(self.hash, np.uint8))
        return (bits.astype(np.float32) * 2 - 1) * 100

    @property
    def luminance(self) -> npt.NDArray[np.float32]:
        """There is none."""
        raise AttributeError("there is no picture behind this hash")

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """There are none."""
        raise AttributeError("there is no picture behind this hash")
