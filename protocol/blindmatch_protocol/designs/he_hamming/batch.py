"""A batch of the list as the plaintexts that the circuit takes: its diagonals, offsets and label keys."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.designs.he_hamming.ring import BABY, BITS, Ring
from blindmatch_protocol.designs.he_hamming.seal import PLAIN_MODULUS

CHUNKS: Final = 8
KEY_BYTES: Final = 2 * CHUNKS
THRESHOLD: Final = 113
"""The least v of an entry within 31 bits."""
MANY: Final = 20
"""Batches whose 15 giant steps each take as long as 240 rotations more beforehand, which take more memory."""


def babies_for(batches: int) -> int:
    """How many rotations of a query are made before all scans: all of them, if that takes fewer than giant
    steps in every batch do. They are 470 MB in the ring that devices use."""
    return BITS if batches > MANY else BABY


class Batch(Redacted, Struct, frozen=True, eq=False, dict=True):
    """As many entries as there are slots.

    Attributes:
        ring: whose slots.
        hashes: uint8 (degree, 32).
        keys: uint8 (degree, 16).
        ready: whether the diagonals are kept once they were made: 8 bytes for each bit of a slot and prime.
        babies: rotations of the query that a scan wants (`babies_for`).
    """

    ring: Ring
    hashes: Rows
    keys: Rows
    ready: bool
    babies: int = BABY

    def diagonals(self) -> Iterator[Any]:
        """Plaintexts in NTT form, in the order in which `scan` wants them."""
        return iter(self._kept) if self.ready else self._made()

    @cached_property
    def _kept(self) -> tuple[Any, ...]:
        return tuple(self._made())

    def _made(self) -> Iterator[Any]:
        bits, slot = np.unpackbits(self.hashes, axis=1), np.arange(self.ring.degree)
        for giant in reversed(range(0, BITS, self.babies)):
            places = (slot + giant + np.arange(self.babies)[:, None]) % BITS
            columns = bits[slot, places].reshape(self.babies, 2, -1)
            for column in np.roll(columns, giant, axis=2).reshape(self.babies, -1):
                plain = self.ring.plain(column)
                self.ring.evaluator.transform_to_ntt_inplace(plain, self.ring.context.first_parms_id())
                yield plain

    def offsets(self) -> Any:
        """The plaintext that makes <x, y> into v."""
        weights = np.bitwise_count(self.hashes).sum(axis=1, dtype=np.int64)
        return self.ring.plain((THRESHOLD - (97 + weights + 1) // 2) % PLAIN_MODULUS)

    def key_chunks(self) -> npt.NDArray[np.uint64]:
        """The label keys, (8, degree)."""
        return np.ascontiguousarray(self.keys).view(">u2").astype(np.uint64).T
