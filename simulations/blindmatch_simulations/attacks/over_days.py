"""Whoever answers requests intersects days: which account asked, each day, about the picture of that day?

    day    one account sends a picture that the adversary has in mind; others send what they like
    left   the accounts whose requests, every day so far, showed what any request for that picture shows

Where requests come without an account, by way of a carrier, it is supposed to know who was active, which half
of the others are on a day (assumed, not measured). It keeps those that were on days when a request fitted, by
what does not fit a picture of nobody's; how often activity alone singles one out, those days known, is said.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Party
from blindmatch_protocol.designs.he_hamming.ring import Ring
from blindmatch_protocol.designs.voprf import design as voprf_design
from blindmatch_protocol.oprf import Mode, blind
from blindmatch_protocol.randomness import Randomness, seeded

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, share_of
from blindmatch_simulations.inprocess.deployed import Deployed
from blindmatch_simulations.inprocess.fields import fields_of
from blindmatch_simulations.inprocess.seeded import below, flag
from blindmatch_simulations.inprocess.steps import sent
from blindmatch_simulations.pictures.hash_only import HashOnly

ACCOUNTS: Final = 8
DAYS: Final = 4
TRIALS: Final = 40
QUICK_TRIALS: Final = 4
ASKED: Final = {"k": 16, "bands": 2, "probes": 2}
encrypt: Final = Ring.encrypt


def run(arena: Arena) -> Figure:
    """The share of trials in which one account is left, the right one; how many are left each day."""
    arena = arena.reduced()
    deployed = arena.deployed(arena.hashes(8, "list"), "set", **ASKED)
    trials = TRIALS if arena.thorough else QUICK_TRIALS
    left = np.zeros((trials, DAYS, 2))
    for number in arena.each(range(trials)):
        left[number] = list(_left(arena, deployed, number))
    alone, by_activity = (left[:, -1] == 1).sum(axis=0)
    means = left[:, :, 0].mean(axis=0)
    parts = {f"accounts left after day {day}": float(mean) for day, mean in enumerate(means, 1)}
    if deployed.design.info.forwarded:
        parts["share singled out by activity alone"] = float(by_activity / trials)
    return share_of("share singled out", int(alone), trials, parts)


def _left(arena: Arena, deployed: Deployed, number: int) -> Iterator[tuple[int, int]]:
    """How many accounts are left after each day, 0 without the right one; and how many were active on all."""
    rng, info = arena.rng(f"days/{number}"), deployed.design.info
    target, left, always = below(rng, ACCOUNTS), set(range(ACCOUNTS)), set(range(ACCOUNTS))
    for day in range(DAYS):
        rows = arena.hashes(ACCOUNTS + 2, f"{number}/{day}")
        *others, wanted, nobodys = (HashOnly(row.tobytes()) for row in rows)
        active = {one for one in range(ACCOUNTS) if one == target or not info.forwarded or flag(rng)}
        asked = {one: wanted if one == target else others[one] for one in active}
        known = _shown(arena, deployed, wanted, rng) & _shown(arena, deployed, wanted, rng)
        fitting = {one for one in active if known <= _shown(arena, deployed, asked[one], rng)}
        always &= active
        if not known <= _shown(arena, deployed, nobodys, rng):
            left &= active if info.forwarded and fitting else fitting
        yield len(left) if target in left else 0, len(always)


def _shown(arena: Arena, deployed: Deployed, item: HashOnly, rng: Randomness) -> frozenset[Hashable]:
    """Lengths and fields of the first request for a picture, by their places, as its role reads it."""
    design, found = deployed.design, set[Hashable]()
    bodies = sent(deployed, item, rng)
    assert bodies
    arena.spending.queries += len(bodies)
    for role, sealed in bodies.items():
        body = design.unsealed(role, deployed.states[role], sealed)
        found |= {
            (role, len(sealed.encode())),
            *((role, at, *leaf) for at, leaf in enumerate(fields_of(body))),
        }
    return frozenset(found)


def _blind_alike(inputs: Sequence[bytes], mode: Mode, rng: Randomness, *more: Any) -> Any:
    return blind(inputs, mode, seeded("one blind for all"), *more)


def _encrypt_alike(ring: Ring, secret: bytes, vector: Any, rng: Randomness) -> Any:
    return encrypt(ring, secret, vector, seeded("one seed for all"))


UNBLINDED: Final = replacing((voprf_design, "blind", _blind_alike), (Ring, "encrypt", _encrypt_alike))
"""Every request for a picture is the same."""
RECURRING_PICTURE: Final = Adversary(
    name="recurring-picture",
    means=Means(
        frozenset({Party.MATCHER}), Conduct.SEMI_HONEST, "pictures in mind, and every request of days"
    ),
    claim=Claim("requests of many days add up to nothing"),
    budget=f"{ACCOUNTS} accounts, {DAYS} days, {TRIALS} times",
    move=run,
    weakness=UNBLINDED,
    against=frozenset({"oprf-psi", "token-psi", "split-psi", "split-token-psi", "he-hamming"}),
)
RECURRING_HASH: Final = replace(
    RECURRING_PICTURE,
    name="recurring-hash",
    claim=Claim("days add up to an account"),
    weakness=AS_BUILT,
    against=frozenset({"hash-upload", "partial-hash", "prefix-bucket", "third-party"}),
)
