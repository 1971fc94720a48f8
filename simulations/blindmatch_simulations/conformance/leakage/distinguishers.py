"""What is looked at in a view. A distinguisher makes one value of it; what the value means is learnt.

None of them looks for structure in group elements: a classifier that finds none there proves nothing, and the
simulator's and the coins' arguments are the ones that do.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from blindmatch_simulations.conformance.leakage.knowledge import LEAST, Guesses
from blindmatch_simulations.conformance.leakage.play import Event
from blindmatch_simulations.conformance.leakage.scenarios import Moves, Pair

View = Sequence[Event]
HEAD: Final = 64
TAIL: Final = 32
MOST_EVENTS: Final = 4
MOST_LEAVES: Final = 96


@dataclass(frozen=True, slots=True)
class Distinguisher:
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
