"""Set files with something changed, under digests that fit: what a hostile curator or matcher can serve."""

from __future__ import annotations

import io
from collections.abc import Mapping

from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.setfile import SetFile, SetFileWriter
from msgspec.structs import replace


def opened(design: AnyDesign, name: str, content: bytes) -> SetFile:
    return SetFile(content, name, design.info.name, design.info.version)


def resealed(
    file: SetFile,
    changed: Mapping[tuple[int, int], bytes | None],
    extra: tuple[int, bytes] | None = None,
    items: Mapping[int, int] | None = None,
    parameters: Mapping[str, int] | None = None,
    only: Mapping[str, int] | None = None,
) -> bytes:
    """The file with other bytes in some sections, or without them (None); with one more, of a kind and
    content; with another number of items in the sections of a kind; with other values of parameters, or with
    `only` these."""
    out = io.BytesIO()
    values = {**file.identity.parameters, **(parameters or {})} if only is None else only
    writer = SetFileWriter(out, replace(file.identity, parameters=values))
    for place, row in file.sections.items():
        content = changed[place] if place in changed else bytes(file.section(*place))
        if content is not None:
            writer.section(place[0], [content], (items or {}).get(place[0], row.items))
    if extra is not None:
        writer.section(extra[0], [extra[1]], 1)
    writer.finish(file.entries)
    return out.getvalue()


def altered(file: SetFile, content: bytes, kind: int, index: int) -> bytes:
    """The file with the last byte of a section changed, so that its digest does not fit."""
    raw = bytearray(content)
    raw[file.row(kind, index).end - 1] ^= 1
    return bytes(raw)
