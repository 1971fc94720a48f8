"""PDQ, the 256-bit perceptual hash of photographs, and distances between many hashes.

Source: "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm" (Facebook, 2019), chapter
on PDQ; the steps below name its headings. Every float32 operation is done in the order of the published
reference implementation, so that hash, quality and even the coefficients come out the same to the last bit:

    pixels --luminance--> (h, w) --two tent passes, decimate--> (64, 64) --DCT--> 16 x 16 --median--> 256 bits
                                                                  |
                                                                  +--gradients--> quality 0..100

Bit order: bit j of the hash (most significant bit of byte 0 first, as `numpy.unpackbits` gives them) belongs
to coefficient j of `Fingerprint.coefficients`, which is entry 255 - j of the row-major 16 x 16 matrix. The
bytes' lower-case hex is what PDQ tools print, and `numpy.packbits` of the vector `pdqhash.compute` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice, tee
from typing import ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec.redacted import Redacted

Floats: TypeAlias = npt.NDArray[np.float32]
Pixels: TypeAlias = npt.NDArray[np.uint8]
Lines: TypeAlias = npt.NDArray[np.intp]
Rows: TypeAlias = Callable[[slice], Floats]
"""Some rows of a plane, (rows, width) float32."""
Blur: TypeAlias = tuple[Callable[..., None], Callable[..., None]]

HASH_BYTES: Final = 32
MATCH_DISTANCE: Final = 31
"""Two pictures match if their hashes differ in at most this many bits ("Matching")."""
LEAST_QUALITY: Final = 50
"""Hashes of pictures of a lower quality are discarded ("Quality metric")."""

SIDE: Final = 64
LEAST_SIDE: Final = 5
_LUMA: Final = np.array([299, 587, 114], np.float32)
_ROWS_AT_ONCE: Final = 32
_STRIP: Final = 96
_MOST_TURNED: Final = 1 << 20


class Fingerprint(Redacted, Struct, frozen=True, eq=False):
    """What PDQ says of a picture; `repr` shows the quality alone.

    Args:
        quality: 0 (featureless) to 100.
        coefficients: (256,) float32, signed distance of each coefficient from the median: positive where the
            bit is one; the smaller its absolute value, the likelier an edit flips the bit.
    """

    SHOWN: ClassVar = ("quality",)

    hash: bytes
    quality: int
    coefficients: Floats


def fingerprint(luminance: Floats) -> Fingerprint:
    """PDQ of a luminance plane, shape (h, w), float32, 0..255; `ValueError` for another shape.

    As in the reference, a picture with a side under 5 has the hash of zeros and quality 0.
    """
    if luminance.ndim != 2:
        raise ValueError("luminance must have shape (h, w)")
    if min(luminance.shape) < LEAST_SIDE:
        return Fingerprint(bytes(HASH_BYTES), 0, np.zeros(256, np.float32))
    small = thumbnail(luminance.astype(np.float32, copy=False))
    matrix = transform(small).ravel()[::-1]
    # the reference's median of an even number of values is the lower one
    distances = matrix - np.partition(matrix, 127)[127]
    distances.flags.writeable = False
    return Fingerprint(np.packbits(distances > 0).tobytes(), quality(small), distances)


def luminance(pixels: Pixels) -> Floats:
    """Luminance (h, w) float32 of pixels (h, w, 3) uint8 ("Luminance": 0.299 R + 0.587 G + 0.114 B);
    `ValueError` for another shape or dtype."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError("pixels must have shape (h, w, 3) and dtype uint8")
    plane = np.empty(pixels.shape[:2], np.float32)
    # in thousandths every sum is exact, in whatever order; the division then rounds to what the reference's
    # float64 sum rounds to. In bands, so that the temporary stays in the cache
    for top in range(0, len(pixels), _ROWS_AT_ONCE):
        band = pixels[top : top + _ROWS_AT_ONCE].astype(np.float32)
        np.matmul(band, _LUMA, plane[top : top + _ROWS_AT_ONCE])
        plane[top : top + _ROWS_AT_ONCE] /= np.float32(1000)
    return plane


def thumbnail(luminance: Floats) -> Floats:
    """The blurred and decimated (64, 64) plane ("Jarosz filters", "Decimation"); each side at least 5."""
    if luminance.shape == (SIDE, SIDE):
        return luminance
    return blurred(luminance.__getitem__, *luminance.shape)


