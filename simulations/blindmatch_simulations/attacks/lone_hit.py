"""A device looks for lone hits: tokens of its choice that one entry has, and no label to show for it.

It asks for tokens, half of which are an entry's, and reads what a layer's store holds for each. A lone hit
and a miss must look alike in layers of every size; an update of one entry is the smallest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Party
from blindmatch_protocol.designs.token_psi import derivation
from blindmatch_protocol.designs.token_psi.build import oprf_input_rows
from blindmatch_protocol.designs.token_psi.tokens import entry_tokens
from blindmatch_protocol.fuse_map import Cells
from blindmatch_protocol.oprf import evaluate_rows

from blindmatch_simulations.attacks.adversary import Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, Played, advantages, won
from blindmatch_simulations.inprocess.deployed import opened, update
from blindmatch_simulations.measure.intervals import Advantage

SIZES: Final = (1, 10, 100, 1000)
"""Entries of a layer."""
QUICK_SIZES: Final = (1, 10)
LOOK_UPS: Final = 400
"""Tokens a size, half of them hits; as many layers are made as that takes."""
PER_LAYER: Final = 20
K: Final = 24
BANDS: Final = 4


def run(arena: Arena) -> Figure:
    """The largest advantage in telling a lone hit from a miss, by the size of the layer."""
    sizes = SIZES if arena.thorough else QUICK_SIZES
    found = {f"{size} entries": _advantage(arena, size, len(sizes)) for size in arena.each(sizes)}
    return advantages(found)


def _advantage(arena: Arena, size: int, sizes: int) -> Advantage:
    hits = min(PER_LAYER // 2, size * BANDS)
    played: list[Played] = []
    while len(played) < LOOK_UPS:
        played += _layer(arena, size, hits, f"{size}/{len(played)}")
    return won(played, sizes)


def _layer(arena: Arena, size: int, hits: int, purpose: str) -> Iterator[Played]:
    """Look-ups in an update of so many entries, hits and misses by turns."""
    entries, others = arena.hashes(size, f"added/{purpose}"), arena.hashes(hits, f"others/{purpose}")
    base = arena.publish(arena.hashes(2, f"base/{purpose}"), purpose, k=K, bands=BANDS, probes=1)
    deployed = opened(update(base, entries, [], arena.rng(purpose)))
    read = [_read(arena, deployed, hashes, hits) for hashes in (entries, others)]
    seen = Counter(value for side in read for value in side)
    for pair in zip(*read, strict=True):
        for value, case in zip(pair, (True, False), strict=True):
            yield Played((value == 0, seen[value] > 1), case)


def _read(arena: Arena, deployed: Any, hashes: Rows, count: int) -> list[int]:
    """What the newest layer holds for the first tokens of hashes.

    The outputs are those that a device gets for tokens it asks for, see `extraction`.
    """
    inputs = oprf_input_rows(entry_tokens(hashes, K, BANDS))[:count]
    (state,) = deployed.states.values()
    arena.spending.queries += count
    layer = deployed.setup.layers[-1]
    keys = derivation.token_keys(evaluate_rows(state.key, inputs), layer.epoch)
    read: list[int] = layer.store.lookup(keys.store_keys)[:, 0].tolist()
    return read


ATTACK: Final = Adversary(
    name="lone-hit",
    means=Means(frozenset({Party.DEVICE}), has="tokens of its choice"),
    claim=Claim("a lone hit is never seen", "docs/designs/token-psi.md"),
    budget=f"{LOOK_UPS} tokens a size, half of them an entry's",
    move=run,
    weakness=replacing((Cells, "__call__", lambda cells, word, count: np.zeros(count, np.uint64))),
    against=frozenset({"token-psi"}),
)
