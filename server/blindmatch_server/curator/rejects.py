"""Hashes from hex, rejected records, the closed list of reasons, and the side file that they go to.

A hash is 64 lower-case hex digits of which the bits are roughly balanced. PDQ sets each bit whose coefficient
is above the median, so that 128 of 256 are ones save for ties.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows

from blindmatch_server.curator.hashlist import Draft


class Reason(StrEnum):
    """Why a record was rejected; `says` is a sentence for people."""

    says: str

    def __new__(cls, value: str, says: str) -> Self:
        made = str.__new__(cls, value)
        made._value_ = value
        made.says = says
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
    place: Place
    reason: Reason


def rejects_path(into: Path) -> Path:
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
        for place, reason in rejects:
            self.counts[reason] += 1
            told = {"reason": reason.value, "says": reason.says}
            lines.append({"source": source, **place._asdict(), **told})
        self._draft.file.write(msgspec.json.Encoder().encode_lines(lines))

    def publish(self) -> Path | None:
        """Put the file in place, or remove an older one if nothing was rejected; its path if there is one."""
        if not self.counts:
            self._draft.path.unlink(missing_ok=True)
            return None
        self._draft.publish()
        return self._draft.path


DIGITS: Final = 64
LEAST_ONES: Final = 64
MOST_ONES: Final = 192

_NO_DIGIT = 255
_NIBBLES = np.full(256, _NO_DIGIT, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)
_HEX = re.compile(rb"[0-9a-fA-F]*")
_LOWER = re.compile(rb"[0-9a-f]*")


def decode_hex(digits: Rows) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Hashes, uint8 (n, 32), of ASCII hex `digits`, uint8 (n, 64), and which of them are acceptable, bool
    (n,); the others' rows mean nothing."""
    nibbles = _NIBBLES[digits]
    hashes: Rows = np.bitwise_or(nibbles[:, 0::2] << 4, nibbles[:, 1::2] & 15, dtype=np.uint8)
    return hashes, np.asarray((nibbles.max(axis=1) < 16) & are_balanced(hashes))


def count_ones(hashes: Rows) -> npt.NDArray[np.int64]:
    """Number of ones of each hash, shape (n,), for uint8 (n, 32)."""
    words = np.ascontiguousarray(hashes).view(np.uint64)
    return np.asarray(np.bitwise_count(words).sum(axis=1, dtype=np.int64))


def are_balanced(hashes: Rows) -> npt.NDArray[np.bool_]:
    """Which hashes, uint8 (n, 32), have 64 to 192 ones; shape (n,)."""
    count = count_ones(hashes)
    return (count >= LEAST_ONES) & (count <= MOST_ONES)


def fault_of(raw: bytes) -> Reason | None:
    """Why `raw` is refused as a hash; None if `decode_hex` takes it."""
    if not raw:
        return Reason.HASH_MISSING
    if not _LOWER.fullmatch(raw):
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return Reason.NOT_UTF8
        if any(character.isspace() for character in text):
            return Reason.HASH_WHITE_SPACE
        if text[:2] in ("0x", "0X"):
            return Reason.HASH_PREFIXED
        return Reason.HASH_UPPER_CASE if _HEX.fullmatch(raw) else Reason.HASH_NOT_HEX
    if len(raw) != DIGITS:
        return Reason.HASH_TOO_SHORT if len(raw) < DIGITS else Reason.HASH_TOO_LONG
    count = int(raw, 16).bit_count()
    if LEAST_ONES <= count <= MOST_ONES:
        return None
    return Reason.HASH_UNBALANCED if count else Reason.HASH_ALL_ZERO
