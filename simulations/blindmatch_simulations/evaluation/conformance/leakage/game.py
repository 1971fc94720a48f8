"""One game: a fair coin picks a sequence of the pair, a view is made, the coin is guessed.

    training runs   first half: each distinguisher learns what its values mean
                    second half: the best one is chosen
    held-out runs   the chosen one guesses; its advantage has a Clopper-Pearson interval

Each class of pairs has a distinguisher of its own. A class counts as told apart if its interval excludes
guessing; the intervals are widened by the number of classes (Bonferroni), so that all of them together
are right with 99 percent.

A distinguisher makes one value of a view; what the value means is learnt. None of them looks for structure in
group elements: a classifier that finds none there proves nothing, and the simulator's and the coins'
arguments are the ones that do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.leakage.facts import Moves, Pair
from blindmatch_simulations.evaluation.conformance.leakage.knowledge import LEAST, Guesses
from blindmatch_simulations.evaluation.conformance.leakage.play import Event
from blindmatch_simulations.measure.intervals import GAME_CONFIDENCE, Advantage, advantage
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError

View = Sequence[Event]
HEAD: Final = 64
TAIL: Final = 32
MOST_EVENTS: Final = 4
MOST_LEAVES: Final = 96


class Distinguisher(Struct, frozen=True):
    """A name, and the value it makes of a view of one of a pair's two sides: sequences here, or lists."""

    name: str
    value: Callable[[View, Any, Guesses], Hashable]


def counts(view: View, pair: Any, known: Guesses) -> Hashable:
    """How many events of each kind there are for each picture."""
    return tuple((event.kind, event.move) for event in view)


def lengths(view: View, pair: Any, known: Guesses) -> Hashable:
    """The length of every event."""
    return tuple((event.kind, len(event.data)) for event in view)


def numbers(view: View, pair: Any, known: Guesses) -> Hashable:
    """Every number, flag and count, and whether rows are in order."""
    return tuple(event.shape for event in view)


def equality(view: View, pair: Any, known: Guesses) -> Hashable:
    """Which fields repeat an earlier one."""
    first: dict[bytes, int] = {}
    leaves = [leaf for event in view for leaf in event.leaves if len(leaf) >= LEAST][:MOST_LEAVES]
    return tuple(first.setdefault(leaf, at) for at, leaf in enumerate(leaves))


def _dictionary(view: View, pair: Pair, known: Guesses) -> Hashable:
    """For each place of the sequence: does the left picture explain more fields, or the right one?"""

    def found(moves: Moves, at: int) -> int:
        if at >= len(moves):
            return 0
        return known.hits(moves[at].one.name, [event for event in view if event.move == at])

    places = range(max(len(pair.left), len(pair.right)))
    return tuple(int(np.sign(found(pair.left, at) - found(pair.right, at))) for at in places)


def _verdicts(view: View, pair: Pair, known: Guesses) -> Hashable:
    """What roles learn, and what follows at the centre."""
    return tuple((event.kind, event.move, bool(event.data)) for event in view if event.kind in _LEARNT)


_LEARNT: Final = ("verdict", "report", "voucher")

DISTINGUISHERS: Final = (
    Distinguisher("counts and order", counts),
    Distinguisher("lengths", lengths),
    Distinguisher("numbers and row order", numbers),
    Distinguisher("equality and linkage", equality),
    Distinguisher("dictionary with the roles' keys", _dictionary),
    Distinguisher("verdicts and reports", _verdicts),
)
BITS: Final = "a single bit"
"""The seventh: the one bit of the bodies that tells most, see `bits`."""


def bits(view: View) -> npt.NDArray[np.uint8]:
    """The first and last bytes of the first messages, as bits; shape (MOST_EVENTS * (HEAD + TAIL) * 8,)."""
    chosen: list[Any] = [event.data for event in view if event.data][:MOST_EVENTS]
    padded = [data[:HEAD].ljust(HEAD, b"\0") + data[-TAIL:].rjust(TAIL, b"\0") for data in chosen]
    raw = b"".join(padded).ljust(MOST_EVENTS * (HEAD + TAIL), b"\0")
    return np.unpackbits(np.frombuffer(raw, np.uint8))


BEST_BITS: Final = 3
"""Single bits that the first half of the training runs proposes to the second."""


class Run(Redacted, Struct, frozen=True):
    """A view, the pair it is of (of sequences, or of lists), and the coin: True for the right one."""

    view: View
    pair: Any
    coin: bool


Rule: TypeAlias = Callable[[Run], bool]
"""Guesses the coin."""


class Finding(Struct, frozen=True):
    """What came out for one class of pairs."""

    scenario: str
    best: str
    measured: Advantage
    right: int

    def not_told(self, step: str, says: str) -> Finding:
        """The same.

        Raises:
            BrokenError: at `step`, if the class was told apart, for `says` and by which advantage.
        """
        if self.measured.told_apart:
            raise BrokenError(step, f"{says.format(self.best)}, advantage {self.measured.words()}")
        return self


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
    rules = [*((one.name, _learnt(one, learn, known)) for one in tried), *_best_bits(learn)]
    scores = [sum(rule(run) == run.coin for run in choose) for _, rule in rules]
    name, best = rules[int(np.argmax(scores))]
    right = sum(best(run) == run.coin for run in held)
    confidence = 1 - (1 - GAME_CONFIDENCE) / classes
    return Finding(scenario, name, advantage(right, len(held), confidence), right)


def _learnt(one: Distinguisher, runs: Sequence[Run], known: Guesses) -> Rule:
    """Guesses the side on which a value was seen more often; left if it was never seen."""
    seen: dict[Hashable, Counter[bool]] = defaultdict(Counter)
    for run in runs:
        seen[one.value(run.view, run.pair, known)][run.coin] += 1
    sides = {value: count[True] > count[False] for value, count in seen.items()}
    return lambda run: sides.get(one.value(run.view, run.pair, known), False)


def _by_bit(place: int, meaning: bool) -> Rule:
    return lambda run: bool(bits(run.view)[place]) == meaning


def _best_bits(runs: Sequence[Run]) -> list[tuple[str, Rule]]:
    """By the bits that tell most. Of thousands some do by chance, in few runs; others' turn comes later."""
    matrix = np.array([bits(run.view) for run in runs], np.float32)
    coins = np.array([run.coin for run in runs], np.bool_)
    if coins.all() or not coins.any():
        return [(BITS, _by_bit(0, True))]
    apart = matrix[coins].mean(axis=0) - matrix[~coins].mean(axis=0)
    places = np.argsort(-np.abs(apart), kind="stable")[:BEST_BITS].tolist()
    return [(BITS, _by_bit(place, bool(apart[place] > 0))) for place in places]
