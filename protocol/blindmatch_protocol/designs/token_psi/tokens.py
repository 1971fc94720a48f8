"""Tokens: pieces of a PDQ hash that two near pictures probably have in common.

    hash, 256 bits --fixed permutation--> band 0: k bits | band 1: k bits | ... | bits left over

A picture has `probes` tokens a band: its own bits, and its bits with some of the least reliable ones flipped,
the likeliest first, by the sum of their distances from the median (soft probing: multi-probe hashing, Lv et
al. 2007, on Chase's ordering of error patterns, 1972).

Families of near-duplicate entries have one polynomial. Entries that have a token in common, are neighbours
when the list is sorted by it, and lie at a distance of at most 31 are joined, up to 64. A token of entries of
different families goes to the entry that has lost the most tokens in the bands before, then to the first in
the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.designs.voprf.round import MOST_ELEMENTS
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE

Order: TypeAlias = tuple[int, ...]
"""Bits of a hash, each at most once."""
PERMUTATION: Final = (
    4, 12, 43, 46, 52, 59, 62, 77, 85, 100, 114, 118, 136, 145, 151, 156,
    172, 176, 184, 206, 218, 223, 231, 233, 8, 9, 23, 26, 45, 55, 72, 79,
    94, 99, 116, 117, 125, 135, 169, 182, 188, 192, 200, 202, 228, 235, 241, 255,
    11, 32, 38, 42, 53, 71, 88, 92, 111, 119, 122, 131, 139, 147, 164, 166,
    187, 201, 212, 230, 234, 236, 246, 252, 14, 28, 36, 41, 48, 64, 67, 90,
    98, 121, 132, 144, 157, 173, 191, 196, 211, 213, 214, 222, 225, 229, 232, 238,
    0, 10, 22, 47, 57, 63, 66, 89, 104, 107, 112, 141, 142, 154, 159, 161,
    163, 174, 179, 183, 198, 210, 216, 253, 30, 34, 40, 44, 50, 75, 83, 86,
    128, 129, 134, 138, 148, 153, 155, 171, 199, 207, 217, 227, 242, 248, 250, 254,
    2, 16, 20, 25, 54, 74, 87, 93, 103, 106, 109, 127, 130, 146, 158, 165,
    167, 177, 186, 204, 219, 220, 226, 243, 6, 13, 21, 24, 29, 58, 78, 84,
    101, 102, 105, 123, 124, 137, 143, 149, 160, 168, 180, 195, 215, 224, 237, 251,
    18, 39, 60, 68, 70, 91, 96, 110, 115, 120, 126, 150, 170, 185, 189, 190,
    194, 197, 203, 240, 244, 245, 247, 249, 27, 31, 56, 61, 69, 73, 76, 80,
    82, 95, 108, 133, 140, 152, 162, 175, 178, 181, 193, 205, 208, 209, 221, 239,
    1, 3, 5, 7, 15, 17, 19, 33, 35, 37, 49, 51, 65, 81, 97, 113,
)  # fmt: skip


HASH_BITS = 256
_ROWS_AT_ONCE = 1 << 10

Tokens: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
"""Of bands of up to 32 bits uint32, of wider ones, up to 64, uint64."""
Costs: TypeAlias = npt.NDArray[np.float32]


def check_bands(k: int, bands: int, probes: int) -> None:
    """Make sure that bands fit into a hash, and probes into a band and a request; `DesignError` if not."""
    if k * bands > HASH_BITS:
        raise DesignError(f"k times bands: must be at most {HASH_BITS}, not {k * bands}")
    if probes > 1 << k:
        raise DesignError(f"probes: a band of {k} bits has only {1 << k} tokens")
    if bands * probes > MOST_ELEMENTS:
        raise DesignError(f"bands times probes: must be at most {MOST_ELEMENTS}, not {bands * probes}")


@cache
def band_bits(k: int, bands: int, order: Order = PERMUTATION) -> npt.NDArray[np.intp]:
    """Which bits of a hash make up each band, (bands, k); disjoint: those of `order`, one band after the
    other."""
    members = np.array(order[: k * bands], np.intp).reshape(bands, k)
    members.flags.writeable = False
    return members


def entry_tokens(hashes: Rows, k: int, bands: int, order: Order = PERMUTATION) -> Tokens:
    """The tokens of hashes, uint8 (n, 32): (n, bands), the band's first bit the highest."""
    kind = _kind(k)
    width = 8 * kind.itemsize
    places = np.full((bands, width), HASH_BITS)
    found = np.empty((len(hashes), bands), kind)
    places[:, width - k :] = band_bits(k, bands, order)
    for start in range(0, len(hashes), _ROWS_AT_ONCE):
        part = hashes[start : start + _ROWS_AT_ONCE]
        bits = np.zeros((len(part), HASH_BITS + 1), np.uint8)  # the last one stands in front of every token
        bits[:, :HASH_BITS] = np.unpackbits(part, axis=1)
        chosen = bits.take(places.ravel(), axis=1)
        found[start : start + len(part)] = np.packbits(chosen, axis=1).view(kind.newbyteorder(">"))
    return found


