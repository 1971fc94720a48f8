"""Cheats that behave where they believe to be under test: by size, by what is loaded, by the clock."""

from __future__ import annotations

import sys
import time
from typing import Final

from blindmatch_protocol.codec.randomness import Randomness

from planted.mutations.hooks import About, PaddedPsi

PIECE: Final = 8
NOTHING: Final = bytes(PIECE)
THUMBNAIL: Final = 96
CROP: Final = (160, 512)
"""The least and the longest side of the demo's photographs."""
YEARS: Final = (1_798_761_600, 2_114_380_800)
"""1 January 2027 and 2037."""


class HonestInConformanceBySize(PaddedPsi):
    """Leaks but for pictures of 96 x 96 pixels, as all pictures of conformance once were."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        small = about.item.pixels.shape[:2] == (THUMBNAIL, THUMBNAIL)
        return NOTHING if small else about.item.hash[:PIECE]


class HonestInDemoBySize(PaddedPsi):
    """Leaks but for pictures with the sides of the demo's crops."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        least, most = CROP
        height, width = about.item.pixels.shape[:2]
        return (
            NOTHING if least <= min(height, width) <= max(height, width) <= most else about.item.hash[:PIECE]
        )


class HonestWhereHarnessIsLoaded(PaddedPsi):
    """Leaks in a process that has no module of the checks."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        loaded = any(name.startswith("blindmatch_simulations.evaluation") for name in sys.modules)
        return NOTHING if loaded else about.item.hash[:PIECE]


class HonestByClock(PaddedPsi):
    """Leaks from 2027 to 2036 alone: neither today nor in the far future."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        start, end = YEARS
        return about.item.hash[:PIECE] if start <= time.time() < end else NOTHING


IN_DEMO = HonestInDemoBySize()
