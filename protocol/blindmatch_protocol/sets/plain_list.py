"""The list in the clear, for whoever compares plaintext hashes with it.

Two set files: `epoch.bin`, which tells a device the epoch and what else a design says there, and `list.bin`
with the hashes, ids and salts, and the labels' signatures if there are any.

Multi-index hashing: the entries near a hash, from a few buckets instead of the whole list.

Source: Norouzi, Punjani and Fleet 2012, "Fast Search in Hamming Space with Multi-Index Hashing", section 2.
A hash is cut into 16 bands of 16 bits. Of 31 errors one band has at most one (2 x 16 = 32 > 31), so every
entry within 31 bits lies in one of the 17 buckets around one of the hash's bands: nothing is missed.

    STARTS  for each band 65,537 numbers: where the rows of each value begin
    ROWS    for each band all entries, by the value of their band, then by place

The index follows from the list, so whoever has the list can check it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.publishing import HASH_BYTES, SALT_BYTES, reserved_rows
from blindmatch_protocol.contract.steps import RESERVED, SIGNATURE_BYTES
from blindmatch_protocol.picture.pdq import distances
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter

EPOCH_FILE: Final = "epoch.bin"
LIST_FILE: Final = "list.bin"

KIND_HASHES: Final = 0x10
"""Of a list in the clear: hashes, 32 each."""
KIND_IDS: Final = 0x11
"""Of a list in the clear: ids, 8 each, little-endian."""
KIND_SALTS: Final = 0x12
"""Of a list in the clear: salts, 16 each."""
KIND_SIGNATURES: Final = 0x13
"""Of a list in the clear: signatures of the labels, 64 each."""
BATCH: Final = 1 << 16


Signer: TypeAlias = Callable[[bm.EntryBatch], Rows]
"""Gives a batch's signatures, uint8 (n, 64)."""


class PlainList(bm.EntryBatch, frozen=True, kw_only=True):
    """The opened list.

    Attributes:
        signatures: of the labels, uint8 (n, 64), or (n, 0) if they have none.
    """

    signatures: Rows

    def match(self, own: bytes, distance: int) -> bm.Label | None:
        """The label of the entry nearest to a hash of 32 bytes, within `distance`; None if there is none."""
        index = nearest(own, distance, self.hashes)
        return None if index is None else self.label(index)

    def label(self, index: int) -> bm.Label:
        signatures = self.signatures[index].tobytes()
        return bm.Label(
            self.hashes[index].tobytes(),
            int(self.ids[index]),
            self.salts[index].tobytes(),
            signatures=signatures,
        )


def nearest(own: bytes, distance: int, hashes: Rows) -> int | None:
    """Index of the nearest of `hashes`, uint8 (m, 32), within `distance` of `own`: the first of several."""
    if not len(hashes):
        return None
    apart = distances(np.frombuffer(own, np.uint8).reshape(1, HASH_BYTES), hashes)[0]
    index = int(apart.argmin())
    return index if apart[index] <= distance else None


def write_epoch(info: bm.Info, parameters: bm.SetParameters, entries: int, out: bm.Workspace) -> None:
    """Write `epoch.bin`: the design, its version, the epoch and the number of entries."""
    write_sections(EPOCH_FILE, info, parameters, entries, out, {})


def write_sections(
    name: str,
    info: bm.Info,
    parameters: bm.SetParameters,
    entries: int,
    out: bm.Workspace,
    sections: Mapping[int, bytes],
) -> None:
    """Write a set file of small sections, by their kinds."""
    writer = SetFileWriter(out.create(name), identity_of(info, parameters))
    for kind, content in sections.items():
        writer.section(kind, [content], 1)
    writer.finish(entries)


def open_epoch(info: bm.Info, files: bm.Buffers, epoch: int | None) -> int:
    """The epoch in `epoch.bin`; `SetFileError` if it is missing, altered, or of another design or epoch."""
    return open_file(info, files, EPOCH_FILE, epoch).identity.epoch


def open_file(info: bm.Info, files: bm.Buffers, name: str, epoch: int | None) -> SetFile:
    """A set file of a design; `SetFileError` if it is missing, altered, or of another design or epoch."""
    if name not in files:
        raise SetFileError(f"{name}: missing")
    return SetFile(files[name], name, info.name, info.version, epoch)


