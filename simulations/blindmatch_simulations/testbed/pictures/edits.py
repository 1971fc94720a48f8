"""Edits of picture files: what happens to a picture on its way, as data.

Each is a pure, deterministic function from file to file. Lossless results are PNG, so that an edit is
measured and not the encoder that follows it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any, Final

import numpy as np
from blindmatch_protocol.picture.decode import decode
from msgspec import Struct
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

_NOISE_SEED: Final = 1
_CAPTION: Final = "seen this one?"
_CLOCK: Final = "12:00"


class Edit(Struct, frozen=True):
    """A named edit; `apply` raises `PictureError` where its input is no picture."""

    name: str
    note: str
    apply: Callable[[bytes], bytes]


def opened(data: bytes) -> Image.Image:
    """The file as an RGB image, under the limits and rules of `decode`."""
    return Image.fromarray(decode(data).pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The image as a file."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _identical(data: bytes) -> bytes:
    return data


def _saved(data: bytes, kind: str, **options: Any) -> bytes:
    return encoded(opened(data), kind, **options)


def _resized(data: bytes, factor: float) -> bytes:
    image = opened(data)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return encoded(image.resize(size, Image.Resampling.BICUBIC))


def _enhanced(data: bytes, kind: Callable[[Image.Image], Any], factor: float) -> bytes:
    return encoded(kind(opened(data)).enhance(factor))


def _filtered(data: bytes, kind: ImageFilter.Filter) -> bytes:
    return encoded(opened(data).filter(kind))


def _captioned(data: bytes, part: int = 12, middle: bool = False) -> bytes:
    """A white bar with text over the lowest `part`-th, or over the middle one."""
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


def _bordered(data: bytes, width: int) -> bytes:
    """A black frame of `width` pixels around the picture."""
    return encoded(ImageOps.expand(opened(data), width, "black"))


def _with_status_bar(data: bytes) -> bytes:
    """A dark bar with a clock above the picture, a sixteenth of its height: a screenshot of it."""
    image = opened(data)
    bar = max(8, image.height // 16)
    made = Image.new("RGB", (image.width, image.height + bar), "#202020")
    made.paste(_written(_CLOCK, "#202020", "white", bar, image.width), (0, 0))
    made.paste(image, (0, bar))
    return encoded(made)


def _flipped(data: bytes) -> bytes:
    return encoded(ImageOps.mirror(opened(data)))


def _rotated(data: bytes, degrees: float) -> bytes:
    """Turned to the left within its old size; the corners that come free are black."""
    return encoded(opened(data).rotate(degrees, Image.Resampling.BICUBIC))


def _cropped(data: bytes, share: float) -> bytes:
    """`share` of width and height cut off, half of it at each side."""
    image = opened(data)
    across, down = round(image.width * share / 2), round(image.height * share / 2)
    return encoded(image.crop((across, down, image.width - across, image.height - down)))


def _grey(data: bytes) -> bytes:
    return encoded(opened(data).convert("L"))


def _noisy(data: bytes, most: int) -> bytes:
    """Uniform noise of -most to +most on each channel of each pixel."""
    pixels = decode(data).pixels.astype(np.int16)
    raw = np.random.PCG64(_NOISE_SEED).random_raw(pixels.size)
    noise = (np.asarray(raw) % np.uint64(2 * most + 1)).astype(np.int16) - most
    return encoded(Image.fromarray(np.clip(pixels + noise.reshape(pixels.shape), 0, 255).astype(np.uint8)))


MILD: Final = tuple(
    Edit(name, note, apply)
    for name, note, apply in (
        ("identical", "the same bytes", _identical),
        ("jpeg-90", "JPEG, quality 90", partial(_saved, kind="JPEG", quality=90)),
        ("jpeg-75", "JPEG, quality 75", partial(_saved, kind="JPEG", quality=75)),
        ("jpeg-50", "JPEG, quality 50", partial(_saved, kind="JPEG", quality=50)),
        ("jpeg-30", "JPEG, quality 30", partial(_saved, kind="JPEG", quality=30)),
        ("webp-75", "WebP, quality 75", partial(_saved, kind="WEBP", quality=75)),
        ("gif", "GIF, palette of 256 colours", partial(_saved, kind="GIF")),
        ("resize-0.5", "half the width and height", partial(_resized, factor=0.5)),
        ("resize-0.75", "three quarters of the width and height", partial(_resized, factor=0.75)),
        ("resize-1.5", "one and a half times the width and height", partial(_resized, factor=1.5)),
        ("brighter", "brightness 120 %", partial(_enhanced, kind=ImageEnhance.Brightness, factor=1.2)),
        ("darker", "brightness 80 %", partial(_enhanced, kind=ImageEnhance.Brightness, factor=0.8)),
        ("contrast", "contrast 130 %", partial(_enhanced, kind=ImageEnhance.Contrast, factor=1.3)),
        ("blur", "Gaussian blur, radius 1.5 pixels", partial(_filtered, kind=ImageFilter.GaussianBlur(1.5))),
        ("sharpen", "unsharp mask, 150 %", partial(_filtered, kind=ImageFilter.UnsharpMask(2, 150, 3))),
        ("greyscale", "no colour", _grey),
        ("noise", "uniform noise of at most 8 levels", partial(_noisy, most=8)),
        ("caption", "a text bar over the lowest twelfth", _captioned),
        ("crop-2%", "2 % of width and height cut off", partial(_cropped, share=0.02)),
    )
)
"""What happens to a picture without anybody's wish to hide it, the harmless ones first."""

STRONG: Final = tuple(
    Edit(name, note, apply)
    for name, note, apply in (
        ("crop-5%", "5 % of width and height cut off", partial(_cropped, share=0.05)),
        ("border", "a black border of 10 pixels", partial(_bordered, width=10)),
        ("status-bar", "a screenshot's status bar above it", _with_status_bar),
        ("caption-5th", "a text bar over the lowest fifth", partial(_captioned, part=5)),
        ("caption-middle", "a text bar across the middle eighth", partial(_captioned, part=8, middle=True)),
        ("rotate-2", "turned by 2 degrees", partial(_rotated, degrees=2)),
        ("flip", "mirrored left to right", _flipped),
    )
)
"""What anybody can do with two touches on a phone, and what a network or an application does by itself. They
defeat PDQ on many pictures: most of what they make is more than 31 bits away."""

EDITS: Final = MILD + STRONG
"""The standard suite."""

BY_NAME: Final = {edit.name: edit for edit in EDITS}
