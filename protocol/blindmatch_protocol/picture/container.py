"""What a picture file says of itself: format, size, orientation. Read before any decoder is started.

The decoder is then given only what it needs to draw the first frame: metadata, colour profiles, later
frames and bytes behind the end are dropped, and with them the code that would have parsed them.

Sources: PNG (W3C, third edition) section 5; JPEG (ITU-T T.81) annex B; WebP (RFC 9649) section 2;
GIF89a sections 17 and 18; Exif 2.32 section 4.6 (orientation, tag 0x0112). Of several Exif blocks the first
counts, as Chromium takes JPEG and PNG.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import ClassVar, Final

from msgspec import Struct

from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.codec.redacted import Redacted

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_INFLATE_BYTES: Final = 1 << 18
# first column, first row, distance of columns, distance of rows of each pass
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_PNG_NEEDED: Final = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
# APP14 says how the channels of a CMYK picture are stored
_JPEG_DROPPED: Final = {*range(0xE1, 0xEE), 0xEF, 0xFE}
_JPEG_FRAMES: Final = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_BARE: Final = {0x01, *range(0xD0, 0xD8)}
_JPEG_SCAN: Final = 0xDA
_EXIF_PREFIX: Final = b"Exif\x00\x00"
_ORIENTATION_TAG: Final = 0x0112


class Container(Redacted, Struct, frozen=True):
    """A picture file's own claims.

    Args:
        width, height: pixels, as the header claims, before the orientation is applied.
        orientation: 1 to 8 as in Exif; 1 where none, or a broken one, is given.
        data: the file without what the decoder does not need.
    """

    SHOWN: ClassVar = ("format", "width", "height", "orientation")

    format: str
    width: int
    height: int
    orientation: int
    data: bytes


def sniff(data: bytes) -> str:
    """The format, one of `FORMATS`, by its signature; `PictureError` if it is none of them."""
    if data.startswith(_PNG_SIGNATURE):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise PictureError(f"picture: format must be one of {', '.join(FORMATS)}")


def read(data: bytes) -> Container:
    """Read the headers of a picture file; `PictureError` if the format is unknown, or the file ends before
    its picture or breaks the format's frame."""
    readers = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "GIF": _gif}
    return readers[sniff(data)](data)


