"""The advantage of a guesser over chance, with its exact interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from blindmatch_simulations.measure.intervals import clopper_pearson

CONFIDENCE: Final = 0.99


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
