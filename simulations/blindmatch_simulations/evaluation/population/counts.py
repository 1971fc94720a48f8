"""Thinned counts: what happens in one block of accounts, as sums over its accounts for every day.

Given the environment, an account's matches are a Poisson process. Accounts of one class that send no known
material are alike, so that it is drawn how many of them have so many matches, instead of each one; that is
the same distribution. Sharers differ from one another, and are drawn account by account, match by match.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from blindmatch_simulations.evaluation.population.model import (
    Counts,
    Environment,
    Floats,
    Model,
    drawn,
    periods,
    stream,
)

Flags = npt.NDArray[np.bool_]
Streams = Mapping[str, np.random.Generator]

BLOCK: Final = 1 << 27
"""Accounts of a block, at the most."""
_MATCHES: Final = 2_000_000
"""Matches of sharers that are expected to be held in memory at once."""
_NOBODY: Final = 1e-16
"""A chance that no account of any population has."""


class Count(IntEnum):
    """Rows of a block's counts; accounts are counted on the day of their first false report, of a period."""

    TRUE = 0
    FALSE = 1
    ACCOUNTS = 2
    MATCHED = 3
    VIDEO = 4
    LATE = 5
    MODIFIED = 6
    DOWN = 7
    UNRECOGNISED = 8


STREAMS: Final = (
    "crowd",
    "rates",
    "modified",
    "reported",
    *(row.name for row in Count if row > Count.MATCHED),
)
"""Purposes with random numbers of their own, so that designs differ by what a design does alone."""


class Sharers(NamedTuple):
    """Of one class: sends of known material a day, and the share of their pictures that is asked about."""

    rates: Floats
    seen: Floats


