"""The model of one design in one population: numbers alone, the same for all three levels.

What accounts have in common on a day is their environment: cascades that match, cascades of known material,
outages. Given these, accounts are independent of one another: an account's matches on a day are a Poisson
number with the account's rate times what stands there. A cascade of size m makes a Poisson number of sends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from itertools import accumulate
from math import ceil, floor, log, log2
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct, field
from msgspec.structs import astuple, replace

from blindmatch_simulations.evaluation.assess.observed import KeyUse
from blindmatch_simulations.evaluation.population.false_matches import ListRate
from blindmatch_simulations.evaluation.population.inputs import YEAR, Inputs
from blindmatch_simulations.measure.results import Figure

LITERATURE: Final = "literature"
COSTS: Final = (
    "server_cpu_ms", "query_up_bytes", "query_down_bytes", "report_bytes", "setup_bytes", "update_bytes",
)  # fmt: skip


GROWTH: Final = "server_growth_ms"
"""What an entry more adds, between two lengths of the list that were measured."""
MEASURED: Final = ("recall", "false_rate", "unnoticed")


class Range(Struct, frozen=True):
    """An estimate with the ends of its 95 % interval, and in words where it is from."""

    value: float
    low: float
    high: float
    source: str = ""

    @staticmethod
    def exactly(value: float) -> Range:
        """A figure without an interval."""
        return Range(value, value, value)

    def at(self, end: str) -> float:
        return float(getattr(self, end))


class Behaviour(Struct, frozen=True):
    """Attributes:
    recall: share of known pictures found, for the mix of edits of the inputs.
    false_rate: false matches for each picture sent, the mean of the run; None if it is not known and none is
        assumed, so that nothing is said of what depends on it.
    unnoticed: share of what a client that never asks sends, of which nobody learns.
    asks: whether anything is asked of a server, so that an outage matters.
    costs: figures of cost by name; None with a reason where they were not measured.
    entries: of the list it was measured with.
    key: limits of a role's key, if the design has any.
    assumed: whether `false_rate` is the rate of the inputs, which no assessment measured.
    of_lists: where the rate is one of a kind of list, at any length; `model` takes it at the inputs' length.
    threshold: matches of an account and period below which the design opens none.
    by_period: whether they are counted anew after a key's life, or never.
    made_up: share of pictures whose voucher is made up; none counts, which `recall` and both rates allow for.
    """

    recall: Range
    false_rate: Range | None
    unnoticed: Range
    asks: bool
    costs: Mapping[str, Figure] = field(default_factory=dict)
    entries: int = 0
    key: KeyUse | None = None
    assumed: bool = False
    of_lists: ListRate | None = None
    threshold: int = 1
    by_period: bool = False
    made_up: float = 0.0

    def at(self, recall: str, false: str, unnoticed: str) -> Behaviour:
        """The same with recall, false matches and `unnoticed` each at an end of its interval."""
        ends = zip(MEASURED, (recall, false, unnoticed), strict=True)
        held = ((name, getattr(self, name), end) for name, end in ends)
        changed = {name: one and Range.exactly(one.at(end)) for name, one, end in held}
        return replace(self, **changed)


def literature(inputs: Inputs) -> Behaviour:
    """A matcher that finds everything, with the false matches of the literature."""
    rate = inputs.false_matches.rate.value
    one = Range(1, 1, 1, "assumed")
    zero = Range(0, 0, 0, "assumed")
    unknown = {name: Figure(None, "not measured: no design") for name in COSTS}
    return Behaviour(one, Range(rate, rate, rate, "inputs"), zero, False, unknown, assumed=True)


Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_EDGES: Final = np.concatenate([[-np.inf], np.arange(-2.5, 4.75, 0.25), [np.inf]])
"""Of the classes of activity, in standard deviations of the logarithm."""
_REMAINS: Final = 1e-6
"""Of a cascade's sends, after which it is taken to have ended."""
_RARE: Final = 0.1
"""Cascades of a size a day, below which all of them are drawn at once, and then where they are."""


def stream(seed: int, *words: str | int) -> np.random.Generator:
    """The random numbers that belong to a seed and some words: Philox (Salmon and others, 2011) under their
    SHA-256 as its key. It is counter-based, so that no result depends on which worker computed what, or
    when."""
    text = json.dumps(["blindmatch population 1", seed, *words]).encode()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(sha256(text).digest()[:16], "big")))


