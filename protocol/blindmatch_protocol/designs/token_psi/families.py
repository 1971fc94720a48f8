"""Families of near-duplicate entries, and which of an entry's tokens the store can hold.

Entries of a family have one polynomial, so a token that several of them have stores one value; each has a
label of its own, under a secret that follows from the family's. Families are found where tokens meet:
entries that have a token in common, are neighbours when the list is sorted by it, and lie at a distance of
at most 31 are joined, as are families that meet so. No more than 64 entries make a family.

A token of entries of different families goes to one of them: to the entry that has lost the most tokens
in the bands before, then to the first in the list. The others' recall suffers; `Plan.lost` counts it.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.designs.token_psi.tokens import Tokens, entry_tokens
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE

MOST_MEMBERS: Final = 64

Indices: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]


class Plan(Redacted, Struct, frozen=True, eq=False):
    """What a set holds of each of `n` entries.

    Attributes:
        first: index of its family's first member, int64 (n,); its own if it is alone.
        member: its number in the family, from 0 on, int64 (n,).
        stored: tokens whose value the store holds for this entry's sake, bool (n, bands).
        lost: tokens that another family got, bool (n, bands). The rest another member stores.
    """

    first: Indices
    member: Indices
    stored: Flags
    lost: Flags


def plan(hashes: Rows, k: int, bands: int) -> Plan:
    """Families and tokens of entries, uint8 (n, 32); the same entries give the same plan.

    Holds about 300 bytes an entry.
    """
    tokens = entry_tokens(hashes, k, bands)
    shared = [_shared(own) for own in tokens.T]
    first, member = _members(_joined(hashes, tokens, shared))
    stored, lost = _assigned(tokens, first, shared)
    return Plan(first, member, stored, lost)


def _shared(own: npt.NDArray[np.uint32]) -> Indices:
    """The entries whose token, uint32 (n,), another has, too; by token, then in the list's order."""
    keyed = np.sort(own.astype(np.uint64) << np.uint64(32) | np.arange(len(own), dtype=np.uint64))
    tokens, apart = keyed >> np.uint64(32), np.ones(len(own) + 1, np.bool_)
    apart[1:-1] = tokens[1:] != tokens[:-1]
    shared: Indices = keyed[~(apart[1:] & apart[:-1])].astype(np.uint32).astype(np.int64)
    return shared


def _joined(hashes: Rows, tokens: Tokens, shared: list[Indices]) -> Indices:
    """For each entry the smallest index it is joined with, (n,)."""
    root = np.arange(len(hashes), dtype=np.int64)
    for band, order in enumerate(shared):
        left, right = order[:-1], order[1:]
        same = tokens[left, band] == tokens[right, band]
        left, right = left[same], right[same]
        apart = np.bitwise_count(hashes[left] ^ hashes[right]).sum(axis=1, dtype=np.int32)
        near = apart <= MATCH_DISTANCE
        _join(root, left[near], right[near])
    return _settled(root)


def _join(root: Indices, left: Indices, right: Indices) -> None:
    """Union of pairs of entries; the smaller index stands for both."""
    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        one, other = sorted((_find(root, a), _find(root, b)))
        root[other] = one


def _find(root: Indices, entry: int) -> int:
    """The index that stands for an entry, halving the way to it."""
    while root[entry] != entry:
        root[entry] = root[root[entry]]
        entry = int(root[entry])
    return entry


def _settled(root: Indices) -> Indices:
    """`root` with every way of length one."""
    while (root[root] != root).any():
        root = root[root]
    return root


def _members(root: Indices) -> tuple[Indices, Indices]:
    """First member and number of each entry, large families cut into several."""
    order = np.argsort(root, kind="stable")
    starts = np.concatenate([[True], root[order[1:]] != root[order[:-1]]])[: len(order)]
    begin = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    rank = np.arange(len(order)) - begin
    member, first = np.empty_like(root), np.empty_like(root)
    member[order] = rank % MOST_MEMBERS
    first[order] = order[np.arange(len(order)) - rank % MOST_MEMBERS]
    return first, member


def _assigned(tokens: Tokens, first: Indices, shared: list[Indices]) -> tuple[Flags, Flags]:
    """Which tokens are stored and which are lost, (n, bands) each."""
    stored, lost = np.ones(tokens.shape, np.bool_), np.zeros(tokens.shape, np.bool_)
    losses = np.zeros(len(tokens), np.int64)
    for band, some in enumerate(shared):
        own = tokens[some, band]
        by_loss = np.lexsort((-losses[some], own))
        order, own = some[by_loss], own[by_loss]
        starts = np.append(True, own[1:] != own[:-1])[: len(own)]
        winner = order[np.maximum.accumulate(np.where(starts, np.arange(len(own)), 0))]
        stored[order, band] = starts
        lost[order, band] = first[winner] != first[order]
        losses += lost[:, band]
    return stored, lost
