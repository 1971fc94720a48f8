"""What a worker computes: a block of a design, or what the design needs besides; it loads little else."""

from __future__ import annotations

import io
import json
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import asdict

from blindmatch_simulations.evaluation.population.counts import block_counts, blocks
from blindmatch_simulations.evaluation.population.model import Model
from blindmatch_simulations.evaluation.population.outputs import banded
from blindmatch_simulations.evaluation.population.sensitivity import tornado

ENDS: Final = -1
DEVICES: Final = -2
"""No blocks: what needs no counts, and what real devices count."""
DEVICE_DAYS: Final = 10


class Work(NamedTuple):
    """What a worker is given with the number of a block.

    Attributes:
        its: the model.
        reference: what loads the design.
        seed: of the run.
        devices: real ones; 0 for none.
    """

    its: Model
    reference: str
    seed: int
    devices: int


def blocks_of(work: Work) -> list[int]:
    """What is to be done for a design, the longest first."""
    return [*[DEVICES] * bool(work.devices), ENDS, *range(blocks(work.its.accounts))]


def computed(work: Work, block: int) -> bytes:
    """In a worker: one block's counts, or what a design needs besides."""
    its = work.its
    if block == DEVICES:
        from blindmatch_simulations.evaluation.population.devices import lived
        from blindmatch_simulations.testbed.deployment.registry import load_design

        days = min(its.days, DEVICE_DAYS)
        counted = lived(load_design(work.reference), its.inputs, work.devices, days, work.seed)
        return json.dumps({"devices": counted}).encode()
    if block == ENDS:
        moved = [asdict(one) for one in tornado(its.inputs, its.behaviour, its.accounts, its.days)]
        return json.dumps({**banded(its, work.seed), "sensitivity": moved}).encode()
    held = io.BytesIO()
    np.save(held, block_counts(its, work.seed, block), allow_pickle=False)
    return held.getvalue()
