"""Builds the files of oprf-psi from a list.

    list --batches--> OPRF output --> keys under the epoch, sealed label --> scratch, in order (resumable)
    scratch --sorted by store key--> labels, stretch by stretch --> store, shard by shard --> set.bin
                                     filter --> set.bin, of a set that has no labels

Sorting by a pseudorandom key hides the list's order from devices. Given the OPRF key, every byte follows
from the list: the same key and list give the same files, however often the build was interrupted.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract.publishing import (
    EntryBatch,
    EntrySource,
    Executor,
    Progress,
    Workspace,
    begun,
)
from blindmatch_protocol.crypto.dleq import Mode
from blindmatch_protocol.crypto.oprf import SecretKey, evaluate_rows
from blindmatch_protocol.designs.deltas import Recipe
from blindmatch_protocol.designs.voprf.files import ListBuild
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.setfile import SetFileWriter
from blindmatch_protocol.sets import filter as membership
from blindmatch_protocol.sets import labels, resumable, store
from blindmatch_protocol.sets.fuse_map import Words

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
    raw = hashes.tobytes()
    return [INPUT_TAG + raw[at : at + 32] for at in range(0, len(raw), 32)]


def evaluated_rows(key: SecretKey, batch: EntryBatch, recipe: Recipe, filtered: bool) -> Rows:
    """For each entry, uint8 (n, width): store key 16, mask 8; the same in each earlier file; sealed label.
    For a filter the store key alone."""
    outputs = evaluate_rows(key, rowwise.joined(len(batch), INPUT_TAG, batch.hashes))
    if filtered:
        return labels.places(outputs, recipe.epoch).store_keys
    keys, unsigned = labels.label_keys(outputs, recipe.epoch), labels.unsigned(len(batch), recipe.signatures)
    sealed = labels.seal(keys, batch, recipe.epoch, unsigned)
    return np.concatenate([*(_front(labels.places(outputs, one)) for one in recipe.epochs), sealed], axis=1)


def rows_of(secret: bytes, batch: EntryBatch) -> Rows:
    """`evaluated_rows`, in a worker process or here; `secret` is whether for a filter, the recipe and the key
    of mode VOPRF."""
    recipe, scalar = Recipe.unpack(secret[1:])
    return evaluated_rows(SecretKey(Mode.VOPRF, scalar), batch, recipe, bool(secret[0]))


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
        plan=b"\0".join([key.public.element, *tags, recipe.pack()]),
        task=(rows_of, bytes([filtered]) + recipe.pack() + key.reveal()),
        write=_write_filter if filtered else partial(_write_labelled, key, recipe),
    )


def _front(keys: labels.Positions) -> Rows:
    return np.concatenate([keys.store_keys, keys.masks[:, None].view(np.uint8)], axis=1)


def keys_of(rows: Rows, file: int = 0) -> labels.Positions:
    """Where the entries of evaluated rows lie: in their own file (0), the first earlier one (1), ..."""
    at = _FRONT * file
    masks = np.ascontiguousarray(rows[:, at + store.KEY_BYTES : at + _FRONT]).view(np.uint64)
    return labels.Positions(rows[:, at : at + store.KEY_BYTES], masks.ravel())


def _fronts(rows: Rows, progress: Progress) -> labels.Positions:
    """Store keys and masks of all rows, copied stretch by stretch, so that the scratch need not be in
    memory while they are sorted."""
    fronts = np.empty((len(rows), store.KEY_BYTES), np.uint8)
    masks = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), _STRETCH):
        part = slice(start, start + _STRETCH)
        own = keys_of(rows[part])
        fronts[part], masks[part] = own.store_keys, own.masks
        progress(len(rows), len(rows))
    return labels.Positions(fronts, masks)


class _Records:
    """Sealed labels in the store's order, a block at a time.

    In that order they lie all over the scratch. Instead of fetching each from its place, a block is made
    by reading the scratch once from end to end, so that neither time nor memory depends on where pages are.
    """

    def __init__(self, rows: Rows, width: int, order: store.Order, progress: Progress) -> None:
        self._rows, self._progress = rows[:, rows.shape[1] - width :], progress
        self._rank = np.empty(len(order), np.uint32)
        self._rank[order] = np.arange(len(order), dtype=np.uint32)
        self._start, self._block = 0, np.empty((0, width), np.uint8)

    def __call__(self, start: int, stop: int) -> Rows:
        """The records `start` to `stop`, which must be asked for in their order."""
        if stop > self._start + len(self._block):
            self._start, self._block = start, self._gathered(start, max(stop, start + _BLOCK))
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


def _write_filter(
    file: SetFileWriter,
    entries: EntrySource,
    rows: Rows,
    out: Workspace,
    executor: Executor | None,
    progress: Progress,
) -> None:
    file.section(membership.KIND, membership.build(rows, store.order_of(rows)), len(rows))


def _write_labelled(
    key: SecretKey,
    recipe: Recipe,
    file: SetFileWriter,
    entries: EntrySource,
    rows: Rows,
    out: Workspace,
    executor: Executor | None,
    progress: Progress,
) -> None:
    fronts, count = _fronts(rows, progress), len(rows)
    order = store.order_of(fronts.store_keys)

    def write_labels() -> None:
        records = _Records(rows, labels.record_bytes(recipe.signatures), order, progress)
        for parts, items in labels.stretches(records, count):
            file.section(labels.KIND, parts, items)

    def content(start: int, stop: int) -> tuple[Rows, Words]:
        some = order[start:stop]
        numbers = np.arange(start, stop, dtype=np.uint64) ^ fronts.masks[some]
        return fronts.store_keys[some], numbers[:, None]

    labels_are_there = begun(write_labels, executor)
    fill = store.fill_key(key.reveal(), recipe.epoch)
    for parts, items in store.shards(store.fronts_of(fronts.store_keys), content, 1, fill):
        labels_are_there()
        file.section(store.KIND, parts, items)
        progress(count, count)
