"""Threatexchange CSV: a header, then `signal_type,signal_str,collab,category,tags`, one signal a line.

Columns are found by the header's names; only signals of type `pdq` are taken. Unlike CSV at large, a
quoted field ends on its line: one missing quote must not swallow the rest of a list.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from blindmatch_server.curator.errors import FormatError
from blindmatch_server.curator.formats.block import Block, Gathering
from blindmatch_server.curator.formats.lines import Lines, Numbering, whole_lines
from blindmatch_server.curator.rejects import Place, Reason
from blindmatch_server.curator.source import Source

COLUMNS: Final = ("signal_type", "signal_str", "collab", "category", "tags")
_BLOCK_BYTES: Final = 512 << 10


class _Header(Struct, frozen=True):
    width: int
    kind: int
    value: int


def read(source: Source) -> Iterator[Block]:
    """Blocks of `source`; one record a line that is not blank, the header aside.

    Raises:
        FormatError: if the first line is no header with `signal_type` and `signal_str`.
    """
    header: _Header | None = None
    numbering = Numbering()
    for lines in whole_lines(source, _BLOCK_BYTES):
        gathering = Gathering()
        for number, offset, line in lines.each():
            if not line.strip():
                continue
            if header is None:
                header = _header(source, line)
            else:
                _take(gathering, numbering.place(number, offset), line, header, lines)
        yield gathering.block()


def _header(source: Source, line: bytes) -> _Header:
    names = _fields(line)
    if isinstance(names, Reason) or not {"signal_type", "signal_str"} <= set(names):
        raise FormatError(f"{source.name}: the first line must be the header {','.join(COLUMNS)}")
    return _Header(len(names), names.index("signal_type"), names.index("signal_str"))


def _take(gathering: Gathering, place: Place, line: bytes, header: _Header, lines: Lines) -> None:
    if lines.too_long(line):
        gathering.reject(place, Reason.LINE_TOO_LONG)
        return
    fields = _fields(line)
    if isinstance(fields, Reason):
        gathering.reject(place, fields)
    elif len(fields) != header.width:
        gathering.reject(place, Reason.WRONG_COLUMNS)
    elif fields[header.kind] != "pdq":
        gathering.reject(place, Reason.OTHER_SIGNAL_TYPE)
    else:
        gathering.add(place, fields[header.value].encode())


def _fields(line: bytes) -> list[str] | Reason:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return Reason.NOT_UTF8
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader((text,), strict=True))
    except csv.Error:
        return Reason.BAD_QUOTES
