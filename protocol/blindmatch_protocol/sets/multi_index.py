"""Multi-index hashing: the entries near a hash, from a few buckets instead of the whole list.

Source: Norouzi, Punjani and Fleet 2012, "Fast Search in Hamming Space with Multi-Index Hashing", section 2.
A hash is cut into 16 bands of 16 bits. Of 31 errors one band has at most one (2 x 16 = 32 > 31), so every
entry within 31 bits lies in one of the 17 buckets around one of the hash's bands: nothing is missed.

    STARTS  for each band 65,537 numbers: where the rows of each value begin
    ROWS    for each band all entries, by the value of their band, then by place

The index follows from the list, so whoever has the list can check it.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.setfile import SetFile, SetFileWriter

KIND_STARTS: Final = 0x14
"""Of `index.bin`: for each of 16 bands where a value's rows begin, 65,537 times 4, little-endian."""
KIND_ROWS: Final = 0x15
"""Of `index.bin`: the rows by value, 4 each, little-endian."""
BANDS: Final = 16
VALUES: Final = 1 << 16
MOST_DISTANCE: Final = 2 * BANDS - 1
"""Entries up to here are all among the candidates."""

Numbers: TypeAlias = npt.NDArray[np.uint32]

_AROUND: Final = np.array([0, *(1 << bit for bit in range(16))], np.uint32)
"""A value's own bucket, and those of the values one bit away."""


class MultiIndex(Redacted, Struct, frozen=True):
    """The index of a list of n entries, in an opened set file; a band is checked when it is first used."""

    file: SetFile

    def candidates(self, own: bytes) -> npt.NDArray[np.intp]:
        """Rows of the list, each once and in order: all within 31 bits of `own`, 32 bytes, and others."""
        found = [
            self.rows(band)[first:last]
            for band, value in enumerate(_bands(np.frombuffer(own, np.uint8).reshape(1, 32))[0])
            for first, last in _buckets(self.starts(band), int(value))
        ]
        return np.unique(np.concatenate(found)).astype(np.intp)

    def starts(self, band: int) -> Numbers:
        """Where the rows of each value begin, and their number: uint32 (65,537,)."""
        return _numbers(self.file, KIND_STARTS, band, VALUES + 1)

    def rows(self, band: int) -> Numbers:
        """All rows of the list by the value of the band: uint32 (n,)."""
        return _numbers(self.file, KIND_ROWS, band, self.file.entries)

    def check(self, hashes: Rows) -> None:
        """Make sure that it is the index of these hashes.

        Raises:
            SetFileError: if it is not.
        """
        for band, values in enumerate(_bands(hashes).T):
            rows, starts = _sorted(values)
            if not (np.array_equal(rows, self.rows(band)) and np.array_equal(starts, self.starts(band))):
                raise SetFileError(f"index: band {band} is not that of the list")


def write_index(writer: SetFileWriter, hashes: Rows) -> None:
    """Append the index of `hashes`, uint8 (n, 32), two sections a band."""
    for values in _bands(hashes).T:
        rows, starts = _sorted(values)
        writer.section(KIND_STARTS, [starts.tobytes()], len(starts))
        writer.section(KIND_ROWS, [rows.tobytes()], len(rows))


def _bands(hashes: Rows) -> npt.NDArray[np.uint16]:
    return np.ascontiguousarray(hashes).view(np.uint16).reshape(-1, BANDS)


def _sorted(values: npt.NDArray[np.uint16]) -> tuple[Numbers, Numbers]:
    """Rows by their value, and where the rows of each value begin."""
    rows = np.argsort(values, kind="stable").astype(np.uint32)
    counts = np.bincount(values, minlength=VALUES)
    return rows, np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)


def _buckets(starts: Numbers, value: int) -> npt.NDArray[np.uint32]:
    """First row and the one after the last of each bucket around `value`, (17, 2)."""
    around = _AROUND ^ np.uint32(value)
    return np.stack([starts[around], starts[around + 1]], axis=1)


def _numbers(file: SetFile, kind: int, band: int, count: int) -> Numbers:
    raw = file.section(kind, band)
    if len(raw) != 4 * count:
        raise SetFileError(f"index: band {band} does not hold {count} numbers")
    return np.frombuffer(raw, np.uint32)
