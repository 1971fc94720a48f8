"""Rejected records: the closed list of reasons, their places, and the side file they go to.

The side file is JSON lines, one object a rejected record, in the order of the source. It holds places and
reasons and never the record's text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import msgspec

from blindmatch_server.curator.replacing import Draft


class Reason(StrEnum):
    """Why a record was rejected; `says` puts it in words."""

    NOT_A_PDQ_LINE = "not-a-pdq-line"
    LINE_TOO_LONG = "line-too-long"
    NOT_UTF8 = "not-utf-8"
    HASH_MISSING = "hash-missing"
    HASH_WHITE_SPACE = "hash-white-space"
    HASH_PREFIXED = "hash-prefixed"
    HASH_NOT_HEX = "hash-not-hex"
    HASH_UPPER_CASE = "hash-upper-case"
    HASH_TOO_SHORT = "hash-too-short"
    HASH_TOO_LONG = "hash-too-long"
    HASH_ALL_ZERO = "hash-all-zero"
    HASH_UNBALANCED = "hash-unbalanced"
    OTHER_SIGNAL_TYPE = "other-signal-type"
    WRONG_COLUMNS = "wrong-columns"
    BAD_QUOTES = "bad-quotes"
    VIDEO = "video"
    SEVERAL_HASHES = "several-hashes"
    RECORD_ID_MISSING = "record-id-missing"
    BAD_TIMESTAMP = "bad-timestamp"
    NOT_A_RECORD = "not-a-record"
    UNKNOWN_STATUS = "unknown-status"
    UNREADABLE_PICTURE = "unreadable-picture"
    LOW_QUALITY = "low-quality"

    @property
    def says(self) -> str:
        """One sentence for people."""
        return _SAYS[self]


_SAYS = {
    Reason.NOT_A_PDQ_LINE: "a line is 'pdq', one space and 64 hex digits",
    Reason.LINE_TOO_LONG: "the line is longer than 4096 bytes (64 KiB in JSON)",
    Reason.NOT_UTF8: "the record is not valid UTF-8",
    Reason.HASH_MISSING: "there is no PDQ hash in the record",
    Reason.HASH_WHITE_SPACE: "there is white space before, in or after the hash",
    Reason.HASH_PREFIXED: "the hash begins with 0x; only the 64 digits are taken",
    Reason.HASH_NOT_HEX: "the hash has a character that is no hex digit",
    Reason.HASH_UPPER_CASE: "the hash has upper-case digits; PDQ hashes are written in lower case",
    Reason.HASH_TOO_SHORT: "the hash has fewer than 64 hex digits",
    Reason.HASH_TOO_LONG: "the hash has more than 64 hex digits",
    Reason.HASH_ALL_ZERO: "all bits are zero: no picture hashes to that",
    Reason.HASH_UNBALANCED: "fewer than 64 or more than 192 of the 256 bits are ones; PDQ sets 128",
    Reason.OTHER_SIGNAL_TYPE: "the signal is of another type; only PDQ hashes of pictures are taken",
    Reason.WRONG_COLUMNS: "the line has more or fewer columns than the header",
    Reason.BAD_QUOTES: "the quotes of the line do not close; a quoted field ends on its line",
    Reason.VIDEO: "the record is of a video; only pictures are taken",
    Reason.SEVERAL_HASHES: "the record has more than one PDQ hash",
    Reason.RECORD_ID_MISSING: "the record lacks its member or its id, by which it could be deleted later",
    Reason.BAD_TIMESTAMP: "the timestamp is no time: ISO 8601 with a zone in XML, seconds since 1970 in JSON",
    Reason.NOT_A_RECORD: "the record is not JSON or lacks a field or has one of the wrong type",
    Reason.UNKNOWN_STATUS: "the record's status is none of Received, Active, Withdrawn, Deleted",
    Reason.UNREADABLE_PICTURE: "the file is no picture that can be decoded",
    Reason.LOW_QUALITY: "the picture's PDQ quality is below 50",
}


class Place(NamedTuple):
    """Where a record stands in its source.

    Attributes:
        record: number of the record, from 1 on; comments and blank lines are no records.
        line: number of the line it begins on, from 1 on; 0 where a source has no lines.
        offset: byte offset of its first byte.
    """

    record: int
    line: int
    offset: int


class Reject(NamedTuple):
    """A rejected record."""

    place: Place
    reason: Reason


class _Line(msgspec.Struct):
    source: str
    record: int
    line: int
    offset: int
    reason: str
    says: str


def rejects_path(into: Path) -> Path:
    """The side file of the list file `into`."""
    return into.with_name(into.name + ".rejects.jsonl")


class RejectFile:
    """Counts rejects and writes them to a temporary file that `publish` puts in place."""

    def __init__(self, path: Path) -> None:
        self.counts: Counter[Reason] = Counter()
        self._draft = Draft(path)
        self.close = self._draft.close

    def write(self, source: str, rejects: Iterable[Reject]) -> None:
        """Append `rejects` of the source called `source`."""
        lines = []
        for (record, line, offset), reason in rejects:
            self.counts[reason] += 1
            lines.append(_Line(source, record, line, offset, reason.value, reason.says))
        self._draft.file.write(msgspec.json.Encoder().encode_lines(lines))

    def publish(self) -> Path | None:
        """Put the file in place, or remove an older one if nothing was rejected; its path if there is one."""
        if not self.counts:
            self._draft.path.unlink(missing_ok=True)
            return None
        self._draft.publish()
        return self._draft.path
