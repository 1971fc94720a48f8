"""One game: a fair coin picks a sequence of the pair, a view is made, the coin is guessed.

    training runs   first half: each distinguisher learns what its values mean
                    second half: the best one is chosen
    held-out runs   the chosen one guesses; its advantage has a Clopper-Pearson interval

Each class of pairs has a distinguisher of its own. A class counts as told apart if its interval excludes
guessing; the intervals are widened by the number of classes (Bonferroni), so that all of them together
are right with 99 percent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from blindmatch_simulations.conformance.leakage.distinguishers import (
    BITS,
    DISTINGUISHERS,
    Distinguisher,
    View,
    bits,
)
from blindmatch_simulations.conformance.leakage.knowledge import Guesses
from blindmatch_simulations.measure.advantage import CONFIDENCE, Advantage, advantage

BEST_BITS: Final = 3
"""Single bits that the first half of the training runs proposes to the second."""


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """A view, the pair it is of (of sequences, or of lists), and the coin: True for the right one."""

    view: View
    pair: Any
    coin: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What came out for one class of pairs."""

    scenario: str
    best: str
    measured: Advantage
    right: int


def judge(
    scenario: str,
    training: Sequence[Run],
    held: Sequence[Run],
    known: Guesses,
    classes: int,
    tried: Sequence[Distinguisher] = DISTINGUISHERS,
) -> Finding:
    """Learn, choose and measure on one class of pairs; `classes` is how many are tested at once."""
    half = len(training) // 2
    learn, choose = training[:half], training[half:]
    rules = [*_learnt(learn, known, tried), *_best_bits(learn)]
    scores = [sum(rule.right(run, known) for run in choose) for rule in rules]
    best = rules[int(np.argmax(scores))]
    right = sum(best.right(run, known) for run in held)
    confidence = 1 - (1 - CONFIDENCE) / classes
    return Finding(scenario, best.name, advantage(right, len(held), confidence), right)


@dataclass(frozen=True, slots=True, repr=False)
class _Table:
    """Guesses the side on which a value was seen more often; left if it was never seen."""

    name: str
    value: Any
    sides: dict[Hashable, bool]

    def right(self, run: Run, known: Guesses) -> bool:
        return self.sides.get(self.value(run.view, run.pair, known), False) == run.coin


@dataclass(frozen=True, slots=True, repr=False)
class _Bit:
    """Guesses by one bit of the bodies."""

    name: str
    place: int
    meaning: bool

    def right(self, run: Run, known: Guesses) -> bool:
        return (bool(bits(run.view)[self.place]) == self.meaning) == run.coin


def _learnt(runs: Sequence[Run], known: Guesses, tried: Sequence[Distinguisher]) -> list[_Table | _Bit]:
    rules: list[_Table | _Bit] = []
    for one in tried:
        seen: dict[Hashable, Counter[bool]] = defaultdict(Counter)
        for run in runs:
            seen[one.value(run.view, run.pair, known)][run.coin] += 1
        sides = {value: count[True] > count[False] for value, count in seen.items()}
        rules.append(_Table(one.name, one.value, sides))
    return rules


def _best_bits(runs: Sequence[Run]) -> list[_Table | _Bit]:
    """The bits that tell most. Of thousands some do by chance, in few runs; the others' turn comes later."""
    matrix = np.array([bits(run.view) for run in runs], np.float32)
    coins = np.array([run.coin for run in runs], np.bool_)
    if coins.all() or not coins.any():
        return [_Bit(BITS, 0, True)]
    apart = matrix[coins].mean(axis=0) - matrix[~coins].mean(axis=0)
    places = np.argsort(-np.abs(apart), kind="stable")[:BEST_BITS].tolist()
    return [_Bit(BITS, place, bool(apart[place] > 0)) for place in places]
