"""The formats that are lines by nature: `pdq <hex>` lines and threatexchange CSV.

Blocks in which every line is exactly ``pdq``, a space, 64 lower-case digits and LF are decoded as one matrix
of 69 columns; any other block goes line by line. Unlike CSV at large, a quoted field ends on its line: one
missing quote must not swallow the rest of a list.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from msgspec import Struct

from blindmatch_server.curator.formats.block import Block, Gathering, Lines, Numbering, whole_lines
from blindmatch_server.curator.rejects import DIGITS, Place, Reason, decode_hex
from blindmatch_server.curator.source import FormatError, Source

PREFIX: Final = b"pdq "
LINE_BYTES: Final = len(PREFIX) + DIGITS + 1
_PDQ_BLOCK_BYTES: Final = 4096 * LINE_BYTES
_PREFIX = np.frombuffer(PREFIX, np.uint8)


def read_pdq(source: Source) -> Iterator[Block]:
    numbering = Numbering()
    for lines in whole_lines(source, _PDQ_BLOCK_BYTES):
        block = regular(lines.data)
        if block is None:
            yield careful(lines, numbering)
        else:
            numbering.records += block.read
            yield block


def regular(data: bytes) -> Block | None:
    """All records of `data` if each of its lines is regular and acceptable, else None."""
    if len(data) % LINE_BYTES:
        return None
    table = np.frombuffer(data, np.uint8).reshape(-1, LINE_BYTES)
    if not (table[:, : len(PREFIX)] == _PREFIX).all() or not (table[:, -1] == ord("\n")).all():
        return None
    hashes, valid = decode_hex(table[:, len(PREFIX) : -1])
    return Block(read=len(hashes), hashes=hashes) if valid.all() else None


def careful(lines: Lines, numbering: Numbering) -> Block:
    gathering = Gathering()
    for number, offset, line in lines.each():
        if line.startswith(b"#") or not line.strip():
            continue
        place = numbering.place(number, offset)
        if lines.too_long(line):
            gathering.reject(place, Reason.LINE_TOO_LONG)
        elif line.startswith(PREFIX):
            gathering.add(place, line[len(PREFIX) :])
        else:
            gathering.reject(place, _fault_of_line(line))
    return gathering.block()


def _fault_of_line(line: bytes) -> Reason:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return Reason.NOT_UTF8
    return Reason.HASH_MISSING if text.strip() == "pdq" else Reason.NOT_A_PDQ_LINE


KIND: Final = "signal_type"
VALUE: Final = "signal_str"
COLUMNS: Final = (KIND, VALUE, "collab", "category", "tags")
_CSV_BLOCK_BYTES: Final = 512 << 10


class _Header(Struct, frozen=True):
    width: int
    kind: int | None
    value: int


def read_csv(source: Source, columns: Mapping[str, str] = MappingProxyType({})) -> Iterator[Block]:
    """Blocks of `source`; one record a line that is not blank, the header aside; `FormatError` if the first
    line is no header with `signal_type` and `signal_str`, or the names that `columns` has for these."""
    header: _Header | None = None
    numbering = Numbering()
    for lines in whole_lines(source, _CSV_BLOCK_BYTES):
        gathering = Gathering()
        for number, offset, line in lines.each():
            if not line.strip():
                continue
            if header is None:
                header = _header(source, line, columns)
            else:
                _take(gathering, numbering.place(number, offset), line, header, lines)
        yield gathering.block()


def _header(source: Source, line: bytes, columns: Mapping[str, str]) -> _Header:
    names = _fields(line)
    kind, value = (columns.get(one, one) for one in (KIND, VALUE))
    untyped = VALUE in columns and KIND not in columns and kind not in names
    if isinstance(names, Reason) or value not in names or (kind not in names and not untyped):
        raise FormatError(f"{source.name}: the first line must be {words_of_header(columns)}")
    if names.count(value) > 1 or names.count(kind) > 1:
        raise FormatError(f"{source.name}: two columns of the header are called {value} or {kind}")
    return _Header(len(names), None if untyped else names.index(kind), names.index(value))


def words_of_header(columns: Mapping[str, str] = MappingProxyType({})) -> str:
    """The header that is wanted, and how another is mapped, in words."""
    wanted = ",".join(columns.get(one, one) for one in COLUMNS)
    return f"the header {wanted}; for a column of another name: --column {VALUE}=ITS_NAME"


def _take(gathering: Gathering, place: Place, line: bytes, header: _Header, lines: Lines) -> None:
    if lines.too_long(line):
        gathering.reject(place, Reason.LINE_TOO_LONG)
        return
    fields = _fields(line)
    if isinstance(fields, Reason):
        gathering.reject(place, fields)
    elif len(fields) != header.width:
        gathering.reject(place, Reason.WRONG_COLUMNS)
    elif header.kind is not None and fields[header.kind] != "pdq":
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
