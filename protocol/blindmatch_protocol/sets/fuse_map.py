"""Binary fuse maps (Graf and Lemire 2022, "Binary Fuse Filters") from 16-byte keys to 64-bit words, as the
library `fastconstmap` writes them, with cells that all look uniform.

A key reads the XOR of three cells, whose places follow from the key and the map's head. Where the library
leaves cells empty, an absent key reads zero the more often the smaller a map is: for 48 % of keys at 10 keys
and for 0.2 % at a million. `Fitted` leaves none empty.
"""

from __future__ import annotations

import ctypes
import math
import struct
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from fastconstmap import ConstMap, _fastconstmap
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted

KEY_BYTES: Final = 16

_MAP = struct.Struct("<8sQIIII")
"""Magic, seed, segment length, segments, cells, keys: how `fastconstmap` writes a map; cells follow."""
_MAP_MAGIC = b"CMAP0003"
_FIRST_SEED = 0x910A2DEC89025CC1
"""The seed that the library tries first."""
_XXH64_PRIMES = (
    0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
)  # fmt: skip
_MURMUR3_FACTORS = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53, 1)
_CHECKSUM_BYTES = 8
_FNV_PRIME = 0x100000001B3
"""FNV-1a, 64 bits: the checksum (docs/set-format.md)."""

Words: TypeAlias = npt.NDArray[np.uint64]
"""Numbers of 64 bits, or values of several, shape (n, words)."""
FuseMap: TypeAlias = ConstMap

_FUNCTIONS: Final = {
    "new": ("ppps", ctypes.c_int), "free": ("p", None), "serialized_size": ("p", ctypes.c_size_t),
    "write": ("pp", None), "view": ("pps", ctypes.c_int), "lookup_many": ("ppsp", None),
}  # fmt: skip
"""Pointers and sizes that each takes, and what it returns; a status is zero if all is well."""


@cache
def _library(name: str) -> Any:
    """The library's C function `fcm_constmap_NAME` (its `constmap.h`), taking the map first: it reads arrays,
    not an object for each key and value, and runs outside Python's lock. Look-ups do without."""
    function = ctypes.CDLL(_fastconstmap.__file__)[f"fcm_constmap_{name}"]
    arguments, function.restype = _FUNCTIONS[name]
    function.argtypes = [ctypes.c_void_p if kind == "p" else ctypes.c_size_t for kind in arguments]
    return function


_OPENED: Final = ctypes.c_uint64 * 16
"""Room for an `fcm_constmap_t`."""
_OPENED_WORDS: Final = 6
"""What it takes of that (48 bytes) in the version that is pinned."""
_UNTOUCHED: Final = 2**64 - 1


class Cells(Redacted, Struct, frozen=True):
    """Pseudorandom words of one shard: ChaCha20 (RFC 8439) under `key`, its nonce the shard and the word."""

    key: bytes
    shard: int

    def __call__(self, word: int, count: int) -> Words:
        """`count` cells of the map of this word of values."""
        nonce = bytes(4) + self.shard.to_bytes(8, "big") + word.to_bytes(4, "big")
        stream = Cipher(algorithms.ChaCha20(self.key, nonce), None).encryptor().update(bytes(8 * count))
        return np.frombuffer(stream, "<u8").astype(np.uint64, copy=False)


