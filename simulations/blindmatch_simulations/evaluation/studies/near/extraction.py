"""What a modified client, or many that pool, gets out of a set: the attack, and limits against it.

The attack asks for tokens of its own choice, half of them in each of two bands, reads what the store holds
for them and tries all pairs. What that opens by the formula: `designs.token_psi.extraction`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Label
from blindmatch_protocol.crypto.oprf import Mode, blind
from blindmatch_protocol.designs.token_psi import Tokening, TokenPsi, derivation, shares
from blindmatch_protocol.designs.token_psi.build import oprf_inputs
from blindmatch_protocol.designs.token_psi.extraction import best_share, evaluations_for_all
from blindmatch_protocol.designs.voprf import LIMITS, Limits, Waiting

from blindmatch_simulations.testbed.inprocess.opened import OpenDesign

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


def extract(parties: OpenDesign, evaluations: int, rng: Randomness) -> dict[int, Label]:
    """Run the attack on the full set, with two bands needed; the opened labels by entry id.

    Args:
        parties: token-psi, or a design on its base: its roles are asked as any device may.
        evaluations: how many tokens to ask for at most; half of them in each of the first two bands.

    Raises:
        ValueError: if the set needs three bands.
    """
    setup = parties.setup
    if setup.tokening.needed != 2:
        raise ValueError("this attack is for sets that need two bands")
    each = min(evaluations // 2, 1 << setup.tokening.k)
    values = _values(parties, [*_inputs(0, each), *_inputs(1, each)], rng)
    secrets = shares.candidates(values.reshape(2, each, -1), 2)
    return {label.entry_id: label for label in setup.layers[0].labels_of(secrets)}


def _inputs(band: int, count: int) -> list[bytes]:
    """The first `count` tokens of a band, as inputs."""
    tokens = np.zeros((count, band + 1), np.uint32)
    tokens[:, band] = np.arange(count)
    return oprf_inputs(tokens)[band :: band + 1]


def _values(parties: OpenDesign, inputs: list[bytes], rng: Randomness) -> Rows:
    """What the full set holds for these tokens, (n, 16), by as few requests as they fit in."""
    most, layer = parties.setup.tokening.tokens, parties.setup.layers[0]
    starts = range(0, len(inputs), most)
    outputs = np.concatenate([_outputs(parties, inputs[at : at + most], rng) for at in starts])
    values: Rows = layer.values(derivation.token_keys(outputs, layer.epoch))
    return values


def _outputs(parties: OpenDesign, inputs: list[bytes], rng: Randomness) -> Rows:
    """The outputs of some tokens by one request of the one size there is, to each holder of the key."""
    design, setup = parties.design, parties.setup
    assert isinstance(design, TokenPsi)
    blinding, blinded = blind(inputs + [b"filler"] * (setup.count - len(inputs)), Mode.VOPRF, rng)
    body = design.round.request(setup.epoch, blinded)
    replies = {role: parties.answer(role, body, rng)[0] for role in design.layout.roles}
    waiting = Waiting(blinding, None, False)
    return design.round.outputs(waiting, replies, setup.epoch, design.layout, setup.keys)[: len(inputs)]
