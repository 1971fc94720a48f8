"""What becomes known of a list: what stored files show of it, what asking opens, and where to look for more.

Declared as data, so that tables, checks and attacks ask every design the same question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Described, Redacted
from blindmatch_protocol.contract.party import Party


class ListKnowledge(StrEnum):
    """What the stored files and states of a coalition show of the listed pictures, offline: each value
    includes those before it, and they compare in this order."""

    NOTHING = "nothing"
    SIZE = "size"
    TESTABLE = "testable"
    HASHES = "hashes"

    @classmethod
    def joined(cls, parties: frozenset[Party], alone: Mapping[Party, ListKnowledge]) -> ListKnowledge:
        """What a coalition has if no two of its members know more together than one of them `alone`."""
        return max((alone.get(party, cls.NOTHING) for party in parties), default=cls.NOTHING)

    @property
    def says(self) -> str:
        """The value in a few words, for a table."""
        return _SAYS[self]

    def __lt__(self, other: str) -> bool:
        return _rank(self) < _rank(other)

    def __le__(self, other: str) -> bool:
        return _rank(self) <= _rank(other)

    def __gt__(self, other: str) -> bool:
        return _rank(self) > _rank(other)

    def __ge__(self, other: str) -> bool:
        return _rank(self) >= _rank(other)


_SAYS: Final = {
    ListKnowledge.NOTHING: "nothing",
    ListKnowledge.SIZE: "how many entries there are",
    ListKnowledge.TESTABLE: "whether a guess is listed, for any number of guesses",
    ListKnowledge.HASHES: "every hash",
}
_ORDER: Final = tuple(ListKnowledge)


def _rank(value: str) -> int:
    return _ORDER.index(ListKnowledge(value))


class Extraction(Described, Struct, frozen=True):
    """What a modified client opens of the list by asking for what it likes.

    Attributes:
        unit: what it spends, such as ``tokens``.
        share: the expected share of a list of uniform hashes that is open after so many of them; 1 for 0
            where the device has the list.
    """

    SHOWN: ClassVar = ("unit",)

    unit: str
    share: Callable[[int], float]


class Parts(Redacted, Struct, frozen=True, eq=False):
    """The parts of a hash by which a design looks entries up: an entry that agrees in too few is not found.

    Attributes:
        places: numbers of the bits of each part, the most significant first, int (parts, width).
        asked: the values that a picture asks for in each part, the likeliest first, uint32 (parts, n).
    """

    places: npt.NDArray[np.int_]
    asked: npt.NDArray[np.uint32]


class WorkedOut(Redacted, Struct, frozen=True, eq=False):
    """What a device can compute from verified replies beside the outcome: where a lone hit would show.

    Attributes:
        keys: what it derives, rows of bytes; none may stand in the set-up.
        reads: for each layer of the set-up, the words that lie where it looks, uint64 (elements, ...).
        values: words that follow from those, unmasked.
        met: counts of what it meets there, such as labels.
    """

    keys: tuple[Rows, ...]
    reads: tuple[npt.NDArray[np.uint64], ...]
    values: tuple[npt.NDArray[np.uint64], ...] = ()
    met: tuple[int, ...] = ()
