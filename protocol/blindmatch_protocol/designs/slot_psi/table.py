"""The public table: from the first key's output for a token to the slot of the entry that the token leads to.

    output --> key, 16 bytes, and mask, s bits
    table[key] = cell XOR cell XOR cell, s bits each        binary fuse map, as `sets.fuse_map` builds it
    slot = table[key] XOR mask

A cell is exactly as wide as a slot. A wider one would show single hits: bits of a listed token's value above
the slot are what the builder put there, those of an unlisted token's are random. The mask is the reason why
cells look uniform, free cells come from a secret key, and a token that is not listed reads a uniform slot.

    shard   head: seed 8, segment length 4, segments 4, keys 4, big-endian
            cells of s bits each, one after the other, the first bit of a cell the highest; zeros to a byte
    table   shards in order; the first bits of a key choose its shard
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Buffer, Rows
from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.sets import store
from blindmatch_protocol.sets.fuse_map import Cells, Fitted, MapHead, Words, head_and_cells

Slots: TypeAlias = npt.NDArray[np.uint32]

KEY_TAG: Final = b"blindmatch/slot-psi/table-key/v1"
MASK_TAG: Final = b"blindmatch/slot-psi/mask/v1"
MOST_CELL_BITS: Final = 24
"""So that the bytes of a cell, wherever it begins, fit a word of 32 bits."""
_HEAD: Final = struct.Struct(">QIII")
_PADDING: Final = 4
"""Zero bytes behind an opened shard's cells, so that reading the last cell stays within the array."""


def positions(outputs: Rows, epoch: int, slot_bits: int) -> tuple[Rows, Slots]:
    """Keys, uint8 (n, 16), and masks, uint32 (n,), of first outputs, uint8 (n, 64), in the table of an
    epoch."""
    keys = rowwise.expand(KEY_TAG, epoch, outputs, store.KEY_BYTES)
    masks = rowwise.expand(MASK_TAG, epoch, outputs, 4).view(">u4").ravel().astype(np.uint32)
    return keys, masks & np.uint32((1 << slot_bits) - 1)


class SlotCells(Redacted, Struct, frozen=True):
    """Pseudorandom cells of one shard, as wide as a slot."""

    cells: Cells
    slot_bits: int

    def __call__(self, word: int, count: int) -> Words:
        drawn: Words = self.cells(word, count) & np.uint64((1 << self.slot_bits) - 1)
        return drawn


def shards(keys: Rows, values: Slots, slot_bits: int, fill_key: bytes) -> Iterator[bytes]:
    """Return the shards of a table, one after the other.

    Args:
        keys: uint8 (n, 16), distinct.
        values: slots XOR masks, below 2^`slot_bits`, uint32 (n,); uniform, whatever they hide.
        slot_bits: bits of a cell.
        fill_key: 32 bytes that no device can derive.

    Raises:
        DesignError: two keys collide; other secret keys give other ones.
    """
    fronts = store.fronts_of(keys)
    order = store.by_shard(fronts)
    bits = store.bits_for(len(keys))
    ends = np.searchsorted(fronts[order].astype(np.uint64), _shard_starts(bits)).tolist()
    for number, (start, stop) in enumerate(pairwise([*ends, len(keys)])):
        if start == stop:
            raise DesignError("table: a shard has no key; build it with other secret keys")
        rows = order[start:stop]
        fitted = Fitted(keys[rows], SlotCells(Cells(fill_key, number), slot_bits))
        head, cells = head_and_cells(fitted.map(0, values[rows].astype(np.uint64)))
        yield _HEAD.pack(head.seed, head.length, head.segments, head.keys) + _packed(cells, slot_bits)


def _shard_starts(bits: int) -> Words:
    """Return the least front of each shard."""
    return np.arange(1 << bits, dtype=np.uint64) << np.uint64(32 - bits)


