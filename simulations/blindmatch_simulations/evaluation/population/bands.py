"""Expected values in closed form, and many runs by their totals alone: how far a day or a year may come out
by chance; and counted years, foretold by it from the EU's reports a head.

Totals are drawn, not accounts, so that hundreds of years take a second. Their means are those of the thinned
counts; above a threshold of 1, what sharers' false matches add is that of an average environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import ceil, log, log1p
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.population.inputs import YEAR, Calibration, Inputs, with_value
from blindmatch_simulations.evaluation.population.model import (
    Behaviour,
    Counts,
    Environment,
    Floats,
    Model,
    Range,
    average_environment,
    drawn,
    model,
    periods,
    spread_out,
    stream,
)
from blindmatch_simulations.measure.intervals import CONFIDENCE


class Crossing(Struct, frozen=True):
    """Of an account, for every day: how probably its threshold is reached by then, and reports until then;
    `matches` until then, reported or not; `squares` of reports, of gamma means."""

    reached: Floats
    reports: Floats
    matches: Floats
    squares: Floats | float = 0.0


def poisson_crossing(means: Floats, threshold: int) -> Crossing:
    """For a Poisson number K of matches: P(K >= T), and E[K; K >= T] = m P(K >= T - 1)."""
    from scipy.special import pdtrc

    if threshold == 1:
        return Crossing(-np.expm1(-means), means, means)
    before = pdtrc(threshold - 2, means)
    return Crossing(pdtrc(threshold - 1, means), means * before, means)


def false_crossing(own: Floats, copies: Floats, series: int, threshold: int) -> Crossing:
    """For F = s S + C false matches, S a Poisson number of series with mean own / s, C one of copies:
    P(F >= T) and E[F; F >= T], by the number j of series. With k = T - s j > 0 matches still missing,

        P(F >= T) = sum of P(S = j) P(C >= k) over s j < T, + P(S >= n), n = ceil(T / s)
        E[F; F >= T] = sum of P(S = j) (s j P(C >= k) + E[C; C >= k]) + E[s S; S >= n] + E[C] P(S >= n)

    and E[X; X >= k] = m P(X >= k - 1) of a Poisson number X of mean m. No term is a difference, so that rare
    openings keep their digits."""
    if series == 1:
        return poisson_crossing(own + copies, threshold)
    mean = own / series
    least = -(-threshold // series)
    reached = _poisson_tail(mean, least)
    reports = own * _poisson_tail(mean, least - 1) + copies * reached
    chance = np.exp(-mean)
    for j in range(least):
        missing = threshold - series * j
        enough = _poisson_tail(copies, missing)
        reached = reached + chance * enough
        reports = reports + chance * (series * j * enough + copies * _poisson_tail(copies, missing - 1))
        chance = chance * mean / (j + 1)
    return Crossing(reached, reports, own + copies)


_SMALL: Final = 0.5
_TERMS: Final = 16


def _poisson_tail(mean: Floats, least: int) -> Floats:
    """P(X >= k) of Poisson numbers. Where no mean is large, by its series, which is ten times as fast,

    exp(-m) m^k / k! (1 + m / (k + 1) (1 + m / (k + 2) (1 + ...)))
    """
    from scipy.special import pdtrc

    if least <= 0:
        return np.ones_like(mean)
    if least == 1:
        return np.asarray(-np.expm1(-mean))
    if mean.max(initial=0.0) > _SMALL:
        return np.asarray(pdtrc(least - 1, mean))
    found = np.ones_like(mean)
    for more in range(least + _TERMS, least, -1):
        found *= mean / more
        found += 1
    found *= np.exp(-mean)
    for number in range(1, least + 1):
        found *= mean / number
    return found


def gamma_crossing(means: Floats, shape: float, threshold: int) -> Crossing:
    """The same where the mean is gamma-distributed over accounts, so that K is negative binomial; biased by
    its size it is one more than a negative binomial number of shape + 1."""
    from scipy.special import betainc

    p = means / (means + shape)
    before = betainc(threshold - 1, shape + 1, p) if threshold > 1 else np.ones_like(means)
    twice = betainc(threshold - 2, shape + 2, p) if threshold > 2 else np.ones_like(means)
    squares = means**2 * (1 + 1 / shape) * twice + means * before
    return Crossing(betainc(threshold, shape, p), means * before, means, squares)


def daily(cumulative: Floats) -> Floats:
    return np.diff(cumulative, axis=-1, prepend=0)


def sharers_crossing(model: Model, given: Environment) -> Crossing:
    """Of all sharers together, true matches alone: reached thresholds, reports, matches, (..., days)."""
    until = np.cumsum(given.listed, axis=-1) * model.sends * model.recall
    shape = model.inputs.material.shape.value
    honest = gamma_crossing(until, shape, model.threshold)
    other = gamma_crossing(until * (1 - model.unnoticed), shape, model.threshold)
    n = int(model.sharers.sum())
    m = model.modified
    fields = Crossing.__struct_fields__
    return Crossing(*(n * ((1 - m) * getattr(honest, f) + m * getattr(other, f)) for f in fields))


def mixed_crossing(model: Model, given: Environment) -> Floats:
    """Of all sharers with false matches, float64 (4, days): accounts that reach the threshold until each day,
    true and false reports, accounts with a false one. T true matches and F false ones stay below t if, for
    some f < t, F = f and T < t - f; F is s S + C as in `false_crossing`, so that

        P(F = f) = sum of P(S = j) P(C = f - s j) over s j <= f."""
    shape = model.inputs.material.shape.value
    t = model.threshold
    until = np.cumsum(given.listed) * model.sends * model.recall
    own = np.cumsum(given.own)
    copies = np.cumsum(given.copies)
    f = np.arange(t)[:, None, None]
    made = np.zeros((4, model.days))
    for seen, part in ((1.0, 1 - model.modified), (1 - model.unnoticed, model.modified)):
        met = [gamma_crossing(until * seen, shape, t - int(one)) for one in f[:, 0, 0]]
        rates = seen * model.rates[:, None]
        chances = _false_chances(rates * own, rates * copies, model.series, t)
        few = np.array([1 - m.reached for m in met])[:, None]
        left = np.array([m.matches - m.reports for m in met])[:, None]
        reached = 1 - (chances * few).sum(axis=0)
        true = until * seen - (chances * left).sum(axis=0)
        false = rates * (own + copies) - (f * chances * few).sum(axis=0)
        rows = np.array([reached, true, false, reached - chances[0] * met[0].reached])
        made += part * np.einsum("c,kcd->kd", model.sharers, rows)
    return made


def _false_chances(own: Floats, copies: Floats, series: int, most: int) -> Floats:
    """P(F = f) for f below `most`, float64 (most, ...)."""
    from scipy.special import gammaln, xlogy

    def poisson(mean: Floats, number: int) -> Floats:
        return np.asarray(np.exp(xlogy(number, mean) - mean - gammaln(number + 1)))

    of_series = [poisson(own / series, j) for j in range(-(-most // series))]
    of_copies = [poisson(copies, number) for number in range(most)]
    return np.array(
        [sum(of_series[j] * of_copies[f - series * j] for j in range(f // series + 1)) for f in range(most)]
    )


class Totals(NamedTuple):
    """Of all accounts, float64 (runs, days), or as expected, (days,).

    Attributes:
        accounts: with their first false report of a period.
        held: true matches that no threshold has let go.
    """

    true: Floats
    false: Floats
    accounts: Floats
    video: Floats
    late: Floats
    modified: Floats
    down: Floats
    unrecognised: Floats
    held: Floats


def expected(model: Model) -> Totals:
    """Of every count. A threshold's false reports, and accounts with one, are those of an average
    environment."""
    return _joined([_expected(its, part) for _, its, part in periods(model, average_environment(model))])


def _joined(parts: Sequence[Totals]) -> Totals:
    """Totals of periods one after the other; what a period holds is held from then on."""
    held = list(accumulate((part.held for part in parts), lambda before, part: part + before[..., -1:]))
    return Totals(*(np.concatenate(rows, axis=-1) for rows in zip(*parts, strict=True)))._replace(
        held=np.concatenate(held, axis=-1)
    )


def _expected(model: Model, given: Environment) -> Totals:
    sharing = sharers_crossing(model, given)
    opened = _opened_by_false(model, given)
    if model.threshold > 1:
        _, true, with_false, wrong = mixed_crossing(model, given)
        false = daily(opened.reports + with_false)
        accounts = daily(opened.reached + wrong)
    else:
        true = sharing.reports
        false = daily(opened.reports)
        accounts = np.full(model.days, _accounts(model) / model.days)
    sent = model.known
    skipped = sent * model.modified * model.unnoticed * given.listed
    asked = sent * given.listed - skipped
    return Totals(
        true=daily(true),
        false=false,
        accounts=accounts,
        video=sent * given.video,
        late=sent * given.late,
        modified=skipped,
        down=sent * given.down,
        unrecognised=asked * (1 - model.recall),
        held=sharing.matches - true,
    )


def _opened_by_false(model: Model, given: Environment) -> Crossing:
    """Of all accounts whose false matches alone reach the threshold (`_crowd`): how many did until each day,
    and their reports."""
    own = np.cumsum(given.own)
    copies = np.cumsum(given.copies)
    reached = np.zeros(model.days)
    reports = np.zeros(model.days)
    for count, rate in zip(_crowd(model), model.rates, strict=True):
        one = false_crossing(rate * own, rate * copies, model.series, model.threshold)
        reached += count * one.reached
        reports += count * one.reports
    return Crossing(reached, reports, own + copies)


def _crowd(model: Model) -> Floats:
    """Accounts of each class whose false matches alone reach the threshold; at 1 sharers', too."""
    silent = model.modified * model.unnoticed if model.threshold == 1 else 1.0
    return model.counts - model.sharers * silent


