"""Which picture matched, where no device says so; and which should have, by the plaintext oracle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from blindmatch_protocol.contract import Relation
from msgspec.structs import replace

from blindmatch_simulations.assess.material import MadeItem
from blindmatch_simulations.assess.observed import PictureRow


def expected_of(relation: Relation, item: MadeItem) -> bool:
    """Does `item` match the list by `relation`? As `Oracle` says, from the distance of the nearest entry."""
    within = relation.distance is not None and item.list_distance <= relation.distance
    return within and item.quality >= relation.minimum_quality


def by_server(rows: Sequence[PictureRow], distances: Iterable[int]) -> list[PictureRow]:
    """Rows with `matched` filled in from the PDQ distances of the reports that a server made.

    A report names a distance and no message: of pictures at one distance from the list, the first ones are
    taken, so that counts by distance are exact and those by edit may be shared out differently among
    edits that have the same distance.
    """
    left = Counter(distances)
    found = []
    for row in rows:
        matched = left[row.list_distance] > 0
        left[row.list_distance] -= matched
        found.append(replace(row, matched=matched))
    return found
