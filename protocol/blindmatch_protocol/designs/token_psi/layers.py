"""The layers of a set-up: a full set, and a delta for every epoch since.

    set.bin (epoch 3) <--digest-- delta-0000000004.bin <--digest-- delta-0000000005.bin

A delta holds what an epoch adds, as a small set of its own, and the ids of what it removes from the layers
before. It names the layer before by its overall digest, so it fits one place only: applied twice, out of
order or to another set it is refused. Values of one layer never combine with another's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Buffers, Label
from blindmatch_protocol.designs.token_psi import derivation
from blindmatch_protocol.designs.token_psi.addresses import AddressIndex
from blindmatch_protocol.designs.token_psi.families import MOST_MEMBERS
from blindmatch_protocol.errors import SetFileError
from blindmatch_protocol.labels import SealedLabels, unseal
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.store import Store

SET_FILE: Final = "set.bin"
DELTA_PREFIX: Final = "delta-"
MOST_DELTAS: Final = 8
"""Deltas on one full set at most: each costs a device another pass over the pairs."""

PUBLIC_KEY_KIND: Final = 0x100
"""Section of every set-up file: the VOPRF public key, 32 bytes."""
PREVIOUS_KIND: Final = 0x103
"""Section of a delta: the overall digest of the layer before, 32 bytes."""
REMOVED_KIND: Final = 0x104
"""Section of a delta: ids it removes, 8 bytes each, big-endian, strictly ascending."""
ADDRESSES_KIND: Final = 0x105
"""Section of every set-up file: the index of labels by address (`addresses`)."""


def delta_file(epoch: int) -> str:
    """The name of the delta that makes `epoch`."""
    return f"{DELTA_PREFIX}{epoch:010}.bin"


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A full set or a delta, opened.

    Attributes:
        name: of the file.
        entries: entries in it.
        store: finds a band's masked value.
        labels: the sealed labels.
        removed: ids of entries of older layers that are removed, uint64, ascending.
        file: the file they lie in.
    """

    name: str
    entries: int
    store: Store = field(repr=False)
    labels: SealedLabels = field(repr=False)
    removed: npt.NDArray[np.uint64] = field(repr=False)
    file: SetFile = field(repr=False)
    _opened: list[AddressIndex] = field(default_factory=list, repr=False)

    @property
    def addresses(self) -> AddressIndex:
        """Finds labels by address; checked and opened when first asked for.

        Raises:
            SetFileError: if the section was altered.
        """
        if not self._opened:
            self._opened.append(AddressIndex(self.file.section(ADDRESSES_KIND), self.entries))
        return self._opened[0]

    def labels_of(self, secrets: Rows) -> list[Label]:
        """Every label that candidate secrets, uint8 (m, 16), open, with its family's, each once."""
        rows, _ = self.addresses.lookup(derivation.addresses(secrets))
        distinct = dict.fromkeys(secrets[row].tobytes() for row in rows.tolist())
        return [label for secret in distinct for label in self._family(secret)]

    def removes(self, entry_id: int) -> bool:
        """Is this id removed by this layer?"""
        wanted = np.uint64(entry_id)
        at = int(np.searchsorted(self.removed, wanted))
        return at < len(self.removed) and bool(self.removed[at] == wanted)

    def _family(self, secret: bytes) -> Iterator[Label]:
        """The labels of a family's members, in their order, up to the first that is not there."""
        for member in range(MOST_MEMBERS):
            label = self._open(derivation.member_secret(secret, member))
            if label is None:
                return
            yield label

    def _open(self, secret: bytes) -> Label | None:
        row = np.frombuffer(secret, np.uint8).reshape(1, -1)
        _, numbers = self.addresses.lookup(derivation.addresses(row))
        key = derivation.label_keys(row).tobytes()
        for number in numbers.tolist():
            opened = unseal(key, self.labels.record(number))
            if opened is not None:
                return opened[0]
        return None


def open_layers(files: Buffers, design: str, version: int, epoch: int | None) -> tuple[Layer, ...]:
    """Open the full set and its deltas; the last one must be of `epoch`, if that is given.

    Raises:
        SetFileError: if one is missing, truncated, altered, of another version, design or epoch, or does
            not continue the one before.
    """
    if SET_FILE not in files:
        raise SetFileError(f"{SET_FILE} is missing")
    names = [SET_FILE, *sorted(name for name in files if name.startswith(DELTA_PREFIX))]
    if len(names) > MOST_DELTAS + 1:
        raise SetFileError(f"more than {MOST_DELTAS} deltas: a full set is due")
    opened = [SetFile(files[name], name, design, version) for name in names]
    for name, file, previous in zip(names[1:], opened[1:], opened, strict=False):
        _check_continues(name, file, previous)
    if epoch is not None and opened[-1].identity.epoch != epoch:
        raise SetFileError(f"{names[-1]}: for epoch {opened[-1].identity.epoch}, not epoch {epoch}")
    return tuple(_layer(name, file) for name, file in zip(names, opened, strict=True))


def _check_continues(name: str, file: SetFile, previous: SetFile) -> None:
    epoch, before = file.identity.epoch, previous.identity.epoch
    if name != delta_file(epoch):
        raise SetFileError(f"{name}: holds the delta of epoch {epoch}: applied twice or out of order")
    if epoch != before + 1:
        raise SetFileError(f"{name}: continues epoch {epoch - 1}, not epoch {before}: out of order")
    if bytes(file.section(PREVIOUS_KIND)) != previous.digest:
        raise SetFileError(f"{name}: made for another set of epoch {before} than the one before it")
    if bytes(file.section(PUBLIC_KEY_KIND)) != bytes(previous.section(PUBLIC_KEY_KIND)):
        raise SetFileError(f"{name}: another public key than the set before it: that needs a full set")
    if file.identity.parameters != previous.identity.parameters:
        raise SetFileError(f"{name}: other parameters than the set before it: that needs a full set")


def _layer(name: str, file: SetFile) -> Layer:
    file.row(ADDRESSES_KIND)
    sealed = SealedLabels(file, file.entries, 0)
    return Layer(name, file.entries, Store(file), sealed, _removed(name, file), file)


def _removed(name: str, file: SetFile) -> npt.NDArray[np.uint64]:
    if name == SET_FILE:
        return np.zeros(0, np.uint64)
    raw = file.section(REMOVED_KIND)
    if len(raw) % 8:
        raise SetFileError(f"{name}: the removed ids are not whole")
    ids = np.frombuffer(raw, ">u8").astype(np.uint64)
    if (ids[1:] <= ids[:-1]).any():
        raise SetFileError(f"{name}: the removed ids do not ascend")
    return ids
