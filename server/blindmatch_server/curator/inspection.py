"""What is in a list, without showing a hash."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from blindmatch_server.curator.hashlist import HashList
from blindmatch_server.curator.hexhash import count_ones


class Inspection(Struct, frozen=True):
    """Figures of a list.

    Attributes:
        name, source_formats, created, next_id: as in the file.
        digest: of hashes, ids and salts, SHA-256 in hex.
        entries: number of entries.
        size_bytes: of the file.
        first_id, last_id: smallest and largest id in use.
        ones_least, ones_most: fewest and most ones of an entry, of 256.
        not_half: entries that have not 128 ones.
        bit_least, bit_most: the rarest and the most frequent bit position's share of ones, 0 to 1; both are
            near 0.5 if the list is balanced.
        records: live records by whose ids entries can be deleted.
        families, family_members: families of near duplicates and entries in them, None if not looked for.
        families_to: distance up to which they are complete.
    """

    name: str
    source_formats: tuple[str, ...]
    created: str
    digest: str
    next_id: int
    entries: int
    size_bytes: int
    first_id: int
    last_id: int
    ones_least: int
    ones_most: int
    not_half: int
    bit_least: float
    bit_most: float
    records: int
    families: int | None
    family_members: int | None
    families_to: int | None


def inspect(listed: HashList) -> Inspection:
    """Figures of an open list, read in batches.

    Raises:
        ListFileError: if the file was cut short underneath.
    """
    footer = listed.footer
    least, most, not_half = 256, 0, 0
    bits = np.zeros(256, np.int64)
    for batch in listed.batches(1 << 15):
        ones = count_ones(batch.hashes)
        least, most = min(least, int(ones.min())), max(most, int(ones.max()))
        not_half += int((ones != 128).sum())
        bits += np.unpackbits(batch.hashes, axis=1).sum(axis=0, dtype=np.int64)
    families, members = _families(listed)
    return Inspection(
        name=footer.name,
        source_formats=footer.source_formats,
        created=footer.created,
        digest=footer.digest(),
        next_id=footer.next_id,
        entries=len(listed),
        size_bytes=listed.size,
        first_id=int(listed.ids[0]),
        last_id=int(listed.ids[-1]),
        ones_least=least,
        ones_most=most,
        not_half=not_half,
        bit_least=float(bits.min()) / len(listed),
        bit_most=float(bits.max()) / len(listed),
        records=len(listed.record_entries),
        families=families,
        family_members=members,
        families_to=footer.families_to,
    )


def _families(listed: HashList) -> tuple[int | None, int | None]:
    if listed.families is None:
        return None, None
    _, sizes = np.unique(listed.families, return_counts=True)
    return int((sizes > 1).sum()), int(sizes[sizes > 1].sum())
