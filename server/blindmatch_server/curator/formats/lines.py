"""A source cut into blocks of whole lines, with memory bounded whatever is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct

from blindmatch_server.curator.rejects import Place
from blindmatch_server.curator.source import Source

MOST_LINE_BYTES: Final = 4096
"""Longest line of the formats that are lines by nature, its end not counted."""


class Lines(Redacted, Struct, frozen=True):
    """Whole lines.

    Attributes:
        data: the lines with their ends; the last line of a source may lack its own.
        line: number of the first one, from 1 on.
        offset: byte offset of the first one.
        most: longest line that is taken; one that exceeds it is there as its beginning only.
    """

    data: bytes
    line: int
    offset: int
    most: int = MOST_LINE_BYTES

    def too_long(self, line: bytes) -> bool:
        """Whether `line` of `each` is longer than may be."""
        return len(line) > self.most

    def each(self) -> Iterator[tuple[int, int, bytes]]:
        """Number, offset and bytes of each line, without its end (LF or CR LF)."""
        offset = self.offset
        for number, line in enumerate(self.data.split(b"\n"), self.line):
            if line or offset < self.offset + len(self.data):
                yield number, offset, line.removesuffix(b"\r")
            offset += len(line) + 1


def whole_lines(source: Source, size: int, most: int = MOST_LINE_BYTES) -> Iterator[Lines]:
    """Blocks of up to `size` bytes, so that no line crosses a border; `size` exceeds `most` by 8 or more.

    Of a line that is too long to be held, the beginning comes as a block of its own.
    """
    line, held = 1, b""
    while True:
        start = source.offset - len(held)
        fresh = source.read(size - len(held))
        data = held + fresh
        if not fresh:
            break
        end = data.rfind(b"\n") + 1
        if end:
            yield Lines(data[:end], line, start, most)
            line += data.count(b"\n")
        held = data[end:]
        if len(held) > most + len(b"\r"):
            yield Lines(held[: most + 1], line, start + end, most)
            held = b""
            _skip_line(source, size)
            line += 1
    if held:
        yield Lines(held, line, start, most)


def _skip_line(source: Source, size: int) -> None:
    """Pass over the rest of a line, its end included."""
    while data := source.read(size):
        end = data.find(b"\n") + 1
        if end:
            source.push_back(data[end:])
            return


class Numbering:
    """Gives each record of a source its number."""

    __slots__ = ("records",)

    def __init__(self) -> None:
        self.records = 0

    def place(self, line: int, offset: int) -> Place:
        """The place of the next record."""
        self.records += 1
        return Place(self.records, line, offset)
