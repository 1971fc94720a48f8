"""The demo's pictures: crops of the ordinary photographs that scikit-image brings along.

Nothing is downloaded and no picture is committed; `data/pictures.json` lists hash, quality, origin and
licence of the standard crops, so that a changed package is noticed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.picture import distance, pdq
from blindmatch_protocol.picture.decode import decode
from msgspec import Struct
from PIL import Image

from blindmatch_simulations.testbed.pictures.edits import encoded

PACKAGE: Final = "scikit-image"
LICENCES: Final = {
    "astronaut.png": "public domain (NASA)",
    "brick.png": "CC0 (CC0Textures)",
    "camera.png": "CC0 (Lav Varshney)",
    "chelsea.png": "CC0 (Stefan van der Walt)",
    "coffee.png": "CC0 (Rachel Michetti)",
    "coins.png": "no known copyright restrictions (Brooklyn Museum)",
    "grass.png": "CC0 (linolafett)",
    "gravel.png": "CC0 (CC0Textures)",
    "hubble_deep_field.jpg": "public domain (NASA)",
    "rocket.jpg": "public domain (SpaceX)",
}
"""Photographs of ordinary things and what their documentation in scikit-image says of their rights."""

LEAST_APART: Final = 60
STANDARD: Final = (64, 1)
"""Count and seed of the crops in the manifest."""

_LEAST_SIDE: Final = 160
_MOST_SIDE: Final = 512
_TRIES_PER_PICTURE: Final = 40


class SamplePicture(Redacted, Struct, frozen=True):
    """A picture for experiments.

    Args:
        name: unique among the crops of one call.
        source: file of the photograph in scikit-image's data folder.
        box: top, left, height, width of the crop in pixels.
        licence: what is known of the photograph's rights.
        data: the picture as a PNG file.
        hash, quality: its PDQ hash, 32 bytes, and quality.
    """

    SHOWN: ClassVar = ("name", "source", "box", "licence", "quality")

    name: str
    source: str
    box: tuple[int, int, int, int]
    licence: str
    data: bytes
    hash: bytes
    quality: int


def crops(count: int, seed: int) -> list[SamplePicture]:
    """`count` crops with quality of at least 50 and PDQ hashes more than 60 bits apart from one another.

    The first crops of a longer list with the same seed are the same.

    Raises:
        ValueError: if the photographs do not yield that many.
    """
    chosen: list[SamplePicture] = []
    taken = np.zeros((0, pdq.HASH_BYTES), np.uint8)
    for source, box in _candidates(seed, count * _TRIES_PER_PICTURE):
        if len(chosen) == count:
            break
        pixels = _crop(photograph(source), box)
        found = pdq.fingerprint(pdq.luminance(pixels))
        row = distance.rows([found.hash])
        if found.quality < pdq.LEAST_QUALITY or (distance.distances(row, taken) <= LEAST_APART).any():
            continue
        taken = np.concatenate([taken, row])
        name = f"{Path(source).stem}-{len(chosen):04d}"
        data = encoded(Image.fromarray(pixels), compress_level=1)
        chosen.append(SamplePicture(name, source, box, LICENCES[source], data, found.hash, found.quality))
    if len(chosen) < count:
        raise ValueError(f"only {len(chosen)} of {count} crops are far enough apart")
    return chosen


@cache
def photograph(source: str) -> pdq.Pixels:
    """Pixels of a bundled photograph, one of `LICENCES`.

    Raises:
        FileNotFoundError: if scikit-image does not bundle it.
    """
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise FileNotFoundError("scikit-image is not installed")
    return decode((Path(package.origin).parent / "data" / source).read_bytes()).pixels


def manifest(pictures: list[SamplePicture]) -> list[dict[str, Any]]:
    """What the manifest says of pictures."""
    return [
        {
            "name": picture.name,
            "package": PACKAGE,
            "source": picture.source,
            "box": list(picture.box),
            "licence": picture.licence,
            "hash": picture.hash.hex(),
            "quality": picture.quality,
        }
        for picture in pictures
    ]


def _crop(pixels: pdq.Pixels, box: tuple[int, int, int, int]) -> pdq.Pixels:
    top, left, height, width = box
    return pixels[top : top + height, left : left + width]


def _candidates(seed: int, count: int) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Photographs in turn, each with a random box.

    From PCG64's raw stream, which NumPy promises not to change.
    """
    source = np.random.PCG64(seed)
    for index in range(count):
        name = tuple(LICENCES)[index % len(LICENCES)]
        tall, wide = photograph(name).shape[:2]
        a, b, c, d = (int(number) for number in np.asarray(source.random_raw(4)))
        height, width = (
            _LEAST_SIDE + n % (min(side, _MOST_SIDE) - _LEAST_SIDE + 1) for n, side in ((a, tall), (b, wide))
        )
        yield name, (c % (tall - height + 1), d % (wide - width + 1), height, width)


def main() -> None:
    """Print the manifest of the standard crops (python -m blindmatch_simulations.testbed.pictures.crops)."""
    rows = ",\n".join(json.dumps(row) for row in manifest(crops(*STANDARD)))
    print(f'{{"count": {STANDARD[0]}, "seed": {STANDARD[1]}, "pictures": [\n{rows}\n]}}')


if __name__ == "__main__":
    main()
