"""The list in the clear, for whoever compares plaintext hashes with it.

Two set files: `epoch.bin`, which tells a device the epoch and what else a design says there, and `list.bin`
with the hashes, ids and salts, and the labels' signatures if there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import (
    Buffers,
    EntryBatch,
    EntrySource,
    Info,
    Label,
    Progress,
    SetParameters,
    Workspace,
    no_progress,
)
from blindmatch_protocol.contract.entries import HASH_BYTES, SALT_BYTES
from blindmatch_protocol.contract.outcome import SIGNATURE_BYTES
from blindmatch_protocol.picture.distance import distances
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


Signer: TypeAlias = Callable[[EntryBatch], Rows]
"""Gives a batch's signatures, uint8 (n, 64)."""


class PlainList(Redacted, Struct, frozen=True):
    """The opened list.

    Attributes:
        hashes: uint8 (n, 32).
        ids: uint64 (n,).
        salts: uint8 (n, 16).
        signatures: of the labels, uint8 (n, 64), or (n, 0) if they have none.
    """

    hashes: Rows
    ids: npt.NDArray[np.uint64]
    salts: Rows
    signatures: Rows

    def match(self, own: bytes, distance: int) -> Label | None:
        """The label of the entry nearest to a hash of 32 bytes, within `distance`; None if there is none."""
        index = nearest(own, distance, self.hashes)
        return None if index is None else self.label(index)

    def label(self, index: int) -> Label:
        """The label of the entry at `index`."""
        signatures = self.signatures[index].tobytes()
        return Label(
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


def write_epoch(info: Info, parameters: SetParameters, entries: int, out: Workspace) -> None:
    """Write `epoch.bin`: the design, its version, the epoch and the number of entries."""
    write_sections(EPOCH_FILE, info, parameters, entries, out, {})


def write_sections(
    name: str,
    info: Info,
    parameters: SetParameters,
    entries: int,
    out: Workspace,
    sections: Mapping[int, bytes],
) -> None:
    """Write a set file of small sections, by their kinds."""
    writer = SetFileWriter(out.create(name), identity_of(info, parameters))
    for kind, content in sections.items():
        writer.section(kind, [content], 1)
    writer.finish(entries)


def open_epoch(info: Info, files: Buffers, epoch: int | None) -> int:
    """The epoch in `epoch.bin`.

    Raises:
        SetFileError: if it is missing, altered, or of another design or epoch.
    """
    return open_file(info, files, EPOCH_FILE, epoch).identity.epoch


def open_file(info: Info, files: Buffers, name: str, epoch: int | None) -> SetFile:
    """A set file of a design.

    Raises:
        SetFileError: if it is missing, altered, or of another design or epoch.
    """
    if name not in files:
        raise SetFileError(f"{name}: missing")
    return SetFile(files[name], name, info.name, info.version, epoch)


def write_list(
    info: Info,
    entries: EntrySource,
    parameters: SetParameters,
    out: Workspace,
    progress: Progress,
    sign: Signer | None = None,
) -> bytes:
    """Write `list.bin`, a batch at a time, in a pass over `entries` for each column; its overall digest."""
    writer = SetFileWriter(out.create(LIST_FILE), identity_of(info, parameters))
    columns: dict[int, Signer | Callable[[EntryBatch], npt.NDArray[Any]]] = {
        KIND_HASHES: lambda batch: batch.hashes,
        KIND_IDS: lambda batch: batch.ids,
        KIND_SALTS: lambda batch: batch.salts,
    }
    if sign is not None:
        columns[KIND_SIGNATURES] = sign
    *quiet, last = columns
    for kind in quiet:
        writer.section(kind, _written(entries, columns[kind], no_progress), len(entries))
    writer.section(last, _written(entries, columns[last], progress), len(entries))
    return writer.finish(len(entries))


def _written(
    entries: EntrySource, column: Callable[[EntryBatch], npt.NDArray[Any]], progress: Progress
) -> Iterator[bytes]:
    done, total = 0, len(entries)
    for batch in entries.batches(BATCH):
        yield np.ascontiguousarray(column(batch)).tobytes()
        done += len(batch)
        progress(done, total)


def open_list(info: Info, files: Buffers, epoch: int | None = None) -> PlainList:
    """Open `list.bin`.

    Raises:
        SetFileError: if it is missing, altered, or of another design or epoch.
    """
    return held_list(open_file(info, files, LIST_FILE, epoch))


def held_list(file: SetFile) -> PlainList:
    """The list in an opened `list.bin`.

    Raises:
        SetFileError: if it was altered, or has more signatures than lists are written with.
    """
    if file.count(KIND_SIGNATURES) > 1:
        raise SetFileError(f"{LIST_FILE}: more than one section of signatures")
    signed = SIGNATURE_BYTES * file.count(KIND_SIGNATURES)
    return PlainList(
        column(file, KIND_HASHES, np.uint8, HASH_BYTES),
        column(file, KIND_IDS, np.uint64, 1).reshape(-1),
        column(file, KIND_SALTS, np.uint8, SALT_BYTES),
        column(file, KIND_SIGNATURES, np.uint8, signed) if signed else np.zeros((file.entries, 0), np.uint8),
    )


def all_hashes(entries: EntrySource) -> Rows:
    """The hashes of all entries, uint8 (n, 32)."""
    parts = [batch.hashes for batch in entries.batches(BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, HASH_BYTES), np.uint8)


def column(file: SetFile, kind: int, dtype: Any, width: int) -> npt.NDArray[Any]:
    """A section as a matrix of `width` columns, one row an entry.

    Raises:
        SetFileError: if it is missing, was altered, or does not hold so many rows.
    """
    raw = file.section(kind)
    if len(raw) != file.entries * width * np.dtype(dtype).itemsize:
        raise SetFileError(f"section of kind {kind:#x} does not hold {file.entries} rows of {width}")
    return np.frombuffer(raw, dtype).reshape(file.entries, width)


def identity_of(info: Info, parameters: SetParameters) -> Identity:
    """What a file of a design's epoch says of itself."""
    values = {p.name: parameters.value(info, p.name) for p in info.parameters}
    return Identity(info.name, info.version, parameters.epoch, values)