def orientation(exif: bytes) -> int:
    """Orientation 1 to 8 of an Exif block that starts with a TIFF header; 1 if it holds none or is broken."""
    mark = {b"II*\x00": "<", b"MM\x00*": ">"}.get(exif[:4])
    if mark is None:
        return 1
    try:
        (directory,) = struct.unpack_from(mark + "I", exif, 4)
        (count,) = struct.unpack_from(mark + "H", exif, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, value = struct.unpack_from(mark + "H6xH", exif, entry)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _png(data: bytes) -> Container:
    kept = [_PNG_SIGNATURE]
    turned = None
    header = b""
    for kind, body, whole in _png_chunks(data):
        if kind == b"IHDR":
            header = header or body
        if kind == b"eXIf":
            turned = turned or orientation(body)
        elif kind in _PNG_NEEDED:
            kept.append(whole)
    if len(header) != 13:
        raise PictureError("picture/PNG: the header chunk must come once and hold 13 bytes")
    width = int.from_bytes(header[:4], "big")
    height = int.from_bytes(header[4:8], "big")
    return Container("PNG", width, height, turned or 1, b"".join(kept))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Type, body and whole bytes of each chunk up to and with IEND."""
    at = len(_PNG_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        end = at + 12 + length
        if len(data) < end:
            raise PictureError("picture/PNG: truncated")
        yield kind, data[at + 8 : end - 4], data[at:end]
        at = end


def png_is_complete(data: bytes) -> bool:
    """Whether a PNG's image data fill the size its header claims; the decoder pads them silently.

    Inflates at most what the header claims, so check that against a limit first.
    """
    missing = _png_claimed(data[16:29])
    inflate = zlib.decompressobj()
    try:
        for kind, body, _ in _png_chunks(data):
            pending = body if kind == b"IDAT" else b""
            while pending and missing > 0 and not inflate.eof:
                missing -= len(inflate.decompress(pending, _INFLATE_BYTES))
                pending = inflate.unconsumed_tail
    except zlib.error:
        return False
    return missing - len(inflate.flush()) <= 0


def png_is_sound(data: bytes) -> bool:
    """Whether the checksum of each chunk of a PNG's image data is right."""
    return all(
        kind != b"IDAT" or zlib.crc32(memoryview(whole)[4:-4]) == int.from_bytes(whole[-4:], "big")
        for kind, _, whole in _png_chunks(data)
    )


def _png_claimed(header: bytes) -> int:
    """Bytes of filtered rows that a PNG header promises (PNG sections 7.2 and 8.2)."""
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    bits = depth * {2: 3, 4: 2, 6: 4}.get(colour, 1)
    total = 0
    for left, top, across, down in _ADAM7 if interlace else ((0, 0, 1, 1),):
        columns = -((left - width) // across)
        rows = -((top - height) // down)
        total += rows * (1 + (columns * bits + 7) // 8) if columns > 0 else 0
    return total


def _jpeg(data: bytes) -> Container:
    kept = [b"\xff\xd8"]
    turned = None
    size = (0, 0)
    for marker, start, end in _jpeg_segments(data):
        body = data[start + 4 : end]
        if marker == 0xE1 and body.startswith(_EXIF_PREFIX):
            turned = turned or orientation(body[len(_EXIF_PREFIX) :])
        elif marker in _JPEG_FRAMES and len(body) >= 5:
            if size != (0, 0):
                raise PictureError("picture/JPEG: must have one frame header before the first scan")
            size = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
        if marker == _JPEG_SCAN:
            return Container("JPEG", *size, turned or 1, b"".join(kept) + data[start:])
        if marker not in _JPEG_DROPPED:
            kept.append(data[start:end])
    raise PictureError("picture/JPEG: truncated before the first scan")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment after the start of image, up to where the bytes end."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise PictureError("picture/JPEG: a segment must start with a marker")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        bare = marker in _JPEG_BARE
        end = at + 2 if bare else at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data) or (not bare and end < at + 4) or marker == 0xD9:
            raise PictureError("picture/JPEG: truncated before the first scan")
        yield marker, at, end
        at = end


def _webp(data: bytes) -> Container:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise PictureError("picture/WEBP: truncated")
    size = None
    turned = None
    at = 12
    while at + 8 <= end:
        kind = data[at : at + 4]
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : min(at + 8 + length, end)]
        if size is None:
            size = _webp_size(kind, body)
        if kind == b"EXIF":
            turned = turned or orientation(body.removeprefix(_EXIF_PREFIX))
        at += 8 + length + length % 2
    if size is None:
        raise PictureError("picture/WEBP: must begin with a VP8, VP8L or VP8X chunk")
    return Container("WEBP", *size, turned or 1, data[:end])


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int]:
    if kind == b"VP8X" and len(body) >= 10:
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) >= 10:
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    raise PictureError("picture/WEBP: must begin with a VP8, VP8L or VP8X chunk")


def _gif(data: bytes) -> Container:
    """Size of the logical screen, grown to hold the first frame."""
    if len(data) < 13:
        raise PictureError("picture/GIF: truncated")
    width = _little(data, 6)
    height = _little(data, 8)
    left, top, across, down = (_little(data, _gif_frame(data) + offset) for offset in (1, 3, 5, 7))
    return Container("GIF", max(width, left + across), max(height, top + down), 1, data)


def _gif_frame(data: bytes) -> int:
    """Where the first frame's descriptor starts: behind the colour table and any extensions."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while data[at : at + 1] == b"!":
        at += 2
        while data[at : at + 1] not in (b"\x00", b""):
            at += 1 + data[at]
        at += 1
    if data[at : at + 1] not in (b",", b""):
        raise PictureError("picture/GIF: must hold a frame")
    if len(data) < at + 10:
        raise PictureError("picture/GIF: truncated")
    return at


def _little(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")
