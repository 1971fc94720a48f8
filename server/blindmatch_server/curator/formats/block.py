"""What a format's reader yields, the records of one stretch of a source as arrays; and a source cut into
blocks of whole lines, with memory bounded whatever is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct, field

from blindmatch_server.curator.rejects import DIGITS, Place, Reason, Reject, decode_hex, fault_of
from blindmatch_server.curator.source import Source

_NO_HASH = b"0" * DIGITS

NO_TIME = int(np.iinfo(np.int64).min)
"""The time of a record that bears none: older than any other."""

BLOCK_RECORDS = 4096
"""Records a careful reader gathers before it yields a block."""


class Block(Redacted, Struct, frozen=True):
    """Records of a stretch of a source, in its order.

    Attributes:
        read: records read, the rejected ones included.
        hashes: accepted records' hashes, uint8 (n, 32); zero for a deletion that names no hash.
        removals: which of the accepted records are deletions, bool (n,); None if there are none.
        times: their times in seconds since 1970, int64 (n,); None if there are none.
        identities: digests of the ids by which later records can replace or delete them, uint8 (n, 32);
            None if records have no id but their hash.
    """

    read: int
    hashes: Rows
    rejects: tuple[Reject, ...] = ()
    removals: npt.NDArray[np.bool_] | None = None
    times: npt.NDArray[np.int64] | None = None
    identities: Rows | None = None


class Gathering(Redacted, Struct):
    """Collects records one by one and decodes them together."""

    read: int = 0
    _rejects: list[Reject] = field(default_factory=list)
    _digits: list[bytes] = field(default_factory=list)
    _places: list[Place] = field(default_factory=list)
    _nameless: list[bool] = field(default_factory=list)
    _removals: list[bool] = field(default_factory=list)
    _times: list[int] = field(default_factory=list)
    _identities: list[bytes] = field(default_factory=list)

    def reject(self, place: Place, reason: Reason) -> None:
        self.read += 1
        self._rejects.append(Reject(place, reason))

    def add(
        self,
        place: Place,
        digits: bytes,
        *,
        removal: bool = False,
        time: int = NO_TIME,
        identity: bytes | None = None,
    ) -> None:
        """Take a record with its hash in hex; it is rejected if that is not acceptable."""
        if len(digits) != DIGITS:
            self.reject(place, fault_of(digits) or Reason.HASH_NOT_HEX)
            return
        self._take(place, digits, removal, time, identity)

    def remove(self, place: Place, time: int, identity: bytes) -> None:
        """Take a deletion that names a record by its id alone."""
        self._take(place, b"", True, time, identity)

    def _take(self, place: Place, digits: bytes, removal: bool, time: int, identity: bytes | None) -> None:
        self.read += 1
        self._digits.append(digits or _NO_HASH)
        self._nameless.append(not digits)
        self._places.append(place)
        self._removals.append(removal)
        self._times.append(time)
        if identity is not None:
            self._identities.append(identity)

    def block(self) -> Block:
        """All that was gathered, as arrays. `identity` was given with every record or with none."""
        digits = np.frombuffer(b"".join(self._digits), np.uint8).reshape(-1, DIGITS)
        hashes, valid = decode_hex(digits)
        valid |= np.array(self._nameless, np.bool_)
        for at in np.flatnonzero(~valid):
            reason = fault_of(self._digits[at]) or Reason.HASH_NOT_HEX
            self._rejects.append(Reject(self._places[at], reason))
        named = np.frombuffer(b"".join(self._identities), np.uint8).reshape(-1, 32)
        return Block(
            read=self.read,
            hashes=hashes[valid],
            rejects=tuple(sorted(self._rejects)),
            removals=np.array(self._removals, np.bool_)[valid] if any(self._removals) else None,
            times=np.array(self._times, np.int64)[valid],
            identities=named[valid] if self._identities else None,
        )


MOST_LINE_BYTES: Final = 4096
"""Longest line of the formats that are lines by nature, its end not counted."""


class Lines(Redacted, Struct, frozen=True):
    """Whole lines.

    Attributes:
        line: number of the first one, from 1 on.
        offset: byte offset of the first one.
        most: longest line that is taken; one that exceeds it is there as its beginning only.
    """

    data: bytes
    line: int
    offset: int
    most: int = MOST_LINE_BYTES

    def too_long(self, line: bytes) -> bool:
        return len(line) > self.most

    def each(self) -> Iterator[tuple[int, int, bytes]]:
        """Number, offset and bytes of each line, without its end (LF or CR LF)."""
        offset = self.offset
        for number, line in enumerate(self.data.split(b"\n"), self.line):
            if line or offset < self.offset + len(self.data):
                yield number, offset, line.removesuffix(b"\r")
            offset += len(line) + 1


def whole_lines(source: Source, size: int, most: int = MOST_LINE_BYTES) -> Iterator[Lines]:
    """Blocks of up to `size` bytes, so that no line crosses a border; `size` exceeds `most` by 8 or more. Of
    a line that is too long to be held, the beginning comes as a block of its own."""
    line = 1
    held = b""
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
        self.records += 1
        return Place(self.records, line, offset)
