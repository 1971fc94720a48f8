"""The key-value store of an encrypted hash set: 16-byte keys to values of one or more 64-bit words
(docs/set-format.md).

It takes 9.0 to 9.2 bytes a key and word. A map answers for absent keys too: cells that no key needs are
filled with pseudorandom words, so all cells of a map are uniform to whoever lacks the OPRF key, and a lone
key that is there reads as one that is not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Buffer, Rows
from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.contract.publishing import Executor, ahead
from blindmatch_protocol.group.rows import expand
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets.fuse_map import Cells, Fitted, FuseMap, Words, key_list, open_map

KIND = 0x01
"""Shard of a key-value store."""
KEY_BYTES = 16
MOST_SHARD_KEYS = 1 << 19
"""Larger shards waste fewer cells, smaller ones take less memory to build: at this size and two words
70 MiB, and 137 where an executor builds two at once."""
MOST_BITS = 12

MAGIC = b"BMSTORE\n"
VERSION = 2
HEADER = struct.Struct(">8sIIQI36x")
FILL_TAG = b"blindmatch/store/fill/v2"

Order: TypeAlias = npt.NDArray[np.uint32]
Fronts: TypeAlias = npt.NDArray[np.uint32]
"""Of keys, their first four bytes as a number."""


class DuplicateKeyError(DesignError):
    """Two rows have the same key.

    Attributes:
        rows: the first such pair of rows, in ascending order.
    """

    def __init__(self, first: int, second: int) -> None:
        self.rows = (min(first, second), max(first, second))
        super().__init__(f"entries {self.rows[0]} and {self.rows[1]} (counted from 0) have the same hash")


def order_of(keys: Rows) -> Order:
    """The order that sorts `keys`, uint8 (n, 16), as byte strings; uint32 (n,); `DesignError` if there are
    too many keys, `DuplicateKeyError` if two are equal."""
    bits_for(len(keys))
    front = _eight(keys, 0)
    order = np.argsort(front).astype(np.uint32)
    front = front[order]
    if (front[1:] == front[:-1]).any():
        order = np.lexsort((_eight(keys, 8), _eight(keys, 0))).astype(np.uint32)
    near = (front[1:] == front[:-1]).nonzero()[0]
    equal = (keys[order[near]] == keys[order[near + 1]]).all(axis=1)
    if equal.any():
        at = near[int(equal.nonzero()[0][0])]
        raise DuplicateKeyError(int(order[at]), int(order[at + 1]))
    return order


def _eight(keys: Rows, start: int) -> Words:
    """Eight bytes of every key from `start` on, as a number."""
    return np.ascontiguousarray(keys[:, start : start + 8]).view(">u8").ravel().astype(np.uint64)


def bits_for(count: int) -> int:
    """How many leading bits of a key choose its shard in a store of `count` keys; `DesignError` if there are
    too many keys."""
    bits = max(0, (max(count, 1) - 1).bit_length() - (MOST_SHARD_KEYS.bit_length() - 1))
    if bits > MOST_BITS:
        raise DesignError(f"at most {MOST_SHARD_KEYS << MOST_BITS} entries fit one set")
    return bits


def by_shard(fronts: Fronts) -> Order:
    """Numbers of keys with these fronts, (n,), in the order of their shards; of a shard's, ascending;
    `DesignError` if there are too many keys."""
    return np.argsort(_owners(fronts, bits_for(len(fronts))), kind="stable").astype(np.uint32)


def shards(
    fronts: Fronts,
    content: Callable[[int, int], tuple[Rows, Words]],
    words: int,
    fill_key: bytes,
    executor: Executor | None = None,
) -> Iterator[tuple[list[Buffer], int]]:
    """The shards of a store, one after the other, as parts to write and number of keys; `DesignError` if a
    shard cannot be built (two keys that the map's 64-bit hash takes for one; a new OPRF key gives new keys).

    The same keys and values give the same bytes, whatever their order.

    Args:
        fronts: `fronts_of` all keys, which are distinct.
        content: gives the keys `start` to `stop` in the order of their shards (`by_shard`, or `order_of`),
            uint8 (stop - start, 16), and their values, uint64 (stop - start, words), which must look uniform,
            whatever they hide.
        fill_key: 32 bytes that no device can derive (`fill_key`).
        executor: builds two of them at once.
    """
    bits = bits_for(len(fronts))

    def built(number: int, start: int, stop: int) -> tuple[list[Buffer], int]:
        header = HEADER.pack(MAGIC, VERSION, bits, stop - start, words)
        maps: list[Buffer] = []
        if stop > start:
            keys, values = content(start, stop)
            fitted = Fitted(keys, Cells(fill_key, number))
            maps = [fitted.map(word, column) for word, column in enumerate(values.T)]
        return [header, *maps], stop - start

    ends = np.bincount(_owners(fronts, bits), minlength=1 << bits).cumsum().tolist()
    where = enumerate(pairwise([0, *ends]))
    return ahead(lambda shard: built(shard[0], *shard[1]), where, executor, 1)


def fill_key(secret: bytes, epoch: int) -> bytes:
    """The key of pseudorandom cells in the file of an epoch, 32 bytes, from the OPRF's secret key."""
    return expand(FILL_TAG, epoch, [secret], 32).tobytes()


def fronts_of(keys: Rows) -> Fronts:
    """The first four bytes of every key, uint8 (n, 16), as a number."""
    return np.ascontiguousarray(keys[:, :4]).view(">u4").ravel().astype(np.uint32)


def _owners(fronts: Fronts, bits: int) -> npt.NDArray[np.uint16]:
    return (fronts >> np.uint32(32 - bits)).astype(np.uint16)


class Store:
    """Looks keys up in the shards of a set file; a shard is checked and mapped when first needed;
    `SetFileError` if the number of shards is not a power of two."""

    __slots__ = ("_bits", "_file", "_maps", "_words")

    def __init__(self, file: SetFile, words: int) -> None:
        count = file.count(KIND)
        self._bits = count.bit_length() - 1
        if count != 1 << max(self._bits, 0) or self._bits > MOST_BITS:
            raise SetFileError(f"store: {count} shards are not a power of two")
        self._file = file
        self._words = words
        self._maps: dict[int, tuple[FuseMap, ...]] = {}

    def lookup(self, keys: Rows) -> Words:
        """Values of `keys`, uint8 (n, 16); uint64 (n, words). An absent key has some value, never an error;
        `SetFileError` if a shard was altered."""
        if len(keys) == 1:  # of a private check: arrays would take longer than what is looked up
            name = keys.tobytes()
            maps = self._opened(int.from_bytes(name[:4], "big") >> 32 - self._bits)
            return np.array([[held.get(name) for held in maps] or [0] * self._words], np.uint64)
        found = np.zeros((len(keys), self._words), np.uint64)
        owners = _owners(fronts_of(keys), self._bits)
        for index in set(owners.tolist()):
            rows = (owners == index).nonzero()[0]
            names = key_list(keys[rows])
            values = np.zeros(len(rows), np.uint64)
            for word, held in enumerate(self._opened(index)):
                held.get_many_into(names, values.data)
                found[rows, word] = values
        return found

    def check(self, keys: int) -> None:
        """Open every shard; together they must have so many keys; `SetFileError` if one was altered, or is
        none, or they have another number of keys."""
        for index in range(1 << self._bits):
            self._opened(index)
        held = sum(self._file.row(KIND, index).items for index in range(1 << self._bits))
        if held != keys:
            raise SetFileError(f"store: {held} keys, not the {keys} that belong to the entries")

    def _opened(self, index: int) -> tuple[FuseMap, ...]:
        if index in self._maps:
            return self._maps[index]
        content = self._file.section(KIND, index)
        keys = _read_header(bytes(content[: HEADER.size]), self._bits, self._words)
        if keys != self._file.row(KIND, index).items:
            raise SetFileError("store: a shard's number of keys is not the table's")
        body = content[HEADER.size :]
        each, left = divmod(len(body), self._words)
        if left or bool(each) != bool(keys):
            raise SetFileError(f"store: shard {index} has no map for each word")
        parts = [body[at : at + each] for at in range(0, len(body), each)] if each else []
        self._maps[index] = tuple(open_map(part, keys) for part in parts)
        return self._maps[index]


def _read_header(raw: bytes, bits: int, words: int) -> int:
    if len(raw) != HEADER.size:
        raise SetFileError("store: a shard is truncated")
    magic, version, its_bits, keys, its_words = HEADER.unpack(raw)
    if magic != MAGIC:
        raise SetFileError("store: the magic number is missing")
    if version != VERSION:
        raise SetFileError(f"store: version {version} is not the one this program reads, {VERSION}")
    if (its_bits, its_words) != (bits, words) or raw != HEADER.pack(MAGIC, VERSION, bits, keys, words):
        raise SetFileError("store: a shard's header is not the one that belongs to this store")
    return int(keys)
