"""oprf-psi: the device learns whether its hash is on the list, the matcher learns nothing of the hash.

docs/designs/oprf-psi.md draws it. The round, and whatever else designs with a VOPRF share, is in `voprf`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Final, TypeAlias

import numpy as np
from msgspec import msgpack

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.contract import Label, publishing
from blindmatch_protocol.contract.publishing import begun
from blindmatch_protocol.contract.steps import UNCONFIRMED_ID
from blindmatch_protocol.crypto.dleq import Mode
from blindmatch_protocol.crypto.oprf import SecretKey, evaluate, evaluate_rows
from blindmatch_protocol.designs.deltas import SET_FILE, SIGNATURES, Recipe, removed_ids, signatures_of
from blindmatch_protocol.designs.facts import EVERY_GUESS, any_hash
from blindmatch_protocol.designs.voprf import MATCHER, Limits, PublicKeys, VoprfDesign, VoprfRound, VoprfSetup
from blindmatch_protocol.designs.voprf.files import FileLayer, Job, ListBuild
from blindmatch_protocol.designs.voprf.round import MOST_ELEMENTS, Verified
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.group.rows import cut
from blindmatch_protocol.setfile import SetFile, SetFileWriter
from blindmatch_protocol.sets import filter as membership
from blindmatch_protocol.sets import labels, resumable, store
from blindmatch_protocol.sets.filter import KIND as FILTER_KIND
from blindmatch_protocol.sets.filter import Filter
from blindmatch_protocol.sets.fuse_map import Words
from blindmatch_protocol.sets.labels import Positions, SealedLabels
from blindmatch_protocol.sets.store import KIND as SHARD_KIND
from blindmatch_protocol.sets.store import Store

INPUT_TAG: Final = b"blindmatch/oprf-psi/pdq/v1"
"""Goes before a hash in every OPRF input."""

BATCH = resumable.BATCH
"""Entries evaluated at once, and what a killed build may lose."""
SHARED: Final = 1 << 15
"""Entries from which on worker processes compute: to start them takes as long as to evaluate some 5,000."""
_STRETCH = 1 << 16
"""Rows of the scratch read at once."""
_BLOCK = labels.STRETCH << 5
"""Labels put into order at once: 44 MiB."""
_FRONT = store.KEY_BYTES + labels.MASK_BYTES


def oprf_inputs(hashes: Rows) -> list[bytes]:
    """OPRF inputs of PDQ hashes, uint8 (n, 32)."""
    return [INPUT_TAG + own for own in cut(hashes)]


def evaluated_rows(key: SecretKey, batch: publishing.EntryBatch, recipe: Recipe, filtered: bool) -> Rows:
    """For each entry, uint8 (n, width): store key 16, mask 8; the same in each earlier file; sealed label.
    For a filter the store key alone."""
    outputs = evaluate_rows(key, rowwise.joined(len(batch), INPUT_TAG, batch.hashes))
    if filtered:
        return labels.places(outputs, recipe.epoch).store_keys
    sealed = labels.seal(labels.label_keys(outputs, recipe.epoch), batch, recipe.epoch, recipe.signatures)
    at = [labels.places(outputs, one) for one in recipe.epochs]
    fronts = [part for one in at for part in (one.store_keys, one.masks[:, None].view(np.uint8))]
    return np.concatenate([*fronts, sealed], axis=1)


def rows_of(secret: bytes, batch: publishing.EntryBatch) -> Rows:
    """`evaluated_rows`, in a worker process or here; `secret` is whether for a filter, the recipe and the key
    of mode VOPRF."""
    filtered, recipe, scalar = msgpack.decode(secret, type=tuple[bool, Recipe, bytes])
    return evaluated_rows(SecretKey(Mode.VOPRF, scalar), batch, recipe, filtered)


def list_build(key: SecretKey, recipe: Recipe, filtered: bool) -> ListBuild:
    """How a list becomes the files of oprf-psi, of kind `filter` or labelled."""
    tags = (INPUT_TAG, labels.STORE_TAG, labels.MASK_TAG, labels.LABEL_TAG)
    width = _FRONT * len(recipe.epochs) + labels.record_bytes(recipe.signatures)
    return ListBuild(
        key,
        width=store.KEY_BYTES if filtered else width,
        batch=BATCH,
        shared=SHARED,
        products=1,
        plan=b"\0".join([key.public.element, *tags, msgpack.encode(recipe)]),
        task=(rows_of, msgpack.encode((filtered, recipe, key.reveal()))),
        write=_write_filter if filtered else partial(_write_labelled, key, recipe),
    )


def keys_of(rows: Rows, file: int = 0) -> labels.Positions:
    """Where the entries of evaluated rows lie: in their own file (0), the first earlier one (1), ..."""
    at = _FRONT * file
    masks = np.ascontiguousarray(rows[:, at + store.KEY_BYTES : at + _FRONT]).view(np.uint64)
    return labels.Positions(rows[:, at : at + store.KEY_BYTES], masks.ravel())


def _fronts(rows: Rows, progress: publishing.Progress) -> labels.Positions:
    """Store keys and masks of all rows, copied stretch by stretch, so that the scratch need not be in
    memory while they are sorted."""
    fronts = np.empty((len(rows), store.KEY_BYTES), np.uint8)
    masks = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), _STRETCH):
        part = slice(start, start + _STRETCH)
        own = keys_of(rows[part])
        fronts[part] = own.store_keys
        masks[part] = own.masks
        progress(len(rows), len(rows))
    return labels.Positions(fronts, masks)


class _Records:
    """Sealed labels in the store's order, a block at a time.

    In that order they lie all over the scratch. Instead of fetching each from its place, a block is made
    by reading the scratch once from end to end, so that neither time nor memory depends on where pages are.
    """

    def __init__(self, rows: Rows, width: int, order: store.Order, progress: publishing.Progress) -> None:
        self._rows = rows[:, rows.shape[1] - width :]
        self._progress = progress
        self._rank = np.empty(len(order), np.uint32)
        self._rank[order] = np.arange(len(order), dtype=np.uint32)
        self._start = 0
        self._block = np.empty((0, width), np.uint8)

    def __call__(self, start: int, stop: int) -> Rows:
        """The records `start` to `stop`, which must be asked for in their order."""
        if stop > self._start + len(self._block):
            self._block = self._gathered(start, max(stop, start + _BLOCK))
            self._start = start
        return self._block[start - self._start : stop - self._start]

    def _gathered(self, start: int, stop: int) -> Rows:
        count = len(self._rows)
        block = np.empty((min(stop, count) - start, self._block.shape[1]), np.uint8)
        for at in range(0, count, _STRETCH):
            ranks = self._rank[at : at + _STRETCH]
            mine = ((ranks >= start) & (ranks < stop)).nonzero()[0]
            block[ranks[mine] - start] = self._rows[at : at + _STRETCH][mine]
            self._progress(count, count)
        return block


def _write_filter(job: Job, file: SetFileWriter, rows: Rows) -> None:
    file.section(membership.KIND, membership.build(rows, store.order_of(rows)), len(rows))


def _write_labelled(key: SecretKey, recipe: Recipe, job: Job, file: SetFileWriter, rows: Rows) -> None:
    fronts = _fronts(rows, job.progress)
    count = len(rows)
    order = store.order_of(fronts.store_keys)

    def write_labels() -> None:
        records = _Records(rows, labels.record_bytes(recipe.signatures), order, job.progress)
        for parts, items in labels.stretches(records, count):
            file.section(labels.KIND, parts, items)

    def content(start: int, stop: int) -> tuple[Rows, Words]:
        some = order[start:stop]
        numbers = np.arange(start, stop, dtype=np.uint64) ^ fronts.masks[some]
        return fronts.store_keys[some], numbers[:, None]

    labels_are_there = begun(write_labels, job.executor)
    fill = store.fill_key(key.reveal(), recipe.epoch)
    for parts, items in store.shards(store.fronts_of(fronts.store_keys), content, 1, fill):
        labels_are_there()
        file.section(store.KIND, parts, items)
        job.progress(count, count)


class Layer(FileLayer, frozen=True, eq=False):
    """A full set or a delta, opened."""

    many: ClassVar = frozenset({SHARD_KIND, labels.KIND})

    store: Store
    labels: SealedLabels

    def find(self, output: Rows, own_hash: bytes | None) -> Label | None:
        """The label that an OPRF output, uint8 (1, 64), opens, if there is one; it may hold any hash;
        `SetFileError` if the file was altered."""
        number = int(self.numbers(labels.places(output, self.epoch))[0])
        if number >= self.entries:
            return None
        return self.labels.unseal(labels.label_keys(output, self.epoch).tobytes(), number)

    def check(self) -> None:
        self.store.check(self.entries)

    def numbers(self, places: Positions) -> Words:
        """The numbers of the labels of `n` entries, uint64 (n,); an absent one has any number, which is below
        `entries` with a probability of entries / 2^64; `SetFileError` if the file was altered."""
        numbers: Words = self.store.lookup(places.store_keys)[:, 0] ^ places.masks
        return numbers


class FilterLayer(FileLayer, frozen=True, eq=False):
    """A full set of kind `filter`, opened: membership alone, at 2^-40."""

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
    """Open a full set or a delta; `SetFileError` if it is not what it must be."""
    if file.identity.parameters["filter"]:
        held = Filter.open(file.section(FILTER_KIND))
        if held.count != file.entries or name != SET_FILE:
            raise SetFileError(f"{name}: a filter must hold every entry, and has no deltas")
        return FilterLayer(name, file, np.zeros(0, np.uint64), held)
    sealed = SealedLabels(file, file.entries, signatures_of(name, file))
    return Layer(name, file, removed_ids(name, file), Store(file, 1), sealed)


HASH_BYTES = 32


class Setup(VoprfSetup[AnyLayer], frozen=True, eq=False):
    """The set-up of one epoch, opened."""


class OprfPsi(VoprfDesign[Setup]):
    info: ClassVar[bm.Info] = bm.Info(
        name="oprf-psi",
        evaluation=bm.Evaluation.OPRF,
        version=2,
        option="1b",
        summary="A verifiable OPRF tells the device, and only it, whether its very hash is listed.",
        relation=bm.Equal(),
        learns=frozenset({bm.Learner.DEVICE}),
        roles={MATCHER: bm.Party.MATCHER},
        tie=bm.Tie.KEY,
        parameters=(
            bm.Parameter(
                "evaluations", "Blinded elements in every request.", "elements", 1, 1, MOST_ELEMENTS
            ),
            bm.Parameter(
                "filter", "Kind of set: 0 labelled, 1 filter (unconfirmed matches).", "kind", 0, 0, 1
            ),
            SIGNATURES,
        ),
    )
    round: ClassVar[VoprfRound] = VoprfRound.under(0x20, "oprf-psi")

    of_key: ClassVar[bm.Fact] = EVERY_GUESS
    key_tells: ClassVar[bm.ListKnowledge] = bm.ListKnowledge.TESTABLE
    asking_tells: ClassVar[tuple[bm.Fact, ...]] = (any_hash(0),)

    def unconfirmed(self, setup: Setup) -> bool:
        return isinstance(setup.layers[0], FilterLayer)

    def settle(self, values: Mapping[str, int]) -> tuple[int, Limits | None]:
        for name, least, most in (("evaluations", 1, MOST_ELEMENTS), ("filter", 0, 1)):
            if not least <= values.get(name, -1) <= most:
                raise bm.DesignError(f"parameter {name}: must be there, and {least} to {most}")
        return values["evaluations"], None

    def building(self, key: SecretKey, values: Mapping[str, int], recipe: Recipe) -> ListBuild:
        if values["filter"] and recipe.earlier:
            raise bm.DesignError("a set of kind filter cannot be updated: publish a whole set")
        return list_build(key, recipe, bool(values["filter"]))

    def opened(self, files: Sequence[tuple[str, SetFile]], keys: PublicKeys) -> Setup:
        newest = files[-1][1].identity
        layers = tuple(open_layer(name, file) for name, file in files)
        return Setup(newest.epoch, keys, layers, *self.settle(newest.parameters))

    def inputs(self, setup: Setup, item: bm.Item, cover: bool, rng: bm.Randomness) -> list[bytes]:
        """Takes 32 bytes of `rng` an element. All but a picture's own hash, which comes first, are random."""
        filler = rng.take(HASH_BYTES * setup.count)
        drawn = [INPUT_TAG + filler[at : at + HASH_BYTES] for at in range(0, len(filler), HASH_BYTES)]
        return drawn if cover else [INPUT_TAG + item.hash, *drawn[1:]]

    def found(self, setup: Setup, session: Verified) -> bm.Label | None:
        return find_label(setup, session.outputs[:1], session.own_hash)

    def worked_out(self, session: Verified, setup: Setup) -> bm.WorkedOut:
        layers = setup.layers
        outputs = session.outputs
        at = [labels.places(outputs, layer.epoch) for layer in layers]
        stores = [(layer, own) for layer, own in zip(layers, at, strict=True) if isinstance(layer, Layer)]
        return bm.WorkedOut(
            (outputs, *(own.store_keys for own in at)),
            tuple(layer.store.lookup(own.store_keys) for layer, own in stores),
            met=tuple(int((layer.numbers(own) < layer.entries).sum()) for layer, own in stores),
        )

    def present(
        self, setup: Setup, key: SecretKey, batch: bm.EntryBatch, rows: bm.Rows
    ) -> Iterator[tuple[int, bm.Label]]:
        """The rows tell nearly every new entry from those that are there; only what is left is evaluated
        again, for the key that opens its label."""
        there = np.zeros(len(rows), np.bool_)
        for file, layer in enumerate(setup.layers, 1):
            if isinstance(layer, Layer):
                there |= layer.numbers(keys_of(rows, file)) < layer.entries
        maybe = there.nonzero()[0]
        outputs = evaluate(key, oprf_inputs(batch.hashes[maybe]))
        for place, row in enumerate(maybe.tolist()):
            label = find(setup.layers, outputs[place : place + 1], None)
            if label is not None:
                yield row, label


def find_label(setup: Setup, outputs: bm.Rows, own_hash: bytes | None) -> bm.Label | None:
    """The label that an OPRF output, uint8 (1, 64), opens, if it is one of `own_hash`."""
    label = find(setup.layers, outputs, own_hash)
    return label if label is not None and label.entry_hash == own_hash else None


DESIGN = OprfPsi()
Request = OprfPsi.round.request
Reply = OprfPsi.round.reply
