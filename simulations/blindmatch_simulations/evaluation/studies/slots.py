"""What slot-psi finds of the reference corpus, by its hashes: a calculator, without keys.

A token that the list has reads the slot of its entry, another one a uniform slot; that is all that the keys
decide. So slots are drawn here, and the device's own choice of a pair (`choose_pair`) runs on them, chance
pairs that compete with a match included.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.designs.slot_psi.parameters import Slotting
from blindmatch_protocol.designs.slot_psi.plan import NOBODY, Plan, plan
from blindmatch_protocol.designs.slot_psi.session import Pair, choose_pair, flip_costs
from blindmatch_protocol.designs.token_psi.tokens import Tokens, band_bits, entry_tokens, flips
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE, distance

from blindmatch_simulations.evaluation.studies.near_pictures import EditedPairs
from blindmatch_simulations.evaluation.studies.near_tokens import ranks

Found: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.int64]

SEED: Final = 1
"""Decides the slots that entries and unlisted tokens are given."""
CLEAR: Final = 3
"""Bands that agree from which on chance does not compete with a match: of unlisted tokens three agree in one
picture of 14,000 (8 bands, 28 probes, 17 bits), and must be likelier together as well."""


class Listed:
    """A list's tokens, and the slots that a seed gives its entries.

    Args:
        hashes: of the list, uint8 (n, 32).
        slotting: the parameters.
        seed: decides slots.
    """

    def __init__(self, hashes: Rows, slotting: Slotting, seed: int) -> None:
        self.hashes = hashes
        self.slotting = slotting
        self.plan: Plan = plan(hashes, slotting)
        self._rng = np.random.default_rng(seed)
        self._slots = self._rng.integers(0, slotting.slots, len(hashes), dtype=np.uint32)
        self._known = []
        for band in range(slotting.bands):
            tokens, first = np.unique(self.plan.tokens[:, band], return_index=True)
            self._known.append((tokens, self.plan.owner[first, band]))

    def owners(self, tokens: Tokens) -> Indices:
        """Return the entry that each token leads to, int64 (bands, probes); `NOBODY` if it is not listed."""
        found = np.full(tokens.shape, NOBODY, np.int64)
        for band, (known, owner) in enumerate(self._known):
            at = np.minimum(np.searchsorted(known, tokens[band]), len(known) - 1)
            found[band] = np.where(known[at] == tokens[band], owner[at], NOBODY)
        return found

    def opened_by(self, own_hash: bytes, coefficients: npt.NDArray[np.float32]) -> frozenset[int]:
        """Return the entries whose labels a picture's one second question opens, near it or not."""
        s = self.slotting
        weights = np.abs(coefficients)[band_bits(s.k, s.bands)]
        flipped = flips(weights, s.probes)
        own = entry_tokens(np.frombuffer(own_hash, np.uint8)[None], s.k, s.bands)[0]
        tokens = own[:, None] ^ flipped
        owners = self.owners(tokens)
        slots = self._rng.integers(0, s.slots, tokens.shape, dtype=np.uint32)
        listed = owners != NOBODY
        slots[listed] = self._slots[owners[listed]]
        pair = choose_pair(s, slots, tokens, flip_costs(weights, flipped))
        return frozenset() if pair is None else self._opened(pair, tokens, owners)

    def _opened(self, pair: Pair, tokens: Tokens, owners: Indices) -> frozenset[int]:
        own = [
            int(owners[band][tokens[band] == token][0])
            for band, token in zip(self.slotting.pairs[pair.number], pair.tokens, strict=True)
        ]
        if own[0] == NOBODY or own[0] != own[1]:
            return frozenset()
        relatives = self.plan.relatives[own[0]].tolist()
        return frozenset({own[0], *(one for one in relatives if one != NOBODY)})


def first_places(hashes: Rows) -> Indices:
    """Return the indices of hashes, uint8 (n, 32), that no earlier one equals, ascending."""
    _, first = np.unique(hashes, axis=0, return_index=True)
    places: Indices = np.sort(first).astype(np.int64)
    return places


def lost_tokens(hashes: Rows, slotting: Slotting) -> Found:
    """Return which tokens of entries, (n, bands), lead to an earlier entry; all, if it equals that one."""
    kept = first_places(hashes)
    lost = np.ones((len(hashes), slotting.bands), np.bool_)
    lost[kept] = ~plan(hashes[kept], slotting).held
    return lost


def found_copies(pairs: EditedPairs, asked: Found, slotting: Slotting, fill: Rows, seed: int = SEED) -> Found:
    """Return which copies open a label within the distance of theirs, (m,).

    A copy whose original has `CLEAR` tokens or more of its own among the copy's is found without a draw of
    slots. Of the others that have two, the device's choice runs (`Listed.opened_by`).

    Args:
        pairs: the copies.
        asked: which copies are asked about and lie within the distance of their original, (m,); no other is
            found.
        slotting: the parameters.
        fill: entries of the list besides the originals, uint8 (n, 32).
        seed: decides slots.
    """
    hashes = np.concatenate([fill, pairs.originals.hashes])
    hit = ranks(pairs, slotting.k, slotting.bands, slotting.probes) < slotting.probes
    own = hit & ~lost_tokens(hashes, slotting)[len(fill) + pairs.original]
    clear = own.sum(axis=1) >= CLEAR
    found: Found = asked & clear
    listed = Listed(hashes[first_places(hashes)], slotting, seed)
    for at in np.flatnonzero(asked & ~clear & (hit.sum(axis=1) >= slotting.needed)).tolist():
        copy = pairs.edited.item(at)
        opened = listed.opened_by(copy.hash, copy.coefficients)
        found[at] = any(
            distance(listed.hashes[entry].tobytes(), copy.hash) <= MATCH_DISTANCE for entry in opened
        )
    return found
