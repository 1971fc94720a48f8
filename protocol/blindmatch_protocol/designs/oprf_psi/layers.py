"""The layers of a set-up, opened: a full set, and a delta for every epoch since (`deltas`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

import numpy as np

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.contract import Label, WorkedOut
from blindmatch_protocol.contract.outcome import UNCONFIRMED_ID
from blindmatch_protocol.designs.deltas import SET_FILE, removed_ids
from blindmatch_protocol.designs.recipe import signatures_of
from blindmatch_protocol.designs.voprf.files import FileLayer
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets import labels
from blindmatch_protocol.sets.filter import KIND as FILTER_KIND
from blindmatch_protocol.sets.filter import Filter
from blindmatch_protocol.sets.fuse_map import Words
from blindmatch_protocol.sets.labels import Positions, SealedLabels
from blindmatch_protocol.sets.store import KIND as SHARD_KIND
from blindmatch_protocol.sets.store import Store


class Layer(FileLayer, frozen=True, eq=False):
    """A full set or a delta, opened.

    Attributes:
        store: finds an entry's label number.
    """

    many: ClassVar = frozenset({SHARD_KIND, labels.KIND})

    store: Store
    labels: SealedLabels

    def find(self, output: Rows, own_hash: bytes | None) -> Label | None:
        """The label that an OPRF output, uint8 (1, 64), opens, if there is one; it may hold any hash.

        Raises:
            SetFileError: if the file was altered.
        """
        number = int(self.numbers(labels.places(output, self.epoch))[0])
        if number >= self.entries:
            return None
        return self.labels.unseal(labels.label_keys(output, self.epoch).tobytes(), number)

    def check(self) -> None:
        self.store.check(self.entries)

    def numbers(self, places: Positions) -> Words:
        """The numbers of the labels of `n` entries, uint64 (n,); an absent one has any number, which is below
        `entries` with a probability of entries / 2^64.

        Raises:
            SetFileError: if the file was altered.
        """
        numbers: Words = self.store.lookup(places.store_keys)[:, 0] ^ places.masks
        return numbers


class FilterLayer(FileLayer, frozen=True, eq=False):
    """A full set of kind `filter`, opened: membership alone, at 2^-40.

    Attributes:
        filter: says whether a key is there.
    """

    once: ClassVar = (FILTER_KIND,)

    filter: Filter

    def find(self, output: Rows, own_hash: bytes | None) -> Label | None:
        """An unconfirmed label of `own_hash` if the entry of this output is there."""
        there = bool(self.filter.contains(labels.places(output, self.epoch).store_keys)[0])
        return Label(own_hash, UNCONFIRMED_ID, bytes(16)) if there and own_hash is not None else None

    def check(self) -> None:
        self.filter.check()


AnyLayer: TypeAlias = Layer | FilterLayer


def find(layers: Sequence[AnyLayer], output: Rows, own_hash: bytes | None) -> Label | None:
    """The label that an OPRF output, uint8 (1, 64), opens, unless a later layer removed it."""
    for place in range(len(layers) - 1, -1, -1):
        label = layers[place].find(output, own_hash)
        if label is not None:
            gone = any(layer.removes(label.entry_id) for layer in layers[place + 1 :])
            return None if gone else label
    return None


def open_layer(name: str, file: SetFile) -> AnyLayer:
    """Open a full set or a delta.

    Raises:
        SetFileError: if it is not what it must be.
    """
    if file.identity.parameters["filter"]:
        held = Filter.open(file.section(FILTER_KIND))
        if held.count != file.entries or name != SET_FILE:
            raise SetFileError(f"{name}: a filter must hold every entry, and has no deltas")
        return FilterLayer(name, file, np.zeros(0, np.uint64), held)
    sealed = SealedLabels(file, file.entries, signatures_of(name, file))
    return Layer(name, file, removed_ids(name, file), Store(file, 1), sealed)


def worked_out(layers: tuple[AnyLayer, ...], outputs: Rows) -> WorkedOut:
    """See `Design.worked_out`; for OPRF outputs, uint8 (n, 64)."""
    at = [labels.places(outputs, layer.file.identity.epoch) for layer in layers]
    stores = [(layer, own) for layer, own in zip(layers, at, strict=True) if isinstance(layer, Layer)]
    return WorkedOut(
        (outputs, *(own.store_keys for own in at)),
        tuple(layer.store.lookup(own.store_keys) for layer, own in stores),
        met=tuple(int((layer.numbers(own) < layer.entries).sum()) for layer, own in stores),
    )
