"""Many runs by their totals alone: how far a day or a year may come out by chance.

Totals are drawn, not accounts, so that hundreds of years take a second. At a threshold of 1 their means are
those of the thinned counts; above it, false matches do not add to what sharers have.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from blindmatch_simulations.evaluation.population.closed import (
    Crossing,
    daily,
    poisson_crossing,
    sharers_crossing,
)
from blindmatch_simulations.evaluation.population.environment import Environment, drawn
from blindmatch_simulations.evaluation.population.model import Floats, Model, stream

RUNS = 200


class Totals(NamedTuple):
    """Of all accounts, float64 (runs, days); `held` are true matches that no threshold has let go."""

    true: Floats
    false: Floats
    accounts: Floats
    video: Floats
    late: Floats
    modified: Floats
    down: Floats
    unrecognised: Floats
    held: Floats


def totals(model: Model, seed: int, runs: int = RUNS, purpose: str = "bands") -> Totals:
    """`runs` populations, each in an environment of its own."""
    given = drawn(model, seed, runs, purpose)
    rng = stream(seed, purpose, "totals")
    false, accounts = _draw_false(model, given, rng)
    sent, modified = _sharers(model, rng, runs)
    asked = sent - modified * model.unnoticed
    if model.threshold == 1:
        true = rng.poisson(asked * model.recall * given.listed).astype(float)
        held = np.zeros_like(false)
    else:
        all_of_them = sharers_crossing(model, given)
        _, true = _opened(rng, int(model.sharers.sum()), _each(all_of_them, model), model.threshold)
        held = rng.poisson(np.maximum(all_of_them.matches - all_of_them.reports, 0)).astype(float)
    chances = (
        sent * given.video,
        sent * given.late,
        modified * model.unnoticed * given.listed,
        sent * given.down,
        asked * (1 - model.recall) * given.listed,
    )
    missed = [rng.poisson(np.maximum(one, 0)).astype(float) for one in chances]
    return Totals._make((true, false, accounts, *missed, held))


def _each(crossing: Crossing, model: Model) -> Crossing:
    n = max(1, int(model.sharers.sum()))
    return Crossing(crossing.reached / n, crossing.reports / n, crossing.matches / n)


def _sharers(model: Model, rng: np.random.Generator, runs: int) -> tuple[Floats, Floats]:
    """Sends a day of all sharers, and of those with a modified client: sums of gamma numbers are gamma."""
    n, shape = int(model.sharers.sum()), model.inputs.material.shape.value
    other = rng.binomial(n, model.modified, (runs, 1))
    parts = [
        rng.gamma(np.maximum(count * shape, 1e-12)) * (count > 0) * model.sends / shape
        for count in (n - other, other)
    ]
    return parts[0] + parts[1], parts[1]


def _draw_false(model: Model, given: Environment, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """False reports, and accounts with their first one."""
    reports, accounts = np.zeros_like(given.false), np.zeros_like(given.false)
    if not given.false.any():
        return reports, accounts
    until = np.cumsum(given.false, axis=1)
    silent = np.round(model.sharers * (model.modified * model.unnoticed)).astype(np.int64)
    for count, rate in zip(model.counts - silent, model.rates, strict=True):
        new, made = _opened(rng, int(count), poisson_crossing(rate * until, model.threshold), model.threshold)
        accounts += new
        reports += made
    return reports, accounts


def _opened(
    rng: np.random.Generator, count: int, crossing: Crossing, threshold: int
) -> tuple[Floats, Floats]:
    """Of `count` accounts: those that reach the threshold on each day, and reports, (runs, days)."""
    chances = np.maximum(daily(crossing.reached), 0)
    never = np.maximum(1 - chances.sum(axis=1, keepdims=True), 0)
    drawn_days = rng.multinomial(count, np.concatenate([chances, never], axis=1))
    new = drawn_days[:, :-1].astype(float)
    more = count * (daily(crossing.reports) - threshold * chances)
    return new, threshold * new + rng.poisson(np.maximum(more, 0))
