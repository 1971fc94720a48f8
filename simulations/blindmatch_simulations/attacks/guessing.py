"""The matcher, which holds the OPRF key and the set, tests hashes that it guesses; no device takes part.

It plays the device towards itself. Half of the guesses are on the list.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Match, Party

from blindmatch_simulations.attacks.adversary import Adversary, Claim, Means
from blindmatch_simulations.attacks.arena import Arena, HashOnly
from blindmatch_simulations.attacks.figure import Figure
from blindmatch_simulations.attacks.weakness import AS_BUILT
from blindmatch_simulations.inprocess.deployed import run_session
from blindmatch_simulations.measure.advantage import advantage

GUESSES: Final = 40


def run(arena: Arena) -> Figure:
    """The advantage over guessing blindly whether a hash is on the list."""
    listed, others = arena.hashes(GUESSES // 2, "listed"), arena.hashes(GUESSES // 2, "others")
    deployed, rng, right = arena.deployed(listed, "set", bands=4, probes=2), arena.rng("guesses"), 0
    for at, row in enumerate(np.concatenate([listed, others])):
        found = isinstance(run_session(deployed, HashOnly(row.tobytes()), rng).outcome, Match)
        right += found == (at < len(listed))
        arena.progress(at + 1, GUESSES)
    made = advantage(right, GUESSES)
    return Figure("advantage", made.value, made.told_apart, GUESSES, (made.low, made.high))


ATTACK: Final = Adversary(
    name="guessing",
    means=Means(frozenset({Party.MATCHER}), Conduct.SEMI_HONEST, "the key and the set"),
    claim=Claim("it can evaluate any guess and look it up", "docs/threat-model.md"),
    claimed=False,
    budget=f"{GUESSES} guesses, half of them listed",
    move=run,
    weakness=AS_BUILT,
    against=frozenset({"oprf-psi", "token-psi"}),
)
