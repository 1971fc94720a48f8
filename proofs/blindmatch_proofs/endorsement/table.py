"""`endorsement.bin`: what the entries of an epoch are endorsed by, beside its set.

A set file (docs/set-format.md) of three sections: the batches, a statement's end and a signature for each key
of the policy; the leaves of all of them, ascending; and for each leaf the number of its batch, 4 bytes,
little-endian. A leaf that is listed and then removed is there twice, in its two batches.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Buffer, Rows
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.contract import Info
from blindmatch_protocol.contract.publishing import Writer
from blindmatch_protocol.contract.steps import SIGNATURE_BYTES
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter

from blindmatch_proofs.endorsement.batch import LEAF_BYTES, TAIL, Action, Batch

FILE: Final = "endorsement.bin"
KIND_BATCHES: Final = 0x20
"""Batches: action 1, first and last epoch 8 each, size 8, root 32, for each key a signature of 64."""
KIND_LEAVES: Final = 0x21
"""Leaves of all batches, 32 each, ascending."""
KIND_NUMBERS: Final = 0x22
"""The number of each leaf's batch, 4 each, little-endian."""
_SCALARS: Final = "S32"
"""Rows of 32 bytes as scalars that numpy compares as byte strings."""


class EndorsedTable:
    """An opened table; sections are checked against their digests when they are first used; `SetFileError` if
    it is altered, of another design or epoch, or its sections do not fit.

    Args:
        info: of the design it must be for.
    """

    __slots__ = ("_data", "_file", "_section", "_width", "entries", "epoch", "size")

    def __init__(self, data: Buffer, info: Info, epoch: int, keys: int) -> None:
        self._data = memoryview(data).toreadonly().cast("B")
        self._file = SetFile(data, FILE, info.name, info.version, epoch)
        self._section: Callable[[int], memoryview] = self._file.section
        self._width = TAIL.size + SIGNATURE_BYTES * keys
        self.epoch, self.entries = epoch, self._file.entries
        self.size = self._file.row(KIND_BATCHES).items
        lengths = [self._file.row(kind).length for kind in (KIND_BATCHES, KIND_LEAVES, KIND_NUMBERS)]
        leaves = lengths[2] // 4
        if (
            lengths != [self.size * self._width, leaves * LEAF_BYTES, leaves * 4]
            or len(self._file.sections) != 3
        ):
            raise SetFileError(f"{FILE}: sections do not fit one another, or the policy's number of keys")

    def check_intact(self) -> None:
        """Compare every section with its digest, once; later look-ups take no time for that; `SetFileError`
        if one was altered."""
        self._file.verify()

    def unverified(self) -> EndorsedTable:
        """The same table without comparing sections with their digests, which reads all of them: for who
        verifies what follows from it."""
        other = copy(self)
        other._section = self._unverified
        return other

    def _unverified(self, kind: int) -> memoryview:
        row = self._file.row(kind)
        return self._data[row.offset : row.end]

    def batch(self, number: int) -> Batch:
        """A batch, by its number from 0 on. Raises `SetFileError` if it is none."""
        row = bytes(self._section(KIND_BATCHES)[number * self._width : (number + 1) * self._width])
        try:
            return Batch.unpack(row)
        except (ValueError, struct.error):
            raise SetFileError(f"{FILE}: batch {number} is missing, or has an unknown action") from None

    def batches(self) -> Iterator[Batch]:
        return map(self.batch, range(self.size))

    @property
    def heads(self) -> npt.NDArray[Any]:
        """What stands at the front of all batches: `action`, `first_epoch`, `last_epoch`, `size`."""
        names, kinds, places = (
            ["action", "first_epoch", "last_epoch", "size"],
            ["u1", ">u8", ">u8", ">u8"],
            [0, 1, 9, 17],
        )
        kind = np.dtype({"names": names, "formats": kinds, "offsets": places, "itemsize": self._width})
        return np.frombuffer(self._section(KIND_BATCHES), kind)

    @property
    def leaves(self) -> Rows:
        """All leaves, uint8 (n, 32)."""
        return np.frombuffer(self._section(KIND_LEAVES), np.uint8).reshape(-1, LEAF_BYTES)

    @property
    def numbers(self) -> npt.NDArray[np.uint32]:
        """The batch of each leaf, uint32 (n,)."""
        return np.frombuffer(self._section(KIND_NUMBERS), "<u4")

    def numbers_with(self, leaf: bytes) -> list[int]:
        """Numbers of the batches a leaf is in."""
        raw, numbers = self._section(KIND_LEAVES), self.numbers

        def at(row: int) -> bytes:
            return bytes(raw[row * LEAF_BYTES : (row + 1) * LEAF_BYTES])

        row, found = bisect_left(range(len(numbers)), leaf, key=at), list[int]()
        while row < len(numbers) and at(row) == leaf:
            found.append(int(numbers[row]))
            row += 1
        return found

    def leaves_by_batch(self) -> Callable[[int], list[bytes]]:
        """Gives the leaves of a batch, ascending, by its number; `SetFileError` if leaves are not in order,
        one is of no batch, or a batch has another number of them than it says."""
        leaves, numbers = self.leaves.view(_SCALARS).ravel(), self.numbers
        same = leaves[1:] == leaves[:-1]
        if not (np.where(same, numbers[1:] > numbers[:-1], leaves[1:] > leaves[:-1])).all():
            raise SetFileError(f"{FILE}: leaves must ascend, each once in a batch")
        if len(numbers) and numbers.max() >= self.size:  # before anything as long as the greatest is made
            raise SetFileError(f"{FILE}: numbers of batches must be below {self.size}")
        counts = np.bincount(numbers, minlength=self.size)
        if not np.array_equal(self.heads["size"], counts):
            raise SetFileError(f"{FILE}: a batch has another number of entries than it says")
        order, ends, raw = np.argsort(numbers, kind="stable"), np.cumsum(counts), self.leaves

        def of(number: int) -> list[bytes]:
            content = raw[order[ends[number] - counts[number] : ends[number]]].tobytes()
            return [content[n : n + LEAF_BYTES] for n in range(0, len(content), LEAF_BYTES)]

        return of

    def leaves_with(self, action: Action, until: int = 0, since: int = 0) -> npt.NDArray[np.bytes_]:
        """Leaves, each once and ascending, of batches with an action that hold up to epoch `until`, and from
        `since` on at the earliest."""
        heads = self.heads
        holds = (heads["last_epoch"] >= until) & (heads["first_epoch"] >= since)
        rows = ((heads["action"] == action) & holds)[self.numbers]
        # stable: one pass where they ascend, as they do in every table that passes; `np.unique` sorts anew
        found = np.sort(self.leaves.view(_SCALARS).ravel()[rows], kind="stable")
        first = np.ones(len(found), bool)
        first[1:] = found[1:] != found[:-1]
        return found[first]

    def ends(self, action: Action, until: int = 0) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.uint64]]:
        """As `leaves_with`, with the last epoch of each. Leaves must ascend, as `leaves_by_batch` checks."""
        last = self.heads["last_epoch"].astype(np.uint64)[self.numbers]
        rows = (self.heads["action"] == action)[self.numbers] & (last >= until)
        leaves, first = np.unique(self.leaves.view(_SCALARS).ravel()[rows], return_index=True)
        return leaves, np.maximum.reduceat(last[rows], first)

    def listed(self, until: int = 0) -> npt.NDArray[np.bytes_]:
        """Leaves of the entries that are listed: endorsed, up to epoch `until`, and not removed."""
        return np.setdiff1d(self.leaves_with(Action.LIST, until), self.leaves_with(Action.REMOVE), True)


def write_table(
    out: Writer, info: Info, epoch: int, batches: Sequence[Batch], leaves: Sequence[Rows], entries: int
) -> bytes:
    """Write a table; its overall digest.

    Args:
        batches: signed, each with a signature or `UNSIGNED` for each key.
        leaves: of each batch, uint8 (n, 32).
    """
    numbers = np.repeat(np.arange(len(batches), dtype="<u4"), [len(part) for part in leaves])
    every = np.concatenate([np.zeros((0, LEAF_BYTES), np.uint8), *leaves])
    order = np.lexsort((numbers, every.view(_SCALARS).ravel()))
    writer = SetFileWriter(out, Identity(info.name, info.version, epoch, {}))
    rows = [batch.tail + b"".join(batch.signatures) for batch in batches]
    writer.section(KIND_BATCHES, [b"".join(rows)], len(batches))
    writer.section(KIND_LEAVES, [every[order].tobytes()], len(order))
    writer.section(KIND_NUMBERS, [numbers[order].tobytes()], len(order))
    return writer.finish(entries)
