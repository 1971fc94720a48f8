"""The layers of a set-up, opened: a full set, and a delta for every epoch since (`deltas`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from blindmatch_protocol import labels
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Buffers, Label
from blindmatch_protocol.contract.outcome import UNCONFIRMED_ID
from blindmatch_protocol.designs.deltas import SET_FILE, check_kinds, is_among, open_chain, removed_ids
from blindmatch_protocol.designs.recipe import signatures_of
from blindmatch_protocol.errors import SetFileError
from blindmatch_protocol.filter import KIND as FILTER_KIND
from blindmatch_protocol.filter import Filter
from blindmatch_protocol.fuse_map import Words
from blindmatch_protocol.labels import Places, SealedLabels
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.store import KIND as SHARD_KIND
from blindmatch_protocol.store import Store


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

    def find(self, output: Rows, own_hash: bytes | None) -> Label | None:
        """The label that an OPRF output, uint8 (1, 64), opens, if there is one; it may hold any hash.

        Raises:
            SetFileError: if the file was altered.
        """
        keys = labels.derive(output, self.file.identity.epoch)
        number = int(self.numbers(keys)[0])
        if number >= self.entries:
            return None
        return self.labels.unseal(keys.label_keys[0].tobytes(), number)

    def check(self) -> None:
        """Open what is opened at its first use otherwise; see `Design.check_setup`.

        Raises:
            SetFileError: if it is not what it must be.
        """
        check_kinds(self.name, self.file, frozenset({SHARD_KIND, labels.KIND}))
        self.store.check(self.entries)

    def numbers(self, places: Places) -> Words:
        """The numbers of the labels of `n` entries, uint64 (n,); an absent one has any number, which is below
        `entries` with a probability of entries / 2^64.

        Raises:
            SetFileError: if the file was altered.
        """
        numbers: Words = self.store.lookup(places.store_keys)[:, 0] ^ places.masks
        return numbers

    def removes(self, entry_id: int) -> bool:
        """Is this id removed by this layer?"""
        return is_among(self.removed, entry_id)


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

    def find(self, output: Rows, own_hash: bytes | None) -> Label | None:
        """An unconfirmed label of `own_hash` if the entry of this output is there."""
        there = bool(self.filter.contains(labels.places(output, self.file.identity.epoch).store_keys)[0])
        return Label(own_hash, UNCONFIRMED_ID, bytes(16)) if there and own_hash is not None else None

    def check(self) -> None:
        """As `Layer.check`."""
        check_kinds(self.name, self.file, frozenset(), FILTER_KIND)
        self.filter.check()

    def removes(self, entry_id: int) -> bool:
        """A full set removes nothing."""
        return False


AnyLayer: TypeAlias = Layer | FilterLayer


def find(layers: tuple[AnyLayer, ...], output: Rows, own_hash: bytes | None) -> Label | None:
    """The label that an OPRF output, uint8 (1, 64), opens, unless a later layer removed it."""
    for place in range(len(layers) - 1, -1, -1):
        label = layers[place].find(output, own_hash)
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
    return tuple(_layer(name, file) for name, file in open_chain(files, design, version, epoch))


def _layer(name: str, file: SetFile) -> AnyLayer:
    if _is_filter(name, file):
        held = Filter.open(file.section(FILTER_KIND))
        if held.count != file.entries or name != SET_FILE:
            raise SetFileError(f"{name}: a filter must hold every entry, and has no deltas")
        return FilterLayer(name, file.entries, held, np.zeros(0, np.uint64), file)
    sealed = SealedLabels(file, file.entries, signatures_of(name, file))
    return Layer(name, file.entries, Store(file, 1), sealed, removed_ids(name, file), file)


def _is_filter(name: str, file: SetFile) -> bool:
    value = file.identity.parameters.get("filter")
    if value not in (0, 1):
        raise SetFileError(f"{name}: parameter filter: must be there, 0 or 1")
    return value == 1
