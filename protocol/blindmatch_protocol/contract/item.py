"""What a design may ask of the picture it is to match."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Item(Protocol):
    """One picture; each property is computed when first asked for."""

    @property
    def hash(self) -> bytes:
        """PDQ hash, 32 bytes."""
        ...

    @property
    def quality(self) -> int:
        """PDQ quality, 0 to 100; below 50 the hash means nothing."""
        ...

    @property
    def coefficients(self) -> npt.NDArray[np.float32]:
        """Signed distance of each of the 256 DCT coefficients from their median, shape (256,)."""
        ...

    @property
    def luminance(self) -> npt.NDArray[np.float32]:
        """Luminance, shape (height, width), 0 to 255."""
        ...

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """sRGB, shape (height, width, 3)."""
        ...
