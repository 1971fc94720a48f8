"""The model of one design in one population: numbers alone, the same for all three levels."""

from __future__ import annotations

import json
from hashlib import sha256
from math import ceil, floor, log, log2
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_simulations.evaluation.population.behaviour import Behaviour
from blindmatch_simulations.evaluation.population.inputs import Inputs

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

YEAR: Final = 365
_EDGES: Final = np.concatenate([[-np.inf], np.arange(-2.5, 4.75, 0.25), [np.inf]])
"""Of the classes of activity, in standard deviations of the logarithm."""
_REMAINS: Final = 1e-6
"""Of a cascade's sends, after which it is taken to have ended."""


def stream(seed: int, *words: str | int) -> np.random.Generator:
    """The random numbers that belong to a seed and some words: Philox under their SHA-256 as its key.

    Philox is counter-based (Salmon and others, 2011): streams of different keys need not know of each other,
    so that no result depends on which worker computed what, or when.
    """
    text = json.dumps(["blindmatch population 1", seed, *words]).encode()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(sha256(text).digest()[:16], "big")))


class Cascades(Struct, frozen=True):
    """Sizes of cascades and how many a day are as large.

    Attributes:
        sizes: expected sends of one, float64 (j,).
        chances: of each size, float64 (j,).
        begun: cascades that begin in a day, of benign pictures, and of known ones.
        left: share of the sends that is to come after each day.
        burn_in: days before the first one, whose cascades still run.
    """

    sizes: Floats
    chances: Floats
    begun: float
    begun_known: float
    left: float
    burn_in: int


class Model(Struct, frozen=True):
    """A population, and a design in it; rates are per day.

    Attributes:
        counts: accounts of each class of activity, int64 (c,).
        sharers: those among them that send known material, int64 (c,).
        rates: pictures that an account of the class sends, float64 (c,).
        sends: of known material by a sharer, mean.
        growth: of the list since the first day, on the epoch in use, float64 (days,).
        unlisted: share of known material that is not in the epoch in use yet, float64 (days,).
    """

    inputs: Inputs
    behaviour: Behaviour
    accounts: int
    days: int
    counts: Counts
    sharers: Counts
    rates: Floats
    sends: float
    cascades: Cascades
    growth: Floats
    unlisted: Floats

    @property
    def volume(self) -> float:
        """Pictures of all accounts."""
        return self.accounts * self.inputs.activity.pictures_a_day.value

    @property
    def known(self) -> float:
        """Sends of known material by all sharers."""
        return self.sends * int(self.sharers.sum())

    @property
    def recall(self) -> float:
        """Of the pictures that are asked about."""
        return self.behaviour.recall.value

    @property
    def threshold(self) -> int:
        """Matches of an account before any is reported."""
        return int(self.inputs.centre.threshold.value)

    @property
    def modified(self) -> float:
        """Share of sharers of whose known pictures nobody learns as often as `unnoticed` says."""
        return self.inputs.clients.modified.value

    @property
    def unnoticed(self) -> float:
        """Share of what a client that never asks sends, of which nobody learns."""
        return self.behaviour.unnoticed.value

    @property
    def false_rates(self) -> Floats:
        """False matches for each picture in a day, as the list grows, float64 (days,)."""
        return np.minimum(1.0, self.behaviour.false_rate.value * self.growth)

    @property
    def held_over(self) -> bool:
        """Whether pictures of an outage are matched the next day."""
        return self.inputs.outages.mode != "unmatched"


def model(inputs: Inputs, behaviour: Behaviour, accounts: int, days: int) -> Model:
    """The model of `behaviour` in a population of `accounts` over `days`."""
    counts, rates = _classes(accounts, inputs.activity.pictures_a_day.value, inputs.activity.spread.value)
    prevalence = inputs.material.prevalence.value
    sharing = max(1, round(accounts * inputs.material.sharers.value)) if prevalence else 0
    sharers = np.minimum(_rounded(counts / accounts * sharing, sharing), counts)
    volume = accounts * inputs.activity.pictures_a_day.value
    sends = volume * prevalence / sharers.sum() if sharing else 0.0
    age = np.arange(days) % int(inputs.list.epoch_days.value)
    grows = log(inputs.list.growth.value) / YEAR
    return Model(
        inputs, behaviour, accounts, days, counts, sharers, rates, sends,
        _cascades(inputs, volume, volume * prevalence, accounts),
        np.exp(grows * (np.arange(days) - age)),
        -np.expm1(-grows * (age + 0.5)),
    )  # fmt: skip


def _classes(accounts: int, mean: float, spread: float) -> tuple[Counts, Floats]:
    """Accounts and rates of the classes of a log-normal activity; the mean over all accounts is exact."""
    from scipy.special import ndtr

    shares = np.diff(ndtr(_EDGES))
    counts = _rounded(shares * accounts, accounts)
    rates = np.diff(ndtr(_EDGES - spread)) / shares
    return counts, rates * mean * accounts / (counts @ rates)


def _rounded(wanted: Floats, total: int) -> Counts:
    """Whole numbers that sum to `total`: largest remainders first, the lower index where they are equal."""
    whole = np.floor(wanted).astype(np.int64)
    order = np.argsort(whole - wanted, kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return whole


def _cascades(inputs: Inputs, volume: float, known: float, accounts: int) -> Cascades:
    given = inputs.cascades
    doublings = np.arange(1, max(1, floor(log2(max(2.0, min(given.largest.value, accounts))))) + 1)
    chances = np.exp2(-given.exponent.value * doublings.astype(np.float64))
    sizes = np.exp2(doublings.astype(np.float64))
    chances = chances / chances.sum()
    mean, left = float(sizes @ chances), given.left.value
    burn_in = ceil(log(_REMAINS) / log(left)) if left else 0
    begun, begun_known = volume * given.benign.value / mean, known * given.known.value / mean
    return Cascades(sizes, chances, begun, begun_known, left, burn_in)
