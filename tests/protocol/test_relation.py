"""Relations: what matches, for designs and the oracle alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import Category, Equal, Near, Nothing, Relation

ENTRY = np.zeros((1, 32), np.uint8)


@dataclass
class Probe:
    """An item that differs from the entry in so many bits."""

    bits: int
    quality: int = 100

    @property
    def hash(self) -> bytes:
        return ((1 << self.bits) - 1).to_bytes(32, "big")


@pytest.mark.parametrize(
    ("relation", "most", "words"),
    [
        (Equal(), 0, "equal hash"),
        (Near(31), 31, "distance <= 31"),
        (Near(256), 256, "distance <= 256"),
        (Nothing(), None, "nothing"),
    ],
)
def test_pairs_match_up_to_the_distance(relation: Relation, most: int | None, words: str) -> None:
    assert (relation.distance, relation.words) == (most, words)
    for bits in (0, 1, 31, 32, 256):
        expected = most is not None and bits <= most
        assert bool(relation.holds(Probe(bits), ENTRY)[0]) == expected  # type: ignore[arg-type]
        assert relation.matches(Probe(bits), ENTRY) == expected  # type: ignore[arg-type]
        assert not relation.matches(Probe(bits, quality=49), ENTRY)  # type: ignore[arg-type]
        assert not relation.matches(Probe(bits), ENTRY[:0])  # type: ignore[arg-type]


def test_a_category_is_of_the_item_alone() -> None:
    relation = Category("many bits", 0.5, lambda item: sum(item.hash) / 255 / 32)
    assert (relation.distance, relation.words) == (None, "many bits >= 0.5")
    assert [relation.matches(Probe(bits), ENTRY[:0]) for bits in (0, 127, 128, 256)] == [  # type: ignore[arg-type]
        *(False, False, True, True)
    ]
    assert not relation.holds(Probe(256), ENTRY).any()  # type: ignore[arg-type]
    assert not relation.matches(Probe(256, quality=49), ENTRY)  # type: ignore[arg-type]


def test_a_distance_that_is_none_is_refused() -> None:
    for within in (-1, 257):
        with pytest.raises(DesignError, match="0 to 256"):
            Near(within)
