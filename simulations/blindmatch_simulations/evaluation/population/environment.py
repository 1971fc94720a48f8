"""What accounts have in common on a day: cascades that match, cascades of known material, outages.

Given these, accounts are independent of one another: an account's matches on a day are a Poisson number with
the account's rate times what stands here. That is how a benign look-alike hits everybody who sends it, and
why blocks of accounts can be drawn apart. A cascade of size m makes a Poisson number of sends with mean m.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from blindmatch_simulations.evaluation.population.model import Floats, Model, stream


class Environment(Struct, frozen=True):
    """Of one run, float64 (days,), or of several, (runs, days).

    Attributes:
        false: false matches for each picture that an honest account sends.
        listed: sends of known pictures that are in the epoch and reach the matching, over a sharer's mean.
        video, late, down: those that are video, not yet in the epoch, or cut off by an outage.
    """

    false: Floats
    listed: Floats
    video: Floats
    late: Floats
    down: Floats


def drawn(model: Model, seed: int, runs: int | None = None, purpose: str = "run") -> Environment:
    """One environment, or `runs` of them; none is the same for two purposes of a seed."""
    n = 1 if runs is None else runs
    material, given = model.inputs.material, model.inputs.cascades
    rates = model.false_rates
    begun = model.cascades.begun * np.concatenate([np.full(model.cascades.burn_in, rates[0]), rates])
    hits = _sends(model, begun, stream(seed, purpose, "false"), n) / model.volume
    false = (1 - given.benign.value) * rates + hits
    kinds = []
    for name, share in (("pictures", 1 - material.video.value), ("video", material.video.value)):
        begun = np.full(model.cascades.burn_in + model.days, model.cascades.begun_known * share)
        sends = _sends(model, begun, stream(seed, purpose, name), n)
        kinds.append((1 - given.known.value) * share + sends / (model.known or 1))
    down = _outages(model, stream(seed, purpose, "outages"), n)
    made = composed(model, false, kinds[0], kinds[1], down)
    return (
        made
        if runs is not None
        else Environment(*(getattr(made, name)[0] for name in made.__struct_fields__))
    )


def average_environment(model: Model) -> Environment:
    """Its expectation: cascades and outages are independent."""
    left, burn_in = model.cascades.left, model.cascades.burn_in
    rates = np.concatenate([np.full(burn_in, model.false_rates[0]), model.false_rates])
    share = model.inputs.cascades.benign.value
    false = (1 - share) * model.false_rates + share * spread_out(rates, left)[burn_in:]
    video = np.full(model.days, model.inputs.material.video.value)
    chance, part = model.inputs.outages.chance.value, model.inputs.outages.part.value
    down = np.full(model.days, chance * part * model.behaviour.asks)
    return composed(model, false, 1 - video, video, down)


def composed(model: Model, false: Floats, pictures: Floats, video: Floats, down: Floats) -> Environment:
    """Put together what happens on each day, with what an outage leaves to the next one."""
    listed, late = pictures * (1 - model.unlisted), pictures * model.unlisted
    cut, matched = listed * down, listed * (1 - down)
    lost, false_cut = cut.copy(), false * down
    false = false - false_cut
    if model.held_over:
        matched[..., 1:] += cut[..., :-1]
        false[..., 1:] += false_cut[..., :-1]
        lost[..., :-1] = 0
    return Environment(false, matched, video, late, lost)


def spread_out(begun: Floats, left: float) -> Floats:
    """Sends of each day, of cascades by the day they began on, (..., days)."""
    if not left:
        return begun
    made = np.array(begun, np.float64) * (1 - left)
    for day in range(1, made.shape[-1]):
        made[..., day] += left * made[..., day - 1]
    return made


def _sends(model: Model, begun: Floats, rng: np.random.Generator, runs: int) -> Floats:
    """Sends of a day that belong to cascades, of which `begun` are expected to begin, (runs, days)."""
    cascades = model.cascades
    total = np.zeros((runs, len(begun)))
    if begun.any():
        for size, chance in zip(cascades.sizes, cascades.chances, strict=True):
            total += size * rng.poisson(begun * chance, (runs, len(begun)))
    return spread_out(total, cascades.left)[:, cascades.burn_in :]


def _outages(model: Model, rng: np.random.Generator, runs: int) -> Floats:
    outages = model.inputs.outages
    struck = rng.random((runs, model.days)) < outages.chance.value
    return np.where(struck, outages.part.value * model.behaviour.asks, 0.0)
