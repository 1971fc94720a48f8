"""What a worker computes: a block of a design, or what the design needs besides; it loads little else."""

from __future__ import annotations

import io
import json
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import asdict, replace

from blindmatch_simulations.evaluation.population.counts import block_counts, blocks
from blindmatch_simulations.evaluation.population.model import Model
from blindmatch_simulations.evaluation.population.outputs import banded, jointly, tornado

BANDS: Final = -1
DEVICES: Final = -2
ENDS: Final = -3
"""No blocks: what needs no counts, what real devices count, and what figures moved to their ends give."""
DEVICE_DAYS: Final = 10


class Work(NamedTuple):
    """What a worker is given with the number of a block.

    Attributes:
        reference: what loads the design.
        devices: real ones; 0 for none.
    """

    its: Model
    reference: str
    seed: int
    devices: int

    def alike(self, other: Work) -> bool:
        """Do the two differ in costs at the most, so that counts and bands are the same?"""
        one, two = (replace(each.its.behaviour, costs={}, entries=0, key=None) for each in (self, other))
        return one == two


def blocks_of(work: Work, shared: bool) -> list[int]:
    """What is to be done for a design, the longest first; not again what is `shared` with another."""
    counted = () if shared else (BANDS, *range(blocks(work.its.accounts)))
    return [*[DEVICES] * bool(work.devices), *counted, ENDS]


def computed(work: Work, block: int) -> bytes:
    """In a worker: one block's counts, or what a design needs besides."""
    its = work.its
    if block == DEVICES:
        from blindmatch_simulations.evaluation.population.messages import lived
        from blindmatch_simulations.testbed.deployment.registry import load_design

        days = min(its.days, DEVICE_DAYS)
        counted = lived(load_design(work.reference), its.inputs, work.devices, days, work.seed)
        return json.dumps({"devices": counted}).encode()
    if block == BANDS:
        return json.dumps({"bands": banded(its, work.seed), "joint": jointly(its, work.seed, False)}).encode()
    if block == ENDS:
        expects, moved = tornado(its.inputs, its.behaviour, its.accounts, its.days)
        made = {"expected": expects, "sensitivity": [asdict(one) for one in moved]}
        return json.dumps({**made, "loads": jointly(its, work.seed, True)}).encode()
    held = io.BytesIO()
    np.save(held, block_counts(its, work.seed, block), allow_pickle=False)
    return held.getvalue()
