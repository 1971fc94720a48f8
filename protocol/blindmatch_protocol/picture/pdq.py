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

from collections.abc import Iterator
from typing import ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec.redacted import Redacted

Floats: TypeAlias = npt.NDArray[np.float32]
Pixels: TypeAlias = npt.NDArray[np.uint8]
Lines: TypeAlias = npt.NDArray[np.intp]

HASH_BYTES: Final = 32
MATCH_DISTANCE: Final = 31
"""Two pictures match if their hashes differ in at most this many bits ("Matching")."""
LEAST_QUALITY: Final = 50
"""Hashes of pictures of a lower quality are discarded ("Quality metric")."""

_SIDE: Final = 64
_LEAST_DIMENSION: Final = 5
_LUMA: Final = np.array([299, 587, 114], np.float32)
_ROWS_AT_ONCE: Final = 32
_STRIP: Final = 96


class Fingerprint(Redacted, Struct, frozen=True, eq=False):
    """What PDQ says of a picture; `repr` shows the quality alone.

    Args:
        hash: 32 bytes.
        quality: 0 (featureless) to 100.
        coefficients: (256,) float32, signed distance of each coefficient from the median: positive where the
            bit is one; the smaller its absolute value, the likelier an edit flips the bit.
    """

    SHOWN: ClassVar = ("quality",)

    hash: bytes
    quality: int
    coefficients: Floats


def fingerprint(luminance: Floats) -> Fingerprint:
    """PDQ of a luminance plane, shape (h, w), float32, 0..255.

    As in the reference, a picture with a side under 5 has the hash of zeros and quality 0.

    Raises:
        ValueError: if `luminance` is not two-dimensional.
    """
    if luminance.ndim != 2:
        raise ValueError("luminance must have shape (h, w)")
    if min(luminance.shape) < _LEAST_DIMENSION:
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
    height, width = luminance.shape
    if (height, width) == (_SIDE, _SIDE):
        return luminance
    across, down = _window(width), _window(height)
    # two planes, used in turns: fresh memory costs more than the sums do
    work = np.empty((2, (_padded(width) + across) * (_padded(height) + down)), np.float32)
    plane = _box(luminance.T, across, work[0])
    plane = _box(plane.T, down, work[1])
    # the last two passes need only the lines that decimation keeps
    plane = _box(plane.T, across, work[0], _centres(width))
    return _kept(plane, down, _centres(height))


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
    return (dimension + 2 * _SIDE - 1) // (2 * _SIDE)


def _centres(dimension: int) -> Lines:
    """The 64 lines that decimation keeps: the middles of equal blocks."""
    return ((np.arange(_SIDE) + 0.5) * dimension / _SIDE).astype(np.intp)


def _padded(length: int) -> int:
    """Of rows in memory: rows a power of two apart would share few sets of the cache."""
    return length + min(16, length // 8)


def _box(plane: Floats, window: int, work: Floats, keep: Lines | None = None) -> Floats:
    """Mean over a sliding window along axis 0, cut off at the edges; of the lines `keep` only, if given.

    Output line i covers lines i + window // 2 - window + 1 to i + window // 2. Without `keep`, the result
    lies in `work`, which must have room for `window` more lines than the plane's, padded.
    """
    (count, across), first = plane.shape, window - window // 2
    rows = work[: (count + window) * _padded(across)].reshape(count + window, -1)[:, :across]
    rows[:first], rows[first + count :] = 0, 0
    # turned in strips, which the cache holds
    for left in range(0, across, _STRIP):
        strip = slice(left, left + _STRIP)
        rows[first : first + count, strip] = plane[:, strip]
    _slide(list(rows), window)
    sums: Floats = rows[:count]
    covered: Floats = _covered(count, window)[:, None]
    if keep is not None:
        sums, covered = sums[keep], covered[keep]
    sums /= covered
    return sums


def _slide(rows: list[Floats], window: int) -> None:
    """Running sums in float32: the one before, plus the line that enters, minus the one that leaves.

    Between the lines and the rows of zeros around them, each sum takes the place of the row that leaves. The
    loop is over lines, each step a vector operation. Summing another way would round differently, and a
    symmetric picture has coefficients whose sign is rounding alone.
    """
    add, subtract, before, both = np.add, np.subtract, np.zeros_like(rows[0]), np.empty_like(rows[0])
    for line in rows[window - window // 2 : window]:
        before += line
    for leaves, enters in zip(rows, rows[window:], strict=False):
        add(before, enters, both)
        before = subtract(both, leaves, leaves)


def _kept(lines: Floats, window: int, keep: Lines) -> Floats:
    """As `_box`, along axis 1 of a few lines and turned: short vectors cost more than sums one by one."""
    (across, count), lead = lines.shape, window // 2
    steps = np.zeros((across, count + lead, 2), np.float32)
    steps[:, :count, 0] = lines
    np.negative(lines[:, : count + lead - window], steps[:, window:, 1])
    sums = np.add.accumulate(steps.reshape(across, -1), axis=1)[:, 1::2]
    return np.ascontiguousarray((sums[:, keep + lead] / _covered(count, window)[keep]).T)


def _covered(count: int, window: int) -> Floats:
    """How many of `count` lines the window covers at each position, (count,) float32."""
    last = np.arange(count) + window // 2
    first, behind = np.maximum(last - window + 1, 0), np.minimum(last + 1, count)
    return np.asarray(behind - first, np.float32)


def _dct_matrix() -> Floats:
    """Rows 1 to 16 of the 64-point DCT-II, transposed to (64, 16); the scale is rounded to float32 first."""
    scale = float(np.float32(np.sqrt(2.0 / _SIDE)))
    rows, columns = np.arange(1, 17)[None, :], np.arange(_SIDE)[:, None]
    return np.asarray(scale * np.cos(np.pi / 2.0 / _SIDE * rows * (2 * columns + 1)), np.float32)


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
    """All distances, shape (n, m) uint16, for hashes of shape (n, 32) and (m, 32).

    Beyond the result itself no more than about 8 MiB are used.

    Raises:
        ValueError: for another shape or dtype.
    """
    result = np.empty((len(left), len(right)), np.uint16)
    for top, block in _blocks(left, right):
        result[top : top + len(block)] = block
    return result


def near_pairs(left: Hashes, right: Hashes, most: int) -> npt.NDArray[np.intp]:
    """Index pairs (i, j), shape (k, 2), of hashes at a distance of at most `most`, in order.

    Uses about 8 MiB besides the pairs found.

    Raises:
        ValueError: for another shape or dtype.
    """
    found = [np.argwhere(block <= most) + np.array([top, 0]) for top, block in _blocks(left, right)]
    return np.concatenate(found) if found else np.empty((0, 2), np.intp)


def _blocks(left: Hashes, right: Hashes) -> Iterator[tuple[int, npt.NDArray[np.uint16]]]:
    """Distances of a few rows of `left` at a time, each with the index of its first row."""
    first, second = _words(left), _words(right)
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
