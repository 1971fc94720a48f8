"""Which entry a token leads to, whose labels open beside an entry's own, and in which place an entry lies.

Every entry has a place of its own. If members of a family of near duplicates shared a slot, tokens of one
band that are one flip apart would read the same slot, and this is visible. A token that several entries have
leads to the first of them in the list. The others have lost it. If one entry lost two tokens or more to
another, a picture near the former may find the latter's slot: the latter's record has room for a few of such
*relatives*. A token that an earlier table has leads nowhere in this one, since whoever asks for a token that
two tables hold would read two slots that belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.designs.slot_psi.parameters import Slotting
from blindmatch_protocol.designs.token_psi.tokens import Tokens, entry_tokens
from blindmatch_protocol.group.rows import expand

Indices: TypeAlias = npt.NDArray[np.int64]

NOBODY: Final = -1
"""Stands where no entry does."""
LEAST_LOST: Final = 2
"""Tokens that make a relative: so many bands must agree before a record is asked for."""
PLACES_TAG: Final = b"blindmatch/slot-psi/places/v1"


class Plan(Redacted, Struct, frozen=True, eq=False):
    """What a table holds of each of `n` entries.

    Attributes:
        tokens: of every entry, (n, bands).
        owner: index of the entry that each token leads to, int64 (n, bands); `NOBODY` if an earlier table has
            the token.
        relatives: entries whose labels open with an entry's own, int64 (n, relatives); `NOBODY` where fewer
            are there.
    """

    tokens: Tokens
    owner: Indices
    relatives: Indices

    @property
    def held(self) -> npt.NDArray[np.bool_]:
        """Return which tokens lead to the entry itself, bool (n, bands)."""
        own: npt.NDArray[np.bool_] = self.owner == np.arange(len(self.owner))[:, None]
        return own


def plan(hashes: Rows, slotting: Slotting, earlier: Sequence[Tokens] = ()) -> Plan:
    """Return the plan of entries, uint8 (n, 32).

    Args:
        hashes: of the list, in its order.
        slotting: bands and numbers of relatives.
        earlier: for each band the tokens that earlier tables have; empty if there are none.

    Raises:
        DesignError: an entry is there twice, or there is none.
    """
    if not len(hashes):
        raise DesignError("the list is empty")
    if len(np.unique(hashes, axis=0)) < len(hashes):
        raise DesignError("the list holds an entry twice")
    tokens = entry_tokens(hashes, slotting.k, slotting.bands)
    owner = np.empty(tokens.shape, np.int64)
    for band, own in enumerate(tokens.T):
        _, first, group = np.unique(own, return_index=True, return_inverse=True)
        owner[:, band] = first[group]
        if earlier:
            owner[np.isin(own, earlier[band]), band] = NOBODY
    return Plan(tokens, owner, _relatives(owner, slotting.relatives))


def _relatives(owner: Indices, count: int) -> Indices:
    """Return for each entry those that lost most tokens to it, the first in the list of equal ones."""
    entries, bands = owner.shape
    loser = np.repeat(np.arange(entries), bands)
    winner = owner.ravel()
    lost = (winner != loser) & (winner != NOBODY)
    pairs, tokens = np.unique(np.stack([winner[lost], loser[lost]], axis=1), axis=0, return_counts=True)
    pairs = pairs[tokens >= LEAST_LOST]
    tokens = tokens[tokens >= LEAST_LOST]
    order = np.lexsort((pairs[:, 1], -tokens, pairs[:, 0]))
    winners, losers = pairs[order].T
    # the place of each row among those of its winner
    rank = np.arange(len(winners)) - np.searchsorted(winners, winners)
    found = np.full((entries, count), NOBODY, np.int64)
    kept = rank < count
    found[winners[kept], rank[kept]] = losers[kept]
    return found


def places(entries: int, slotting: Slotting, secret: bytes, epoch: int) -> Indices:
    """Return the place of each entry, int64 (n,), a pseudorandom injection under `secret`.

    Place p is position p div 2^s of slot p mod 2^s.
    """
    room = slotting.capacity(entries) * slotting.slots
    key = expand(PLACES_TAG, epoch, [secret], 32).tobytes()
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor().update(bytes(8 * room))
    order: Indices = np.argsort(np.frombuffer(stream, "<u8"), kind="stable").astype(np.int64)
    return order[:entries]