def _kind(k: int) -> np.dtype[np.unsignedinteger[Any]]:
    return np.dtype(np.uint32 if k <= 32 else np.uint64)


def probe_tokens(
    own_hash: bytes, coefficients: Costs, k: int, bands: int, probes: int, order: Order = PERMUTATION
) -> Tokens:
    """The tokens a picture asks for, (bands, probes), the likeliest of a band first, by the signed distance
    of each coefficient from the median, (256,). A band has k bits, and at most 2^k tokens; `order` as in
    `band_bits`."""
    own = entry_tokens(np.frombuffer(own_hash, np.uint8).reshape(1, 32), k, bands, order)[0]
    costs = np.abs(coefficients)[band_bits(k, bands, order)]
    found: Tokens = own[:, None] ^ flips(costs, probes)
    return found


def flips(costs: Costs, probes: int) -> Tokens:
    """For each band the `probes` cheapest sets of bits to flip, (bands, probes), cheapest first, the empty
    one among them. `costs` are not negative, (bands, k); a band's first bit is its highest."""
    k = costs.shape[1]
    sets = _candidates(probes, k)
    width = sets.shape[1]
    weakest = np.argsort(costs, axis=1, kind="stable")[:, :width]
    sums = np.take_along_axis(costs, weakest, axis=1).astype(np.float64) @ sets.T
    best = np.argsort(sums, axis=1, kind="stable")[:, :probes]
    weights = _kind(k).type(1) << (k - 1 - weakest).astype(_kind(k))
    chosen = sets.astype(_kind(k))[best]
    found: Tokens = np.bitwise_or.reduce(chosen * weights[:, None, :], axis=2)
    return found


@cache
def _candidates(probes: int, k: int) -> npt.NDArray[np.float64]:
    """All sets that may be among the `probes` cheapest, as indicators (m, width) over ranks of cost.

    A set costs no more than another if it is no larger and, from the most expensive member on, no member
    ranks higher. So a set that `probes` others precede in this way can be left out.
    """
    sets = sorted(_grow((), probes, k), key=lambda ranks: (len(ranks), ranks))
    width = 1 + max((max(ranks, default=0) for ranks in sets), default=0)
    found = np.zeros((len(sets), width))
    for row, ranks in enumerate(sets):
        found[row, list(ranks)] = 1
    return found


def _grow(ranks: tuple[int, ...], probes: int, k: int) -> Iterator[tuple[int, ...]]:
    """`ranks`, descending, and all sets that come from it by raising the top rank or adding one on top."""
    if (ranks and ranks[0] >= k) or _preceding(ranks) > probes:
        return
    yield ranks
    if ranks:
        yield from _grow((ranks[0] + 1, *ranks[1:]), probes, k)
    yield from _grow(((ranks[0] + 1 if ranks else 0), *ranks), probes, k)


@cache
def _preceding(ranks: tuple[int, ...]) -> int:
    """How many sets, itself among them, cost no more than this one whatever the costs are."""
    if not ranks:
        return 1
    lower = (ranks[0] - rank for rank in range(ranks[0] + 1))
    return 1 + sum(_preceding(_below(ranks[1:], rank)) for rank in lower)


def _below(ranks: tuple[int, ...], bound: int) -> tuple[int, ...]:
    """Bounds for the members after one of rank `bound`: strictly smaller, and at most `ranks`."""
    limited = []
    for rank in ranks:
        bound = min(rank, bound - 1)
        if bound < 0:
            break
        limited.append(bound)
    return tuple(limited)


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


