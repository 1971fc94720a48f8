"""What a worker computes: a block of a design, or what the design needs besides; it loads little else."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from msgspec.structs import asdict, replace

from blindmatch_simulations.evaluation.population.counts import block_counts, blocks
from blindmatch_simulations.evaluation.population.model import Counts, Model
from blindmatch_simulations.evaluation.population.outputs import banded, jointly, tornado

BANDS: Final = -1
ENDS: Final = -2
"""No blocks: what needs no counts, and what figures moved to their ends give."""


class Work(NamedTuple):
    """What a worker is given with the number of a block."""

    its: Model
    seed: int

    def alike(self, other: Work) -> bool:
        """Do the two differ in costs at the most, so that counts and bands are the same?"""
        one, two = (replace(each.its.behaviour, costs={}, entries=0, key=None) for each in (self, other))
        return one == two


def blocks_of(work: Work, shared: bool) -> list[int]:
    """What is to be done for a design, the longest first; not again what is `shared` with another."""
    return [ENDS] if shared else [BANDS, *range(blocks(work.its.accounts)), ENDS]


def computed(work: Work, block: int) -> Counts | dict[str, Any]:
    """In a worker: one block's counts, or what a design needs besides."""
    its = work.its
    if block == BANDS:
        return {"bands": banded(its, work.seed), "joint": jointly(its, work.seed, False)}
    if block == ENDS:
        expects, moved = tornado(its.inputs, its.behaviour, its.accounts, its.days)
        made = {"expected": expects, "sensitivity": [asdict(one) for one in moved]}
        return {**made, "loads": jointly(its, work.seed, True)}
    return block_counts(its, work.seed, block)
