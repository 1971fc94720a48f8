"""The layers of a set-up: a full set, and a delta for every epoch since.

    set.bin (epoch 3) <--digest-- delta-0000000004.bin <--digest-- delta-0000000005.bin

A delta holds what an epoch adds, as a small set of its own, and the ids of what it removes from the layers
before. It names the layer before by its overall digest, so it fits one place only: applied twice, out of
order or to another set it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Buffers, Label
from blindmatch_protocol.errors import SetFileError
from blindmatch_protocol.filter import KIND as FILTER_KIND
from blindmatch_protocol.filter import Filter
from blindmatch_protocol.labels import EntryKeys, SealedLabels, unseal
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.store import Store, Values

SET_FILE: Final = "set.bin"
DELTA_PREFIX: Final = "delta-"
MOST_DELTAS: Final = 8
"""Deltas on one full set at most: each costs every look-up a little."""
MOST_SIGNATURES: Final = 16
UNCONFIRMED_ID: Final = 2**64 - 1
"""Entry id of a match that a filter says: there is no label behind it, and its salt is zero."""

PUBLIC_KEY_KIND: Final = 0x100
"""Section of every set-up file: the VOPRF public key, 32 bytes."""
PREVIOUS_KIND: Final = 0x103
"""Section of a delta: the overall digest of the layer before, 32 bytes."""
REMOVED_KIND: Final = 0x104
"""Section of a delta: ids it removes, 8 bytes each, big-endian, strictly ascending."""


def delta_file(epoch: int) -> str:
    """The name of the delta that makes `epoch`."""
    return f"{DELTA_PREFIX}{epoch:010}.bin"


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A full set or a delta, opened.

    Attributes:
        name: of the file.
        entries: entries in it.
        store: finds an entry's label number.
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

    def find(self, keys: EntryKeys, own_hash: bytes | None) -> Label | None:
        """The label that opens under the first of `keys`, if there is one; it may hold any hash.

        Raises:
            SetFileError: if the file was altered.
        """
        number = int(self.numbers(keys.store_keys[:1], keys.masks[:1])[0])
        if number >= self.entries:
            return None
        opened = unseal(keys.label_keys[0].tobytes(), self.labels.record(number))
        return None if opened is None else opened[0]

    def numbers(self, store_keys: Rows, masks: Values) -> Values:
        """Where the labels of keys, uint8 (n, 16), lie, uint64 (n,); an absent key has any number, which is
        below `entries` with a probability of entries / 2^64.

        Raises:
            SetFileError: if the file was altered.
        """
        numbers: Values = self.store.lookup(store_keys) ^ masks
        return numbers

    def removes(self, entry_id: int) -> bool:
        """Is this id removed by this layer?"""
        wanted = np.uint64(entry_id)
        at = int(np.searchsorted(self.removed, wanted))
        return at < len(self.removed) and bool(self.removed[at] == wanted)


@dataclass(frozen=True, slots=True, eq=False)
class FilterLayer:
    """A full set of kind `filter`, opened: membership alone, at 2^-40.

    Attributes:
        name: of the file.
        entries: entries in it.
        filter: says whether a key is there.
        removed: nothing; a filter has no ids and so no deltas.
        file: the file it lies in.
    """

    name: str
    entries: int
    filter: Filter = field(repr=False)
    removed: npt.NDArray[np.uint64] = field(repr=False)
    file: SetFile = field(repr=False)

    def find(self, keys: EntryKeys, own_hash: bytes | None) -> Label | None:
        """An unconfirmed label of `own_hash` if the first of `keys` is there."""
        there = bool(self.filter.contains(keys.store_keys[:1])[0])
        return Label(own_hash, UNCONFIRMED_ID, bytes(16)) if there and own_hash is not None else None

    def removes(self, entry_id: int) -> bool:
        """A full set removes nothing."""
        return False


AnyLayer: TypeAlias = Layer | FilterLayer


def find(layers: tuple[AnyLayer, ...], keys: EntryKeys, own_hash: bytes | None) -> Label | None:
    """The label that opens under the first of `keys`, unless a later layer removed it."""
    for place in range(len(layers) - 1, -1, -1):
        label = layers[place].find(keys, own_hash)
        if label is not None:
            gone = any(layer.removes(label.entry_id) for layer in layers[place + 1 :])
            return None if gone else label
    return None


def open_layers(files: Buffers, design: str, version: int, epoch: int | None) -> tuple[AnyLayer, ...]:
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


def _layer(name: str, file: SetFile) -> AnyLayer:
    if _parameter(name, file, "filter", 1):
        held = Filter.open(file.section(FILTER_KIND))
        if held.count != file.entries or name != SET_FILE:
            raise SetFileError(f"{name}: a filter must hold every entry, and has no deltas")
        return FilterLayer(name, file.entries, held, np.zeros(0, np.uint64), file)
    labels = SealedLabels(file, file.entries, _parameter(name, file, "signatures", MOST_SIGNATURES))
    return Layer(name, file.entries, Store(file), labels, _removed(name, file), file)


def _parameter(name: str, file: SetFile, parameter: str, most: int) -> int:
    value = file.identity.parameters.get(parameter)
    if value is None or value > most:
        raise SetFileError(f"{name}: parameter {parameter}: must be there and at most {most}")
    return value


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