def _packed(cells: Words, slot_bits: int) -> bytes:
    """Cells of `slot_bits` bits each, one after the other."""
    eights = np.ascontiguousarray(cells.astype(">u4")).view(np.uint8).reshape(-1, 4)
    packed = []
    step = 1 << 16  # a multiple of eight, so that each part ends at a byte
    for start in range(0, len(eights), step):
        bits = np.unpackbits(eights[start : start + step], axis=1)[:, 32 - slot_bits :]
        packed.append(np.packbits(bits).tobytes())
    return b"".join(packed)


class Shard(Redacted, Struct, frozen=True, eq=False):
    """A shard, opened.

    Attributes:
        packed: its cells, and zeros behind them, uint8.
    """

    SHOWN: ClassVar = ("head",)

    head: MapHead
    packed: npt.NDArray[np.uint8]


class SlotTable(Redacted, Struct, frozen=True, eq=False):
    """A table, opened."""

    SHOWN: ClassVar = ("slot_bits",)

    shards: tuple[Shard, ...]
    slot_bits: int

    def lookup(self, outputs: Rows, epoch: int) -> Slots:
        """Return the slot that each token reads, uint32 (n,), by its first output, uint8 (n, 64)."""
        keys, masks = positions(outputs, epoch, self.slot_bits)
        return self.values(keys) ^ masks

    def values(self, keys: Rows) -> Slots:
        """Return what keys, uint8 (n, 16), read, be they in the table or not: uint32 (n,)."""
        found = np.zeros(len(keys), np.uint32)
        bits = len(self.shards).bit_length() - 1
        owners = store.fronts_of(keys).astype(np.uint64) >> np.uint64(32 - bits)
        for number in np.unique(owners).tolist():
            rows = np.flatnonzero(owners == number)
            shard = self.shards[number]
            read = self._cells(shard.packed, shard.head.cells_of(keys[rows]))
            found[rows] = np.bitwise_xor.reduce(read, axis=0)
        return found

    def _cells(self, packed: npt.NDArray[np.uint8], cells: npt.NDArray[np.intp]) -> Slots:
        """Cells by number: a word of 32 bits from the byte on in which a cell begins, shifted and cut."""
        begins = cells * self.slot_bits
        first = begins >> 3
        word = np.zeros(cells.shape, np.uint32)
        for place in range(4):
            word = word << np.uint32(8) | packed[first + place]
        shift = (32 - self.slot_bits - (begins & 7)).astype(np.uint32)
        return word >> shift & np.uint32((1 << self.slot_bits) - 1)


def open_table(parts: Sequence[Buffer], slot_bits: int, keys: int) -> SlotTable:
    """Open the shards of a table of so many keys.

    Raises:
        SetFileError: the shards are not a power of two, one has too few or too many cells, or bits behind
            them, or together they have another number of keys.
    """
    count = len(parts)
    if not count or count & (count - 1):
        raise SetFileError(f"table: {count} shards are not a power of two")
    opened = tuple(_open_shard(memoryview(part), slot_bits) for part in parts)
    held = sum(shard.head.keys for shard in opened)
    if held != keys:
        raise SetFileError(f"table: {held} keys, not the {keys} that belong to the entries")
    return SlotTable(opened, slot_bits)


def _open_shard(part: memoryview, slot_bits: int) -> Shard:
    if len(part) < _HEAD.size:
        raise SetFileError("table: a shard is truncated")
    head = MapHead(*_HEAD.unpack_from(part))
    if not head.length or head.length & (head.length - 1) or not head.segments:
        raise SetFileError("table: a shard's segments are not of a length that is a power of two")
    bits = head.cells * slot_bits
    expected = -(-bits // 8)
    body = np.frombuffer(part[_HEAD.size :], np.uint8)
    if len(body) != expected:
        raise SetFileError(f"table: a shard has {len(body)} bytes of cells, not {expected}")
    if body[-1] & ((1 << (8 * expected - bits)) - 1):
        raise SetFileError("table: bits behind a shard's last cell are not zero")
    packed = np.concatenate([body, np.zeros(_PADDING, np.uint8)])
    return Shard(head, packed)
