"""From the records of an import to a list file: ids, salts, families, sections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract.entries import SALT_BYTES
from msgspec import Struct

from blindmatch_server.curator.equal_rows import Indices
from blindmatch_server.curator.errors import NothingValidError
from blindmatch_server.curator.families import DEFAULT_PAIRS, Families, find_families
from blindmatch_server.curator.hashlist import FIRST_ID, HashList
from blindmatch_server.curator.hexhash import count_ones
from blindmatch_server.curator.import_records import ImportRecords, Settled
from blindmatch_server.curator.listwriter import ListWriter, Title
from blindmatch_server.curator.summary import Summary

_BATCH: Final = 1 << 16


class Near(Struct, frozen=True):
    """That near duplicates are to be looked for, comparing about `most_pairs` pairs at most."""

    most_pairs: int = DEFAULT_PAIRS


def assemble(
    records: ImportRecords,
    into: Path,
    rng: Randomness,
    title: Title,
    onto: HashList | None,
    near: Near | None,
) -> Summary:
    """Write what stands in `records` as the list file `into`.

    `onto` is the list the records started from; its entries keep ids and salts. New entries get the next
    ids, in the order in which they came, and 16 bytes of `rng` each.

    Raises:
        NothingValidError: if nothing stands.
        ListError: if the file cannot be written.
    """
    settled = records.settle()
    if not len(settled.entries):
        raise NothingValidError(f"no entry would be left in {into.name}")
    kept = int(np.searchsorted(settled.entries, records.previous))
    ids, next_id = _ids(settled.entries, kept, onto)
    families = find_families(settled.hashes[settled.entries], near.most_pairs) if near else None
    with ListWriter(into) as writer:
        _write(writer, settled, ids, families)
        writer.section("salts", _salts(settled.entries, kept, onto, rng))
        footer = writer.publish(title, next_id, families.complete_to if families else None)
    return Summary(
        entries=len(ids),
        added=len(ids) - kept,
        removed=records.previous - kept,
        accepted=settled.accepted,
        removals=records.removals,
        duplicates=settled.accepted - settled.fresh,
        not_half=_not_half(settled),
        families=families.count if families else None,
        family_members=families.members if families else None,
        families_to=families.complete_to if families else None,
        digest=footer.digest(),
    )


def _ids(entries: Indices, kept: int, onto: HashList | None) -> tuple[npt.NDArray[np.uint64], int]:
    """The entries' ids, and the next one."""
    first = onto.footer.next_id if onto else FIRST_ID
    fresh = np.arange(first, first + len(entries) - kept, dtype=np.uint64)
    old = onto.ids[entries[:kept]] if onto else np.empty(0, np.uint64)
    return np.concatenate((old, fresh)), first + len(fresh)


def _write(
    writer: ListWriter, settled: Settled, ids: npt.NDArray[np.uint64], families: Families | None
) -> None:
    writer.section("hashes", gathered(settled.hashes, settled.entries))
    writer.section("ids", [ids])
    writer.section("plain", [settled.plain])
    if families is not None:
        writer.section("families", [ids[families.root]])
    writer.section("record_identities", [settled.identities])
    writer.section("record_times", [settled.times])
    writer.section("record_entries", [ids[settled.vouched]])


def _salts(entries: Indices, kept: int, onto: HashList | None, rng: Randomness) -> Iterator[Rows]:
    if onto is not None:
        yield from gathered(onto.salts, entries[:kept])
    for at in range(kept, len(entries), _BATCH):
        count = min(_BATCH, len(entries) - at)
        yield np.frombuffer(rng.take(SALT_BYTES * count), np.uint8).reshape(count, SALT_BYTES)


def _not_half(settled: Settled) -> int:
    parts = gathered(settled.hashes, settled.entries)
    return sum(int((count_ones(part) != 128).sum()) for part in parts)


def gathered(rows: Rows, at: Indices) -> Iterator[Rows]:
    """`rows[at]`, a batch at a time."""
    for start in range(0, len(at), _BATCH):
        yield rows[at[start : start + _BATCH]]
