"""Exact binomial intervals (Clopper and Pearson, 1934), and the advantage they bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

CONFIDENCE: Final = 0.99
_STEPS: Final = 60


@dataclass(frozen=True, slots=True)
class Advantage:
    """Twice the share of right guesses, less one, with its Clopper-Pearson interval.

    Attributes:
        value: 0 is guessing, 1 is always right; negative values are chance.
        low, high: the interval.
        runs: held-out runs behind it.
    """

    value: float
    low: float
    high: float
    runs: int

    @property
    def told_apart(self) -> bool:
        """Is guessing ruled out at the interval's confidence?"""
        return self.low > 0

    def words(self) -> str:
        """For people."""
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}] over {self.runs} runs"


def advantage(right: int, runs: int, confidence: float = CONFIDENCE) -> Advantage:
    """The advantage of `right` right guesses in `runs` independent runs of a fair coin."""
    low, high = clopper_pearson(right, runs, confidence)
    return Advantage(2 * right / runs - 1, 2 * low - 1, 2 * high - 1, runs)


def resolution(runs: int, confidence: float = CONFIDENCE) -> float:
    """The upper end of the interval if half of `runs` guesses are right: a game of so many runs can show no
    smaller bound of an opponent that only guesses, and tells no smaller advantage from guessing."""
    return advantage(runs // 2, runs, confidence).high


def clopper_pearson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """The two-sided interval for a binomial proportion that covers it with at least `confidence`."""
    tail = (1 - confidence) / 2
    low = _solve(lambda p: _upper_tail(successes, trials, p) > tail) if successes else 0.0
    high = _solve(lambda p: _upper_tail(successes + 1, trials, p) > 1 - tail) if successes < trials else 1.0
    return low, high


def at_least(least: int, trials: int, p: float) -> float:
    """The exact probability of `least` successes or more in `trials`, each of probability `p`."""
    if least <= 0 or p >= 1:
        return 1.0
    return _upper_tail(least, trials, p) if p > 0 and least <= trials else 0.0


def _upper_tail(least: int, trials: int, p: float) -> float:
    """P(at least `least` successes)."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    counts = np.arange(least, trials + 1)
    ways = logs[trials] - logs[counts] - logs[trials - counts]
    return float(np.exp(ways + counts * np.log(p) + (trials - counts) * np.log1p(-p)).sum())


def _solve(above: Callable[[float], bool]) -> float:
    """The least p for which `above` (increasing) holds, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return (low + high) / 2
