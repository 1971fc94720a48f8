"""Set files with something changed, under digests that fit: what a hostile curator or matcher can serve."""

from __future__ import annotations

import io
from collections.abc import Mapping

from blindmatch_protocol.setfile import SetFile, SetFileWriter


def opened(name: str, content: bytes, design: str, version: int) -> SetFile:
    return SetFile(content, name, design, version)


def resealed(file: SetFile, changed: Mapping[tuple[int, int], bytes | None]) -> bytes:
    """The file with other bytes in some sections, or without them (None)."""
    out = io.BytesIO()
    writer = SetFileWriter(out, file.identity)
    for place, row in file.sections.items():
        content = changed.get(place, bytes(file.section(*place)))
        if content is not None:
            writer.section(place[0], [content], row.items)
    writer.finish(file.entries)
    return out.getvalue()


def altered(file: SetFile, content: bytes, kind: int, index: int) -> bytes:
    """The file with the last byte of a section changed, so that its digest does not fit."""
    raw = bytearray(content)
    raw[file.row(kind, index).end - 1] ^= 1
    return bytes(raw)
