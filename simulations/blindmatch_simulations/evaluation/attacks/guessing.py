"""Pictures that somebody thinks of are tested, half of which are on the list.

guessing            the matcher, which holds the OPRF key and the set, plays the device towards itself
membership-probing  a device asks as devices do, one request a guess
one-share           each party alone that holds a share of the key, with it and with what it and a small one
                    of another make up
all-shares          they join their shares, and do as the single holder of a key does
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Match, Party, Role
from blindmatch_protocol.crypto.oprf import SecretKey, evaluate
from blindmatch_protocol.designs.voprf import KeyLayout, Verified
from blindmatch_protocol.picture.pdq import rows
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks.adversary import Claim, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, advantages
from blindmatch_simulations.evaluation.attacks.needs import ASKS, HALVES, ONE_KEY, TOLD
from blindmatch_simulations.measure.intervals import GAME_CONFIDENCE, Advantage, advantage
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, run_session
from blindmatch_simulations.testbed.pictures.pool import HashOnly, picture

GUESSES: Final = 40
QUICK_GUESSES: Final = 10


@attack(
    "guessing",
    Means(frozenset({Party.MATCHER}), Conduct.SEMI_HONEST, "the key and the set"),
    Claim("it can evaluate any guess and look it up"),
    budget=f"{GUESSES} guesses, half of them listed",
    needs=(ONE_KEY,),
)
def guessing(arena: Arena) -> Figure:
    """The advantage over guessing blindly whether a hash is on the list."""
    arena, count = arena.reduced(), GUESSES if arena.thorough else QUICK_GUESSES
    guesses = [picture(1000 * arena.seed + number) for number in range(count)]
    listed = rows([guess.hash for guess in guesses[: count // 2]])
    deployed, rng, right = arena.deployed(listed, "set", bands=4, probes=2), arena.rng("guesses"), 0
    arena.spending.list_share = 1.0
    for at, guess in enumerate(arena.each(guesses)):
        found = isinstance(run_session(deployed, guess, rng).outcome, Match)
        right += found == (at < len(listed))
    made = advantage(right, count)
    return Figure("advantage", made.value, made.told_apart, count, (made.low, made.high))


attack(
    "membership-probing",
    Means(frozenset({Party.DEVICE}), has="hashes it would know about"),
    Claim("whoever may ask tests any hash, one request a guess"),
    budget=guessing.budget,
    needs=(ASKS, TOLD),
)(guessing.move)
SMALL: Final = 2
"""Scalars from 1 on that the other share is tried to be."""
_A, _B = Party("party_a"), Party("party_b")


def _of_ones(layout: KeyLayout, key: SecretKey, rng: Randomness) -> dict[Role, SecretKey]:
    """Shares of which all but the last are 1."""
    one = SecretKey(key.mode, (1).to_bytes(32, "little"))
    rest = group.subtract_scalars(key.rows(), one.rows())
    return {layout.roles[0]: one, layout.roles[1]: SecretKey(key.mode, rest.tobytes())}


@attack(
    "one-share",
    Means(frozenset({_B}), Conduct.SEMI_HONEST, "its share, and the set"),
    Claim("No party alone can test a guess", "docs/designs/split-psi.md"),
    budget=f"{GUESSES} guesses, half of them listed, {SMALL + 1} keys for each, as either party",
    weakness=replacing((KeyLayout, "split", _of_ones)),
    needs=(HALVES,),
)
def one_share(arena: Arena) -> Figure:
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


attack(
    "all-shares",
    Means(frozenset({_A, _B}), Conduct.SEMI_HONEST, "all shares, and the set"),
    Claim("Together they can test any guess offline", "docs/designs/split-psi.md"),
    budget=guessing.budget,
    needs=(HALVES,),
)(guessing.move)