class Sizes(Struct, frozen=True):
    """How large cascades are: expected sends of one, float64 (j,), the chance of each size, float64 (j,), and
    how many begin in a day."""

    sizes: Floats
    chances: Floats
    begun: float

    @classmethod
    def drawn_from(cls, inputs: Inputs, sends: float, senders: int) -> Sizes:
        """Those of so many `sends` a day; none is larger than all `senders` together."""
        largest = floor(log2(max(2.0, min(inputs.cascades.largest.value, senders))))
        doublings = np.arange(1, largest + 1).astype(np.float64)
        chances = np.exp2(-inputs.cascades.exponent.value * doublings)
        sizes = np.exp2(doublings)
        chances = chances / chances.sum()
        return cls(sizes, chances, sends / float(sizes @ chances))


class Cascades(Struct, frozen=True):
    """Attributes:
    benign, known: of pictures, and of known material.
    left: share of the sends that is to come after each day.
    burn_in: days before the first one, whose cascades still run.
    """

    benign: Sizes
    known: Sizes
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
        """Matches of an account and period before any is reported: the centre's, or the design's."""
        return max(int(self.inputs.centre.threshold.value), self.behaviour.threshold)

    @property
    def period(self) -> int:
        """Days after which an account's matches are counted anew."""
        return int(self.inputs.keys.life_days.value) if self.behaviour.by_period else self.days

    @property
    def series(self) -> int:
        """False matches that come together among the pictures that an account made itself."""
        return int(self.inputs.false_matches.series.value)

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
        """False matches for each picture in a day, float64 (days,); none where the rate is not known."""
        rate = self.behaviour.false_rate
        return np.full(self.days, 0.0 if rate is None else min(1.0, rate.value))

    @property
    def held_over(self) -> bool:
        """Whether pictures of an outage are matched the next day."""
        return self.inputs.outages.mode != "unmatched"


def mean_entries(inputs: Inputs, days: int) -> float:
    """Return the length of the list in use, the mean of a run: it grows by a factor g in a year, so that on
    day t, with an epoch of t - age, it is entries g^((t - age) / 365)."""
    return inputs.list.entries.value * float(_growth(inputs, days)[0].mean())


def _growth(inputs: Inputs, days: int) -> tuple[Floats, Floats]:
    """Of each day: the list in use over that of the first day, and the share of known material not in it."""
    age = np.arange(days) % int(inputs.list.epoch_days.value)
    grows = log(inputs.list.growth.value) / YEAR
    return np.exp(grows * (np.arange(days) - age)), -np.expm1(-grows * (age + 0.5))


def in_the_list(behaviour: Behaviour, inputs: Inputs, days: int) -> Behaviour:
    """Return the behaviour with its rate at the length of the inputs' list, if it is one of lists."""
    if behaviour.of_lists is None:
        return behaviour
    rate = behaviour.of_lists.at(mean_entries(inputs, days))
    value, low, high = ((end or 0.0) * (1 - behaviour.made_up) for end in (rate.value, rate.low, rate.high))
    return replace(behaviour, false_rate=Range(value, low, high, rate.why), of_lists=None)