def blocks(accounts: int) -> int:
    return -(-accounts // BLOCK)


def block_counts(model: Model, seed: int, block: int) -> Counts:
    """Counts of one block, int64 (rows, days); the same whoever draws them, and whenever."""
    environment = drawn(model, seed)
    of = blocks(model.accounts)
    made = np.zeros((len(Count), model.days), np.int64)
    for at, (count, sharers) in enumerate(zip(model.counts, model.sharers, strict=True)):
        rngs = {name: stream(seed, "block", block, at, name) for name in STREAMS}
        others, here = (int(n * (block + 1)) // of - int(n * block) // of for n in (count - sharers, sharers))
        for days, its, part in periods(model, environment):
            _crowd(its, made[:, days], rngs["crowd"], others, float(model.rates[at]), part)
        each = (model.rates[at] + model.sends) * model.days
        # sharers to be drawn together, the same for all designs
        step = max(1, int(_MATCHES / max(each, 1.0)))
        for start in range(0, here, step):
            some = _sharers(model, rngs, min(step, here - start))
            _missed(model, made, rngs, some, environment)
            for days, its, part in periods(model, environment):
                _reported(its, made[:, days], rngs["reported"], some, part, float(model.rates[at]))
    return made


def _crowd(
    model: Model, made: Counts, rng: np.random.Generator, accounts: int, rate: float, given: Environment
) -> None:
    """Accounts without known material: `states[j]` have had j matches, the last one the threshold's."""
    most = model.threshold
    series = model.series
    states = np.zeros(most + 1, np.int64)
    states[0] = accounts
    own = rate * given.own / series
    copies = rate * given.copies
    for day in np.flatnonzero(own + copies) if accounts else ():
        numbers, chances = _in_series(float(own[day]), float(copies[day]), series)
        if states[most]:
            of_own, of_copies = rng.poisson([own[day] * states[most], copies[day] * states[most]]).tolist()
            made[Count.FALSE, day] += of_own * series + of_copies
        for state in range(most - 1, -1, -1):
            if not states[state]:
                continue
            moved = rng.multinomial(states[state], chances)
            reach = np.minimum(numbers + state, most)
            made[Count.ACCOUNTS, day] += moved[reach == most].sum()
            made[Count.FALSE, day] += (moved * (numbers + state))[reach == most].sum()
            states[state] = 0
            np.add.at(states, reach, moved)


def _in_series(own: float, copies: float, series: int) -> tuple[Counts, Floats]:
    """Numbers of matches in a day and their chances, if `own` series of so many and `copies` alone are
    expected: s S + C for Poisson numbers S and C, by convolution, up to where no account is."""
    of_series = _poisson(own)
    of_copies = _poisson(copies)
    spaced = np.zeros((len(of_series) - 1) * series + 1)
    spaced[::series] = of_series
    chances = np.convolve(spaced, of_copies)
    chances = chances[: 1 + int(np.flatnonzero(chances > _NOBODY)[-1])]
    return np.arange(len(chances)), chances / chances.sum()


def _poisson(mean: float) -> Floats:
    """Chances of 0, 1, 2, ..., up to where no account of any population is."""
    from scipy.special import gammaln, xlogy

    numbers = np.arange(int(mean + 12 * mean**0.5 + 24))
    chances = np.exp(xlogy(numbers, mean) - mean - gammaln(numbers + 1))
    return np.asarray(chances / chances.sum())


def _sharers(model: Model, rngs: Streams, accounts: int) -> Sharers:
    shape = model.inputs.material.shape.value
    rates = model.sends * rngs["rates"].gamma(shape, 1 / shape, accounts)
    modified = rngs["modified"].random(accounts) < model.modified
    return Sharers(rates, np.where(modified, 1 - model.unnoticed, 1.0))


def _missed(model: Model, made: Counts, rngs: Streams, some: Sharers, environment: Environment) -> None:
    """Known material of which no match comes, by the first reason there is."""
    sent = some.rates.sum()
    asked = (some.rates * some.seen).sum()
    for row, means in (
        (Count.VIDEO, sent * environment.video),
        (Count.LATE, sent * environment.late),
        (Count.DOWN, sent * environment.down),
        (Count.MODIFIED, (sent - asked) * environment.listed),
        (Count.UNRECOGNISED, asked * (1 - model.recall) * environment.listed),
    ):
        made[row] += rngs[row.name].poisson(np.maximum(means, 0.0))


def _reported(
    model: Model,
    made: Counts,
    rng: np.random.Generator,
    some: Sharers,
    environment: Environment,
    rate: float,
) -> None:
    """Matches of each sharer, true and false, and which of them the threshold lets go, on what day."""
    kinds = []
    for weights, means, series in (
        (some.rates * some.seen * model.recall, environment.listed, 1),
        (rate * some.seen, environment.own, model.series),
        (rate * some.seen, environment.copies, 1),
    ):
        matches = rng.poisson(weights * means.sum() / series)
        accounts = np.repeat(np.arange(len(matches)), matches)
        days = _days(rng, means, len(accounts))
        kinds.append((np.repeat(accounts, series), np.repeat(days, series)))
    made[Count.MATCHED] += np.bincount(kinds[0][1], minlength=model.days)
    accounts, days = (np.concatenate(parts) for parts in zip(*kinds, strict=True))
    false = np.arange(len(accounts)) >= len(kinds[0][0])
    order = np.lexsort((days, accounts))
    accounts = accounts[order]
    days = days[order]
    false = false[order]
    reported, let_go = _let_go(accounts, days, model.threshold)
    for row, which in ((Count.TRUE, ~false), (Count.FALSE, false)):
        made[row] += np.bincount(let_go[reported & which], minlength=model.days)
    wrong = reported & false
    _, first = np.unique(accounts[wrong], return_index=True)
    made[Count.ACCOUNTS] += np.bincount(let_go[wrong][first], minlength=model.days)


def _days(rng: np.random.Generator, means: Floats, count: int) -> Counts:
    total = np.cumsum(means)
    found = np.searchsorted(total, rng.random(count) * total[-1], side="right")
    days: Counts = np.minimum(found, len(means) - 1)
    return days


def _let_go(accounts: Counts, days: Counts, threshold: int) -> tuple[Flags, Counts]:
    """Of matches sorted by account and day: whether each is reported in the end, and on what day."""
    _, starts, sizes = np.unique(accounts, return_index=True, return_counts=True)
    opening = np.where(sizes >= threshold, starts + threshold - 1, 0)
    opened = np.repeat(sizes >= threshold, sizes)
    return opened, np.maximum(days, np.repeat(days[opening], sizes))