class Fitted:
    """Builds maps of one shard's keys whose cells all look uniform.

    Where a key's three cells lie depends on the keys alone. So: fill a map's cells with pseudorandom words,
    read every key, build a second map of the same keys with what is missing to the values, and add (XOR) its
    cells. Keys then read their values, and cells that no key needs keep what they were filled with.

    Args:
        keys: uint8 (n, 16), distinct, at least one.
        cells: gives pseudorandom cells.
    """

    def __init__(self, keys: Rows, cells: Callable[[int, int], Words]) -> None:
        # in this order the library goes through the cells from end to end, which saves it a sixth of its time
        self._order = np.argsort(_hashed(keys))
        self._fill = cells
        self._keys = keys[self._order]
        self._table = np.full((len(keys), 2), KEY_BYTES, np.uint64)  # where a key lies, and its length
        self._table[:, 0] = np.arange(len(keys)) * KEY_BYTES + self._keys.ctypes.data
        self._open(_likely_head(len(keys)))

    def map(self, word: int, values: Words) -> memoryview:
        """The map of these values, uint64 (n,), which are that word of the shard's values."""
        values = values[self._order]
        missing = self._missing(word, values)
        if bytes(missing[: _MAP.size]) != self._head:
            self._open(bytes(missing[: _MAP.size]))
            missing = self._missing(word, values)
        if bytes(missing[: _MAP.size]) != self._head:
            raise DesignError("store: a map of the same keys has another form")
        self._cells ^= _cells_of(missing)
        if (self._read() != values).any():
            raise DesignError("store: a key does not read its value")
        _library("write")(self._map, missing.ctypes.data)
        return missing.data

    def _open(self, head: bytes) -> None:
        self._head = head
        self._map = _OPENED()
        content = _empty(head)
        # the library reads these cells whenever a key is looked up, so it sees what is put into them here
        self._cells = _cells_of(content)
        if _library("view")(self._map, content.ctypes.data, len(content)):
            raise DesignError("store: the library reads no map of this form")

    def _missing(self, word: int, values: Words) -> Rows:
        """A map of what is missing to the values, once the cells are filled."""
        self._cells[:] = self._fill(word, len(self._cells))
        return self._built(values ^ self._read())

    def _read(self) -> Words:
        found = np.empty(len(self._keys), np.uint64)
        _library("lookup_many")(self._map, self._table.ctypes.data, len(found), found.ctypes.data)
        return found

    def _built(self, values: Words) -> Rows:
        made = _OPENED()
        if _library("new")(made, self._table.ctypes.data, values.ctypes.data, len(values)):
            raise DesignError("store: two keys collide; build the set with another OPRF key")
        content = np.empty(_library("serialized_size")(made), np.uint8)
        _library("write")(made, content.ctypes.data)
        _library("free")(made)
        return content


def _hashed(keys: Rows, seed: int = _FIRST_SEED) -> Words:
    """What the library makes of keys under a seed: XXH64 of 16 bytes, and of its sum with the seed
    MurmurHash3's finalizer. From the high bits on it says where a key's cells lie (docs/set-format.md)."""
    first, second, third, fourth, fifth = map(np.uint64, _XXH64_PRIMES)
    found = np.full(len(keys), fifth, np.uint64) + np.uint64(KEY_BYTES)
    for lane in np.ascontiguousarray(keys).view("<u8").T:
        found ^= _turned(lane * second, 31) * first
        found = _turned(found, 27) * first + fourth
    found = _mixed(found, (33, second), (29, third), (32, np.uint64(1))) + np.uint64(seed)
    return _mixed(found, *((33, np.uint64(factor)) for factor in _MURMUR3_FACTORS))


def _turned(words: Words, bits: int) -> Words:
    return words << np.uint64(bits) | words >> np.uint64(64 - bits)


def _mixed(words: Words, *rounds: tuple[int, np.uint64]) -> Words:
    for bits, factor in rounds:
        words = (words ^ words >> np.uint64(bits)) * factor
    return words