def model(inputs: Inputs, behaviour: Behaviour, accounts: int, days: int) -> Model:
    """The model of `behaviour` in a population of `accounts` over `days`."""
    behaviour = in_the_list(behaviour, inputs, days)
    counts, rates = _classes(accounts, inputs.activity.pictures_a_day.value, inputs.activity.spread.value)
    known = accounts * inputs.material.files.value / YEAR
    sharing = max(1, round(accounts * inputs.material.sharers.value)) if known else 0
    sharers = np.minimum(_rounded(counts / accounts * sharing, sharing), counts)
    volume = accounts * inputs.activity.pictures_a_day.value
    sends = known / sharers.sum() if sharing else 0.0
    left = inputs.cascades.left.value
    growth, unlisted = _growth(inputs, days)
    return Model(
        inputs, behaviour, accounts, days, counts, sharers, rates, sends,
        Cascades(
            Sizes.drawn_from(inputs, volume * inputs.cascades.benign.value, accounts),
            Sizes.drawn_from(inputs, known * inputs.cascades.known.value, int(sharers.sum())),
            left, ceil(log(_REMAINS) / log(left)) if left else 0,
        ),
        growth, unlisted,
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


class Environment(Struct, frozen=True):
    """Of one run, float64 (days,), or of several, (runs, days).

    Attributes:
        own: false matches for each picture that an honest account sends, of pictures that it made itself;
            they come in series.
        copies: the same of copies of a cascade, which come one by one.
        listed: sends of known pictures that are in the epoch and reach the matching, over a sharer's mean.
        video, late, down: those that are video, not yet in the epoch, or cut off by an outage.
    """

    own: Floats
    copies: Floats
    listed: Floats
    video: Floats
    late: Floats
    down: Floats

    @property
    def false(self) -> Floats:
        """False matches for each picture that an honest account sends."""
        return self.own + self.copies


def drawn(model: Model, seed: int, runs: int | None = None, purpose: str = "run") -> Environment:
    """One environment, or `runs` of them; none is the same for two purposes of a seed."""
    n = 1 if runs is None else runs
    material = model.inputs.material
    given = model.inputs.cascades
    rates = model.false_rates
    expected = np.concatenate([np.full(model.cascades.burn_in, rates[0]), rates])
    copies = _sends(model, model.cascades.benign, expected, (seed, purpose, "false"), n) / model.volume
    own = np.broadcast_to((1 - given.benign.value) * rates, copies.shape)
    kinds = []
    for name, share in (("pictures", 1 - material.video.value), ("video", material.video.value)):
        expected = np.full(model.cascades.burn_in + model.days, share)
        sends = _sends(model, model.cascades.known, expected, (seed, purpose, name), n)
        kinds.append((1 - given.known.value) * share + sends / (model.known or 1))
    outages = model.inputs.outages
    struck = stream(seed, purpose, "outages").random((n, model.days)) < outages.chance.value
    down = np.where(struck, outages.part.value * model.behaviour.asks, 0.0)
    made = composed(model, (own, copies), kinds[0], kinds[1], down)
    return made if runs is not None else Environment(*(rows[0] for rows in astuple(made)))


def periods(model: Model, given: Environment) -> Iterator[tuple[slice, Model, Environment]]:
    """The days of each period, with the model and the environment of these days."""
    for start in range(0, model.days, model.period):
        days = slice(start, min(start + model.period, model.days))
        its = replace(model, days=days.stop - start, growth=model.growth[days], unlisted=model.unlisted[days])
        yield days, its, Environment(*(rows[..., days] for rows in astuple(given)))


def average_environment(model: Model) -> Environment:
    """Its expectation: cascades and outages are independent."""
    left = model.cascades.left
    burn_in = model.cascades.burn_in
    rates = np.concatenate([np.full(burn_in, model.false_rates[0]), model.false_rates])
    share = model.inputs.cascades.benign.value
    false = (1 - share) * model.false_rates, share * spread_out(rates, left)[burn_in:]
    video = np.full(model.days, model.inputs.material.video.value)
    chance = model.inputs.outages.chance.value
    part = model.inputs.outages.part.value
    down = np.full(model.days, chance * part * model.behaviour.asks)
    return composed(model, false, 1 - video, video, down)


def composed(
    model: Model, false: tuple[Floats, Floats], pictures: Floats, video: Floats, down: Floats
) -> Environment:
    """Put together what happens on each day, with what an outage leaves to the next one; `false` are the
    matches of pictures of an account's own, and of copies."""
    listed = pictures * (1 - model.unlisted)
    late = pictures * model.unlisted
    own, copies = (_after_outages(model, rows, down)[0] for rows in false)
    matched, lost = _after_outages(model, listed, down)
    return Environment(own, copies, matched, video, late, lost)


def _after_outages(model: Model, rows: Floats, down: Floats) -> tuple[Floats, Floats]:
    """What reaches the matching on each day, and what never does."""
    cut = rows * down
    matched = rows - cut
    lost = cut.copy()
    if model.held_over:
        matched[..., 1:] += cut[..., :-1]
        lost[..., :-1] = 0
    return matched, lost


def spread_out(begun: Floats, left: float) -> Floats:
    """Sends of each day, of cascades by the day they began on, (..., days)."""
    days = ((1 - left) * begun).T
    made = accumulate(days.tolist() if days.ndim == 1 else days, lambda before, day: day + left * before)
    return np.ascontiguousarray(np.array([*made]).T)


def _sends(model: Model, law: Sizes, shares: Floats, words: tuple[int, str, str], runs: int) -> Floats:
    """Sends of a day that belong to these `shares` of cascades by the day they begin on, (runs, days)."""
    laws = tuple(zip(law.sizes.tolist(), law.chances.tolist(), strict=True))
    spread = (_spread if runs > 1 else _spread.__wrapped__)(  # one run is cheap, and would drive out others
        laws, tuple((law.begun * shares).tolist()), model.cascades.left, words, runs
    )
    return spread[:, model.cascades.burn_in :]


@lru_cache(maxsize=8)
def _spread(
    laws: tuple[tuple[float, float], ...], begun: tuple[float, ...], left: float, words: tuple[int, str, str],
    runs: int,
) -> Floats:  # fmt: skip
    """Not to be changed: designs, and the ends of what was measured of one, share it."""
    rng = stream(*words)
    total = np.zeros((runs, len(begun)))
    days = np.array(begun)
    for size, chance in laws if any(begun) else ():
        if runs == 1 or days.max() * chance > _RARE:
            total += size * rng.poisson(days * chance, total.shape)
            continue
        where = rng.choice(len(days), rng.poisson(runs * days.sum() * chance), p=days / days.sum())
        np.add.at(total, (rng.integers(runs, size=len(where)), where), size)
    return spread_out(total, left)
