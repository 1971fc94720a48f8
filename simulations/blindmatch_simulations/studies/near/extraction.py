"""What a modified client, or many that pool, gets out of a set: the formula, and the attack itself.

The attack asks for tokens of its own choice, half of them in each of two bands, reads what the store holds
for them and tries all pairs. An entry opens if both its tokens were asked for: of N uniform entries about
N (E / 2^(k+1))^2 after E evaluations, up to E = 2^(k+1), which opens all of them. Spread over all bands few
evaluations open more: 1.8 times that of ten bands. Real pictures share values of their bands, so whoever asks
for the frequent ones opens far more of a list of them. Which of the two bands hit is never seen on its own,
so the trials cannot be cut down: (E / 2)^2 of them.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from typing import Final

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Label
from blindmatch_protocol.designs.token_psi import (
    Limits,
    Reply,
    Request,
    Setup,
    Tokening,
    derivation,
    shares,
)
from blindmatch_protocol.designs.token_psi.build import oprf_inputs
from blindmatch_protocol.designs.token_psi.parameters import LIMITS
from blindmatch_protocol.oprf import Evaluation, Mode, blind, finalize
from blindmatch_protocol.randomness import Randomness

DEFAULT_LIMITS: Final = Limits(**{parameter.name: parameter.default for parameter in LIMITS})
"""Those of a set that is built without saying any."""


def obtainable(limits: Limits, accounts: int) -> float:
    """Evaluations that so many accounts which pool can get under one key; infinity without limits."""
    alone = limits.account_evaluations or float("inf")
    return min(accounts * alone, limits.all_evaluations or float("inf"))


def limits_for(tokening: Tokening, alone: float, pooled: float, expires: int = 0) -> Limits:
    """Limits under which one account opens at most the share `alone` of a uniform list, and all that pool the
    share `pooled`, however they spread what they ask over the bands; neither is less than one request."""
    account, everyone = (max(tokening.tokens, _most(tokening, share)) for share in (alone, pooled))
    return Limits(account, everyone, expires)


def _most(tokening: Tokening, share: float) -> int:
    """The most evaluations that open no more than a share of a uniform list."""
    low, high = 0, evaluations_for_all(tokening.k, tokening.needed)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if best_share(middle, tokening) <= share else (low, middle - 1)
    return low


def expected_share(evaluations: float, k: int, needed: int = 2, bands: int | None = None) -> float:
    """The share of a uniform list's entries that so many evaluations open, of single-member families, if they
    are spread evenly over `bands` bands; over as many as are needed without it."""
    over = bands or needed
    asked = min(1.0, evaluations / over / 2**k)
    return float(sum(comb(over, n) * asked**n * (1 - asked) ** (over - n) for n in range(needed, over + 1)))


def best_share(evaluations: float, tokening: Tokening) -> float:
    """The same over as many bands as open most."""
    t = tokening
    return max(expected_share(evaluations, t.k, t.needed, n) for n in range(t.needed, t.bands + 1))


def evaluations_for_all(k: int, needed: int = 2) -> int:
    """Evaluations that open every entry."""
    return int(needed * 2**k)


def extract(
    setup: Setup, ask: Callable[[Request], Reply], evaluations: int, rng: Randomness
) -> dict[int, Label]:
    """Run the attack on the full set, with two bands needed; the opened labels by entry id.

    Args:
        setup: the opened set-up, as every device has it.
        ask: sends a request to the matcher, as any device may.
        evaluations: how many tokens to ask for at most; half of them in each of the first two bands.
        rng: for the blinds.

    Raises:
        ValueError: if the set needs three bands.
    """
    if setup.tokening.needed != 2:
        raise ValueError("this attack is for sets that need two bands")
    each = min(evaluations // 2, 1 << setup.tokening.k)
    values = np.stack([_values(setup, ask, band, each, rng) for band in (0, 1)])
    secrets = shares.candidates(values, 2)
    return {label.entry_id: label for label in setup.layers[0].labels_of(secrets)}


def _values(setup: Setup, ask: Callable[[Request], Reply], band: int, count: int, rng: Randomness) -> Rows:
    """What the full set holds for the first `count` tokens of a band, (count, 16)."""
    tokens = np.zeros((count, band + 1), np.uint32)
    tokens[:, band] = np.arange(count)
    inputs = oprf_inputs(tokens)[band :: band + 1]
    outputs = np.concatenate(
        [_outputs(setup, ask, inputs[at : at + setup.tokening.tokens], rng)
         for at in range(0, count, setup.tokening.tokens)]
    )  # fmt: skip
    layer = setup.layers[0]
    return layer.values(derivation.token_keys(outputs, layer.epoch))


def _outputs(setup: Setup, ask: Callable[[Request], Reply], inputs: list[bytes], rng: Randomness) -> Rows:
    """The outputs of some tokens by one request of the one size there is."""
    full = inputs + [b"filler"] * (setup.tokening.tokens - len(inputs))
    blinding, blinded = blind(full, Mode.VOPRF, rng)
    reply = ask(Request(setup.epoch, blinded))
    outputs = finalize(blinding, Evaluation(reply.evaluated, reply.proof), setup.public_key)
    return outputs[: len(inputs)]
