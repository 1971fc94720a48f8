"""What a class of pairs is tested with, and what that test would have caught.

In     the number of held-out runs and, where they are made in two looks, how many the first look has
Out    the least number of right guesses that fails, and the least advantage that fails with 95 %

The test is the exact binomial one, one-sided: of n independent runs a guesser without advantage guesses
right in each with probability 1/2, so that r right guesses fail if the lower end of their Clopper-Pearson
interval lies above 1/2 (Clopper and Pearson, 1934). Let c be the least such r. A guesser of advantage a is
right with probability p = (1 + a) / 2 and fails with probability

    P(a) = P(X >= c),  X ~ Binomial(n, p).

Two looks save runs where nothing shows: a class whose first m runs have fewer than f right guesses passes
there, and only the others get all n runs, of which c must be right as before. Stopping can only pass, so an
honest design fails no oftener than with n runs in every class. The two parts are independent, hence

    P(a) = sum over r from f to m of P(Y = r) P(Z >= c - r),  Y ~ Binomial(m, p), Z ~ Binomial(n - m, p).

f is the largest number that loses at most `LOST` of the a that n runs in every class would catch with 95 %.
Both functions grow with a, so the least advantage that is caught with 95 % is found by bisection. All of it
holds of a guesser that training has chosen: what training does not find, no number of held-out runs catches.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from msgspec import Struct

from blindmatch_simulations.measure.intervals import advantage, at_least

POWER: Final = 0.95
"""The probability with which a stated advantage is caught."""
LOST: Final = 0.02
"""The probability that the first look at a class passes what all its runs would catch with `POWER`."""
_STEPS: Final = 40
"""Of bisection: 2^-40 of an advantage is below the four places that are printed."""


class Looks(Struct, frozen=True):
    """How many held-out runs one class gets, and at what confidence.

    Attributes:
        runs: all of them.
        first: of these, how many every class gets; as many as `runs` if there is one look.
        confidence: of the two-sided interval whose lower end decides.
    """

    runs: int
    first: int
    confidence: float

    @property
    def least_right(self) -> int | None:
        """Return how many of all runs must be guessed right to fail; None if they are too few to fail."""
        return _least_right(self.runs, self.confidence)

    @property
    def least_first(self) -> int:
        """Return how many of the first runs must be guessed right for the others to be made."""
        return _least_first(self)

    @property
    def caught(self) -> float | None:
        """Return the least advantage that fails with `POWER`; None if not even a certain guesser does."""
        return _caught(self)

    def chance(self, told: float) -> float:
        """Return the exact probability that a guesser of the advantage `told` fails a class."""
        least = self.least_right
        p = (1 + told) / 2
        if least is None:
            return 0.0
        if self.first == self.runs:
            return at_least(least, self.runs, p)
        rest = self.runs - self.first
        return sum(
            (at_least(r, self.first, p) - at_least(r + 1, self.first, p)) * at_least(least - r, rest, p)
            for r in range(self.least_first, self.first + 1)
        )


def at_once(runs: int, confidence: float) -> Looks:
    """Return the test of a class that gets all its runs in one look."""
    return Looks(runs, runs, confidence)


@lru_cache(maxsize=256)
def _least_right(runs: int, confidence: float) -> int | None:
    right = range(runs // 2, runs + 1)
    return next((r for r in right if advantage(r, runs, confidence).told_apart), None)


@lru_cache(maxsize=256)
def _least_first(looks: Looks) -> int:
    whole = at_once(looks.runs, looks.confidence).caught
    if looks.first == looks.runs or whole is None:
        return 0
    p = (1 + whole) / 2
    return max(f for f in range(looks.first + 1) if 1 - at_least(f, looks.first, p) <= LOST)


@lru_cache(maxsize=256)
def _caught(looks: Looks) -> float | None:
    if looks.chance(1.0) < POWER:
        return None
    low = 0.0
    high = 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if looks.chance(middle) < POWER:
            low = middle
        else:
            high = middle
    return high
