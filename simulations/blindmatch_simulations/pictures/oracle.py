"""The plaintext oracle: which pictures should match, by the design's own relation and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Item, Relation


@dataclass(frozen=True, slots=True)
class Oracle:
    """Answers from the list in the clear, uint8 (n, 32)."""

    relation: Relation
    entries: Rows

    def matches(self, item: Item) -> bool:
        """Does `item` match an entry?"""
        return self.relation.matches(item, self.entries)

    def count(self, items: Iterable[Item]) -> int:
        """How many of `items` match."""
        return sum(map(self.matches, items))