def blurred(rows: Rows, height: int, width: int, at_once: int = 0, by: Blur | None = None) -> Floats:
    """The same of rows that are asked for from first to last, `at_once` or all; by `turned` and `slid`."""
    turn, slide = by or (turned, slid)
    across = _window(width)
    down = _window(height)
    cover = _cover(width, across)
    covers = _cover(height, down)
    # the last two passes need only the columns that decimation keeps, in a narrow picture several times
    columns, back = np.unique(_centres(width), return_inverse=True)
    at_once = min(at_once or len(covers), len(covers))
    room = _room(across + len(cover), at_once)
    lines = _room(down + at_once, width)
    kept = _room(down + len(covers), len(columns))
    sums = np.zeros(width, np.float32)
    room[across + width :] = 0
    lines[:down] = 0

    def across_rows(band: Floats, count: int, covered: Floats | None) -> Floats:
        room[:across] = 0
        room[:, len(band) : count] = 0
        turn(band, room[across : across + width])
        slide(room[:, :count], across, np.zeros(count, np.float32), covered)
        return room[across // 2 : across // 2 + width, :count]

    for top in range(0, len(covers), at_once):
        count = min(at_once, len(covers) - top)
        turn(across_rows(rows(slice(top, min(top + count, max(top, height)))), count, cover), lines[down:])
        slide(lines[: down + count], down, sums, covers[top : top + count])
        # a sum that is whole at row y is of row y - down // 2
        first = down - down // 2 + top
        last = across_rows(lines[:count], count, None)[columns] / cover[across // 2 + columns, None]
        kept[first : first + count] = last.T
        lines[:down] = lines[count : count + down].copy()
    kept[:down] = 0
    kept[down + height :] = 0
    slide(kept, down, np.zeros(len(columns), np.float32), None)
    at = down // 2 + _centres(height)
    return (kept[at] / covers[at, None])[:, back]


def turned(rows: Floats, into: Floats) -> None:
    """Copy rows as columns, in strips, which the cache holds."""
    for top in range(0, len(rows), _STRIP):
        strip = rows[top : top + _STRIP]
        into[: rows.shape[1], top : top + len(strip)] = strip.T


def slid(lines: Floats, window: int, sums: Floats, covered: Floats | None) -> None:
    """Put the sum over a sliding window into lines, in place of the line that leaves it.

    Running sums in float32: the one before, plus the line that enters, minus the one that leaves. The loop is
    over lines, each step a vector operation. Summing another way would round differently, and a symmetric
    picture has coefficients whose sign is rounding alone.

    Args:
        lines: (n + window, w); the last n enter, one by one.
        sums: before the first one enters and, afterwards, behind the last; (w,).
        covered: what the n sums are divided by in the end, if at all; (n,).
    """
    count = len(lines) - window
    if lines.shape[1] <= SIDE and lines.size <= _MOST_TURNED:  # short vectors cost more than sums one by one
        steps = np.empty((lines.shape[1], count, 2), np.float32)
        steps[:, :, 0] = lines[window:].T
        np.negative(lines[:count].T, steps[:, :, 1])
        steps[:, 0, 0] += sums
        lines[:count] = np.add.accumulate(steps.reshape(len(steps), -1), axis=1)[:, 1::2].T
        sums[:] = lines[count - 1]
    else:
        add = np.add
        subtract = np.subtract
        before = sums
        both = np.empty_like(sums)
        # of a million lines, views of those within the window alone are kept
        leaving, entering = tee(lines)
        for leaves, enters in zip(leaving, islice(entering, window, None), strict=False):
            add(before, enters, both)
            before = subtract(both, leaves, leaves)
        sums[:] = before
    if covered is not None:
        lines[:count] /= covered[:, None]


def transform(small: Floats) -> Floats:
    """Rows and columns 1 to 16 of the two-dimensional DCT of a (64, 64) plane, as (16, 16) ("DCT")."""
    # over the slowest axis of memory, terms are added one after the other; matrix products keep no order
    half = np.add.reduce(np.multiply(_DCT[:, :, None], small[:, None], order="C"), axis=0)
    whole: Floats = np.add.reduce(np.multiply(half.T[:, :, None], _DCT[:, None], order="C"), axis=0)
    return whole


def quality(small: Floats) -> int:
    """Sum of quantised gradients of the (64, 64) plane, scaled to 0..100 ("Quality metric")."""
    total = 0
    for difference in (small[:-1] - small[1:], small[:, :-1] - small[:, 1:]):
        quantised = (difference * np.float32(100) / np.float32(255)).astype(np.int32)
        total += int(np.abs(quantised).sum())
    return min(100, total // 90)


def _window(dimension: int) -> int:
    """Width of the box filter: half a block of the decimation, rounded up."""
    return (dimension + 2 * SIDE - 1) // (2 * SIDE)


@lru_cache(64)
def _centres(dimension: int) -> Lines:
    """The 64 lines that decimation keeps: the middles of equal blocks."""
    return ((np.arange(SIDE) + 0.5) * dimension / SIDE).astype(np.intp)


def _room(count: int, wide: int) -> Floats:
    """Lines with room up to whole eights; a power of two apart, they would share few sets of the cache."""
    return np.empty((count, wide + -wide % 8 + 8 * (wide >= SIDE)), np.float32)[:, :wide]


@lru_cache(64)
def _cover(count: int, window: int) -> Floats:
    """How many of `count` lines the window has once each has entered, and window // 2 more; float32."""
    entered = np.arange(count + window // 2)
    return np.asarray(np.minimum(entered + 1, count) - np.maximum(entered - window + 1, 0), np.float32)


def _dct_matrix() -> Floats:
    """Rows 1 to 16 of the 64-point DCT-II, transposed to (64, 16); the scale is rounded to float32 first."""
    scale = float(np.float32(np.sqrt(2.0 / SIDE)))
    rows = np.arange(1, 17)[None, :]
    columns = np.arange(SIDE)[:, None]
    return np.asarray(scale * np.cos(np.pi / 2.0 / SIDE * rows * (2 * columns + 1)), np.float32)


_DCT: Final[Floats] = _dct_matrix()


Hashes: TypeAlias = npt.NDArray[np.uint8]
"""A matrix of hashes, shape (n, 32), uint8."""

_WORK_BYTES: Final = 8 << 20


def rows(hashes: list[bytes]) -> Hashes:
    """Hashes of 32 bytes as one matrix, shape (n, 32); `ValueError` if one has another length."""
    if any(len(value) != 32 for value in hashes):
        raise ValueError("a hash has 32 bytes")
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


def distance(left: bytes, right: bytes) -> int:
    """Bits in which two hashes of one length differ."""
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).bit_count()


def distances(left: Hashes, right: Hashes) -> npt.NDArray[np.uint16]:
    """All distances, shape (n, m) uint16, for hashes of shape (n, 32) and (m, 32); `ValueError` for others.

    Beyond the result itself no more than about 8 MiB are used.
    """
    result = np.empty((len(left), len(right)), np.uint16)
    for top, block in _blocks(left, right):
        result[top : top + len(block)] = block
    return result


def near_pairs(left: Hashes, right: Hashes, most: int) -> npt.NDArray[np.intp]:
    """Index pairs (i, j), shape (k, 2), of hashes at a distance of at most `most`, in order.
    Uses about 8 MiB besides the pairs found. Raises as `distances`.
    """
    found = [np.argwhere(block <= most) + np.array([top, 0]) for top, block in _blocks(left, right)]
    return np.concatenate(found) if found else np.empty((0, 2), np.intp)


def _blocks(left: Hashes, right: Hashes) -> Iterator[tuple[int, npt.NDArray[np.uint16]]]:
    """Distances of a few rows of `left` at a time, each with the index of its first row."""
    first = _words(left)
    second = _words(right)
    # a word, its XOR and its count per pair of hashes
    step = max(1, _WORK_BYTES // max(1, 20 * len(second)))
    for top in range(0, len(first), step):
        block = np.zeros((len(first[top : top + step]), len(second)), np.uint16)
        for word in range(4):
            block += np.bitwise_count(first[top : top + step, word, None] ^ second[None, :, word])
        yield top, block


def _words(hashes: Hashes) -> npt.NDArray[np.uint64]:
    if hashes.ndim != 2 or hashes.shape[1] != 32 or hashes.dtype != np.uint8:
        raise ValueError("hashes must have shape (n, 32) and dtype uint8")
    return np.ascontiguousarray(hashes).view(np.uint64)
