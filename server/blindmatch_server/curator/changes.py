"""The difference between two lists."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import EntrySource
from blindmatch_protocol.contract.entries import batches_of
from msgspec import Struct

from blindmatch_server.curator.equal_rows import Indices, group_rows
from blindmatch_server.curator.hashlist import HashList


class Difference(Redacted, Struct, frozen=True):
    """What leads from one list to another.

    Attributes:
        adds: entries of the second list whose hash the first one lacks.
        removes: ids, in the first list, of entries whose hash the second one lacks; uint64, ascending.
        shared: hashes that both have.
        consistent: whether shared hashes have one id and salt in both lists, and added ones ids that are
            new to the first, as when the second was made from it; only then can an update be built.
    """

    adds: EntrySource
    removes: npt.NDArray[np.uint64]
    shared: int
    consistent: bool


def diff(first: HashList, second: HashList) -> Difference:
    """The difference between two lists, by hash."""
    group, _ = group_rows(np.concatenate((first.hashes, second.hashes)))
    mine, theirs = group[: len(first)], group[len(first) :]
    adds = np.flatnonzero(~np.isin(theirs, mine))
    removes = np.flatnonzero(~np.isin(mine, theirs))
    return Difference(
        adds=batches_of(second.hashes[adds], second.ids[adds], second.salts[adds]),
        removes=first.ids[removes],
        shared=len(first) - len(removes),
        consistent=_consistent(first, second, mine, theirs, adds),
    )


def _consistent(first: HashList, second: HashList, mine: Indices, theirs: Indices, adds: Indices) -> bool:
    _, at, there = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
    if not np.array_equal(first.ids[at], second.ids[there]):
        return False
    if not np.array_equal(first.salts[at], second.salts[there]):
        return False
    return bool((second.ids[adds] >= first.footer.next_id).all())
