"""Rejected records: the closed list of reasons, their places, and the side file they go to.

The side file is JSON lines, one object a rejected record, in the order of the source. It holds places and
reasons and never the record's text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from blindmatch_server.curator.replacing import Draft


class Reason(StrEnum):
    """Why a record was rejected.

    Attributes:
        says: one sentence for people.
    """

    says: str

    def __new__(cls, value: str, says: str) -> Self:
        made = str.__new__(cls, value)
        made._value_, made.says = value, says
        return made

    NOT_A_PDQ_LINE = "not-a-pdq-line", "a line is 'pdq', one space and 64 hex digits"
    LINE_TOO_LONG = "line-too-long", "the line is longer than 4096 bytes (64 KiB in JSON)"
    NOT_UTF8 = "not-utf-8", "the record is not valid UTF-8"
    HASH_MISSING = "hash-missing", "there is no PDQ hash in the record"
    HASH_WHITE_SPACE = "hash-white-space", "there is white space before, in or after the hash"
    HASH_PREFIXED = "hash-prefixed", "the hash begins with 0x; only the 64 digits are taken"
    HASH_NOT_HEX = "hash-not-hex", "the hash has a character that is no hex digit"
    HASH_UPPER_CASE = (
        "hash-upper-case",
        "the hash has upper-case digits; PDQ hashes are written in lower case",
    )
    HASH_TOO_SHORT = "hash-too-short", "the hash has fewer than 64 hex digits"
    HASH_TOO_LONG = "hash-too-long", "the hash has more than 64 hex digits"
    HASH_ALL_ZERO = "hash-all-zero", "all bits are zero: no picture hashes to that"
    HASH_UNBALANCED = (
        "hash-unbalanced",
        "fewer than 64 or more than 192 of the 256 bits are ones; PDQ sets 128",
    )
    OTHER_SIGNAL_TYPE = (
        "other-signal-type",
        "the signal is of another type; only PDQ hashes of pictures are taken",
    )
    WRONG_COLUMNS = "wrong-columns", "the line has more or fewer columns than the header"
    BAD_QUOTES = "bad-quotes", "the quotes of the line do not close; a quoted field ends on its line"
    VIDEO = "video", "the record is of a video; only pictures are taken"
    SEVERAL_HASHES = "several-hashes", "the record has more than one PDQ hash"
    RECORD_ID_MISSING = (
        "record-id-missing",
        "the record lacks its member or its id, by which it could be deleted later",
    )
    BAD_TIMESTAMP = (
        "bad-timestamp",
        "the timestamp is no time: ISO 8601 with a zone in XML, seconds since 1970 in JSON",
    )
    NOT_A_RECORD = "not-a-record", "the record is not JSON or lacks a field or has one of the wrong type"
    UNKNOWN_STATUS = "unknown-status", "the record's status is none of Received, Active, Withdrawn, Deleted"
    UNREADABLE_PICTURE = "unreadable-picture", "the file is no picture that can be decoded"
    LOW_QUALITY = "low-quality", "the picture's PDQ quality is below 50"


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