def _accounts(model: Model) -> float:
    """Accounts with a false report, where one match reaches the threshold: none has one with the chance of a
    Laplace functional.

    Cascades are a Poisson process (Campbell): E exp(-r X) = exp(-r x / s - sum of b (1 - exp(-r m w / V)))
    for the part x of an account's own pictures, which come in series of s, and b cascades of size m begun on
    a day, of which a share w is sent in the run; of V pictures in all, r m w / V copies are the account's.
    """
    part = model.inputs.outages
    up = 1 - part.chance.value * part.part.value * model.behaviour.asks
    cut = 0.0 if not model.held_over else 1 - up
    rates = model.false_rates
    share = model.inputs.cascades.benign.value
    weights = np.full(model.days, up + cut)
    weights[-1] = up
    singles = float((1 - share) * (rates @ weights))
    cascades = model.cascades
    burn_in = model.cascades.burn_in
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
    return float(honest @ -np.expm1(-(model.rates * singles / model.series + none)))


ACTIVITIES: Final = 1_000
"""Of sharers, by which integrals over their gamma distribution are taken."""
RUNS: Final = 5_000
"""Of a year; of more days so many fewer, of fewer days no more."""


def totals(
    model: Model, seed: int, runs: int = RUNS, purpose: str = "bands", had: Mapping[str, Floats] | None = None
) -> Totals:
    """`runs` populations, each in an environment of its own, every row with random numbers of its own; rows
    that the caller `had` are not drawn again."""
    runs = max(1, min(runs, RUNS * YEAR // model.days))
    given = drawn(model, seed, runs, purpose)
    usual = average_environment(model)
    sharers = _sharers(model, stream(seed, purpose, "sharers"), runs)
    parts = []
    lasting = 1.0 if model.period >= model.days else _lasting(model, stream(seed, purpose, "lasting"), runs)
    for (days, its, part), (_, _, average) in zip(periods(model, given), periods(model, usual), strict=True):
        known = {name: rows[..., days] for name, rows in (had or {}).items()}
        own = f"{purpose} from {days.start}" if days.start else purpose
        parts.append(_totals(its, (part, average), sharers, lasting, (seed, own), known))
    return _joined(parts)


def _lasting(model: Model, rng: np.random.Generator, runs: int) -> Floats:
    """Reports of a run over what is expected, (runs, 1): who sends much does so in each period."""
    means = _means_by_activity(model)
    reports = (means * chances_by_activity(model, model.threshold - 1)).sum(axis=1)
    spread = reports.std() / max(reports.mean() * int(model.sharers.sum()) ** 0.5, 1e-300)
    return np.asarray(np.maximum(1 + spread * rng.normal(size=(runs, 1)), 0))


def chances_by_activity(model: Model, matches: int, asked: float = 1.0) -> Floats:
    """How probably a sharer, a share `asked` of whose pictures is asked about, has so many true matches in
    each period, float64 (`ACTIVITIES`, periods): equal numbers of sharers, from the least active on."""
    from scipy.special import pdtrc

    return np.asarray(pdtrc(matches - 1, asked * _means_by_activity(model)))


def _means_by_activity(model: Model) -> Floats:
    """Expected true matches of a sharer who asks about everything."""
    from scipy.special import gammaincinv

    shape = model.inputs.material.shape.value
    rates = gammaincinv(shape, (np.arange(ACTIVITIES) + 0.5) / ACTIVITIES) / shape
    listed = [part.listed.sum() for _, _, part in periods(model, average_environment(model))]
    return np.asarray(np.outer(rates, listed) * model.sends * model.recall)


def _totals(
    model: Model,
    environments: tuple[Environment, Environment],
    sharers: tuple[Floats, Floats],
    lasting: Floats | float,
    words: tuple[int, str],
    had: Mapping[str, Floats],
) -> Totals:
    """Of one period, in its environments and the average one."""
    given, average = environments
    sent, modified = sharers
    seed, purpose = words
    asked = sent - modified * model.unnoticed
    means = {
        "video": sent * given.video,
        "late": sent * given.late,
        "modified": modified * model.unnoticed * given.listed,
        "down": sent * given.down,
        "unrecognised": asked * (1 - model.recall) * given.listed,
    }
    if model.threshold == 1:
        means["true"] = asked * model.recall * given.listed
        means["held"] = np.zeros(given.listed.shape)
    else:
        sharing = sharers_crossing(model, given)
        n = int(model.sharers.sum())
        mixed = mixed_crossing(model, average)
        plain = sharers_crossing(model, average)
        opening = lasting * (sharing.reached + (mixed[0] - plain.reached))
        reports = lasting * (sharing.reports + (mixed[1] - plain.reports))
        sharing = replace(sharing, reached=opening, reports=reports, squares=lasting * sharing.squares)
        means["held"] = sharing.matches - sharing.reports
    made = dict(had)
    for name in means.keys() - made.keys():
        made[name] = stream(seed, purpose, name).poisson(np.maximum(means[name], 0)).astype(float)
    if model.threshold > 1:
        rng = stream(seed, purpose, "true")
        opened = rng.binomial(n, np.clip(sharing.reached[:, -1] / max(1, n), 0.0, 1.0))
        # what they have beyond the threshold differs by more than a Poisson number does
        reached = np.maximum(sharing.reached[:, -1], 1e-9)
        mean = sharing.reports[:, -1] / reached
        square = np.asarray(sharing.squares)[:, -1] / reached
        beyond = np.maximum(mean - model.threshold, 1e-9)
        unlike = np.maximum((square - mean**2 - beyond) / beyond**2, 1e-9) / np.maximum(opened, 1e-9)
        more = np.asarray(rng.gamma(1 / unlike) * unlike)[:, None]
        # whom false matches open, too, has fewer true ones than the threshold
        least = np.minimum(mean, model.threshold)[:, None]
        _, made["true"] = _opened(rng, opened, sharing, least, more)
    if "false" not in made:
        made["false"], made["accounts"] = _draw_false(model, given, stream(seed, purpose, "reports"))
        if model.threshold > 1 and n:
            # as many as accounts opened, whose activity differs: a gamma number of its mean and variance
            rng = stream(seed, purpose, "mixed")
            rates = model.sharers @ model.rates / max(1, n)
            spread = (model.sharers @ model.rates**2 / max(1, n)) / rates**2 - 1 + 1e-9
            usual = max(mixed[0, -1], 1e-9)
            weight = rng.gamma(np.maximum(opened, 1e-9) / spread) * spread / usual
            env = given.false.sum(axis=1) / max(average.false.sum(), 1e-300)
            false, wrong = (np.maximum(daily(one), 0) for one in (mixed[2], mixed[3]))
            made["false"] = made["false"] + _together(rng, np.outer(weight * env, false), model.series)
            made["accounts"] = made["accounts"] + rng.poisson(np.outer(weight * env, wrong))
    return Totals(**made)


def _sharers(model: Model, rng: np.random.Generator, runs: int) -> tuple[Floats, Floats]:
    """Sends a day of all sharers, and of those with a modified client: sums of gamma numbers are gamma."""
    n = int(model.sharers.sum())
    shape = model.inputs.material.shape.value
    other = rng.binomial(n, model.modified, (runs, 1))
    parts = [
        rng.gamma(np.maximum(count * shape, 1e-12)) * (count > 0) * model.sends / shape
        for count in (n - other, other)
    ]
    return parts[0] + parts[1], parts[1]


def _draw_false(model: Model, given: Environment, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """False reports, and accounts with their first one: how many each class has, and then on which days."""
    if not given.false.any():
        return np.zeros_like(given.false), np.zeros_like(given.false)
    own = np.cumsum(given.own, axis=1)
    copies = np.cumsum(given.copies, axis=1)
    reached = np.zeros_like(own)
    reports = np.zeros_like(own)
    opened = np.zeros(len(own), np.int64)
    for count, rate in zip(np.round(_crowd(model)).astype(np.int64), model.rates, strict=True):
        one = false_crossing(rate * own, rate * copies, model.series, model.threshold)
        reached += count * one.reached
        reports += count * one.reports
        opened += rng.binomial(count, np.minimum(one.reached[:, -1], 1.0))  # a sum of chances is rounded
    crossing = Crossing(reached, reports, own + copies)
    new, made = _opened(rng, opened, crossing, model.threshold, series=model.series)
    return made, new


def _opened(
    rng: np.random.Generator,
    opened: Counts,
    crossing: Crossing,
    threshold: Floats | int,
    unlike: Floats | float = 1.0,
    series: int = 1,
) -> tuple[Floats, Floats]:
    """Of accounts that `opened` in each run, the day; and reports of all, (runs, days). `crossing` is that of
    all accounts, `unlike` what they have beyond the threshold over its mean; that comes in `series`."""
    chances = np.maximum(daily(crossing.reached), 0)
    new = rng.multinomial(opened, chances / np.maximum(chances.sum(axis=1, keepdims=True), 1e-300))
    more = daily(crossing.reports) - threshold * chances
    beyond = _together(rng, np.maximum(more, 0) * unlike, series)
    return new.astype(float), threshold * new + beyond


def _together(rng: np.random.Generator, means: Floats, series: int) -> Floats:
    """Numbers with these means of what comes in series of so many: their variance is that of single ones
    times the series."""
    return np.asarray(series * rng.poisson(means / series), np.float64)


def unseen(model: Model) -> dict[str, float]:
    """How many pictures without a match bound a rate at 1 in 1,000,000, one-sided at 95 % (Clopper and
    Pearson), and the false reports that are expected of the run at that rate."""
    pictures = ceil(log(1 - CONFIDENCE) / log1p(-1e-6))
    its = replace(model, behaviour=replace(model.behaviour, false_rate=Range.exactly(1e-6)))
    return {"pictures": pictures, "false_reports": float(expected(its).false.sum())}


def calibrated(inputs: Inputs, seed: int) -> list[dict[str, Any]]:
    """For each year: what is expected with its 95 % band, what was counted, and the difference. A provider
    that reads messages stands behind these counts, so that what the model misses elsewhere (video, outages,
    modified clients, edits) is left out; a report is a match."""
    return [_year(inputs, one, seed) for one in inputs.calibration]


def _year(inputs: Inputs, one: Calibration, seed: int) -> dict[str, Any]:
    a_head = one.eu_reports / one.eu_inhabitants
    for part, field, value in (
        ("material", "files", a_head), ("material", "video", 0.0), ("outages", "chance", 0.0),
        ("list", "growth", 1.0), ("clients", "modified", 0.0), ("centre", "threshold", 1),
    ):  # fmt: skip
        inputs = with_value(inputs, part, field, value)
    zero = Range.exactly(0)
    found = totals(
        model(inputs, Behaviour(Range.exactly(1), zero, zero, False), one.inhabitants, YEAR), seed, RUNS // 5,
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
