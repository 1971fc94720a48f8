"""A modified device asks for what it likes, and opens entries of the list.

    oprf-psi    a hash of its choice an evaluation: of a dictionary it opens the entries that are in it
    token-psi   tokens of its choice, half of them in each of two bands (`near.extraction`): of N entries
                N (E / 2^(k+1))^2 open after E evaluations, whether anybody knows them or not

The tokens are shortened to 8 bits here, so that 512 evaluations open a whole list.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from blindmatch_protocol.contract import Match, Party

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure
from blindmatch_simulations.inprocess.deployed import Deployed, run_session
from blindmatch_simulations.pictures.hash_only import HashOnly
from blindmatch_simulations.studies.near.extraction import extract

ENTRIES: Final = 64
SHORT: Final = 8
"""Bits of a token."""


def run(arena: Arena) -> Figure:
    """Count the entries that open, by the number of evaluations."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "list"), "set", k=SHORT, bands=2, probes=16)
    by_parts = arena.design.extraction(deployed.setup) is not None
    spent = (1 << SHORT, 2 << SHORT) if by_parts else (32, 64)
    opened = {f"{count} evaluations": float(_opened(arena, deployed, count)) for count in arena.each(spent)}
    most = max(opened.values())
    return Figure("entries opened", most, most > 0, ENTRIES, None, opened)


def _opened(arena: Arena, deployed: Deployed, evaluations: int) -> int:
    rng = arena.rng("asked")

    if arena.design.extraction(deployed.setup) is not None:
        return len(extract(deployed.setup, deployed.asking(rng), evaluations, rng))
    half = evaluations // 2
    arena.spending.list_share = half / ENTRIES
    dictionary = np.concatenate([deployed.build.entries[:half], arena.hashes(half, "dictionary")])
    ran = (run_session(deployed, HashOnly(row.tobytes()), rng) for row in dictionary)
    return sum(isinstance(one.outcome, Match) for one in ran)


ATTACK: Final = Adversary(
    name="extraction",
    means=Means(frozenset({Party.DEVICE}), has="a modified device, which asks for what it likes"),
    claim=Claim("each request tests a guess, or in token-psi opens a part"),
    budget="32 and 64 evaluations of oprf-psi, 256 and 512 of token-psi with tokens of 8 bits",
    move=run,
    weakness=AS_BUILT,
    against=frozenset({"oprf-psi", "token-psi"}),
)
