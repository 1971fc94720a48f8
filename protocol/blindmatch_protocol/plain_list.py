"""The list in the clear, for roles of designs that match plaintext hashes.

Two set files: `epoch.bin` without sections, which tells a device the epoch and nothing else, and
`list.bin` with the hashes, ids and salts, which only the role that matches gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Buffers, EntrySource, Info, Label, Progress, SetParameters, Workspace
from blindmatch_protocol.contract.entries import HASH_BYTES, SALT_BYTES
from blindmatch_protocol.errors import SetFileError
from blindmatch_protocol.picture.distance import distances
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter

EPOCH_FILE: Final = "epoch.bin"
LIST_FILE: Final = "list.bin"

KIND_HASHES: Final = 0x10
KIND_IDS: Final = 0x11
KIND_SALTS: Final = 0x12
BATCH: Final = 1 << 16


@dataclass(frozen=True, slots=True, repr=False)
class PlainList:
    """The opened list.

    Attributes:
        hashes: uint8 (n, 32).
        ids: uint64 (n,).
        salts: uint8 (n, 16).
    """

    hashes: Rows
    ids: npt.NDArray[np.uint64]
    salts: Rows

    def match(self, hashes: Rows, distance: int) -> list[Label | None]:
        """For each of `hashes`, uint8 (m, 32): the label of the nearest entry within `distance`, or None."""
        return [self._nearest(hashes[row : row + 1], distance) for row in range(len(hashes))]

    def _nearest(self, asked: Rows, distance: int) -> Label | None:
        if not len(self.hashes):
            return None
        apart = distances(asked, self.hashes)[0]
        index = int(apart.argmin())
        return self.label(index) if apart[index] <= distance else None

    def label(self, index: int) -> Label:
        """The label of the entry at `index`."""
        return Label(self.hashes[index].tobytes(), int(self.ids[index]), self.salts[index].tobytes())


def write_epoch(info: Info, parameters: SetParameters, entries: int, out: Workspace) -> None:
    """Write `epoch.bin`: the design, its version, the epoch and the number of entries."""
    SetFileWriter(out.create(EPOCH_FILE), _identity(info, parameters)).finish(entries)


def open_epoch(info: Info, files: Buffers, epoch: int | None) -> int:
    """The epoch in `epoch.bin`.

    Raises:
        SetFileError: if it is missing, altered, or of another design or epoch.
    """
    return _open(info, files, EPOCH_FILE, epoch).identity.epoch


def write_list(
    info: Info, entries: EntrySource, parameters: SetParameters, out: Workspace, progress: Progress
) -> None:
    """Write `list.bin`, in three passes over `entries`, a batch at a time."""
    writer = SetFileWriter(out.create(LIST_FILE), _identity(info, parameters))
    total = len(entries)

    def column(name: str, report: bool) -> Iterator[bytes]:
        done = 0
        for batch in entries.batches(BATCH):
            yield np.ascontiguousarray(getattr(batch, name)).tobytes()
            done += len(batch)
            if report:
                progress(done, total)

    writer.section(KIND_HASHES, column("hashes", False), total)
    writer.section(KIND_IDS, column("ids", False), total)
    writer.section(KIND_SALTS, column("salts", True), total)
    writer.finish(total)


def open_list(info: Info, files: Buffers) -> PlainList:
    """Open `list.bin`.

    Raises:
        SetFileError: if it is missing, altered, or of another design.
    """
    file = _open(info, files, LIST_FILE, None)
    return PlainList(
        _column(file, KIND_HASHES, np.uint8, HASH_BYTES),
        _column(file, KIND_IDS, np.uint64, 1).reshape(-1),
        _column(file, KIND_SALTS, np.uint8, SALT_BYTES),
    )


def _column(file: SetFile, kind: int, dtype: Any, width: int) -> npt.NDArray[Any]:
    raw = file.section(kind)
    if len(raw) != file.entries * width * np.dtype(dtype).itemsize:
        raise SetFileError(f"{LIST_FILE}: section of kind {kind:#x} does not hold {file.entries} rows")
    return np.frombuffer(raw, dtype).reshape(file.entries, width)


def _open(info: Info, files: Buffers, name: str, epoch: int | None) -> SetFile:
    if name not in files:
        raise SetFileError(f"{name}: missing")
    return SetFile(files[name], name, info.name, info.version, epoch)


def _identity(info: Info, parameters: SetParameters) -> Identity:
    values = {p.name: parameters.value(info, p.name) for p in info.parameters}
    return Identity(info.name, info.version, parameters.epoch, values)
