"""Decoding: every format and mode to pixels, and every bad picture to `PictureError`."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from itertools import product
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.picture import compiled, container, pdq
from blindmatch_protocol.picture import decode as decoding
from blindmatch_protocol.picture.decode import Decoded, Picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

ROWS, COLUMNS = np.mgrid[0:48, 0:64]
SCENE = np.stack([ROWS * 5, COLUMNS * 3, (ROWS + COLUMNS) * 2], axis=2).astype(np.uint8)
thumbnail = partial(decoding.thumbnail, by=compiled.thumbnail)
WHITE = [255, 255, 255]
RED = [255, 0, 0]


@contextmanager
def few_pixels() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(decoding, "MOST_PIXELS", 1_000_000)
        yield


def decode(data: bytes) -> Decoded:
    """`decode`, with `thumbnail` held against it: the same bits, or the same refusal."""
    try:
        plane = decoding.thumbnail(data, lambda rows, height, _: rows(slice(height)))
    except PictureError as error:
        for view in (decoding.decode, thumbnail):
            with pytest.raises(PictureError, match=re.escape(str(error))):
                view(data)
        raise
    expected = pdq.thumbnail(plane).tobytes() if min(plane.shape) >= 5 else None
    for band_bytes, saved_ns in product((0, compiled._BAND_BYTES), (-(1 << 62), 1 << 62)):
        with pytest.MonkeyPatch.context() as patched:
            # in bands or at once, by numpy or, where it is installed, by machine code
            patched.setattr(compiled, "_BAND_BYTES", band_bytes)
            patched.setattr(compiled, "_saved_ns", saved_ns)
            small = thumbnail(data)
            assert (None if small is None else small.tobytes()) == expected
    found = decoding.decode(data)
    assert plane.dtype == np.float32 and plane.shape == found.pixels.shape[:2]
    assert plane.tobytes() == pdq.luminance(found.pixels).tobytes()
    return found


def written(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scene(kind: str, **options: Any) -> bytes:
    return written(Image.fromarray(SCENE), kind, **options)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, depth: int = 8, colour: int = 2, rows: bytes = b"", extra: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + end


def exif(value: int, order: str = "<") -> bytes:
    head = {"<": b"II*\x00", ">": b"MM\x00*"}[order]
    return head + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0)


FILES = {kind: scene(kind) for kind in container.FORMATS}


@pytest.mark.parametrize("kind", container.FORMATS)
def test_every_format_is_decoded_to_its_pixels(kind: str) -> None:
    found = decode(FILES[kind])
    assert (found.format, found.orientation, found.transparent) == (kind, 1, False)
    assert found.pixels.shape == SCENE.shape and found.pixels.dtype == np.uint8
    assert not found.pixels.flags.writeable and found.pixels.flags.c_contiguous
    difference = np.abs(found.pixels.astype(int) - SCENE)
    assert difference.mean() < (0.001 if kind == "PNG" else 25)
    assert "array" not in repr(found)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_exif_orientation_is_applied_as_viewers_do(kind: str, value: int) -> None:
    tag = Image.Exif()
    tag[0x0112] = value
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    found = decode(scene(kind, exif=tag, **options))
    stored = decode(scene(kind, **options)).pixels
    corners = {  # where the stored picture's first row and first column go (Exif 2.32, section 4.6.4)
        1: stored,
        2: np.fliplr(stored),
        3: np.rot90(stored, 2),
        4: np.flipud(stored),
        5: np.swapaxes(stored, 0, 1),
        6: np.rot90(stored, -1),
        7: np.rot90(np.swapaxes(stored, 0, 1), 2),
        8: np.rot90(stored),
    }
    assert found.orientation == value
    assert (found.pixels == corners[value]).all()


@pytest.mark.parametrize(("first", "second", "turned"), [(1, 6, 1), (6, 1, 6), (0, 6, 1)])
def test_of_several_exif_blocks_the_first_counts_even_if_it_is_broken(
    first: int, second: int, turned: int
) -> None:
    blocks = [exif(value) for value in (first, second)]
    rows = b"\x00" * 48 * (1 + 64 * 3)
    webp = FILES["WEBP"] + b"".join(b"EXIF" + struct.pack("<I", len(one)) + one for one in blocks)
    bodies = [b"Exif\x00\x00" + one for one in blocks]
    bodies = [b"http://ns.adobe.com/xap/1.0/\x00<x/>", *bodies]  # XMP is no Exif block
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(one)) + one for one in bodies)
    for data in (
        FILES["JPEG"][:2] + segments + FILES["JPEG"][2:],
        png(64, 48, rows=rows, extra=b"".join(chunk(b"eXIf", one) for one in blocks)),
        webp[:4] + struct.pack("<I", len(webp) - 8) + webp[8:],
    ):
        found = decode(data)
        assert (found.orientation, found.pixels.shape[:2]) == (turned, (64, 48) if turned == 6 else (48, 64))


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_either_byte_order(order: str) -> None:
    assert container.orientation(exif(6, order)) == 6


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\x00",
        exif(0),
        exif(9),
        exif(6)[:-7],
        b"II*\x00\xff\xff\xff\xff" + exif(6)[8:],
        b"XX" + exif(6)[2:],
    ],
)
def test_a_broken_orientation_is_none(block: bytes) -> None:
    assert container.orientation(block) == 1


def test_cmyk_jpegs_are_converted() -> None:
    red = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    assert np.abs(decode(written(red, "JPEG", quality=95)).pixels.astype(int) - RED).max() < 8


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA"])
def test_every_mode_of_png_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(SCENE).convert(mode)
    found = decode(written(image, "PNG"))
    assert (found.pixels == np.asarray(image.convert("RGB"))).all()
    assert found.transparent == ("A" in mode)


def test_16_bit_samples_keep_their_high_byte() -> None:
    grey = (np.arange(48 * 64).reshape(48, 64) * 21).astype(np.uint16)
    found = decode(written(Image.fromarray(grey), "PNG")).pixels
    assert (found == (grey >> 8)[:, :, None]).all()
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in np.stack([grey] * 3, axis=2))
    assert (decode(png(64, 48, 16, 2, rows)).pixels == (grey >> 8)[:, :, None]).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_of_any_depth_is_not_transparent_unless_a_colour_is_named(depth: int) -> None:
    found = decode(png(2, 1, depth, 0, b"\x00\xff\xff\xff\xff"[: 1 + (2 * depth + 7) // 8]))
    assert (found.pixels[0].tolist(), found.transparent) == ([WHITE] * 2, False)


def test_alpha_is_composited_on_white_and_rounded() -> None:
    assert decode(written(Image.new("RGBA", (1, 1), (10, 10, 10, 100)), "PNG")).pixels[0, 0, 0] == 159
    layers = np.zeros((1, 3, 4), np.uint8)
    layers[0, :, 3] = 0, 128, 255
    assert decode(written(Image.fromarray(layers), "PNG")).pixels[0, :, 0].tolist() == [255, 127, 0]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_becomes_white(kind: str) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((3, 3), 1)
    found = decode(written(image, kind, transparency=0))
    assert found.transparent
    assert found.pixels[0, 0].tolist() == WHITE and found.pixels[3, 3].tolist() == [0, 0, 255]


def test_graded_palette_transparency_is_composited() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    found = decode(written(image, "PNG", transparency=bytes([51, 255])))
    assert found.pixels[0, 0].tolist() == [255, 204, 204]


@pytest.mark.parametrize(("depth", "colour", "pixel"), [(8, 0, 1), (16, 0, 2), (8, 2, 3), (1, 0, 1)])
def test_a_transparent_colour_becomes_white(depth: int, colour: int, pixel: int) -> None:
    channels = 3 if colour == 2 else 1
    key = chunk(b"tRNS", b"\x00\x00" * channels)
    found = decode(png(4, 1, depth, colour, b"\x00" * (1 + 4 * pixel), key))
    assert found.transparent and found.pixels[0, 0].tolist() == WHITE


@pytest.mark.parametrize(
    ("depth", "colour", "key", "rows", "levels"),
    [
        (2, 0, [1], b"\x00\x1b", [0, 255, 170, 255]),
        (4, 0, [8], b"\x00\x08\x9f", [0, 255, 153, 255]),
        (2, 0, [0xFF05], b"\x00\x1b", [0, 255, 170, 255]),
        (4, 0, [0xFF18], b"\x00\x08\x9f", [0, 255, 153, 255]),
        (8, 0, [0xFF08], b"\x00\x00\x08", [0, 255]),
        (16, 2, [0x1234] * 3, b"\x00" + b"\x12\x34" * 3 + b"\x34\x12" * 3, [255, 52]),
        (16, 2, [0x0012] * 3, b"\x00" + b"\x12\x34" * 3 + b"\x00\x12" * 3, [18, 255]),
        (8, 2, [0x12] * 3, b"\x00" + b"\x12" * 3 + b"\x00" * 3, [255, 0]),
        (2, 3, [], b"\x00\x1b", [10, 255, 30, 40]),
    ],
)
def test_a_transparent_colour_is_scaled_as_samples_are(
    depth: int, colour: int, key: list[int], rows: bytes, levels: list[int]
) -> None:
    named = chunk(b"tRNS", b"".join(value.to_bytes(2, "big") for value in key))
    if colour == 3:  # the second entry is transparent: an index, which is never scaled
        named = chunk(b"PLTE", bytes([10] * 3 + [20] * 3 + [30] * 3 + [40] * 3)) + chunk(b"tRNS", b"\xff\x00")
    assert decode(png(len(levels), 1, depth, colour, rows, named)).pixels[0, :, 0].tolist() == levels


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), tuple(colour)) for colour in (RED, [0, 0, 255], [0, 255, 0])]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = written(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (decode(data).pixels == RED).all()


def test_metadata_never_reaches_the_decoder() -> None:
    tag = Image.Exif()
    tag[0x010E] = "MARKER"
    for data in (
        scene("JPEG", exif=tag, comment=b"MARKER", icc_profile=b"MARKER" * 9),
        scene("PNG", exif=tag),
    ):
        assert b"MARKER" in data
        assert b"MARKER" not in container.read(data).data
        assert decode(data).pixels.shape == SCENE.shape


@pytest.mark.parametrize("kind", container.FORMATS)
def test_bytes_behind_the_end_are_ignored(kind: str) -> None:
    assert (decode(FILES[kind] + b"PK\x03\x04more").pixels == decode(FILES[kind]).pixels).all()


BAD = {
    "empty": (b"", "empty"),
    "text": (b"hello, this is no picture", "format must be"),
    "tiff": (scene("TIFF"), "format must be"),
    "bmp": (scene("BMP"), "format must be"),
    "sound": (b"RIFF\x04\x00\x00\x00WAVE", "format must be"),
    "WebP in no RIFF": (b"JUNK\x04\x00\x00\x00WEBP", "format must be"),
    "signature alone, JPEG": (b"\xff\xd8\xff", "truncated"),
    "signature alone, PNG": (b"\x89PNG\r\n\x1a\n", "truncated"),
    "signature alone, GIF": (b"GIF89a", "truncated"),
    "signature alone, WebP": (b"RIFF\x04\x00\x00\x00WEBP", "must begin with"),
    "bomb, PNG": (png(60_000, 60_000), "at most 50000000 pixels"),
    "bomb, GIF": (b"GIF89a\xff\xff\xff\xff" + FILES["GIF"][10:], "at most 50000000 pixels"),
    "zero width": (png(0, 10), "at least 1"),
    "zero height": (png(10, 0), "at least 1"),
    "zero by zero GIF": (
        b"GIF89a\x00\x00\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x00\x00\x00\x00\x00;",
        "at least 1",
    ),
    "no frame": (b"GIF89a\x05\x00\x05\x00\x00\x00\x00;", "hold a frame"),
    "header larger than data": (png(500, 500, rows=b"\x00" * 1501), "must fill the size"),
    "header of no size at all": (png(500, 500), "must fill the size"),
    "image data that do not inflate": (FILES["PNG"].replace(b"IDATx", b"IDATy"), "must fill the size"),
    "no header": (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "header chunk"),
    "short header": (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"12345") + chunk(b"IEND", b""), "13 bytes"),
    "no image data": (FILES["PNG"].replace(b"IDAT", b"iDAT"), "must fill the size"),
    "no marker": (b"\xff\xd8\xff\xe0\x00\x04\x00\x00junk", "marker"),
    "short segment": (b"\xff\xd8\xff\xe0\x00\x00\x00\x00", "truncated"),
    "scan without a frame": (b"\xff\xd8\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xff\xd9", "at least 1"),
    "WebP of a foreign chunk": (b"RIFF\x10\x00\x00\x00WEBPJUNK\x04\x00\x00\x00abcd", "must begin with"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_picture_is_refused_by_the_rule_it_breaks(name: str) -> None:
    data, rule = BAD[name]
    with pytest.raises(PictureError, match=rule) as caught:
        decode(data)
    assert str(caught.value).startswith("picture")
    assert caught.value.__cause__ is None
    with pytest.raises(PictureError, match=rule):
        _ = Picture.from_bytes(data).hash


def test_a_jpeg_and_a_webp_that_claim_to_be_huge_are_refused_before_decoding() -> None:
    jpeg = bytearray(FILES["JPEG"])
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    webp = bytearray(FILES["WEBP"])
    at = webp.index(b"\x9d\x01\x2a")
    webp[at + 3 : at + 7] = b"\xff\x3f\xff\x3f"
    for data in (jpeg, webp):
        with pytest.raises(PictureError, match="at most 50000000 pixels"):
            decode(bytes(data))


def test_a_gif_frame_beyond_its_screen_counts_at_its_own_size() -> None:
    data = bytearray(FILES["GIF"])
    at = container._gif_frame(bytes(data))
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(PictureError, match="at most 50000000 pixels"):
        decode(bytes(data))


@pytest.mark.parametrize("kind", container.FORMATS)
def test_no_truncated_picture_is_decoded(kind: str) -> None:
    whole = FILES[kind]
    # what may be missing without any pixel missing: the JPEG end marker, the GIF trailer
    for length in [*range(0, len(whole) - 16, 7), len(whole) // 2]:
        with pytest.raises(PictureError):
            decode(whole[:length])


def test_a_second_header_cannot_claim_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = b"\x00" * 20 * (1 + 3 * 20)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20, 20, 8, 2, 0, 0, 0))
    with monkeypatch.context() as patched, pytest.raises(PictureError, match="at most 100 pixels"):
        patched.setattr(decoding, "MOST_PIXELS", 100)
        decode(png(5, 5, rows=rows, extra=header))
    at = FILES["JPEG"].index(b"\xff\xc0")
    frame = FILES["JPEG"][at : at + 2 + int.from_bytes(FILES["JPEG"][at + 2 : at + 4], "big")]
    with pytest.raises(PictureError, match="must have one frame header"):
        decode(FILES["JPEG"][:at] + frame + FILES["JPEG"][at:])


def test_no_more_is_inflated_than_the_header_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = png(8, 8, rows=bytes(64 << 20))
    inflated = list[int]()
    real = zlib.decompressobj

    class Counting:
        def __init__(self) -> None:
            self.real = real()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def decompress(self, data: bytes, most: int) -> bytes:
            inflated.append(len(made := self.real.decompress(data, most)))
            return made

    monkeypatch.setattr(container.zlib, "decompressobj", Counting)
    assert container.png_is_complete(bomb)
    assert sum(inflated) <= 1 << 18


def test_fill_bytes_before_a_marker_are_passed_over() -> None:
    at = FILES["JPEG"].index(b"\xff\xdb")
    filled = FILES["JPEG"][:at] + b"\xff\xff" + FILES["JPEG"][at:]
    assert (decode(filled).pixels == decode(FILES["JPEG"]).pixels).all()


def test_what_is_larger_than_the_limits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("MOST_BYTES", len(FILES["PNG"])), ("MOST_PIXELS", 48 * 64)):
        monkeypatch.setattr(decoding, name, most)
        assert decode(FILES["PNG"]).format == "PNG"
        with monkeypatch.context() as patched, pytest.raises(PictureError, match=name[5:].lower()):
            patched.setattr(decoding, name, most - 1)
            decode(FILES["PNG"])


SHORT = [  # colour type, depth, bytes of a row of 16 pixels
    pytest.param(*row, id=f"colour type {row[0]}, depth {row[1]}")
    for row in (
        (0, 1, 2),
        (0, 8, 16),
        (0, 16, 32),
        (2, 8, 48),
        (2, 16, 96),
        (3, 8, 16),
        (4, 8, 32),
        (6, 8, 64),
    )
]


def interlaced(data: bytes) -> bytes:
    """The same PNG, saying that it is."""
    return data[:28] + b"\x01" + struct.pack(">I", zlib.crc32(data[12:28] + b"\x01")) + data[33:]


@pytest.mark.parametrize("checked", [True, False], ids=["sound", "a wrong checksum"])
@pytest.mark.parametrize(("colour", "depth", "across"), SHORT)
def test_a_png_that_lacks_a_byte_of_its_rows_is_refused_in_every_mode(
    colour: int, depth: int, across: int, checked: bool
) -> None:
    """The decoder fills up with zeros; rows whose samples are all ones end where they are missing."""
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
    for height in (1, 2, 3, 16):
        whole = (b"\x00" + b"\xff" * across) * height
        for rows, fits in ((whole, True), (whole[:-1], False), (whole[: -across - 1], False)):
            data = png(16, height, depth, colour, rows, palette)
            if not checked:
                data = data[:-16] + bytes(4) + data[-12:]
            if fits:
                assert decode(data).pixels.any()
            else:
                with pytest.raises(PictureError, match="must fill the size"):
                    decode(data)


@pytest.mark.parametrize("missing", [1, 10, 60, 200])
@pytest.mark.parametrize("height", range(1, 18))
def test_an_interlaced_png_that_lacks_a_byte_is_refused(height: int, missing: int) -> None:
    rows = b"".join(
        (b"\x00" + b"\xff" * (3 * columns)) * lines
        for columns, lines in (
            (-((left - 16) // across), -((top - height) // down))
            for left, top, across, down in container._ADAM7
        )
        if columns > 0
    )
    assert decode(interlaced(png(16, height, rows=rows))).pixels.all()
    with pytest.raises(PictureError, match="must fill the size"):
        decode(interlaced(png(16, height, rows=rows[:-missing])))


def test_a_png_is_inflated_once_unless_its_end_is_black(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[int]()
    complete = container.png_is_complete

    def counted(data: bytes) -> bool:
        asked.append(len(data))
        return complete(data)

    monkeypatch.setattr(container, "png_is_complete", counted)
    for mode in ("RGB", "L", "RGBA", "P"):
        found = decoding.decode(written(Image.fromarray(SCENE).convert(mode), "PNG"))
        assert found.pixels.any() and not asked
    dark = SCENE.copy()
    dark[-1] = 0
    decoding.decode(written(Image.fromarray(dark), "PNG"))
    assert len(asked) == 1


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["RGB", "L", "P", "RGBA"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 60),
)
def test_a_damaged_png_is_refused_as_if_its_data_were_inflated_first(
    mode: str, changes: list[tuple[int, int]], cut: int
) -> None:
    """Whatever happens to a file by accident: a checksum is wrong then, and the data are inflated to see."""
    data = bytearray(written(Image.fromarray(SCENE).convert(mode), "PNG"))
    for at, value in changes:
        data[at % len(data)] = value
    damaged = bytes(data[: len(data) - cut])
    try:
        complete = container.png_is_complete(container.read(damaged).data)
    except PictureError:
        complete = False
    try:
        with few_pixels():
            decoding.decode(damaged)
    except PictureError as error:
        assert not (complete and "must fill" in str(error))
    else:
        assert complete


@pytest.mark.parametrize("checked", [True, False])
def test_a_png_of_a_wrong_adler32_is_refused_whatever_the_chunks_checksum_says(checked: bool) -> None:
    data = chunk(b"IDAT", zlib.compress((b"\x00" + b"\xff" * 48) * 16)[:-4] + bytes(4))
    data = data if checked else data[:-4] + bytes(4)
    with pytest.raises(PictureError, match="must fill"):
        decode(png(16, 16)[:33] + data + chunk(b"IEND", b""))


def test_interlaced_pngs_of_any_size_are_complete() -> None:
    for width in range(1, 11):
        for height in range(1, 11):
            passes = [
                (-((left - width) // across), -((top - height) // down))
                for left, top, across, down in container._ADAM7
            ]
            rows = b"".join((b"\x00" * (1 + 3 * columns)) * lines for columns, lines in passes if columns)
            plain = png(width, height, rows=rows)
            data = plain[:28] + b"\x01" + struct.pack(">I", zlib.crc32(plain[12:28] + b"\x01")) + plain[33:]
            assert not decode(data).pixels.any()


def test_a_wrong_checksum_is_refused() -> None:
    data = bytearray(FILES["PNG"])
    data[29] ^= 1
    with pytest.raises(PictureError, match="not decodable"):
        decode(bytes(data))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(container.FORMATS),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_altered_bytes_give_pixels_or_a_picture_error_and_no_warning(
    kind: str, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(FILES[kind])
    for at, value in changes:
        data[at % len(data)] = value
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            with few_pixels():
                assert decode(bytes(data)).pixels.ndim == 3
        except PictureError as error:
            assert str(error).startswith("picture")
    assert not seen


@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x40\x00\x00\x00WEBP", b""]),
    st.binary(),
)
def test_random_bytes_are_no_picture(signature: bytes, rest: bytes) -> None:
    with pytest.raises(PictureError):
        decode(signature + rest)
