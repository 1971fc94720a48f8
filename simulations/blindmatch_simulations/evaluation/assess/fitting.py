"""Whether a design can do the whole workload; a smaller list and fewer pictures for one that is too dear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Progress
from blindmatch_server.curator import HashList
from blindmatch_server.epochs.published import open_publication
from msgspec import Struct

from blindmatch_simulations.evaluation.assess.alone import sessions_alone
from blindmatch_simulations.evaluation.assess.keeping import FIRST, Kept, kept_set
from blindmatch_simulations.evaluation.assess.material import MadeItem, Material
from blindmatch_simulations.evaluation.assess.observed import AloneRow
from blindmatch_simulations.evaluation.assess.plan import Plan
from blindmatch_simulations.measure.yardstick import reading
from blindmatch_simulations.testbed.inprocess.deployed import values_of
from blindmatch_simulations.testbed.inprocess.opened import open_published

LEAST_ENTRIES: Final = 1_000
LEAST_PICTURES: Final = 8
DEAR_U: Final = 20_000
"""A picture that takes more, in u, is asked about no more often than must be."""


class Fitted(Redacted, Struct, frozen=True):
    """What a design is run on.

    Attributes:
        entries: the list, whole or cut short.
        kept: its set.
        items: pictures, all or the first ones of the order of sending.
        alone: the first of them, each timed in one process.
        u: what a picture takes.
        in_all: pictures of the workload.
        lessened: what was left out, in words; empty if nothing.
    """

    entries: HashList
    kept: Kept
    items: list[MadeItem]
    alone: list[AloneRow]
    u: float
    in_all: int
    lessened: str

    @property
    def dear(self) -> bool:
        """Does a picture take so long that no more are asked about than must be?"""
        return self.u > DEAR_U

    def most(self, pictures: int) -> int:
        """So many pictures, fewer if one is dear."""
        return min(pictures, len(self.alone)) if self.dear else pictures


@contextmanager
def fitted(
    design: AnyDesign, material: Material, plan: Plan, sets: Path, progress: Progress
) -> Iterator[Fitted]:
    """The largest part of the workload that the design can do with the plan's work; its set is in `sets`.

    A part is a power of two of entries or pictures, so that it hardly depends on how well u was measured.

    Raises:
        DesignError: if the list cannot be served.
    """
    limits, most = plan.limits, None
    while True:
        with material.entries(most) as entries:
            kept = kept_set(design, entries, plan.seed, sets, progress, values_of(design, plan.parameters))
            before = reading().u_us
            alone = _alone(design, kept, material)
            took = work_of(alone, (before + reading().u_us) / 2)
            if took <= limits.picture_u or len(entries) <= LEAST_ENTRIES:
                count = max(LEAST_PICTURES, _power(limits.pictures_u / max(took, 1e-6)))
                items = material.items()
                words = _lessened(len(entries), len(material), count, len(items), seconds_of(alone))
                yield Fitted(entries, kept, items[:count], alone, took, len(items), words)
                return
            most = max(LEAST_ENTRIES, _power(len(entries) * limits.picture_u / took))


def _power(number: float) -> int:
    """The largest power of two that is no more; 1 at least."""
    return 1 << max(0, int(number).bit_length() - 1)


def work_of(alone: Sequence[AloneRow], u_us: float) -> float:
    """The CPU that a picture takes, device and roles together, in u; of the last one, as for `seconds_of`."""
    return 1000 * (alone[-1].device_cpu_ms + alone[-1].role_cpu_ms) / u_us


def seconds_of(alone: Sequence[AloneRow]) -> float:
    """What a picture takes by the clock, device and roles together: the last one, since what is loaded once
    does not count."""
    return (alone[-1].device_ms + alone[-1].role_ms) / 1000


def _alone(design: AnyDesign, kept: Kept, material: Material) -> list[AloneRow]:
    """The first two pictures' sessions."""
    opened = open_published(design, open_publication(kept.folder, FIRST))
    pictures = [(item.index, material.data(item)) for item in material.items()[:2]]
    return list(sessions_alone(opened, pictures, system_randomness()))


def _lessened(entries: int, all_entries: int, count: int, pictures: int, took: float) -> str:
    parts = [f"{entries:,} of {all_entries:,} entries"] if entries < all_entries else []
    parts += [f"{count:,} of {pictures:,} pictures"] if count < pictures else []
    rate = f"a picture takes {took:.2g} s with {entries:,} entries, {3600 / took:,.0f} an hour"
    return f"{' and '.join(parts)}: {rate}" if parts else ""
