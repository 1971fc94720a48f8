"""Generated pictures, and a list that stands to them in every relation a check needs.

    listed        the very hash is on the list
    near-30, -31  an entry is that many bits away (the picture's least reliable bits)
    far-32, -33   the same, just outside the distance of near matching
    other         nothing on the list is near
    twin          same hash and quality as the picture before it, other pixels
    poor          quality below 50; one of them has its hash on the list

The games add two kinds that depend on the design (`leakage.worst`).

Nothing is downloaded: a picture is a coarse random field, smoothed. PDQ gives such fields quality 100.

Which of them should match the plaintext oracle says, by the design's own relation and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Item, Relation
from blindmatch_protocol.picture.distance import rows
from blindmatch_protocol.picture.item import Picture
from msgspec import Struct
from PIL import Image


class Oracle(Struct, frozen=True):
    """Answers from the list in the clear, uint8 (n, 32)."""

    relation: Relation
    entries: Rows

    def matches(self, item: Item) -> bool:
        """Does `item` match an entry?"""
        return self.relation.matches(item, self.entries)

    def count(self, items: Iterable[Item]) -> int:
        """How many of `items` match."""
        return sum(map(self.matches, items))


SIDE: Final = 96
COARSE: Final = 12
DISTANCES: Final = {"near-30": 30, "near-31": 31, "far-32": 32, "far-33": 33}
OCTAVES: Final = 6
"""Sizes of detail, the coarsest a third of a picture's side, the finest a pixel."""
FILLERS: Final = 40
"""Entries that no picture is near to."""


class Pooled(Redacted, Struct, frozen=True):
    """A picture of the pool: its name, which says what it is to the list, and its kind, the name's front."""

    SHOWN: ClassVar = ("name", "kind")

    name: str
    kind: str
    item: Picture


class Pool(Redacted, Struct, frozen=True):
    """Pictures, and the list they belong to.

    Attributes:
        pictures: all pictures.
        entries: the list, uint8 (n, 32), in a fixed order.
        others: a list of as many entries that no picture is near to.
    """

    pictures: tuple[Pooled, ...]
    entries: Rows
    others: Rows

    def of(self, *kinds: str) -> list[Pooled]:
        """Pictures of these kinds, in order."""
        return [one for one in self.pictures if one.kind in kinds]

    def without(self, *kinds: str) -> Pool:
        """The same list, with fewer pictures."""
        kept = tuple(one for one in self.pictures if one.kind not in kinds)
        return Pool(kept, self.entries, self.others)

    def matches(self, relation: Relation, one: Pooled) -> bool:
        """The plaintext oracle's answer."""
        return Oracle(relation, self.entries).matches(one.item)


def make_pool(seed: int) -> Pool:
    """The pool that `seed` determines."""
    numbers = iter(range(1000 * seed, 1000 * seed + 1000))
    pictures: list[Pooled] = []
    for kind, count in (("listed", 3), ("near-30", 2), ("near-31", 2), ("far-32", 2), ("far-33", 1)):
        pictures += [Pooled(f"{kind}/{i}", kind, picture(next(numbers))) for i in range(count)]
    pictures += [Pooled(f"other/{i}", "other", picture(next(numbers))) for i in range(4)]
    twins = [one for one in pictures if one.kind in ("listed", "other")]
    pictures += [Pooled(f"twin/{one.name}", f"twin-{one.kind}", _twin(one.item)) for one in twins]
    pictures += [Pooled(f"poor/{i}", "poor", _poor(i)) for i in range(2)]
    fillers = random_hashes(FILLERS, seed)
    entries = np.concatenate([fillers, _entries(pictures)])
    order = np.argsort(np.asarray(np.random.PCG64(seed).random_raw(len(entries))), kind="stable")
    return Pool(tuple(pictures), entries[order], random_hashes(len(entries), seed + (1 << 20)))


def random_hashes(count: int, seed: int) -> Rows:
    """`count` hashes of 128 ones each, uint8 (count, 32), from PCG64's raw stream."""
    raw = np.asarray(np.random.PCG64(seed).random_raw(count * 256)).reshape(count, 256)
    bits = np.zeros((count, 256), np.uint8)
    np.put_along_axis(bits, np.argsort(raw, axis=1)[:, :128], 1, axis=1)
    return np.packbits(bits, axis=1)


def flipped(item: Item, count: int) -> bytes:
    """The hash with the `count` bits flipped whose coefficients lie nearest to the median."""
    bits = np.unpackbits(np.frombuffer(item.hash, np.uint8))
    weakest = np.argsort(np.abs(item.coefficients), kind="stable")[:count]
    bits[weakest] ^= 1
    return np.packbits(bits).tobytes()


def _entries(pictures: Sequence[Pooled]) -> Rows:
    hashes = [one.item.hash for one in pictures if one.kind == "listed" or one.name == "poor/0"]
    hashes += [flipped(one.item, DISTANCES[one.kind]) for one in pictures if one.kind in DISTANCES]
    return rows(hashes)


def _pixels(number: int, shape: tuple[int, int], cells: int = COARSE) -> npt.NDArray[np.uint8]:
    raw = np.asarray(np.random.PCG64(number).random_raw(cells * cells * 3)) % np.uint64(256)
    field_ = Image.fromarray(raw.astype(np.uint8).reshape(cells, cells, 3))
    return np.asarray(field_.resize(shape[::-1], Image.Resampling.BICUBIC))


def picture(number: int, shape: tuple[int, int] = (SIDE, SIDE)) -> Picture:
    """The picture that `number` determines, of this height and width."""
    return Picture.from_pixels(_pixels(number, shape))


def detailed(number: int) -> Picture:
    """One with detail of every size, as photographs have it: as much contrast in each octave (Field 1987,
    "Relations between the statistics of natural images and the response properties of cortical cells")."""
    octaves = [_pixels(OCTAVES * number + at, (SIDE, SIDE), 3 << at) for at in range(OCTAVES)]
    mixed = 128 + sum(one.astype(np.float32) - 128 for one in octaves) / np.sqrt(OCTAVES)
    return Picture.from_pixels(np.clip(mixed, 0, 255).astype(np.uint8))


def faint(number: int, contrast: float) -> Picture:
    """The same with less contrast, around middle grey."""
    grey = 128 + (_pixels(number, (SIDE, SIDE)).astype(np.float32) - 128) * np.float32(contrast)
    return Picture.from_pixels(grey.astype(np.uint8))


def _twin(item: Picture) -> Picture:
    """Another picture of the same hash and quality: one level in one corner is changed."""
    for row, column in ((0, 0), (0, SIDE - 1), (SIDE - 1, 0), (SIDE - 1, SIDE - 1)):
        pixels = item.pixels.copy()
        pixels[row, column, 0] ^= 1
        twin = Picture.from_pixels(pixels)
        if (twin.hash, twin.quality) == (item.hash, item.quality):
            return twin
    return item


def _poor(index: int) -> Picture:
    """A faint ramp: its hash means nothing."""
    ramp = np.linspace(100 + index, 110 + 2 * index, SIDE).astype(np.uint8)
    return Picture.from_pixels(np.repeat(np.tile(ramp, (SIDE, 1))[:, :, None], 3, axis=2))
