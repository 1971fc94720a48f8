"""Decoding picture files, from bytes to pixels, under limits; and the picture as designs are given it.

Hostile bytes are the normal case here: the header's claims are checked before a decoder runs
(`container`), the decoder is Pillow's plug-in for that one format, and whatever goes wrong inside it
leaves as `PictureError`. No path taken here emits a Python warning, so none has to be filtered: filters
are global to the process and would not be safe between threads.

What "the pixels" are: the first frame; Exif orientation applied; transparency composited on white; samples of
16 bits, and a colour of 16 bits that is transparent, cut to the high byte; CMYK converted without a profile;
embedded colour profiles ignored, as PDQ's reference does. One lie is not found out: a JPEG whose scan ends
early but properly is filled up with grey, as viewers do it too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.picture import container, pdq

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile


Pixels: TypeAlias = npt.NDArray[np.uint8]
_UPSIDE_DOWN: Final = (3, 4, 7, 8)
_PNG_DEPTH: Final = 24
"""Place of the bit depth in a PNG that starts with its header chunk."""
_PNG_INTERLACE: Final = 28
_PNG_SHORT: Final = "picture/PNG: the image data must fill the size in the header"
T = TypeVar("T")
S = TypeVar("S", np.uint8, np.float32)

# named plug-ins, since Image.open consults global limits and warns on its own; loaded for the first picture
_PLUGINS: Final = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
}
MOST_BYTES: Final = 32 << 20
MOST_PIXELS: Final = 50_000_000
"""Width times height, as the header claims."""


class Decoded(Redacted, Struct, frozen=True, eq=False):
    """A decoded picture.

    Args:
        pixels: (h, w, 3) uint8, sRGB, contiguous and read-only, oriented as it is shown.
        orientation: the Exif orientation that was applied, 1 to 8.
        transparent: whether the file has transparency, which was composited on white.
    """

    SHOWN: ClassVar = ("format", "orientation", "transparent")

    pixels: Pixels
    format: str
    orientation: int
    transparent: bool


def decode(data: bytes) -> Decoded:
    """Decode the first frame of a JPEG, PNG, WebP or GIF file; `PictureError` naming the rule if it is empty,
    over a limit, of another format, truncated, or not decodable."""
    found, (flat, transparent) = _drawn(data, lambda image, _: _flatten(image))
    turned = np.ascontiguousarray(_turn(flat, found.orientation))
    turned.flags.writeable = False
    return Decoded(turned, found.format, found.orientation, transparent)


def thumbnail(data: bytes, by: Callable[[pdq.Rows, int, int], T]) -> T:
    """What `by`, such as `compiled.thumbnail`, makes of the rows of `pdq.luminance`, to the last bit, of the
    pixels that `decode` gives, but they are never laid out; raises as `decode`."""
    return _drawn(data, lambda image, turned: by(*_rows(image, turned)))[1]


def _drawn(data: bytes, take: Callable[[ImageFile, int], T]) -> tuple[container.Container, T]:
    """The container, and what `take` makes of the loaded picture and its orientation."""
    if not data:
        raise PictureError("picture: must not be empty")
    if len(data) > MOST_BYTES:
        raise PictureError(f"picture: must have at most {MOST_BYTES} bytes")
    found = container.read(data)
    _check_size(found.format, found.width, found.height)
    try:
        with _plugin(found.format)(BytesIO(found.data)) as image:
            _check_size(found.format, *image.size)
            image.load()
            if found.format == "PNG":
                _check_whole(image, found.data)
                _scale_transparent(image, found.data[_PNG_DEPTH])
            return found, take(image, found.orientation)
    except PictureError:
        raise
    except Exception:
        if found.format == "PNG" and not container.png_is_complete(found.data):
            raise PictureError(_PNG_SHORT) from None
        # plug-ins answer hostile bytes with OSError, SyntaxError, struct.error, ValueError and more; their
        # texts quote the bytes, so neither type nor text is passed on
        raise PictureError(f"picture/{found.format}: truncated or not decodable") from None


@cache
def _plugin(kind: str) -> type[ImageFile]:
    module, name = _PLUGINS[kind]
    plugin: type[ImageFile] = getattr(import_module(module), name)
    return plugin


def _check_size(kind: str, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise PictureError(f"picture/{kind}: width and height must be at least 1")
    if width * height > MOST_PIXELS:
        raise PictureError(f"picture/{kind}: must have at most {MOST_PIXELS} pixels")


def _check_whole(image: Image, data: bytes) -> None:
    """Make sure that a loaded PNG's data filled it; else the decoder's zeros are left at its end.

    Rows are written whole, each in its turn but for Adam7. Where the last one is not all zeros, and every
    checksum of the data is right, they are not inflated a second time.
    """
    width, height = image.size
    last = np.asarray(image.crop((0, height - 1, width, height)))
    written = not data[_PNG_INTERLACE] and last.any()
    if not (written and container.png_is_sound(data)) and not container.png_is_complete(data):
        raise PictureError(_PNG_SHORT)


def _flatten(image: Image) -> tuple[Pixels, bool]:
    """Pixels (h, w, 3) uint8 on white, and whether any transparency is declared."""
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    transparent = "A" in image.mode or "a" in image.mode or "transparency" in image.info
    if not transparent:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB")), False
    layers = np.asarray(image.convert("RGBA"))
    # on white, rounded to nearest; at most 255 * 255 + 127, so 16 bits suffice
    weight = layers[:, :, 3:].astype(np.uint16)
    return ((layers[:, :, :3] * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8), True


def _scale_transparent(image: ImageFile, depth: int) -> None:
    """Scale a PNG's one transparent colour as Pillow scales samples: grey of 2 and 4 bits, the lowest of the
    number, to 8, colour of 16 bits to its high byte."""
    key = image.info.get("transparency")
    most = (1 << depth) - 1
    if image.mode == "L" and depth in (2, 4) and isinstance(key, int):
        image.info["transparency"] = (key & most) * 255 // most
    elif image.mode == "RGB" and depth == 16 and isinstance(key, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _rows(image: ImageFile, orientation: int) -> tuple[pdq.Rows, int, int]:
    """Rows of luminance as the picture is shown, with its height and width."""
    width, height = image.size
    shown = (width, height) if orientation >= 5 else (height, width)

    def rows(band: slice) -> pdq.Floats:
        top, end, _ = band.indices(shown[0])
        if orientation in _UPSIDE_DOWN:
            upright_top = top
            top = shown[0] - end
            end = shown[0] - upright_top
        box = (top, 0, end, height) if orientation >= 5 else (0, top, width, end)
        return _turn(_plane(image if box == (0, 0, *image.size) else image.crop(box)), orientation)

    return rows, *shown


def _plane(image: Image) -> pdq.Floats:
    """Pillow's "F" of "RGB" is what `pdq.luminance` computes: (299 R + 587 G + 114 B) / 1000 in float32."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.asarray(image.convert("F"))
    return pdq.luminance(_flatten(image)[0])