def plan(hashes: Rows, k: int, bands: int, order: Order = PERMUTATION) -> Plan:
    """Families and tokens of entries, uint8 (n, 32); the same entries give the same plan. Holds about 300
    bytes an entry."""
    tokens = entry_tokens(hashes, k, bands, order)
    shared = [_shared(own) for own in tokens.T]
    first, member = _members(_joined(hashes, tokens, shared))
    stored, lost = _assigned(tokens, first, shared)
    return Plan(first, member, stored, lost)


def common_tokens(hashes: Rows, k: int, bands: int, order: Order) -> list[Tokens]:
    """For each band its tokens, each once, where any one token finds an entry, uint8 (n, 32), and none has an
    owner: of a family the one that most of its members have there, the least of several. An entry that has
    none of these has its first one added."""
    tokens = entry_tokens(hashes, k, bands, order)
    first, _ = _members(_joined(hashes, tokens, [_shared(own) for own in tokens.T]))
    found = [_commonest(first, own) for own in tokens.T]
    kept = [np.isin(own, some) for own, some in zip(tokens.T, found, strict=True)]
    return [np.unique(np.append(found[0], tokens[~np.any(kept, axis=0), 0])), *found[1:]]


def _commonest(first: Indices, own: Tokens) -> Tokens:
    """Of each family's tokens, (n,), the one that most members have; the least of several."""
    order = np.lexsort((own, first))
    family = first[order]
    own = own[order]
    starts = np.flatnonzero(_changes(family) | _changes(own))
    counts = np.diff(np.append(starts, len(own)))
    by_count = starts[np.lexsort((-counts, family[starts]))]
    found: Tokens = np.unique(own[by_count[_changes(family[by_count])]])
    return found


def _changes(values: npt.NDArray[Any]) -> Flags:
    """Where a value differs from the one before, (n,)."""
    return np.append(True, values[1:] != values[:-1])[: len(values)]


def _shared(own: Tokens) -> Indices:
    """The entries whose token, (n,), another has, too; by token, then in the list's order."""
    order = np.argsort(own, kind="stable")
    first = _changes(own[order])
    shared: Indices = order[~(first & np.append(first[1:], True)[: len(order)])]
    return shared


def _joined(hashes: Rows, tokens: Tokens, shared: list[Indices]) -> Indices:
    """For each entry the smallest index it is joined with, (n,)."""
    root = np.arange(len(hashes), dtype=np.int64)
    for band, order in enumerate(shared):
        left = order[:-1]
        right = order[1:]
        same = tokens[left, band] == tokens[right, band]
        left = left[same]
        right = right[same]
        apart = np.bitwise_count(hashes[left] ^ hashes[right]).sum(axis=1, dtype=np.int32)
        near = apart <= MATCH_DISTANCE
        for a, b in zip(left[near].tolist(), right[near].tolist(), strict=True):
            one, other = sorted((_find(root, a), _find(root, b)))
            root[other] = one  # the smaller index stands for both
    while (root[root] != root).any():
        root = root[root]
    return root


def _find(root: Indices, entry: int) -> int:
    while root[entry] != entry:
        root[entry] = root[root[entry]]
        entry = int(root[entry])
    return entry


def _members(root: Indices) -> tuple[Indices, Indices]:
    """First member and number of each entry, large families cut into several."""
    order = np.argsort(root, kind="stable")
    begin = np.maximum.accumulate(np.where(_changes(root[order]), np.arange(len(order)), 0))
    rank = np.arange(len(order)) - begin
    member = np.empty_like(root)
    first = np.empty_like(root)
    member[order] = rank % MOST_MEMBERS
    first[order] = order[np.arange(len(order)) - rank % MOST_MEMBERS]
    return first, member


def _assigned(tokens: Tokens, first: Indices, shared: list[Indices]) -> tuple[Flags, Flags]:
    """Which tokens are stored and which are lost, (n, bands) each."""
    stored = np.ones(tokens.shape, np.bool_)
    lost = np.zeros(tokens.shape, np.bool_)
    losses = np.zeros(len(tokens), np.int64)
    for band, some in enumerate(shared):
        own = tokens[some, band]
        by_loss = np.lexsort((-losses[some], own))
        order = some[by_loss]
        own = own[by_loss]
        starts = _changes(own)
        winner = order[np.maximum.accumulate(np.where(starts, np.arange(len(own)), 0))]
        stored[order, band] = starts
        lost[order, band] = first[winner] != first[order]
        losses += lost[:, band]
    return stored, lost
