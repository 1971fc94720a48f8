"""Expected values in closed form, and many runs by their totals alone: how far a day or a year may come out
by chance; and counted years, foretold by it from the EU's reports a head.

Totals are drawn, not accounts, so that hundreds of years take a second. At a threshold of 1 their means
are those of the thinned counts; above it, false matches do not add to what sharers have.
"""

from __future__ import annotations

from math import ceil, log, log1p
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import astuple

from blindmatch_simulations.evaluation.population.inputs import Calibration, Inputs, with_value
from blindmatch_simulations.evaluation.population.model import (
    YEAR,
    Behaviour,
    Environment,
    Floats,
    Model,
    Range,
    average_environment,
    drawn,
    model,
    spread_out,
    stream,
)
from blindmatch_simulations.measure.intervals import CONFIDENCE


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
    begun = cascades.benign.begun * np.concatenate([np.full(burn_in, rates[0]), rates])
    # the share of a cascade begun on each day that is sent in the run, after what outages cost
    padded = np.concatenate([np.zeros(burn_in), weights])
    sent = spread_out(padded[::-1], left)[::-1]
    none = np.zeros(len(model.rates))
    for size, chance in zip(cascades.benign.sizes, cascades.benign.chances, strict=True):
        hit = -np.expm1(-np.outer(model.rates, sent) * (size / model.volume))
        none += hit @ (begun * chance)
    honest = model.counts - model.sharers * (model.modified * model.unnoticed)
    return float(honest @ -np.expm1(-(model.rates * singles + none)))


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
        all_of_them, n = sharers_crossing(model, given), int(model.sharers.sum())
        each = Crossing(*(rows / max(1, n) for rows in astuple(all_of_them)))
        _, true = _opened(rng, n, each, model.threshold)
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


def unseen(model: Model) -> dict[str, float]:
    """How many pictures without a match bound a rate at 1 in 1,000,000, one-sided at 95 % (Clopper and
    Pearson), and the false reports of the run that such a rate still allows."""
    pictures = ceil(log(1 - CONFIDENCE) / log1p(-1e-6))
    return {"pictures": pictures, "false_reports": 1e-6 * model.volume * model.days}


def calibrated(inputs: Inputs, seed: int) -> list[dict[str, Any]]:
    """For each year: what is expected with its 95 % band, what was counted, and the difference.

    A provider that reads messages stands behind these counts, so that what the model misses elsewhere (video,
    outages, modified clients, edits) is left out; a report is a match.
    """
    return [_year(inputs, one, seed) for one in inputs.calibration]


def _year(inputs: Inputs, one: Calibration, seed: int) -> dict[str, Any]:
    a_head = one.eu_reports / one.eu_inhabitants
    prevalence = a_head / YEAR / inputs.activity.pictures_a_day.value
    for part, field, value in (
        ("material", "prevalence", prevalence), ("material", "video", 0.0), ("outages", "chance", 0.0),
        ("list", "growth", 1.0), ("clients", "modified", 0.0), ("centre", "threshold", 1),
    ):  # fmt: skip
        inputs = with_value(inputs, part, field, value)
    zero = Range.exactly(0)
    found = totals(
        model(inputs, Behaviour(Range.exactly(1), zero, zero, False), one.inhabitants, YEAR), seed,
        purpose=f"calibration {one.name}",
    )  # fmt: skip
    expected = a_head * one.inhabitants
    low, high = np.quantile(found.true.sum(axis=1), [0.025, 0.975])
    made: dict[str, Any] = {name: getattr(one, name) for name in ("name", "source", "provenance", "note")}
    made["received"] = _residual(expected, low, high, one.received)
    if one.forwarded is not None:
        share = one.relevant
        made["forwarded"] = _residual(share * expected, share * low, share * high, one.forwarded)
    return made


def _residual(expected: float, low: float, high: float, counted: int) -> dict[str, Any]:
    """The residual is counted less expected, also as a share of what was expected."""
    return {
        "expected": round(expected), "low": round(float(low)), "high": round(float(high)), "counted": counted,
        "residual": counted - round(expected), "residual_share": round(counted / expected - 1, 4),
        "within": bool(low <= counted <= high),
    }  # fmt: skip