def _from_16_bit(image: Image) -> tuple[Pixels, bool]:
    """A grey plane of 16 bits; one grey level may be declared transparent."""
    plane = np.asarray(image).astype(np.uint16)
    grey = np.repeat((plane >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    hidden = image.info.get("transparency")
    if not isinstance(hidden, int):
        return grey, False
    return np.where((plane == hidden)[:, :, None], np.uint8(255), grey), True


def _turn(pixels: npt.NDArray[S], orientation: int) -> npt.NDArray[S]:
    """Apply an Exif orientation: 1 to 4 keep rows rows, 5 to 8 swap them with columns."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in _UPSIDE_DOWN:
        pixels = pixels[::-1]
    return pixels


class Picture:
    """A picture as pixels, luminance, coefficients, hash and quality, each computed once, on demand.

    The views are those of `pdq`; a design that needs only the hash never pays for more. `repr` shows
    nothing of the content.
    """

    __slots__ = ("_data", "_fingerprint", "_luminance", "_pixels")

    def __init__(self, data: bytes | None = None, pixels: pdq.Pixels | None = None) -> None:
        """Use `from_bytes` or `from_pixels`."""
        if (data is None) == (pixels is None):
            raise ValueError("a picture is made from bytes or from pixels")
        self._data = data
        self._pixels = pixels
        self._luminance: pdq.Floats | None = None
        self._fingerprint: pdq.Fingerprint | None = None

    @classmethod
    def from_bytes(cls, data: bytes) -> Picture:
        """A picture file in memory, not decoded yet: bad bytes raise `PictureError` at the first view."""
        return cls(data=data)

    @classmethod
    def from_pixels(cls, pixels: pdq.Pixels) -> Picture:
        """Decoded pixels, (h, w, 3) uint8."""
        return cls(pixels=pixels)

    @classmethod
    def from_views(cls, pixels: pdq.Pixels, luminance: pdq.Floats, fingerprint: pdq.Fingerprint) -> Picture:
        """A picture of given views, which need not follow from one another: a test of what a design makes of
        each of them."""
        made = cls(pixels=pixels)
        made._luminance = luminance
        made._fingerprint = fingerprint
        return made

    @property
    def pixels(self) -> pdq.Pixels:
        """(h, w, 3) uint8, sRGB; `PictureError` if the bytes are no acceptable picture."""
        if self._pixels is None:
            assert self._data is not None
            self._pixels = decode(self._data).pixels
        return self._pixels

    @property
    def luminance(self) -> pdq.Floats:
        """(h, w) float32, 0..255. Raises what `pixels` raises."""
        if self._luminance is None:
            self._luminance = pdq.luminance(self.pixels)
        return self._luminance

    @property
    def fingerprint(self) -> pdq.Fingerprint:
        """Hash, quality and coefficients together. Raises what `pixels` raises."""
        if self._fingerprint is None:
            self._fingerprint = pdq.fingerprint(self.luminance)
        return self._fingerprint

    @property
    def coefficients(self) -> pdq.Floats:
        """(256,) float32, signed distance from the median; entry j belongs to bit j of the hash."""
        return self.fingerprint.coefficients

    @property
    def hash(self) -> bytes:
        """The PDQ hash, 32 bytes."""
        return self.fingerprint.hash

    @property
    def quality(self) -> int:
        """PDQ's quality, 0..100."""
        return self.fingerprint.quality

    def __repr__(self) -> str:
        return "<Picture>"
