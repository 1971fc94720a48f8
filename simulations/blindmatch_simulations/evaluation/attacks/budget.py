"""What an attack spent, stated four ways, each where it has it; docs/results.md.

queries      requests to a design's roles that were answered in the run, whoever held device or role
distortion   how far the edit that it needed moves pictures
compute      CPU of the whole run over u, the scene and the defender's side included
list share   of the list's entries, those that the adversary knew or had put there before it began
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
from blindmatch_protocol.picture.decode import decode
from msgspec import UNSET, Struct, UnsetType
from PIL import Image
from skimage.metrics import structural_similarity

from blindmatch_simulations.measure.processes import used_cpu_seconds
from blindmatch_simulations.measure.results import Strict, significant
from blindmatch_simulations.measure.yardstick import reading

T = TypeVar("T")
Pair: TypeAlias = tuple[bytes, bytes]
"""Files of a picture and of it edited."""

_BATCHES = 3


class Distortion(Strict, frozen=True):
    """How far an edit moves pictures: means over them, of values from 0 to 1.

    Attributes:
        edit: its name in the standard suite.
        l2: Euclidean norm of the difference over all values of a picture.
        linf: the largest difference of a value.
        ssim: structural similarity (Wang et al. 2004), windows of 7 x 7, mean of three channels; 1 is equal.
        values: of a picture, in the mean; l2 over the root of it is the root mean square.
        pictures: how many were edited.
    """

    edit: str
    l2: float
    linf: float
    ssim: float
    values: int
    pictures: int

    def words(self) -> str:
        """For people."""
        return f"{self.edit}: L2 {self.l2:.1f}, Linf {self.linf:.2f}, SSIM {self.ssim:.2f}"


class Budget(Strict, frozen=True):
    """See above. What an attack does not have is left out, never 0."""

    queries: int | UnsetType = UNSET
    distortion: Distortion | UnsetType = UNSET
    compute_u: float | UnsetType = UNSET
    list_share: float | UnsetType = UNSET

    def words(self) -> str:
        """For people."""
        said = [
            "" if self.queries is UNSET else f"{self.queries:,} queries",
            "" if self.distortion is UNSET else self.distortion.words(),
            "" if self.compute_u is UNSET else f"{self.compute_u:,.0f} u",
            "" if self.list_share is UNSET else f"{self.list_share:.3g} of the list",
        ]
        return "; ".join(filter(None, said))


class Spending(Struct):
    """Counts while an attack runs; see above.

    Attributes:
        reused_s: CPU seconds of what an earlier run made and this one needs as well.
    """

    queries: int = 0
    reused_s: float = 0.0
    distortion: Distortion | UnsetType = UNSET
    list_share: float | UnsetType = UNSET

    def measured(self, task: Callable[[], T]) -> tuple[T, Budget]:
        """What `task` gives, and what it spent."""
        u_us, before = reading(batches=_BATCHES).u_us, used_cpu_seconds()
        made = task()
        compute = significant((used_cpu_seconds() - before + self.reused_s) * 1e6 / u_us)
        return made, Budget(self.queries or UNSET, self.distortion, compute, self.list_share)


def distortion(edit: str, pairs: Sequence[Pair]) -> Distortion:
    """How far an edit moves pictures; one of another size is first scaled to the original's."""
    rows = np.array([_apart(*pair) for pair in pairs])
    l2, linf, ssim, values = (significant(float(mean)) for mean in rows.mean(axis=0))
    return Distortion(edit, l2, linf, ssim, round(values), len(rows))


def _apart(original: bytes, edited: bytes) -> tuple[float, float, float, int]:
    first, second = (decode(data).pixels for data in (original, edited))
    if first.shape != second.shape:
        size = first.shape[1], first.shape[0]
        second = np.asarray(Image.fromarray(second).resize(size, Image.Resampling.BICUBIC))
    one, other = (pixels.astype(np.float64) / 255 for pixels in (first, second))
    apart = np.abs(one - other)
    alike = structural_similarity(one, other, channel_axis=2, data_range=1.0)  # type: ignore[no-untyped-call]
    return float(np.sqrt((apart**2).sum())), float(apart.max()), float(alike), apart.size
