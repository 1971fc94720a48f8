"""PDQ, the 256-bit perceptual hash of photographs.

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

from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

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
_LUMA: Final = (0.299, 0.587, 0.114)
_ROWS_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What PDQ says of a picture; `repr` shows the quality alone.

    Args:
        hash: 32 bytes.
        quality: 0 (featureless) to 100.
        coefficients: (256,) float32, signed distance of each coefficient from the median: positive where the
            bit is one; the smaller its absolute value, the likelier an edit flips the bit.
    """

    hash: bytes = field(repr=False)
    quality: int
    coefficients: Floats = field(repr=False)


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
    """Luminance (h, w) float32 of pixels (h, w, 3) uint8 ("Luminance": 0.299 R + 0.587 G + 0.114 B).

    Raises:
        ValueError: for another shape or dtype.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError("pixels must have shape (h, w, 3) and dtype uint8")
    plane = np.empty(pixels.shape[:2], np.float32)
    # summed in float64, in bands so that the temporary stays in the cache
    for top in range(0, len(pixels), _ROWS_AT_ONCE):
        band = pixels[top : top + _ROWS_AT_ONCE]
        total = np.multiply(band[:, :, 0], _LUMA[0])
        total += np.multiply(band[:, :, 1], _LUMA[1])
        total += np.multiply(band[:, :, 2], _LUMA[2])
        plane[top : top + _ROWS_AT_ONCE] = total
    return plane


def thumbnail(luminance: Floats) -> Floats:
    """The blurred and decimated (64, 64) plane ("Jarosz filters", "Decimation"); each side at least 5."""
    height, width = luminance.shape
    if (height, width) == (_SIDE, _SIDE):
        return luminance
    # two planes, used in turns: fresh memory costs more than the sums do
    work = np.empty((2, height * width), np.float32)
    plane = _box(luminance.T, _window(width), work)
    plane = _box(plane.T, _window(height), work)
    # the last two passes need only the lines that decimation keeps
    plane = _box(plane.T, _window(width), work, _centres(width))
    return _box(plane.T, _window(height), np.empty((2, _SIDE * height), np.float32), _centres(height))


def transform(small: Floats) -> Floats:
    """Rows and columns 1 to 16 of the two-dimensional DCT of a (64, 64) plane, as (16, 16) ("DCT")."""
    # accumulate adds strictly from the left, which matrix products do not
    half = np.add.accumulate(_DCT[:, :, None] * small[None], axis=1)[:, -1]
    return np.add.accumulate(half[:, None, :] * _DCT[None], axis=2)[:, :, -1]


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


def _box(plane: Floats, window: int, work: Floats, keep: Lines | None = None) -> Floats:
    """Mean over a sliding window along axis 0, cut off at the edges; of the lines `keep` only, if given.

    Output line i covers lines i + window // 2 - window + 1 to i + window // 2. `work` has two rows of at
    least the plane's size; the plane may lie in the second, and without `keep` the result does.
    """
    lines = work[0, : plane.size].reshape(plane.shape)
    sums: Floats = work[1, : plane.size].reshape(plane.shape)
    lines[:] = plane
    _slide(lines, window, sums)
    covered: Floats = _covered(len(lines), window)[:, None]
    if keep is not None:
        sums, covered = sums[keep], covered[keep]
    sums /= covered
    return sums


def _slide(lines: Floats, window: int, sums: Floats) -> None:
    """Running sums in float32: the one before, plus the line that enters, minus the one that leaves.

    The loop is over lines, each step a vector operation. Summing another way would round differently, and a
    symmetric picture has coefficients whose sign is rounding alone.
    """
    count, lead = len(lines), window // 2
    before = np.zeros(lines.shape[1], np.float32)
    for line in lines[:lead]:
        before += line
    rows = list(lines)
    for now, enters in zip(sums, rows[lead:window], strict=False):
        before = np.add(before, enters, out=now)
    for now, enters, leaves in zip(sums[window - lead :], rows[window:], rows, strict=False):
        np.add(before, enters, out=now)
        before = np.subtract(now, leaves, out=now)
    for now, leaves in zip(sums[count - lead :], rows[count - window :], strict=False):
        before = np.subtract(before, leaves, out=now)


def _covered(count: int, window: int) -> Floats:
    """How many of `count` lines the window covers at each position, (count,) float32."""
    last = np.arange(count) + window // 2
    first, behind = np.maximum(last - window + 1, 0), np.minimum(last + 1, count)
    return np.asarray(behind - first, np.float32)


def _dct_matrix() -> Floats:
    """Rows 1 to 16 of the 64-point DCT-II, (16, 64); the scale is rounded to float32 first."""
    scale = float(np.float32(np.sqrt(2.0 / _SIDE)))
    rows, columns = np.arange(1, 17)[:, None], np.arange(_SIDE)[None, :]
    return np.asarray(scale * np.cos(np.pi / 2.0 / _SIDE * rows * (2 * columns + 1)), np.float32)


_DCT: Final[Floats] = _dct_matrix()
