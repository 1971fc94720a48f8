"""The key-value store of an encrypted hash set: 16-byte keys to 64-bit values, 9.0 to 9.2 bytes a key.

A shard is a `fastconstmap.ConstMap` (a binary fuse map: three reads and two XORs a look-up) behind a
header of our own, since that library's format may still change. Keys are pseudorandom, so their first
bits cut them evenly into shards; building holds one shard's keys as Python objects, and a look-up costs
the same whatever the number of entries.

The map answers for absent keys too: with the XOR of three cells, or, for the 0.2 % of keys whose three
cells are all empty, with 0. Values are therefore stored masked by 64 bits that only the key's owner can
derive (`labels`): whatever an absent key reads, 0 included, its own mask turns into a uniform number.

Shard, in a section of its own (docs/set-format.md): magic 8, version 4, bits 4, keys 8, zeros to 64, map.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from fastconstmap import ConstMap

from blindmatch_protocol.codec import Buffer, Rows
from blindmatch_protocol.errors import DesignError, SetFileError
from blindmatch_protocol.setfile import SetFile

KIND = 0x01
"""Section kind of a shard."""
KEY_BYTES = 16
MOST_SHARD_KEYS = 1 << 20
"""Larger shards waste fewer cells, smaller ones take less memory to build (200 MiB at this size)."""
MOST_BITS = 12

MAGIC = b"BMSTORE\n"
VERSION = 1
HEADER = struct.Struct(">8sIIQ40x")

Values: TypeAlias = npt.NDArray[np.uint64]
Order: TypeAlias = npt.NDArray[np.uint32]


class DuplicateKeyError(DesignError):
    """Two rows have the same key.

    Attributes:
        rows: the first such pair of rows, in ascending order.
    """

    def __init__(self, first: int, second: int) -> None:
        self.rows = (min(first, second), max(first, second))
        super().__init__(f"entries {self.rows[0]} and {self.rows[1]} (counted from 0) have the same hash")


def order_of(keys: Rows) -> Order:
    """The order that sorts `keys`, uint8 (n, 16), as byte strings; uint32 (n,).

    Raises:
        DesignError: if there are too many keys.
        DuplicateKeyError: if two are equal.
    """
    bits_for(len(keys))
    front = _words(keys, 0)
    order = np.argsort(front, kind="stable").astype(np.uint32)
    front = front[order]
    if (front[1:] == front[:-1]).any():
        order = np.lexsort((_words(keys, 8), _words(keys, 0))).astype(np.uint32)
    near = (front[1:] == front[:-1]).nonzero()[0]
    equal = (keys[order[near]] == keys[order[near + 1]]).all(axis=1)
    if equal.any():
        at = near[int(equal.nonzero()[0][0])]
        raise DuplicateKeyError(int(order[at]), int(order[at + 1]))
    return order


def _words(keys: Rows, start: int) -> Values:
    """Eight bytes of every key from `start` on, as a number."""
    return np.ascontiguousarray(keys[:, start : start + 8]).view(">u8").ravel().astype(np.uint64)


def bits_for(count: int) -> int:
    """How many leading bits of a key choose its shard in a store of `count` keys.

    Raises:
        DesignError: if there are too many keys.
    """
    bits = max(0, (max(count, 1) - 1).bit_length() - (MOST_SHARD_KEYS.bit_length() - 1))
    if bits > MOST_BITS:
        raise DesignError(f"at most {MOST_SHARD_KEYS << MOST_BITS} entries fit one set")
    return bits


def shards(
    keys: Rows, order: Order, values: Callable[[int, int], Values], bits: int | None = None
) -> Iterator[tuple[list[Buffer], int]]:
    """The shards of a store, one after the other, as parts to write and number of keys.

    The same keys, order and values give the same bytes.

    Args:
        keys: uint8 (n, 16), distinct.
        order: what `order_of` gave for them.
        values: gives the values of the keys `start` to `stop` in that order, uint64 (stop - start,).
        bits: leading bits that choose the shard; `bits_for(n)` if None.

    Raises:
        DesignError: if a shard cannot be built (two keys that the map's 64-bit hash takes for one; a new
            OPRF key gives new keys).
    """
    bits = bits_for(len(keys)) if bits is None else bits
    for start, stop in pairwise(_bounds(keys, order, bits)):
        yield _shard(keys[order[start:stop]], values(start, stop), bits), stop - start


def _bounds(keys: Rows, order: Order, bits: int) -> list[int]:
    """Where each shard starts in the order, and where the last one ends."""
    firsts = np.arange(1 << bits, dtype=np.uint64) << np.uint64(32 - bits)
    return [*np.searchsorted(_fronts(keys)[order], firsts).tolist(), len(keys)]


def _shard(keys: Rows, values: Values, bits: int) -> list[Buffer]:
    header = HEADER.pack(MAGIC, VERSION, bits, len(keys))
    if not len(keys):
        return [header]
    try:
        built = ConstMap(dict(zip(_key_list(keys), values.tolist(), strict=True)))
    except ValueError as error:
        raise DesignError("store: two keys collide; build the set with another OPRF key") from error
    content = bytearray(built.serialized_size())
    built.write_into(content)
    return [header, content]


def _key_list(keys: Rows) -> list[bytes]:
    """Rows as byte strings; numpy makes the list."""
    listed: list[bytes] = np.ascontiguousarray(keys).view(f"V{KEY_BYTES}").ravel().tolist()
    return listed


def _fronts(keys: Rows) -> Values:
    """The first four bytes of every key as a number."""
    return np.ascontiguousarray(keys[:, :4]).view(">u4").ravel().astype(np.uint64)


class Store:
    """Looks keys up in the shards of a set file; a shard is checked and mapped when first needed.

    Raises:
        SetFileError: if the number of shards is not a power of two.
    """

    __slots__ = ("_bits", "_file", "_maps")

    def __init__(self, file: SetFile) -> None:
        count = file.count(KIND)
        self._bits = count.bit_length() - 1
        if count != 1 << max(self._bits, 0) or self._bits > MOST_BITS:
            raise SetFileError(f"store: {count} shards are not a power of two")
        self._file = file
        self._maps: dict[int, ConstMap | None] = {}

    def lookup(self, keys: Rows) -> Values:
        """Values of `keys`, uint8 (n, 16); uint64 (n,). An absent key has some value, never an error.

        Raises:
            SetFileError: if a shard was altered.
        """
        found = np.zeros(len(keys), np.uint64)
        owners = _fronts(keys) >> np.uint64(32 - self._bits)
        for index in np.unique(owners).tolist():
            rows = (owners == index).nonzero()[0]
            found[rows] = self._lookup_in(index, keys[rows])
        return found

    def check(self) -> None:
        """Open every shard.

        Raises:
            SetFileError: if one was altered, or is none.
        """
        for index in range(1 << self._bits):
            self._map(index)

    def _map(self, index: int) -> ConstMap | None:
        if index not in self._maps:
            self._maps[index] = self._open(index)
        return self._maps[index]

    def _lookup_in(self, index: int, keys: Rows) -> Values:
        values = np.zeros(len(keys), np.uint64)
        held = self._map(index)
        if held is not None:
            held.get_many_into(_key_list(keys), values.data)
        return values

    def _open(self, index: int) -> ConstMap | None:
        content = self._file.section(KIND, index)
        count = _read_header(bytes(content[: HEADER.size]), self._bits)
        if count != self._file.row(KIND, index).items:
            raise SetFileError("store: a shard's number of keys is not the table's")
        body = content[HEADER.size :]
        if not count:
            return None
        try:
            return ConstMap.from_buffer(body) if _mappable(body) else ConstMap.from_bytes(body)
        except ValueError as error:
            raise SetFileError(f"store: shard {index} is no map of a version this program reads") from error


def _mappable(body: memoryview) -> bool:
    """Can the map be used in place? It must lie at a multiple of eight on a little-endian machine."""
    return sys.byteorder == "little" and np.frombuffer(body, np.uint8).ctypes.data % 8 == 0


def _read_header(raw: bytes, bits: int) -> int:
    """The number of keys of a shard."""
    if len(raw) != HEADER.size:
        raise SetFileError("store: a shard is truncated")
    magic, version, its_bits, count = HEADER.unpack(raw)
    if magic != MAGIC:
        raise SetFileError("store: the magic number is missing")
    if version != VERSION:
        raise SetFileError(f"store: version {version} is not the one this program reads, {VERSION}")
    if its_bits != bits or raw != HEADER.pack(MAGIC, VERSION, bits, count):
        raise SetFileError("store: a shard's header is not the one that belongs to this store")
    return int(count)
