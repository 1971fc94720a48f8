"""The demo's pictures: crops of scikit-image's ordinary photographs, their edits, and which of them are
listed. Nothing is downloaded and no picture is committed; `data/pictures.json` lists the standard crops.

Edits are pure, deterministic functions from file to file. Lossless results are PNG, so that an edit is
measured and not the encoder that follows it.
"""

from __future__ import annotations

import importlib.util
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import decode
from msgspec import Struct
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

_NOISE_SEED: Final = 1
_CAPTION: Final = "seen this one?"
_CLOCK: Final = "12:00"
_PNG_LEVEL: Final = ContextVar("PNG level", default=-1)


class Edit(Struct, frozen=True):
    """A named edit; `apply` raises `PictureError` where its input is no picture."""

    name: str
    note: str
    apply: Callable[[bytes], bytes]


def opened(data: bytes) -> Image.Image:
    """The file as an RGB image, under the limits and rules of `decode`."""
    return Image.fromarray(decode(data).pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    if kind == "PNG":
        options.setdefault("compress_level", _PNG_LEVEL.get())
    image.save(file, kind, **options)
    return file.getvalue()


def data_uri(image: Image.Image, kind: str, **options: Any) -> str:
    """A picture as a data URI (RFC 2397); `kind` and `options` as `encoded` takes them."""
    return f"data:image/{kind.lower()};base64,{b64encode(encoded(image, kind, **options)).decode()}"


@contextmanager
def stored_quickly() -> Iterator[None]:
    """PNG without compression while this lasts, for those who want pixels and not files."""
    before = _PNG_LEVEL.set(0)
    try:
        yield
    finally:
        _PNG_LEVEL.reset(before)


def _saved(kind: str, **options: Any) -> Callable[[bytes], bytes]:
    return lambda data: encoded(opened(data), kind, **options)


def _redrawn(change: Callable[[Image.Image], Image.Image]) -> Callable[[bytes], bytes]:
    return lambda data: encoded(change(opened(data)))


def _filtered(kind: ImageFilter.Filter) -> Callable[[bytes], bytes]:
    return _redrawn(lambda one: one.filter(kind))


def _resized(data: bytes, factor: float) -> bytes:
    image = opened(data)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return encoded(image.resize(size, Image.Resampling.BICUBIC))


def _captioned(data: bytes, part: int = 12, middle: bool = False) -> bytes:
    image = opened(data)
    bar = max(8, image.height // part)
    top = (image.height - bar) // 2 if middle else image.height - bar
    image.paste("white", (0, top, image.width, top + bar))
    image.paste(_written(_CAPTION, "white", "black", bar, image.width), (0, top))
    return encoded(image)


def _written(words: str, ground: str, ink: str, height: int, most: int) -> Image.Image:
    """Words in a bar of `height` pixels, at most `most` wide."""
    text = Image.new("RGB", (90, 12), ground)
    ImageDraw.Draw(text).text((2, 0), words, ink, ImageFont.load_default_imagefont())
    return text.resize((min(most, height * 90 // 12), height))


def _with_status_bar(data: bytes) -> bytes:
    image = opened(data)
    bar = max(8, image.height // 16)
    made = Image.new("RGB", (image.width, image.height + bar), "#202020")
    made.paste(_written(_CLOCK, "#202020", "white", bar, image.width), (0, 0))
    made.paste(image, (0, bar))
    return encoded(made)


def _cropped(data: bytes, share: float) -> bytes:
    """`share` of width and height cut off, half of it at each side."""
    image = opened(data)
    across = round(image.width * share / 2)
    down = round(image.height * share / 2)
    return encoded(image.crop((across, down, image.width - across, image.height - down)))


def _noisy(data: bytes, most: int) -> bytes:
    pixels = decode(data).pixels.astype(np.int16)
    raw = np.random.PCG64(_NOISE_SEED).random_raw(pixels.size)
    noise = (np.asarray(raw) % np.uint64(2 * most + 1)).astype(np.int16) - most
    return encoded(Image.fromarray(np.clip(pixels + noise.reshape(pixels.shape), 0, 255).astype(np.uint8)))


MILD: Final = (
    Edit("identical", "the same bytes", bytes),
    Edit("jpeg-90", "JPEG, quality 90", _saved("JPEG", quality=90)),
    Edit("jpeg-75", "JPEG, quality 75", _saved("JPEG", quality=75)),
    Edit("jpeg-50", "JPEG, quality 50", _saved("JPEG", quality=50)),
    Edit("jpeg-30", "JPEG, quality 30", _saved("JPEG", quality=30)),
    Edit("webp-75", "WebP, quality 75", _saved("WEBP", quality=75)),
    Edit("gif", "GIF, palette of 256 colours", _saved("GIF")),
    Edit("resize-0.5", "half the width and height", partial(_resized, factor=0.5)),
    Edit("resize-0.75", "three quarters of the width and height", partial(_resized, factor=0.75)),
    Edit("resize-1.5", "one and a half times the width and height", partial(_resized, factor=1.5)),
    Edit("brighter", "brightness 120 %", _redrawn(lambda one: ImageEnhance.Brightness(one).enhance(1.2))),
    Edit("darker", "brightness 80 %", _redrawn(lambda one: ImageEnhance.Brightness(one).enhance(0.8))),
    Edit("contrast", "contrast 130 %", _redrawn(lambda one: ImageEnhance.Contrast(one).enhance(1.3))),
    Edit("blur", "Gaussian blur, radius 1.5 pixels", _filtered(ImageFilter.GaussianBlur(1.5))),
    Edit("sharpen", "unsharp mask, 150 %", _filtered(ImageFilter.UnsharpMask(2, 150, 3))),
    Edit("greyscale", "no colour", _redrawn(lambda one: one.convert("L"))),
    Edit("noise", "uniform noise of at most 8 levels", partial(_noisy, most=8)),
    Edit("caption", "a text bar over the lowest twelfth", _captioned),
    Edit("crop-2%", "2 % of width and height cut off", partial(_cropped, share=0.02)),
)
"""What happens to a picture without anybody's wish to hide it, the harmless ones first."""

STRONG: Final = (
    Edit("crop-5%", "5 % of width and height cut off", partial(_cropped, share=0.05)),
    Edit("border", "a black border of 10 pixels", _redrawn(lambda one: ImageOps.expand(one, 10, "black"))),
    Edit("status-bar", "a screenshot's status bar above it", _with_status_bar),
    Edit("caption-5th", "a text bar over the lowest fifth", partial(_captioned, part=5)),
    Edit("caption-middle", "a text bar across the middle eighth", partial(_captioned, part=8, middle=True)),
    Edit("rotate-2", "turned by 2 degrees", _redrawn(lambda one: one.rotate(2, Image.Resampling.BICUBIC))),
    Edit("flip", "mirrored left to right", _redrawn(ImageOps.mirror)),
)
"""What anybody can do with two touches on a phone, and what a network or an application does by itself. They
defeat PDQ on many pictures: most of what they make is more than 31 bits away."""

EDITS: Final = MILD + STRONG
"""The standard suite."""

BY_NAME: Final = {edit.name: edit for edit in EDITS}


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
    """`count` crops with quality of at least 50 and PDQ hashes more than 60 bits apart from one another, of
    which the first are the same for any `count`; `ValueError` if the photographs do not yield that many."""
    chosen: list[SamplePicture] = []
    taken = np.zeros((0, pdq.HASH_BYTES), np.uint8)
    for source, box in _candidates(seed, count * _TRIES_PER_PICTURE):
        if len(chosen) == count:
            break
        top, left, height, width = box
        pixels = photograph(source)[top : top + height, left : left + width]
        found = pdq.fingerprint(pdq.luminance(pixels))
        row = pdq.rows([found.hash])
        if found.quality < pdq.LEAST_QUALITY or (pdq.distances(row, taken) <= LEAST_APART).any():
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
    """Pixels of a bundled photograph; raises as `photograph_file`."""
    return decode(photograph_file(source)).pixels


def photograph_file(source: str) -> bytes:
    """The file of a photograph, one of `LICENCES`; `FileNotFoundError` if scikit-image does not bundle it."""
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise FileNotFoundError("scikit-image is not installed")
    return (Path(package.origin).parent / "data" / source).read_bytes()


def manifest(pictures: list[SamplePicture]) -> list[dict[str, Any]]:
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


def _candidates(seed: int, count: int) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
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
