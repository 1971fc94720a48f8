"""Intervals of what was counted: exact ones (Clopper and Pearson, 1934; Garwood, 1936), by scipy's incomplete
beta and gamma functions, and resampled ones for timings; of the advantage of a guesser over chance.
What is one-sided is called so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean, median, stdev
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_simulations.measure.results import Figure

CONFIDENCE: Final = 0.95
GAME_CONFIDENCE: Final = 0.99
_RESAMPLED: Final = 0.97
_LEAST_RESAMPLED: Final = 6
_RESAMPLES: Final = 2000
_CLUSTER_RESAMPLES: Final = 10_000
RESAMPLES: Final = 4_000
"""How often packages are drawn again."""


def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two-sided interval for a share of `hits` in `trials`; (0, 1) if nothing was tried; `ValueError` if
    there are more hits than trials."""
    if not 0 <= hits <= trials:
        raise ValueError("hits: must be 0 to the number of trials")
    tail = (1 - confidence) / 2
    return _low(hits, trials, tail), 1 - _low(trials - hits, trials, tail)


def one_sided_least(hits: int, trials: int) -> float:
    """What a share of `hits` in `trials` is at least, one-sided, at 95 %; 0 if nothing was tried."""
    return _low(hits, trials, 1 - CONFIDENCE)


def one_sided_most_rate(count: int, trials: float) -> float:
    """What a rate of rare events is at most, one-sided, at 95 %: exact for a Poisson count (Garwood);
    infinity if nothing was tried. Nothing seen gives 3.0 in `trials`, the rule of three."""
    from scipy.special import gammaincinv

    return float(gammaincinv(count + 1, CONFIDENCE)) / trials if trials > 0 else float("inf")


