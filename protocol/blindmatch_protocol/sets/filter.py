"""Membership of pseudorandom keys at 2^-40, in about 42.2 bits an entry: an Elias-Fano coded set.

n keys fall into n buckets. How many are in each bucket is written in unary (2 bits an entry); of each key, 40
further bits are kept as its fingerprint, in the order of the buckets (Elias 1974, "Efficient storage and
retrieval by content and address of static files"); docs/set-format.md. A false "yes" cannot be told from a
true one.

Fingerprints may be shorter, down to 16 bits: an absent key then passes with 2^-16, since a bucket holds one
key on average. Such a filter is of version 2, which states their length.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Buffer, Rows
from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted

KIND: Final = 0x03
"""A filter, of a set of kind filter."""
KEY_BYTES: Final = 9
"""Bytes at the front of a key that count: 4 for the bucket, 5 for the fingerprint."""
FINGERPRINT_BYTES: Final = 5
"""Of a filter of version 1."""
LEAST_FINGERPRINT: Final = 2
_FRONT: Final = KEY_BYTES - FINGERPRINT_BYTES
"""Bytes at the front of a key that choose its bucket."""
BLOCK: Final = 512
"""Buckets between two starts."""
MOST_ENTRIES: Final = 1 << 26
"""Beyond, 32 bits are too few to choose buckets evenly."""

MOST_IN_BUCKET: Final = 64
"""Buckets hold one entry on average; one of so many does not come by chance."""

MAGIC: Final = b"BMFILTR\n"
VERSION: Final = 1
SHORT_VERSION: Final = 2
"""Of a filter whose fingerprints are shorter; the header states their length in the place of a zero."""
HEADER: Final = struct.Struct(">8sIIQ40x")

_STRETCH = 4096
"""Keys looked up at once, so that a batch takes a few megabytes of working memory."""

_CHECKED = 1 << 16
"""Bytes of bucket sizes checked at once."""

_Numbers: TypeAlias = npt.NDArray[np.int64]


def build(keys: Rows, order: npt.NDArray[np.uint32], fingerprint: int = FINGERPRINT_BYTES) -> list[Buffer]:
    """Return the section for distinct keys, as parts to write.

    Args:
        keys: uint8 (n, 9 or more).
        order: sorts them as byte strings.
        fingerprint: bytes kept of each key, 2 to 5.

    Raises:
        DesignError: There are too many keys, or fingerprints are of another length.
    """
    if not LEAST_FINGERPRINT <= fingerprint <= FINGERPRINT_BYTES:
        allowed = f"{LEAST_FINGERPRINT} to {FINGERPRINT_BYTES}"
        raise DesignError(f"a filter's fingerprints have {allowed} bytes, not {fingerprint}")
    count = len(keys)
    if count > MOST_ENTRIES:
        raise DesignError(f"at most {MOST_ENTRIES} entries fit one filter")
    buckets = _buckets(keys[order, :4], count)
    starts = np.searchsorted(buckets, np.arange(0, count + 1, BLOCK)).astype("<u8")
    bits = np.zeros(2 * count, np.uint8)
    bits[buckets + np.arange(count)] = 1
    prints = keys[order, _FRONT : _FRONT + fingerprint]
    header = _header(count, fingerprint)
    return [header, starts.tobytes(), np.packbits(bits).tobytes(), prints.tobytes()]


def _buckets(keys: Rows, count: int) -> _Numbers:
    """The bucket of each key, int64 (n,), in ascending order if the keys are."""
    fronts = np.ascontiguousarray(keys[:, :4]).view(">u4").ravel().astype(np.uint64)
    return ((fronts * np.uint64(count)) >> np.uint64(32)).astype(np.int64)


class Filter(Redacted, Struct, frozen=True, eq=False):
    """A filter, opened over its section.

    Attributes:
        starts: entries before bucket 0, 512, ..., uint64.
        unary: bucket sizes, packed bits.
        prints: fingerprints, uint8 (count, 2 to 5).
    """

    count: int
    starts: npt.NDArray[np.uint64]
    unary: Rows
    prints: Rows

    @property
    def fingerprint(self) -> int:
        """Bytes kept of each key."""
        return int(self.prints.shape[1])

    @classmethod
    def open(cls, section: memoryview) -> Filter:
        """Open a section whose digest has been checked; `SetFileError` if it is no filter of this version, or
        its pieces do not fit its length."""
        count, fingerprint = _read_header(bytes(section[: HEADER.size]))
        starts_end = HEADER.size + 8 * (count // BLOCK + 1)
        unary_end = starts_end + -(-2 * count // 8)
        if len(section) != unary_end + fingerprint * count:
            raise SetFileError("filter: the section does not have the length that belongs to its entries")
        starts = np.frombuffer(section[HEADER.size : starts_end], "<u8")
        if (starts > count).any() or (starts[1:] < starts[:-1]).any():
            raise SetFileError("filter: the starts do not ascend to the number of entries")
        prints = np.frombuffer(section[unary_end:], np.uint8).reshape(count, fingerprint)
        return cls(count, starts, np.frombuffer(section[starts_end:unary_end], np.uint8), prints)

    def check(self) -> None:
        """Make sure that starts and bucket sizes fit together, so that a look-up ends within its bucket;
        `SetFileError` if they do not, or a bucket is larger than chance makes one."""
        edge = -1
        seen = 0
        for at in range(0, len(self.unary), _CHECKED):
            bits = np.unpackbits(self.unary[at : at + _CHECKED])[: 2 * self.count - 8 * at]
            zeros = (bits == 0).nonzero()[0] + 8 * at
            self._check_stretch(zeros, edge, seen)
            edge = int([edge, *zeros[-1:]][-1])
            seen = seen + len(zeros)
        used = 2 * self.count % 8
        padded = used and np.unpackbits(self.unary[-1:])[used:].any()
        if seen != self.count or edge != 2 * self.count - 1 or self.starts[0] or padded:
            raise SetFileError("filter: the buckets do not hold the entries")

    def _check_stretch(self, zeros: _Numbers, edge: int, seen: int) -> None:
        """Check buckets by the zeros that end them; `edge` is the last zero before, `seen` their number."""
        ends = np.arange(seen + 1, seen + len(zeros) + 1)
        if seen + len(zeros) > self.count or np.diff(zeros, prepend=edge).max(initial=0) > MOST_IN_BUCKET:
            raise SetFileError("filter: a bucket has more entries than come by chance, or is one too many")
        whole = ends % BLOCK == 0
        if (self.starts[ends[whole] // BLOCK] != (zeros + 1 - ends)[whole]).any():
            raise SetFileError("filter: the starts are not those of the buckets")

    def contains(self, keys: Rows) -> npt.NDArray[np.bool_]:
        """Which of `keys`, uint8 (n, 9 or more), are present, bool (n,); wrong for one absent key in 2^40,
        or with fingerprints of f bytes in 2^(8 f)."""
        if not self.count or not len(keys):
            return np.zeros(len(keys), np.bool_)
        parts = [keys[at : at + _STRETCH] for at in range(0, len(keys), _STRETCH)]
        return np.concatenate([self._contains(part) for part in parts])

    def _contains(self, keys: Rows) -> npt.NDArray[np.bool_]:
        first, sizes = self._spans(_buckets(keys, self.count))
        wanted = keys[:, _FRONT : _FRONT + self.fingerprint]
        found = np.zeros(len(keys), np.bool_)
        for step in range(int(sizes.max())):
            rows = (sizes > step).nonzero()[0]
            at = np.minimum(first[rows] + step, self.count - 1)
            found[rows] |= (self.prints[at] == wanted[rows]).all(axis=1)
        return found

    def _spans(self, buckets: _Numbers) -> tuple[_Numbers, _Numbers]:
        """First entry and size of each bucket, int64 (n,) each.

        Bucket j of a block lies between the zeros j - 1 and j of the block's bits; the ones before are the
        entries before.
        """
        blocks, inside = np.divmod(buckets, BLOCK)
        before = self.starts[blocks].astype(np.int64)
        start = before + blocks * BLOCK
        following = blocks + 1
        skip = start % 8
        inner = following < len(self.starts)
        entries = np.where(inner, self.starts[np.where(inner, following, 0)].astype(np.int64), self.count)
        zeros = self._zeros_until(start // 8, entries + np.minimum(following * BLOCK, self.count), skip)
        here = (zeros <= inside[:, None]).sum(axis=1)
        previous = np.where(inside > 0, (zeros < inside[:, None]).sum(axis=1), skip - 1)
        return before + previous - skip + 1 - inside, here - previous - 1

    def _zeros_until(self, start: _Numbers, end: _Numbers, skip: _Numbers) -> npt.NDArray[np.int32]:
        """For each row, how many zeros there are up to each bit from byte `start` on, `skip` bits aside."""
        width = int((end // 8 - start).max()) + 1
        columns = np.minimum(start[:, None] + np.arange(width), len(self.unary) - 1)
        bits = np.unpackbits(self.unary[columns], axis=1)
        bits[:, :8][np.arange(8) < skip[:, None]] = 1
        return np.cumsum(bits == 0, axis=1, dtype=np.int32)


def _header(count: int, fingerprint: int) -> bytes:
    if fingerprint == FINGERPRINT_BYTES:
        return HEADER.pack(MAGIC, VERSION, 0, count)
    return HEADER.pack(MAGIC, SHORT_VERSION, fingerprint, count)


def _read_header(raw: bytes) -> tuple[int, int]:
    """The number of keys, and the bytes of a fingerprint."""
    if len(raw) != HEADER.size:
        raise SetFileError("filter: the section is truncated")
    magic, version, stated, count = HEADER.unpack(raw)
    if magic != MAGIC:
        raise SetFileError("filter: the magic number is missing")
    if version not in (VERSION, SHORT_VERSION):
        read = f"{VERSION} or {SHORT_VERSION}"
        raise SetFileError(f"filter: version {version} is none that this program reads, {read}")
    fingerprint = FINGERPRINT_BYTES if version == VERSION else stated
    is_known = LEAST_FINGERPRINT <= fingerprint <= FINGERPRINT_BYTES
    if not is_known or raw != _header(count, fingerprint) or count > MOST_ENTRIES:
        raise SetFileError("filter: the header is not canonical")
    return int(count), int(fingerprint)
