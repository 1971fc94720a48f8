"""Pictures that somebody thinks of are tested, half of which are on the list.

guessing            the matcher, which holds the OPRF key and the set, plays the device towards itself
membership-probing  a device asks as devices do, one request a guess
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Match, Party
from blindmatch_protocol.picture import distance

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means
from blindmatch_simulations.attacks.arena import EXACT, NEAR, Arena
from blindmatch_simulations.attacks.figure import Figure
from blindmatch_simulations.inprocess.deployed import run_session
from blindmatch_simulations.measure.intervals import advantage
from blindmatch_simulations.pictures.pool import picture

GUESSES: Final = 40
QUICK_GUESSES: Final = 10
UNASKED: Final = frozenset({"provider-scan", "device-list", "device-list-hashed"})
"""Designs whose devices ask nobody who tells them an outcome."""


def run(arena: Arena) -> Figure:
    """The advantage over guessing blindly whether a hash is on the list."""
    arena, count = arena.reduced(), GUESSES if arena.thorough else QUICK_GUESSES
    guesses = [picture(1000 * arena.seed + number) for number in range(count)]
    listed = distance.rows([guess.hash for guess in guesses[: count // 2]])
    deployed, rng, right = arena.deployed(listed, "set", bands=4, probes=2), arena.rng("guesses"), 0
    arena.spending.list_share = 1.0
    for at, guess in enumerate(arena.each(guesses)):
        found = isinstance(run_session(deployed, guess, rng).outcome, Match)
        right += found == (at < len(listed))
    made = advantage(right, count)
    return Figure("advantage", made.value, made.told_apart, count, (made.low, made.high))


ATTACK: Final = Adversary(
    name="guessing",
    means=Means(frozenset({Party.MATCHER}), Conduct.SEMI_HONEST, "the key and the set"),
    claim=Claim("it can evaluate any guess and look it up"),
    budget=f"{GUESSES} guesses, half of them listed",
    move=run,
    weakness=AS_BUILT,
    against=frozenset({"oprf-psi", "token-psi"}),
)
MEMBERSHIP: Final = replace(
    ATTACK,
    name="membership-probing",
    means=Means(frozenset({Party.DEVICE}), has="hashes it would know about"),
    claim=Claim("whoever may ask tests any hash, one request a guess"),
    against=(EXACT | NEAR) - UNASKED,
)
