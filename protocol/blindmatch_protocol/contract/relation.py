"""Which pictures match, for the design and for the plaintext oracle alike: a closed union.

Relation = Equal | Near(distance)              pairs of item and entry, by their PDQ hashes
         | Category(name, threshold, score)    an item alone, whatever is listed
         | Nothing
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.redacted import Described


class Item(Protocol):
    """One picture; each property is computed when first asked for."""

    @property
    def hash(self) -> bytes:
        """PDQ hash, 32 bytes."""
        ...

    @property
    def quality(self) -> int:
        """PDQ quality, 0 to 100; below 50 the hash means nothing."""
        ...

    @property
    def coefficients(self) -> npt.NDArray[np.float32]:
        """Signed distance of each of the 256 DCT coefficients from their median, shape (256,)."""
        ...

    @property
    def luminance(self) -> npt.NDArray[np.float32]:
        """Luminance, shape (height, width), 0 to 255."""
        ...

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """sRGB, shape (height, width, 3)."""
        ...


MINIMUM_QUALITY = 50
"""PDQ hashes of lower quality are discarded, never matched."""
HASH_BITS = 256
NO_ENTRIES: Final[Rows] = np.zeros((0, 32), np.uint8)
"""The list as a category sees it."""


class _Declared(Struct, frozen=True, kw_only=True):
    """What every relation has.

    Attributes:
        minimum_quality: items of lower PDQ quality never match.
        recall: the share of matching pictures that the design finds at least, as measured; 1 if it finds
            all, by construction. A picture that does not match is found by none.
    """

    minimum_quality: int = MINIMUM_QUALITY
    recall: float = 1.0

    @property
    def distance(self) -> int | None:
        """The largest Hamming distance that matches; None where distances do not matter."""
        return None

    @property
    def words(self) -> str:
        """What matches, in a few words for a table."""
        return "nothing"

    def holds(self, item: Item, entries: Rows) -> npt.NDArray[np.bool_]:
        """For each of `entries`, uint8 (n, 32): is it one that `item` matches? Shape (n,)."""
        if self.distance is None or item.quality < self.minimum_quality:
            return np.zeros(len(entries), np.bool_)
        mine = np.frombuffer(item.hash, np.uint64)
        theirs = np.ascontiguousarray(entries).view(np.uint64).reshape(-1, 4)
        distances = np.bitwise_count(theirs ^ mine).sum(axis=1, dtype=np.int32)
        return np.asarray(distances <= self.distance)

    def matches(self, item: Item, entries: Rows) -> bool:
        """The plaintext oracle: does `item` match where `entries` is the list?"""
        return bool(self.holds(item, entries).any())


class Equal(_Declared, frozen=True):
    """The item's hash is an entry's."""

    @property
    def distance(self) -> int:
        return 0

    @property
    def words(self) -> str:
        return "equal hash"


class Near(_Declared, frozen=True):
    """The item's hash differs from an entry's in `within` bits at most."""

    within: int

    def __post_init__(self) -> None:
        if not 0 <= self.within <= HASH_BITS:
            raise DesignError(f"a distance is 0 to {HASH_BITS}, not {self.within}")

    @property
    def distance(self) -> int:
        return self.within

    @property
    def words(self) -> str:
        return f"distance <= {self.within}"


class Category(Described, _Declared, frozen=True):
    """The item itself is of a kind that a classifier recognises; no entry has part in it.

    Attributes:
        threshold: the least score that counts.
        score: of an item; the design and the oracle compute the same.
    """

    SHOWN: ClassVar = ("name", "threshold", "minimum_quality", "recall")

    name: str
    threshold: float
    score: Callable[[Item], float]

    @property
    def words(self) -> str:
        return f"{self.name} >= {self.threshold:g}"

    def matches(self, item: Item, entries: Rows) -> bool:
        """Does the item's score reach the threshold? `entries` do not matter."""
        return item.quality >= self.minimum_quality and self.score(item) >= self.threshold


class Nothing(_Declared, frozen=True):
    """No item matches."""


Relation: TypeAlias = Equal | Near | Category | Nothing
