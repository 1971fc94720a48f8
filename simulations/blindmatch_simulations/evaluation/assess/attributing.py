"""Which picture matched, where no device says so; and which should have, by the plaintext oracle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from blindmatch_client.trace import SessionTrace
from blindmatch_protocol.contract import Item, Label, Message, Relation, Voucher
from blindmatch_protocol.contract.relation import NO_ENTRIES
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess.material import MadeItem
from blindmatch_simulations.evaluation.assess.observed import PictureRow


def expected_of(relation: Relation, item: MadeItem, picture: Item) -> bool:
    """Does `item` match by `relation`? As `Oracle` says; where distances matter, by the nearest entry's."""
    if relation.distance is None:
        return relation.matches(picture, NO_ENTRIES)
    return item.list_distance <= relation.distance and item.quality >= relation.minimum_quality


def by_opener(
    rows: Sequence[PictureRow],
    traces: Iterable[SessionTrace],
    opened_again: Callable[[Sequence[Message]], Mapping[int, Label]],
    opened: int,
) -> list[PictureRow]:
    """Rows with `matched` filled in by opening all of the device's vouchers once more, as the centre does
    (contract: `open_all`).

    Nothing is filled in if that opens another number than the `opened` ones of the centre.

    Raises:
        ProtocolError: if a voucher breaks the protocol.
    """
    last = {trace.item: trace.outcome for trace in traces}
    bodies = [one.body if isinstance(one, Voucher) else None for _, one in sorted(last.items())]
    kept = {body.encode(): body for body in bodies if body is not None}
    labels = opened_again(list(kept.values()))
    if len(bodies) != len(rows) or len(labels) != opened:
        return list(rows)
    found = {encoded for at, encoded in enumerate(kept) if at in labels}
    return [
        replace(row, matched=body is not None and body.encode() in found)
        for row, body in zip(rows, bodies, strict=True)
    ]


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
