"""The closed form: expected values, without a random number."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from blindmatch_simulations.evaluation.population.environment import (
    Environment,
    average_environment,
    spread_out,
)
from blindmatch_simulations.evaluation.population.model import Floats, Model


class Crossing(Struct, frozen=True):
    """Of an account, for every day: how probably its threshold is reached by then, and reports until then.

    `matches` are those until then, reported or not.
    """

    reached: Floats
    reports: Floats
    matches: Floats


def poisson_crossing(means: Floats, threshold: int) -> Crossing:
    """For a Poisson number K of matches: P(K >= T), and E[K; K >= T] = m P(K >= T - 1)."""
    from scipy.special import pdtrc

    if threshold == 1:
        return Crossing(-np.expm1(-means), means, means)
    before = pdtrc(threshold - 2, means)
    return Crossing(pdtrc(threshold - 1, means), means * before, means)


def gamma_crossing(means: Floats, shape: float, threshold: int) -> Crossing:
    """The same where the mean is gamma-distributed over accounts, so that K is negative binomial.

    K biased by its size is one more than a negative binomial number of shape + 1.
    """
    from scipy.special import betainc

    p = means / (means + shape)
    before = betainc(threshold - 1, shape + 1, p) if threshold > 1 else np.ones_like(means)
    return Crossing(betainc(threshold, shape, p), means * before, means)


def daily(cumulative: Floats) -> Floats:
    """What each day adds."""
    return np.diff(cumulative, axis=-1, prepend=0)


def sharers_crossing(model: Model, given: Environment) -> Crossing:
    """Of all sharers together, true matches alone: reached thresholds, reports, matches, (..., days)."""
    until, shape = (
        np.cumsum(given.listed, axis=-1) * model.sends * model.recall,
        model.inputs.material.shape.value,
    )
    honest = gamma_crossing(until, shape, model.threshold)
    other = gamma_crossing(until * (1 - model.unnoticed), shape, model.threshold)
    n, m = int(model.sharers.sum()), model.modified
    fields = ("reached", "reports", "matches")
    return Crossing(*(n * ((1 - m) * getattr(honest, f) + m * getattr(other, f)) for f in fields))


class Expected(Struct, frozen=True):
    """Expected values, float64 (days,); `accounts` of the whole run, None if there is no closed form."""

    true: Floats
    false: Floats
    matched: Floats
    video: Floats
    late: Floats
    modified: Floats
    down: Floats
    unrecognised: Floats
    accounts: float | None


def expected(model: Model) -> Expected:
    """Of every count. A threshold's false reports are those of an average environment."""
    given = average_environment(model)
    true = sharers_crossing(model, given)
    sent = model.known
    skipped = sent * model.modified * model.unnoticed * given.listed
    asked = sent * given.listed - skipped
    return Expected(
        true=daily(true.reports),
        false=_expect_false(model, given),
        matched=daily(true.matches),
        video=sent * given.video,
        late=sent * given.late,
        modified=skipped,
        down=sent * given.down,
        unrecognised=asked * (1 - model.recall),
        accounts=_accounts(model),
    )


def _expect_false(model: Model, given: Environment) -> Floats:
    until = np.cumsum(given.false)
    made = np.zeros(model.days)
    honest = model.counts - model.sharers * (model.modified * model.unnoticed)
    for count, rate in zip(honest, model.rates, strict=True):
        made += count * daily(poisson_crossing(rate * until, model.threshold).reports)
    return made


def _accounts(model: Model) -> float | None:
    """Accounts with a false report, at threshold 1: none has one with the chance of a Laplace functional.

    Cascades are a Poisson process (Campbell): E exp(-r X) = exp(-r x - sum of b (1 - exp(-r m w / V))) for
    the part x of singles and b cascades of size m begun on a day, of which a share w is sent in the run.
    """
    if model.threshold > 1:
        return None
    part = model.inputs.outages
    up = 1 - part.chance.value * part.part.value * model.behaviour.asks
    cut = 0.0 if not model.held_over else 1 - up
    rates, share = model.false_rates, model.inputs.cascades.benign.value
    weights = np.full(model.days, up + cut)
    weights[-1] = up
    singles = float((1 - share) * (rates @ weights))
    cascades, burn_in = model.cascades, model.cascades.burn_in
    left = cascades.left
    begun = cascades.begun * np.concatenate([np.full(burn_in, rates[0]), rates])
    # the share of a cascade begun on each day that is sent in the run, after what outages cost
    padded = np.concatenate([np.zeros(burn_in), weights])
    sent = spread_out(padded[::-1], left)[::-1]
    none = np.zeros(len(model.rates))
    for size, chance in zip(cascades.sizes, cascades.chances, strict=True):
        hit = -np.expm1(-np.outer(model.rates, sent) * (size / model.volume))
        none += hit @ (begun * chance)
    honest = model.counts - model.sharers * (model.modified * model.unnoticed)
    return float(honest @ -np.expm1(-(model.rates * singles + none)))