def bounded_mean(mean: float, units: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two-sided interval for the expectation of `units` independent values in [0, 1] that average `mean`,
    whatever their distribution; (0, 1) without units. Not asymptotic (Hoeffding, 1963, theorem 1, in the form
    of the relative entropy); for the share of pairs of n independent pictures, a U-statistic, it holds with n
    // 2 units (section 5); `ValueError` if the mean is outside of [0, 1]."""
    if not 0 <= mean <= 1:
        raise ValueError("mean: must be 0 to 1")
    if units < 1:
        return 0.0, 1.0
    reach = float(np.log(2 / (1 - confidence))) / units
    # near 1 the distance from it is what there are digits for
    high = 1 - _end(1 - mean, reach, 1e-300) if mean > 0.5 else _end(mean, reach, 1 - 1e-16)
    return _end(mean, reach, 1e-300), high


def _end(mean: float, reach: float, far: float) -> float:
    """The expectation farthest towards `far` that is within `reach` of `mean` in relative entropy."""
    from scipy.optimize import brentq

    if _divergence(mean, far) <= reach:
        return float(round(far))
    return float(brentq(lambda p: _divergence(mean, p) - reach, *sorted((mean, far)), xtol=1e-18))


def _divergence(mean: float, p: float) -> float:
    """Relative entropy of Bernoulli(mean) to Bernoulli(p), nats."""
    hit = mean * float(np.log(mean / p)) if mean > 0 else 0.0
    return hit + ((1 - mean) * float(np.log1p(-mean) - np.log1p(-p)) if mean < 1 else 0.0)


def at_least(least: int, trials: int, p: float) -> float:
    """The exact probability of `least` successes or more in `trials`, each of probability `p`."""
    from scipy.special import bdtrc

    return 1.0 if least <= 0 else float(bdtrc(least - 1, trials, p)) if least <= trials else 0.0


def mean(values: Sequence[float]) -> Figure:
    """The mean of independent repeats with its interval, skewed as times are; without one of fewer than two,
    which say nothing of how they spread, and of no width where all are equal, as counted bytes are.

    From six repeats on it is Student's t at 95 %, widened to the bootstrap-t at 97 % (Efron and Tibshirani,
    1993, section 12.5), which leans the way the repeats do; below, Student's t at 99 %. Of exponential times
    Student's t at 95 % covers the mean in 87 to 93 % of runs, this in 94 % or more.
    """
    from scipy.special import stdtrit

    if not values:
        return Figure(None, "nothing was repeated")
    value = fmean(values)
    n = len(values)
    if n < 2:
        return Figure(value, "one reading: its spread is not known", n=1)
    error = stdev(values) / n**0.5
    few = n < _LEAST_RESAMPLED
    reach = float(stdtrit(n - 1, (1 + (GAME_CONFIDENCE if few else CONFIDENCE)) / 2))
    low, high = (-reach, reach) if few or not error else _studentized(np.array(values))
    words = (
        f"99 % interval: Student's t, of fewer than {_LEAST_RESAMPLED} repeats"
        if few
        else "95 % interval: Student's t, widened by a bootstrap"
    )
    return Figure(value, words, value - max(reach, high) * error, value - min(-reach, low) * error, n)


def _studentized(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Between which numbers of its standard error a mean of resamples lies from that of `values`, at 97 %."""
    n = len(values)
    resamples = values[_ways(len(values))]
    spread = resamples.std(axis=1, ddof=1)
    varied = spread > 1e-9 * values.std()
    apart = (resamples.mean(axis=1) - values.mean())[varied] / spread[varied] * n**0.5
    low, high = np.quantile(apart, [(1 - _RESAMPLED) / 2, (1 + _RESAMPLED) / 2])
    return float(low), float(high)


@lru_cache(maxsize=4)
def _ways(count: int) -> npt.NDArray[np.int64]:
    """Which of `count` values make each resample; the same each time, and not to be changed."""
    return np.random.Generator(np.random.PCG64(count)).integers(count, size=(_RESAMPLES, count))


def clustered_share(hits: Sequence[int], trials: Sequence[int]) -> tuple[float, float]:
    """The interval of a share over clusters that are independent while their trials are not, by resampling
    whole clusters (Efron, 1979); where all trials went one way, Clopper and Pearson's over clusters;
    `ValueError` if the lists differ in length."""
    if len(hits) != len(trials):
        raise ValueError("hits: must be as many as trials")
    if sum(hits) in (0, sum(trials)):
        clusters = sum(one > 0 for one in trials)
        return clopper_pearson(clusters if sum(hits) else 0, clusters)
    return resampled_ratio(hits, trials)


def resampled_ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, float]:
    """The interval of sum(above) / sum(below) over independent pairs of values, by resampling them."""
    weights = _weights(len(above))
    over = weights @ np.array(above)
    under = weights @ np.array(below)
    low, high = np.quantile(over[under > 0] / under[under > 0], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


@lru_cache(maxsize=64)
def package_draws(count: int) -> npt.NDArray[np.int64]:
    """Return how often each of `count` packages is drawn in each resample, (RESAMPLES, count); the same each
    time, and not to be changed."""
    rng = np.random.Generator(np.random.PCG64([count, 1]))
    return rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)


def package_ratio(
    above: npt.NDArray[np.int64], below: npt.NDArray[np.int64], packages: npt.NDArray[np.str_]
) -> tuple[float, float]:
    """Return the 95 % interval of sum(above) / sum(below) over pictures, (m,), with packages drawn again,
    then pictures of each.

    Of a package with n pictures that is drawn k times, n pictures are drawn k times, which are k n draws.
    """
    names, of = np.unique(packages, return_inverse=True)
    drawn = package_draws(len(names))
    rng = np.random.Generator(np.random.PCG64([len(names), len(of)]))
    over = np.zeros(RESAMPLES)
    under = np.zeros(RESAMPLES)
    for at in range(len(names)):
        mine = np.flatnonzero(of == at)
        weights = rng.multinomial(drawn[:, at] * len(mine), np.full(len(mine), 1 / len(mine)))
        over += weights @ above[mine]
        under += weights @ below[mine]
    low, high = np.quantile(over[under > 0] / under[under > 0], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


@lru_cache(maxsize=1)
def _weights(count: int) -> npt.NDArray[np.float64]:
    """How often each of `count` is drawn in each resample; the same each time, and not to be changed."""
    rng = np.random.Generator(np.random.PCG64(count))
    return rng.multinomial(count, np.full(count, 1 / count), _CLUSTER_RESAMPLES).astype(np.float64)


def _low(hits: int, trials: int, tail: float) -> float:
    """The share for which at least `hits` in `trials` have probability `tail`; 0 without hits."""
    from scipy.special import betaincinv

    return float(betaincinv(hits, trials - hits + 1, tail)) if hits > 0 else 0.0


_STATED: Final = re.compile(r"\d+(?:\.\d+)? % interval")
_FOR_ANOTHER: Final = re.compile(r"(\d+(?:\.\d+)? %) (for another package[^;]*)")
RANGE: Final = "lowest to highest"
"""Of repeated timings and counted bytes, which have no interval."""
_REPEATED: Final = ("ms", "s", "us", "bytes", "MiB")
"""What a range of repeats is in; an estimate in one of them says its level in its reason."""


def level_of(figure: Figure, kind: str = "design") -> str:
    """Return what `low` and `high` of a figure are: an interval with its level, a range, a bound, or nothing.

    A reason that names the level is right. In files of before levels were named, the number of repeats tells
    that of `mean`; attacks have 99 %.

    Args:
        kind: of the row that the figure stands in (docs/reference/results.md).
    """
    if figure.low is None and figure.high is None:
        return ""
    if stated := _STATED.search(figure.why):
        return stated[0]
    if another := _FOR_ANOTHER.search(figure.why):
        return f"{another[1]} interval {another[2]}"
    if figure.low is None:
        return "95 % bound, one-sided"
    base, _, per = figure.unit.partition("/")
    if kind == "bench" or (base in _REPEATED and not per.endswith("entries")):
        return RANGE
    of_mean = base == "u" or per.endswith("entries")
    if kind == "attack" or (of_mean and (figure.n or 0) < _LEAST_RESAMPLED):
        return "99 % interval"
    return "95 % interval"


class Advantage(Struct, frozen=True):
    """Twice the share of right guesses, less one, with its Clopper-Pearson interval.

    Attributes:
        value: 0 is guessing, 1 is always right; negative values are chance.
        low, high: the interval.
        runs: held-out runs behind it.
        confidence: of the interval.
    """

    value: float
    low: float
    high: float
    runs: int
    confidence: float

    @property
    def told_apart(self) -> bool:
        """Is guessing ruled out at the interval's confidence?"""
        return self.low > 0

    @property
    def resolution(self) -> float:
        """The upper end if half of the guesses are right: so many runs can show no smaller bound of an
        opponent that only guesses, and tell no smaller advantage from guessing."""
        return advantage(self.runs // 2, self.runs, self.confidence).high

    def figures(self) -> dict[str, Any]:
        """As JSON values, to four places."""
        interval = [round(self.low, 4), round(self.high, 4)]
        return {"advantage": round(self.value, 4), "interval": interval}

    def words(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}] over {self.runs} runs"


def advantage(right: int, runs: int, confidence: float = GAME_CONFIDENCE) -> Advantage:
    """The advantage of `right` right guesses in `runs` independent runs of a fair coin."""
    low, high = clopper_pearson(right, runs, confidence)
    return Advantage(2 * right / runs - 1, 2 * low - 1, 2 * high - 1, runs, confidence)


def share(hits: int, trials: int, pairs: int | None = None, units: int | None = None) -> Figure:
    """A counted share with its interval. `units` are how many of the trials are taken to be independent, if
    not all, as copies of one picture are not: the interval then holds for means of that many values of 0 to
    1, however they spread."""
    if not trials:
        return Figure(None, "no picture of this kind in the workload")
    if units is None or units == trials:
        low, high = clopper_pearson(hits, trials)
        return Figure(hits / trials, "", low, high, trials, pairs)
    low, high = bounded_mean(hits / trials, units)
    words = f"interval over {units} pictures, not {trials} copies: those of one hang together (Hoeffding)"
    return Figure(hits / trials, words, low, high, trials, pairs)


def timing(values: Sequence[float], middle: bool = True) -> Figure:
    """Median (or mean) of repeated timings, with the lowest and the highest."""
    if not values:
        return Figure(None, "no picture of this kind in the workload")
    value = median(values) if middle else fmean(values)
    return Figure(value, "", min(values), max(values), len(values))


def number(value: float | None, why: str = "the system does not tell", n: int | None = None) -> Figure:
    return Figure(None, why) if value is None else Figure(float(value), n=n)
