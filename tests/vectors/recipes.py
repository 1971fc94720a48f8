"""Pictures that can be made again exactly: integer arithmetic on the raw stream of PCG64, and photo crops.

NumPy promises the raw stream of its bit generators for ever, but not what `Generator` makes of it; so only
`random_raw` is used. Imports nothing but NumPy, Pillow and scikit-image's data folder, since the vectors are
made in an environment that has `pdqhash` and not this project.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

PHOTOS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "page.png",
)
"""Bundled with scikit-image as PNG, so that every decoder gives the same pixels."""


class Stream:
    """Numbers from the raw stream of PCG64."""

    def __init__(self, seed: int) -> None:
        self._source = np.random.PCG64(seed)

    def below(self, bound: int) -> int:
        return int(self._source.random_raw() % bound)

    def bytes(self, *shape: int) -> Pixels:
        count = int(np.prod(shape))
        raw = np.asarray(self._source.random_raw((count + 7) // 8), dtype="<u8")
        return raw.view(np.uint8)[:count].reshape(shape)


def noise(stream: Stream, height: int, width: int) -> Pixels:
    return stream.bytes(height, width, 3)


def flat(stream: Stream, height: int, width: int) -> Pixels:
    return np.broadcast_to(stream.bytes(1, 1, 3), (height, width, 3)).copy()


def blocks(stream: Stream, height: int, width: int) -> Pixels:
    """A coarse mosaic: up to 12 x 12 colours."""
    down = 2 + stream.below(11)
    across = 2 + stream.below(11)
    colours = stream.bytes(down, across, 3)
    return colours[np.arange(height)[:, None] * down // height, np.arange(width)[None, :] * across // width]


def ramps(stream: Stream, height: int, width: int) -> Pixels:
    """Linear in each channel, in another direction."""
    rows = np.arange(height)[:, None, None]
    columns = np.arange(width)[None, :, None]
    down = stream.bytes(3).astype(np.int64)
    across = stream.bytes(3).astype(np.int64)
    return ((rows * down // height + columns * across // width) // 2).astype(np.uint8)


def waves(stream: Stream, height: int, width: int) -> Pixels:
    """Quadratic forms modulo 256: curved bands."""
    rows = np.arange(height)[:, None, None] * 64 // height
    columns = np.arange(width)[None, :, None] * 64 // width
    a, b, c = (stream.bytes(3).astype(np.int64) for _ in range(3))
    return ((a * rows * rows + b * rows * columns + c * columns * columns >> 8) & 255).astype(np.uint8)


def shapes(stream: Stream, height: int, width: int) -> Pixels:
    """Rectangles and discs over one another."""
    pixels = flat(stream, height, width)
    rows = np.arange(height)[:, None]
    columns = np.arange(width)[None, :]
    for _ in range(4 + stream.below(12)):
        top = stream.below(height)
        left = stream.below(width)
        tall = 1 + stream.below(height)
        wide = 1 + stream.below(width)
        if stream.below(2):
            inside = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)
        else:
            inside = (rows - top) ** 2 + (columns - left) ** 2 < (min(tall, wide) // 2) ** 2
        pixels[inside] = stream.bytes(3)
    return pixels


def mirrored(stream: Stream, height: int, width: int) -> Pixels:
    """Symmetric, so that half of the coefficients are rounding alone."""
    half = blocks(stream, height, (width + 1) // 2)
    return np.concatenate([half, half[:, ::-1][:, width % 2 :]], axis=1)


RECIPES: dict[str, Callable[[Stream, int, int], Pixels]] = {
    recipe.__name__: recipe for recipe in (noise, blocks, ramps, waves, shapes, mirrored, flat)
}


def generated(recipe: str, seed: int, height: int, width: int) -> Pixels:
    """The picture (height, width, 3) uint8 of a recipe."""
    return np.ascontiguousarray(RECIPES[recipe](Stream(seed), height, width))


def plan(count: int, seed: int, largest: int) -> list[dict[str, Any]]:
    """What to generate: recipes in turn, sides from 5 to `largest`, one in ten of a special size."""
    stream = Stream(seed)
    special = ((64, 64), (5, 5), (128, 128), (129, 127), (64, 65), (5, 200), (4, 90))
    rows = []
    for index in range(count):
        side = special[stream.below(len(special))] if index % 10 == 9 else None
        height, width = side or (5 + stream.below(largest - 4), 5 + stream.below(largest - 4))
        recipe = tuple(RECIPES)[index % len(RECIPES)]
        rows.append({"recipe": recipe, "seed": seed + index, "height": height, "width": width})
    return rows


def photo_path(name: str) -> Path:
    """Where scikit-image keeps a bundled photograph."""
    found = importlib.util.find_spec("skimage")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "data" / name


def boxes(count: int, seed: int, sizes: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """Crops `[top, left, height, width]` of the photographs in turn; sides from 48 pixels to the whole."""
    stream = Stream(seed)
    rows = []
    for index in range(count):
        photo = PHOTOS[index % len(PHOTOS)]
        tall, wide = sizes[photo]
        height = 48 + stream.below(tall - 47)
        width = 48 + stream.below(wide - 47)
        box = [stream.below(tall - height + 1), stream.below(wide - width + 1), height, width]
        rows.append({"photo": photo, "box": box})
    return rows


def crop(photo: Pixels, box: list[int]) -> Pixels:
    top, left, height, width = box
    return np.ascontiguousarray(photo[top : top + height, left : left + width])


def digest(pixels: Pixels) -> str:
    """SHA-256 of the shape and the pixels."""
    head = ",".join(map(str, pixels.shape)).encode()
    return hashlib.sha256(head + b"\n" + pixels.tobytes()).hexdigest()
