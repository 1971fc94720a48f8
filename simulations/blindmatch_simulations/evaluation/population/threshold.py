"""How many matches an account needs before any is opened, so that false matches seldom open one; and what
synthetic vouchers hide below that.

A false match is independent of the others (binomial), or comes in bursts: an album, variants of one viral
picture. Bursts are a compound Poisson number with geometric sizes (Panjer, 1981); no account has more matches
than pictures. How many bursts there are nobody has measured: it is an input.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from math import ceil, log
from typing import Any, Final

import numpy as np
from blindmatch_protocol.designs.threshold_psi.shares import COORDINATES
from msgspec import Struct, to_builtins
from msgspec.structs import replace

from blindmatch_simulations.evaluation.population.bands import chances_by_activity, expected
from blindmatch_simulations.evaluation.population.false_matches import break_even
from blindmatch_simulations.evaluation.population.inputs import YEAR, Inputs
from blindmatch_simulations.evaluation.population.model import Floats, Model, Range, literature, model

MOST: Final = 10_000
"""Thresholds above this are not looked for."""
HIDDEN: Final = 1e-4
"""How rarely an account has more synthetic vouchers than its utility threshold allows for."""
_LARGE: Final = 1e200
_ROUNDING: Final = 1e-9


class Bursts(Struct, frozen=True):
    """Attributes:
    events: of an account and period, mean, besides false matches that come alone.
    size: of one, mean, at least 1; geometric.
    """

    events: float
    size: float


class Hiding(Struct, frozen=True):
    """What synthetic vouchers do to an account.

    Attributes:
        synthetic: vouchers of a period, but for one account in 10,000.
        utility: real matches from which all always open: t + ceil(synthetic / coordinates).
        advantage: of the best guess between r and r + 1 real matches, from how many vouchers are visible: the
            largest mass of the number of synthetic ones. At 1 nothing is hidden.
    """

    synthetic: int
    utility: int | None
    advantage: float


def alone(pictures: int, rate: float) -> Floats:
    """Chances that at least k of `pictures` match by independent errors: float64 (MOST + 1,), k from 0."""
    from scipy.special import bdtrc

    tails = np.ones(MOST + 1)
    least = np.arange(1, MOST + 1)
    with np.errstate(invalid="ignore"):
        tails[1:] = np.where(least <= pictures, bdtrc(least - 1.0, max(pictures, 1), rate), 0)
    return tails


def with_bursts(pictures: int, rate: float, bursts: Bursts, most: int = MOST) -> Floats:
    """The same with `bursts` besides: float64 (most + 1,). Matches that come alone are a Poisson number here;
    where the binomial one reaches k more often without any burst, that chance."""
    tails = _with_bursts(pictures, rate, bursts, most)
    return np.maximum(tails, alone(pictures, rate)[: most + 1])


def _with_bursts(pictures: int, rate: float, bursts: Bursts, most: int) -> Floats:
    singles = pictures * rate
    going_on = 1 - 1 / bursts.size
    mean = singles + bursts.events
    masses = np.zeros(most + 1)
    if mean == 0:
        masses[0] = 1
        return _tails(masses, pictures)
    sizes = np.arange(1, most + 1)
    severity = bursts.events / mean * going_on ** (sizes - 1) / bursts.size
    severity[0] += singles / mean
    weights = sizes * severity
    masses[0] = 1.0
    scale = -mean
    for n in range(1, most + 1):
        masses[n] = mean / n * float(weights[:n] @ masses[n - 1 :: -1])
        if masses[n] > _LARGE:
            masses[: n + 1] /= _LARGE
            scale += log(_LARGE)
    with np.errstate(divide="ignore"):
        return _tails(np.exp(np.log(masses) + scale), pictures)


def _tails(masses: Floats, pictures: int) -> Floats:
    beyond = 1 - float(masses.sum())
    # what is less is rounding, or the last masses tell
    tails = np.minimum(np.cumsum(masses[::-1])[::-1] + (beyond if beyond > _ROUNDING else 0), 1)
    tails[pictures + 1 :] = 0
    return tails


def needed(tails: Floats, error: float) -> int | None:
    """The smallest threshold that an account reaches by chance with at most this `error`; None above MOST."""
    enough = np.flatnonzero(tails[1:-1] <= error)
    # where much is left beyond MOST, the last tails are too small
    return int(enough[0]) + 1 if enough.size and tails[-1] <= error * 1e-3 else None


class Contrast(Struct, frozen=True):
    """One account's smallest thresholds, by independent errors and with bursts; inputs that nobody measured
    but the published rule `error`: of an account and period."""

    pictures: int = 10_000
    rate: float = 4.3e-5
    bursts: Bursts = Bursts(1e-3, 10)
    error: float = 1e-12

    def needed(self) -> tuple[int | None, int | None]:
        """Without and with bursts."""
        own = alone(self.pictures, self.rate), with_bursts(self.pictures, self.rate, self.bursts)
        return needed(own[0], self.error), needed(own[1], self.error)


def hiding(threshold: int | None, pictures: int, synthetic: float, coordinates: int) -> Hiding:
    """What vouchers made for a share `synthetic` of the pictures do, shares having so many `coordinates`."""
    from scipy.special import bdtr, bdtrc

    counts = np.arange(pictures + 1.0)
    most = int(np.flatnonzero(bdtrc(counts, pictures, synthetic) <= HIDDEN)[0])
    mode = min(int((pictures + 1) * synthetic), pictures)
    mass = bdtr(mode, pictures, synthetic) - (bdtr(mode - 1, pictures, synthetic) if mode else 0)
    utility = None if threshold is None else threshold + ceil(most / coordinates)
    return Hiding(most, utility, float(mass))


def opened_by_chance(
    its: Model, rate: float, bursts: Bursts, threshold: int, days: int
) -> tuple[float, float]:
    """How often false matches alone open an account of the whole population in a year, expected, once a
    period at most: independent ones, and with bursts. `bursts.events` are those of an account of mean
    activity; others have them in proportion to their pictures."""
    average = _daily(its)
    found = np.zeros(2)
    for count, daily in zip(its.counts, its.rates, strict=True):
        pictures = max(1, round(float(daily) * days))
        own = Bursts(bursts.events * float(daily) / average, bursts.size)
        mean = pictures * rate + own.events * own.size
        most = threshold + ceil(3 * mean + 60 * own.size)
        if most > MOST:  # chance decides nothing there
            found += float(count) * (mean >= threshold)
        elif count:
            tails = alone(pictures, rate)[threshold], with_bursts(pictures, rate, own, most)[threshold]
            found += float(count) * np.array(tails)
    independent, bursty = (found * YEAR / days).tolist()
    return independent, bursty


def opened_accounts(its: Model) -> dict[str, Any]:
    """Of a design with a threshold, what is expected of the run: sharers whom their true matches open in some
    period, from the utility threshold on, where they always do, and from t on; and how often false matches
    alone open an account in a year, at the false-match rate that is assumed, or where half of all matches are
    wrong."""
    t = its.threshold
    bursts = Contrast().bursts
    pictures = [max(1, round(float(rate) * its.period)) for rate in its.rates]
    always = [hiding(t, most, its.behaviour.made_up, COORDINATES).utility or t for most in pictures]
    least, classes = np.unique(always, return_inverse=True)
    sharers = np.bincount(classes, its.sharers)
    seen = {"from_utility": sum(map(_sharers_seen, repeat(its), least.tolist(), sharers.tolist()))}
    seen["from_t"] = _sharers_seen(its, t, float(its.sharers.sum()))
    mean = max(1, ceil(_daily(its) * its.period))
    return {
        "always": hiding(t, mean, its.behaviour.made_up, COORDINATES).utility or t,
        "t": t, "days": its.period, "sharers": int(its.sharers.sum()), "seen": seen,
        "opened_wrongly_a_year": opened_wrongly(its, bursts), "bursts": to_builtins(bursts),
    }  # fmt: skip


def opened_wrongly(its: Model, bursts: Bursts) -> dict[str, Any]:
    """Return how many accounts are opened wrongly in a year at one false-match rate, by how matches come.

    The three answers differ by that alone: each for itself, as chance would have it; with `bursts` besides;
    or as in the year's model, in series of like pictures and in cascades that many send, also beside true
    ones.
    """
    assumed = its.behaviour.false_rate
    even = break_even(its.inputs).rate * (1 - its.behaviour.made_up)
    rate = even if assumed is None else assumed.value
    independent, bursty = opened_by_chance(its, rate, bursts, its.threshold, its.period)
    there = replace(its, behaviour=replace(its.behaviour, false_rate=Range.exactly(rate)))
    in_series = float(expected(there).accounts.sum()) * YEAR / its.days
    at = "where half of all matches are wrong" if assumed is None else "as assumed"
    return {
        "rate": rate / (1 - its.behaviour.made_up), "at": at,
        "independent": independent, "bursts": bursty, "in_series": in_series,
    }  # fmt: skip


def _sharers_seen(its: Model, least: int, sharers: float) -> float:
    """Of so many sharers those that have `least` true matches in some period."""
    both = (1 - its.modified, 1.0), (its.modified, 1 - its.unnoticed)
    missed = ((share, np.prod(1 - chances_by_activity(its, least, asked), axis=1)) for share, asked in both)
    return sharers * (1 - sum(share * float(one.mean()) for share, one in missed))


def accounts(its: Model, days: int) -> dict[str, int]:
    """Pictures of a period, by how active an account is."""
    shares = np.cumsum(its.counts) / its.accounts

    def of(share: float) -> int:
        return max(1, ceil(float(its.rates[int(np.searchsorted(shares, share))]) * days))

    return {
        "median": of(0.5),
        "mean": max(1, ceil(_daily(its) * days)),
        "1 in 1,000": of(0.999),
        "1 in 1 million": of(1 - 1e-6),
    }


def _daily(its: Model) -> float:
    """Pictures of an account of mean activity in a day."""
    return float(its.counts @ its.rates) / its.accounts


class Rate(Struct, frozen=True):
    """False matches for each picture, and where that is from."""

    name: str
    rate: float
    source: str


class Asked(Struct, frozen=True):
    """What `blindmatch design threshold` is asked for, as its options are called."""

    days: int
    error: float
    threshold: int
    bursts: Bursts
    synthetic: float
    coordinates: int


VERSION: Final = 1
"""Of the JSON; goes up when a key changes its meaning or goes."""


def chosen(asked: Asked, rates: Sequence[Rate], inputs: Inputs) -> dict[str, Any]:
    """Thresholds for each rate and activity, and what `asked.threshold` opens in a year, as JSON has them."""
    its = model(inputs, literature(inputs), int(inputs.accounts.number.value), 1)
    rows = []
    year = []
    for rate in rates:
        for account, pictures in accounts(its, asked.days).items():
            least, bursty = Contrast(pictures, rate.rate, asked.bursts, asked.error).needed()
            hidden = hiding(bursty, pictures, asked.synthetic, asked.coordinates)
            rows.append({
                "rate": rate.name, "false_rate": rate.rate, "account": account, "pictures": pictures,
                "independent": least, "bursts": bursty, **to_builtins(hidden),
            })  # fmt: skip
        both = opened_by_chance(its, rate.rate, asked.bursts, asked.threshold, asked.days)
        year.append({"rate": rate.name, "independent": both[0], "bursts": both[1]})
    return {
        "version": VERSION, "asked": to_builtins(asked), "rates": to_builtins(list(rates)),
        "thresholds": rows, "year": year, "says": _sentence(rows[-2]),
    }  # fmt: skip


def _sentence(row: dict[str, Any]) -> str:
    few, many = (
        f"more than {MOST:,}" if row[name] is None else f"{row[name]:,}" for name in ("independent", "bursts")
    )
    return (
        f"An account with {row['pictures']:,} pictures, {row['rate']}: t is {few} if false matches are "
        f"independent, and {many} with the bursts assumed. A threshold errs as often as its burst model says."
    )


def plot(asked: Asked, made: dict[str, Any]) -> dict[str, Any]:
    """The chance that false matches open an account of mean activity, by threshold, in Vega-Lite."""
    rows = []
    for one in made["thresholds"]:
        if one["account"] == "mean":
            kinds = {
                "independent": alone(one["pictures"], one["false_rate"]),
                "bursts": with_bursts(one["pictures"], one["false_rate"], asked.bursts),
            }
            rows += [
                {"t": at, "chance": float(tails[at]), "of": one["rate"], "kind": kind}
                for kind, tails in kinds.items()
                for at in range(1, MOST)
                if tails[at] >= asked.error
            ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json", "width": 520, "background": "white",
        "title": f"Chance that false matches open an account of mean activity in {asked.days} days",
        "data": {"values": rows}, "mark": "line",
        "encoding": {
            "x": {"field": "t", "type": "quantitative", "title": "threshold t", "scale": {"type": "log"}},
            "y": {"field": "chance", "type": "quantitative", "scale": {"type": "log"}, "title": "chance"},
            "color": {"field": "of", "type": "nominal", "title": "false matches"},
            "strokeDash": {"field": "kind", "type": "nominal", "title": "false matches are"},
        },
    }  # fmt: skip