def _likely_head(keys: int) -> bytes:
    """How the library begins a map of so many keys if its first seed serves, as it nearly always does; sizes
    as in Graf and Lemire 2022, section 4, for three cells a key."""
    length = 1 << int(math.log(keys) / math.log(3.33) + 2.25) if keys > 1 else 4
    factor = max(1.125, 0.875 + 0.25 * math.log(1e6) / math.log(max(keys, 2)))
    segments = max(1, -(-round(keys * factor) // length) - 2)
    return _MAP.pack(_MAP_MAGIC, _FIRST_SEED, length, segments, (segments + 2) * length, keys)


def _empty(head: bytes) -> Rows:
    """A map of zeros behind a head. A zero multiplies its checksum by FNV's prime."""
    *_, cells, _ = _MAP.unpack(head)
    total = 0xCBF29CE484222325
    for byte in head:
        total = (total ^ byte) * _FNV_PRIME % (1 << 64)
    total = total * pow(_FNV_PRIME, 8 * cells, 1 << 64) % (1 << 64)
    checksum = total.to_bytes(_CHECKSUM_BYTES, "little")
    return np.frombuffer(bytearray(head + bytes(8 * cells) + checksum), np.uint8)


def _cells_of(content: Rows) -> Words:
    return content[_MAP.size : -_CHECKSUM_BYTES].view("<u8")


class MapHead(Struct, frozen=True):
    """How a map begins: from it and a key follows where the key's cells lie.

    Attributes:
        seed: of the hash, below 2^64.
        length: cells of a segment, a power of two.
        segments: those that a key may begin in; the map has two more.
        keys: that the map was built for.
    """

    seed: int
    length: int
    segments: int
    keys: int

    @property
    def cells(self) -> int:
        return (self.segments + 2) * self.length

    def cells_of(self, keys: Rows) -> npt.NDArray[np.intp]:
        """The three cells of each key, uint8 (n, 16): numbers below `cells`, (3, n); docs/set-format.md."""
        hashed = _hashed(keys, self.seed)
        # the high half of a product of 128 bits; there are fewer than 2^32 cells
        starts = np.uint64(self.segments * self.length)
        low = (hashed & np.uint64(2**32 - 1)) * starts >> np.uint64(32)
        first = ((hashed >> np.uint64(32)) * starts + low) >> np.uint64(32)
        length = np.uint64(self.length)
        within = np.uint64(self.length - 1)
        second = (first + length) ^ (hashed >> np.uint64(18) & within)
        third = (first + length + length) ^ (hashed & within)
        return np.stack([first, second, third]).astype(np.intp)


def head_and_cells(content: memoryview) -> tuple[MapHead, Words]:
    """What a map that `Fitted` wrote is made of."""
    _, seed, length, segments, _, keys = _MAP.unpack_from(content)
    return MapHead(seed, length, segments, keys), _cells_of(np.frombuffer(content, np.uint8))


def key_list(keys: Rows) -> list[bytes]:
    """Rows as byte strings; numpy makes the list."""
    listed: list[bytes] = np.ascontiguousarray(keys).view(f"V{KEY_BYTES}").ravel().tolist()
    return listed


def open_map(body: memoryview, keys: int) -> ConstMap:
    """A map that is sound: no key reads beyond its cells (see docs/set-format.md for where it reads)."""
    if len(body) >= _MAP.size + _CHECKSUM_BYTES:
        magic, _, length, segments, cells, held = _MAP.unpack_from(body)
        powers = length > 0 and not length & (length - 1) and segments > 0
        fits = cells == (segments + 2) * length and len(body) == _MAP.size + 8 * cells + _CHECKSUM_BYTES
        if magic == _MAP_MAGIC and powers and fits and held == keys:
            try:
                # in place at a multiple of eight on a little-endian machine
                mappable = sys.byteorder == "little" and np.frombuffer(body, np.uint8).ctypes.data % 8 == 0
                return ConstMap.from_buffer(body) if mappable else ConstMap.from_bytes(body)
            except ValueError as error:
                raise SetFileError("store: a shard has a map with a wrong checksum") from error
    raise SetFileError("store: a shard has no map of a version this program reads")


def check_library() -> None:
    """Build and read a map of two keys, so that types of another size show before they corrupt memory;
    `ImportError` if the library's pointers, sizes or structures are not those that calls here assume."""
    keys = np.arange(2 * KEY_BYTES, dtype=np.uint8).reshape(2, -1)
    values = np.array([7, 2**63], np.uint64)
    room = _OPENED(*[_UNTOUCHED] * 16)
    content = _empty(_likely_head(len(keys)))
    fits = not _library("view")(room, content.ctypes.data, len(content))
    fits &= set(room[_OPENED_WORDS:]) == {_UNTOUCHED} and ctypes.sizeof(ctypes.c_void_p) == 8
    read: Any = open_map(Fitted(keys, Cells(bytes(32), 0)).map(0, values), len(keys)) if fits else {}
    if not fits or [read[key] for key in key_list(keys)] != values.tolist():
        raise ImportError("fastconstmap and this program differ in types or sizes", name="fastconstmap")


check_library()
