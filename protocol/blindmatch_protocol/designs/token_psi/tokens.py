"""Tokens: pieces of a PDQ hash that two near pictures probably have in common.

    hash, 256 bits --fixed permutation--> band 0: k bits | band 1: k bits | ... | bits left over

An entry has one token a band: the band's bits. A picture has `probes` tokens a band: its own bits, and its
bits with some of the least reliable ones flipped, the likeliest first. The further a coefficient lies from
the median, the less likely an edit moves it across, so the likelihood of a flipped set falls with the sum
of its members' distances from the median; the sets are enumerated in increasing order of that sum (soft
probing: multi-probe hashing, Lv et al. 2007, on Chase's ordering of error patterns, 1972).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.designs.token_psi.bands import PERMUTATION

HASH_BITS = 256
_ROWS_AT_ONCE = 1 << 10

Tokens: TypeAlias = npt.NDArray[np.uint32]
Costs: TypeAlias = npt.NDArray[np.float32]


@cache
def band_bits(k: int, bands: int) -> npt.NDArray[np.intp]:
    """Which bits of a hash make up each band, (bands, k); disjoint."""
    members = np.array(PERMUTATION[: k * bands], np.intp).reshape(bands, k)
    members.flags.writeable = False
    return members


def entry_tokens(hashes: Rows, k: int, bands: int) -> Tokens:
    """The tokens of hashes, uint8 (n, 32): uint32 (n, bands), the band's first bit the highest."""
    places, found = np.full((bands, 32), HASH_BITS), np.empty((len(hashes), bands), np.uint32)
    places[:, 32 - k :] = band_bits(k, bands)
    for start in range(0, len(hashes), _ROWS_AT_ONCE):
        part = hashes[start : start + _ROWS_AT_ONCE]
        bits = np.zeros((len(part), HASH_BITS + 1), np.uint8)  # the last one stands in front of every token
        bits[:, :HASH_BITS] = np.unpackbits(part, axis=1)
        chosen = bits.take(places.ravel(), axis=1)
        found[start : start + len(part)] = np.packbits(chosen, axis=1).view(">u4")
    return found


def probe_tokens(own_hash: bytes, coefficients: Costs, k: int, bands: int, probes: int) -> Tokens:
    """The tokens a picture asks for, uint32 (bands, probes), the likeliest of a band first.

    Args:
        own_hash: the picture's hash.
        coefficients: signed distance of each coefficient from the median, (256,).
        k: bits of a band.
        bands: how many.
        probes: tokens a band, at most 2^k.
    """
    own = entry_tokens(np.frombuffer(own_hash, np.uint8).reshape(1, 32), k, bands)[0]
    costs = np.abs(coefficients)[band_bits(k, bands)]
    found: Tokens = own[:, None] ^ flips(costs, probes)
    return found


def flips(costs: Costs, probes: int) -> Tokens:
    """For each band the `probes` cheapest sets of bits to flip, uint32 (bands, probes), cheapest first.

    Args:
        costs: what flipping a bit costs, not negative, (bands, k); a band's first bit is its highest.
        probes: how many sets, the empty one among them.
    """
    k = costs.shape[1]
    sets = _candidates(probes, k)
    width = sets.shape[1]
    weakest = np.argsort(costs, axis=1, kind="stable")[:, :width]
    sums = np.take_along_axis(costs, weakest, axis=1).astype(np.float64) @ sets.T
    best = np.argsort(sums, axis=1, kind="stable")[:, :probes]
    weights = np.uint32(1) << (k - 1 - weakest).astype(np.uint32)
    chosen = sets.astype(np.uint32)[best]
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
