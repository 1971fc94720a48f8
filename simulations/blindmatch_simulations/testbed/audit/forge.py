"""Pictures that agree with another one on what is declared, and differ in everything else.

An item is an interface, so one can be put together from views of several pictures: the hash of one, the
pixels of another. Where a fact depends on the hash hardly any real picture agrees on it; a forged one does,
and differs in the bits, coefficients, luminance and pixels that were not declared.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Fact, Item
from msgspec import Struct
from msgspec.structs import replace

TRIES: Final = 48
"""Hashes that are tried for one picture, where facts depend on bits together."""

HASH_BITS: Final = 256


class Forged(Redacted, Struct, frozen=True, eq=False):
    """An `Item` of given views."""

    hash: bytes
    quality: int
    coefficients: npt.NDArray[np.float32]
    luminance: npt.NDArray[np.float32]
    pixels: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, item: Item) -> Forged:
        """All views of `item`."""
        return cls(item.hash, item.quality, item.coefficients, item.luminance, item.pixels)

    def with_hash(self, value: bytes) -> Forged:
        """The same with another hash, and coefficients whose signs are those of its bits."""
        size = np.abs(self.coefficients) + np.float32(1e-3)
        signs = np.where(_bits(value) == 1, np.float32(1), np.float32(-1))
        return replace(self, hash=value, coefficients=(size * signs).astype(np.float32))


class Declared(Struct, frozen=True):
    """What `facts` say of items under a set-up."""

    facts: Sequence[Fact]
    setup: Any

    def of(self, item: Item) -> tuple[Hashable, ...]:
        """The facts' values; a fact that cannot be told of a forged item has a value of its own."""
        return tuple(_told(fact, item, self.setup) for fact in self.facts)

    def shows(self, item: Item) -> bytes:
        """The facts' values as bytes, to look for pieces of the picture in."""
        return b"\0".join(_flat(value) for value in self.of(item))


class Forge(Redacted, Struct, frozen=True):
    """Makes items that agree with one picture.

    Attributes:
        declared: the facts to agree on.
        item: the picture.
        free: bits of the hash that no fact changes with, bool, shape (256,).
        pixels: whether no fact changes with pixels and luminance.
        shape: whether none changes with height and width.
        quality: whether none changes with the quality.
    """

    declared: Declared
    item: Forged
    free: npt.NDArray[np.bool_]
    pixels: bool
    shape: bool
    quality: bool

    @classmethod
    def of(cls, declared: Declared, picture: Item) -> Forge:
        """Try the pixels, then each bit and the quality."""
        item, told = Forged.of(picture), declared.of(picture)
        inverted = replace(item, pixels=255 - item.pixels, luminance=np.float32(255) - item.luminance)
        if declared.of(inverted) != told:
            return cls(declared, item, np.zeros(HASH_BITS, np.bool_), False, False, False)
        free = [declared.of(_flipped(item, [at])) == told for at in range(HASH_BITS)]
        other = replace(item, quality=50 + (item.quality + 1) % 50)
        larger = _shaped(item, (2 * item.pixels.shape[0], 2 * item.pixels.shape[1]))
        shape, quality = declared.of(larger) == told, declared.of(other) == told
        return cls(declared, item, np.array(free, np.bool_), True, shape, quality)

    def items(self, sources: Iterator[Item]) -> Iterator[Forged]:
        """For each source an item with as much of it as the facts leave open, and one with this hash.

        None where pixels are declared: all other views follow from them.
        """
        mine = self.declared.of(self.item)
        for number, source in enumerate(sources if self.pixels else ()):
            theirs = Forged.of(source)
            if not self.shape:
                theirs = _shaped(theirs, self.item.luminance.shape)
            if not self.quality:
                theirs = replace(theirs, quality=self.item.quality)
            made = (theirs.with_hash(value) for value in self._hashes(theirs.hash, number))
            yield from islice((one for one in made if self.declared.of(one) == mine), 1)
            own = theirs.with_hash(self.item.hash)
            yield from [own] if self.declared.of(own) == mine else []

    def _hashes(self, source: bytes, seed: int) -> Iterator[bytes]:
        """The source's bits where they are free; then some bits changed together, a few and more."""
        places = np.flatnonzero(self.free) if self.free.any() else np.arange(HASH_BITS)
        yield np.packbits(np.where(self.free, _bits(source), _bits(self.item.hash))).tobytes()
        raw = np.random.PCG64(seed)
        for at in range(TRIES):
            some = np.asarray(raw.random_raw(2 + at // 4)) % np.uint64(len(places))
            yield _flipped(self.item, [int(places[int(n)]) for n in some]).hash


def _shaped(item: Forged, shape: tuple[int, ...]) -> Forged:
    """The same with pixels and luminance of another height and width."""
    return replace(
        item, luminance=np.resize(item.luminance, shape), pixels=np.resize(item.pixels, (*shape, 3))
    )


def _told(fact: Fact, item: Item, setup: Any) -> Hashable:
    try:
        return fact.project(item, setup)
    except Exception as error:
        return type(error).__name__


def _flat(value: object) -> bytes:
    """Bytes of a fact's value, of numbers and of parts."""
    match value:
        case bytes() | bytearray() | memoryview():
            return bytes(value)
        case str():
            return value.encode() + b"\0" + _hex(value)
        case bool():
            return bytes([value])
        case int():
            size = max(1, (value.bit_length() + 7) // 8)
            return abs(value).to_bytes(size, "big")
        case np.ndarray():
            return value.tobytes()
        case tuple() | list() | frozenset():
            return b"".join(map(_flat, value))
        case _:
            return repr(value).encode()


def _hex(value: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except ValueError:
        return b""


def _bits(value: bytes) -> npt.NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(value, np.uint8))


def _flipped(item: Forged, places: Sequence[int]) -> Forged:
    bits = _bits(item.hash)
    for at in places:
        bits[at] ^= 1
    return item.with_hash(np.packbits(bits).tobytes())