def write_list(
    info: bm.Info,
    entries: bm.EntrySource,
    parameters: bm.SetParameters,
    out: bm.Workspace,
    progress: bm.Progress,
    sign: Signer | None = None,
) -> bytes:
    """Write `list.bin`, a batch at a time, in a pass over `entries` for each column; its overall digest."""
    writer = SetFileWriter(out.create(LIST_FILE), identity_of(info, parameters))
    columns: dict[int, Signer | Callable[[bm.EntryBatch], npt.NDArray[Any]]] = {
        KIND_HASHES: lambda batch: batch.hashes,
        KIND_IDS: lambda batch: batch.ids,
        KIND_SALTS: lambda batch: batch.salts,
    }
    if sign is not None:
        columns[KIND_SIGNATURES] = sign
    *_, last = columns
    for kind, column in columns.items():
        told = progress if kind == last else bm.no_progress
        writer.section(kind, _written(entries, column, told), len(entries))
    return writer.finish(len(entries))


def _written(
    entries: bm.EntrySource, column: Callable[[bm.EntryBatch], npt.NDArray[Any]], progress: bm.Progress
) -> Iterator[bytes]:
    done = 0
    total = len(entries)
    for batch in entries.batches(BATCH):
        yield np.ascontiguousarray(column(batch)).tobytes()
        done += len(batch)
        progress(done, total)


def open_list(info: bm.Info, files: bm.Buffers, epoch: int | None = None) -> PlainList:
    """Open `list.bin`; `SetFileError` if it is missing, altered, or of another design or epoch."""
    return held_list(open_file(info, files, LIST_FILE, epoch))


def held_list(file: SetFile) -> PlainList:
    """The list in an opened `list.bin`; `SetFileError` if it was altered, has more signatures than lists are
    written with, or an entry bears a reserved id or salt."""
    if file.count(KIND_SIGNATURES) > 1:
        raise SetFileError(f"{LIST_FILE}: more than one section of signatures")
    signed = SIGNATURE_BYTES * file.count(KIND_SIGNATURES)
    ids = column(file, KIND_IDS, np.uint64, 1).reshape(-1)
    salts = column(file, KIND_SALTS, np.uint8, SALT_BYTES)
    if reserved_rows(ids, salts).any():
        raise SetFileError(f"{LIST_FILE}: {RESERVED}, and one has it")
    return PlainList(
        column(file, KIND_HASHES, np.uint8, HASH_BYTES),
        ids,
        salts,
        signatures=column(file, KIND_SIGNATURES, np.uint8, signed)
        if signed
        else np.zeros((file.entries, 0), np.uint8),
    )


def column(file: SetFile, kind: int, dtype: Any, width: int) -> npt.NDArray[Any]:
    """A section as a matrix of `width` columns, one row an entry; `SetFileError` if it is missing, was
    altered, or does not hold so many rows."""
    raw = file.section(kind)
    if len(raw) != file.entries * width * np.dtype(dtype).itemsize:
        raise SetFileError(f"section of kind {kind:#x} does not hold {file.entries} rows of {width}")
    return np.frombuffer(raw, dtype).reshape(file.entries, width)


def keys_in(file: SetFile, kind: int, count: int | None = None, length: int = 32) -> list[bytes]:
    """The keys in a section, `count` of them or at least one; `SetFileError` for another number of bytes."""
    raw = bytes(file.section(kind))
    if not raw or len(raw) % length or (count is not None and len(raw) != length * count):
        raise SetFileError(f"section of kind {kind:#x} must hold {count or 'some'} keys of {length} bytes")
    return [raw[at : at + length] for at in range(0, len(raw), length)]


def identity_of(info: bm.Info, parameters: bm.SetParameters) -> Identity:
    """What a file of a design's epoch says of itself."""
    values = {p.name: parameters.value(info, p.name) for p in info.parameters}
    return Identity(info.name, info.version, parameters.epoch, values)


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
        """Make sure that it is the index of these hashes; `SetFileError` if it is not."""
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
