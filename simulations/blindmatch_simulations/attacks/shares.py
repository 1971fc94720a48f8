"""Parties that hold shares of a VOPRF key guess: one of them alone, and all of them together.

one share    tests guesses with its own share, and with what it and a small one of another make up
all shares   join their shares and test guesses as the single holder of a key does (`guessing`)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Party, Role
from blindmatch_protocol.designs.voprf import KeyLayout, Verified
from blindmatch_protocol.oprf import SecretKey, evaluate
from blindmatch_protocol.randomness import Randomness

from blindmatch_simulations.attacks import guessing
from blindmatch_simulations.attacks.adversary import Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, advantages
from blindmatch_simulations.inprocess.deployed import Deployed
from blindmatch_simulations.measure.intervals import GAME_CONFIDENCE, Advantage, advantage
from blindmatch_simulations.pictures.hash_only import HashOnly

GUESSES: Final = 40
SMALL: Final = 2
"""Scalars from 1 on that the other share is tried to be."""
HALVES: Final = frozenset({"split-psi", "split-token-psi"})
_A, _B = Party("party_a"), Party("party_b")


def run(arena: Arena) -> Figure:
    """Each party's advantage over guessing blindly whether a hash is on the list."""
    listed, others = arena.hashes(GUESSES // 2, "listed"), arena.hashes(GUESSES // 2, "others")
    deployed = arena.deployed(listed, "set", bands=4, probes=2)
    arena.spending.list_share = 1.0
    guesses, holders = np.concatenate([listed, others]), deployed.states.items()
    found = {
        str(role): _tested(deployed, list(_keys(state.key)), guesses, arena.rng("guesses"))
        for role, state in arena.each(holders)
    }
    best = max(found.values(), key=lambda one: one.value)
    return replace(advantages(found), parts={"best": round(best.value, 4)})


def _tested(deployed: Deployed, keys: list[SecretKey], guesses: Rows, rng: Randomness) -> Advantage:
    """How well any of these keys tells the first half of the guesses, which are listed, from the others."""
    right = 0
    for at, row in enumerate(guesses):
        found = any(_opens(deployed, key, row.tobytes(), rng) for key in keys)
        right += found == (at < len(guesses) // 2)
    return advantage(right, len(guesses), 1 - (1 - GAME_CONFIDENCE) / len(deployed.states))


def _opens(deployed: Deployed, key: SecretKey, guess: bytes, rng: Randomness) -> bool:
    design: Any = deployed.design
    inputs = design.inputs(deployed.setup, HashOnly(guess), False, rng)
    return design.found(deployed.setup, Verified(evaluate(key, inputs), guess)) is not None


def _keys(own: SecretKey) -> Iterator[SecretKey]:
    """What the whole key may be to whoever holds one share."""
    yield own
    for scalar in range(1, SMALL + 1):
        other = np.frombuffer(scalar.to_bytes(32, "little"), np.uint8).reshape(1, 32)
        yield SecretKey(own.mode, group.add_scalars(own.rows(), other).tobytes())


def _of_ones(layout: KeyLayout, key: SecretKey, rng: Randomness) -> dict[Role, SecretKey]:
    """Shares of which all but the last are 1."""
    one = SecretKey(key.mode, (1).to_bytes(32, "little"))
    rest = group.subtract_scalars(key.rows(), one.rows())
    return {layout.roles[0]: one, layout.roles[1]: SecretKey(key.mode, rest.tobytes())}


ONE_SHARE: Final = Adversary(
    name="one-share",
    means=Means(frozenset({_B}), Conduct.SEMI_HONEST, "its share, and the set"),
    claim=Claim("No party alone can test a guess", "docs/designs/split-psi.md"),
    budget=f"{GUESSES} guesses, half of them listed, {SMALL + 1} keys for each, as either party",
    move=run,
    weakness=replacing((KeyLayout, "split", _of_ones)),
    against=HALVES,
)
ALL_SHARES: Final = replace(
    guessing.ATTACK,
    name="all-shares",
    means=Means(frozenset({_A, _B}), Conduct.SEMI_HONEST, "all shares, and the set"),
    claim=Claim("Together they can test any guess offline", "docs/designs/split-psi.md"),
    against=HALVES,
)
