"""What an attack runs against; it makes everything itself, from pictures and hashes that it generates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.contract import AnyDesign, Progress, Role, no_progress
from blindmatch_protocol.randomness import Randomness, seeded

from blindmatch_simulations.inprocess.deployed import Build, Deployed, opened, publish


@dataclass(frozen=True, slots=True, repr=False)
class Arena:
    """One attack's run against one design.

    Attributes:
        design: the design.
        seed: decides everything that is drawn at random.
        progress: takes (done, total) trials.
        thorough: more trials, and the large cases; a test of the attack goes without.
    """

    design: AnyDesign
    seed: int = 1
    progress: Progress = no_progress
    thorough: bool = True

    def rng(self, purpose: str) -> Randomness:
        """Randomness for one purpose."""
        return seeded(f"attack/{self.seed}/{purpose}")

    def hashes(self, count: int, purpose: str) -> Rows:
        """Random hashes, uint8 (count, 32)."""
        drawn = self.rng(f"hashes/{purpose}").take(32 * count)
        return np.frombuffer(drawn, np.uint8).reshape(count, 32)

    def publish(self, entries: Rows, purpose: str, **values: int) -> Build:
        """Epoch 1 of the design with this list; `values` are parameters that the design has."""
        return publish(self.design, entries, self.rng(f"publish/{purpose}"), 1, self.known(values))

    def deployed(self, entries: Rows, purpose: str, **values: int) -> Deployed:
        """The same, opened."""
        return opened(self.publish(entries, purpose, **values))

    def known(self, values: Mapping[str, int]) -> dict[str, int]:
        """Those of `values` that are parameters of the design."""
        names = {parameter.name for parameter in self.design.info.parameters}
        return {name: value for name, value in values.items() if name in names}


@dataclass(frozen=True, slots=True, repr=False)
class HashOnly:
    """An `Item` of whoever has a hash and no picture."""

    hash: bytes
    quality: int = 100

    @property
    def coefficients(self) -> npt.NDArray[np.float32]:
        """Each coefficient equally far from the median, on the side that its bit says."""
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


def only_role(bodies: Mapping[Role, Any]) -> tuple[Role, Message]:
    """The role that is asked and its body, of a design with one role."""
    ((role, body),) = bodies.items()
    return role, body
