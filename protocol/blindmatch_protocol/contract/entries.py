"""The plaintext list as a design's `publish` gets it: batches of hashes with their ids and salts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.files import Progress, no_progress

HASH_BYTES = 32
SALT_BYTES = 16


class EntryBatch(Redacted, Struct, frozen=True):
    """`n` entries of the list.

    Attributes:
        hashes: PDQ hashes, uint8, shape (n, 32).
        ids: entry ids, uint64, shape (n,).
        salts: 16 random bytes an entry, uint8, shape (n, 16); who knows an entry's salt has opened its
            label or holds the list.
    """

    hashes: Rows
    ids: npt.NDArray[np.uint64]
    salts: Rows

    def __post_init__(self) -> None:
        n = len(self.hashes)
        if self.hashes.shape != (n, HASH_BYTES) or self.hashes.dtype != np.uint8:
            raise DesignError("entries: hashes must be a uint8 matrix of 32 columns")
        if self.ids.shape != (n,) or self.ids.dtype != np.uint64:
            raise DesignError("entries: ids must be a uint64 vector, one for each hash")
        if self.salts.shape != (n, SALT_BYTES) or self.salts.dtype != np.uint8:
            raise DesignError("entries: salts must be a uint8 matrix of 16 columns, one row for each hash")

    def __len__(self) -> int:
        return len(self.hashes)

    def part(self, start: int, stop: int) -> EntryBatch:
        """The entries `start` to `stop` - 1."""
        return self.take(slice(start, stop))

    def take(self, rows: slice | npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]) -> EntryBatch:
        """These entries."""
        return EntryBatch(self.hashes[rows], self.ids[rows], self.salts[rows])


_NOTHING = EntryBatch(
    np.zeros((0, HASH_BYTES), np.uint8), np.zeros(0, np.uint64), np.zeros((0, SALT_BYTES), np.uint8)
)


class EntrySource(Protocol):
    """A list that can be read again from any place, so that a build can be resumed."""

    def __len__(self) -> int:
        """Number of entries."""
        ...

    def batches(self, size: int, start: int = 0) -> Iterator[EntryBatch]:
        """Batches of `size` entries (the last may be smaller) from entry `start` on, in a fixed order."""
        ...


class HeldEntries(Redacted, Struct, frozen=True):
    """An `EntrySource` over one batch held in memory."""

    held: EntryBatch

    def __len__(self) -> int:
        return len(self.held)

    def batches(self, size: int, start: int = 0) -> Iterator[EntryBatch]:
        return (self.held.part(at, at + size) for at in range(start, len(self.held), size))


def whole(entries: EntrySource, size: int, progress: Progress = no_progress) -> EntryBatch:
    """The whole list in memory, 56 bytes an entry, read in batches of `size`.

    Raises:
        DesignError: if it does not give the number of entries it said.
    """
    parts, done = list[EntryBatch](), 0
    for part in entries.batches(size):
        parts.append(part)
        done += len(part)
        progress(done, len(entries))
    if done != len(entries):
        raise DesignError("the list changed while it was read")
    return joined(parts)


def joined(parts: Iterable[EntryBatch]) -> EntryBatch:
    """Entries one after the other."""
    columns = zip(*((one.hashes, one.ids, one.salts) for one in (_NOTHING, *parts)), strict=True)
    return EntryBatch(*map(np.concatenate, columns))


def batches_of(hashes: Rows, ids: npt.NDArray[np.uint64], salts: Rows) -> HeldEntries:
    """An `EntrySource` of three arrays in memory."""
    return HeldEntries(EntryBatch(hashes, ids, salts))
