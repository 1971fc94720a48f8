"""A fair game of an attack that tells two cases apart: what its observations mean is learnt, then tested.

Half of the games, as many of each case, train: each feature alone, and all together, learn which case their
values go with. The best on the training half guesses the other half.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from blindmatch_simulations.measure.intervals import GAME_CONFIDENCE, Advantage, advantage


@dataclass(frozen=True, slots=True)
class Played:
    """What was seen in one game, always as many features, and which case it was."""

    seen: tuple[Hashable, ...]
    case: bool


Look: TypeAlias = Callable[[Played], Hashable]


def won(played: Sequence[Played], cases: int = 1) -> Advantage:
    """The advantage of the best rule over guessing, measured on games that it did not learn from.

    `cases` are tested at once: the interval is widened so that all of them together are right with 99 %.
    """
    training = [*played[0::4], *played[1::4]]
    held = [*played[2::4], *played[3::4]]
    looks = [_feature(at) for at in range(len(played[0].seen))]
    rules = [_rule(look, training) for look in (*looks, _all)]
    best = max(rules, key=lambda rule: sum(rule(one) == one.case for one in training))
    right = sum(best(one) == one.case for one in held)
    return advantage(right, len(held), 1 - (1 - GAME_CONFIDENCE) / cases)


def _feature(at: int) -> Look:
    return lambda one: one.seen[at]


def _all(one: Played) -> Hashable:
    return one.seen


def _rule(look: Look, training: Sequence[Played]) -> Callable[[Played], bool]:
    """Guesses the case in which a value was seen more often; the second if it never was."""
    counts: dict[Hashable, Counter[bool]] = defaultdict(Counter)
    for one in training:
        counts[look(one)][one.case] += 1
    sides = {value: seen[True] > seen[False] for value, seen in counts.items()}
    return lambda one: sides.get(look(one), False)
