"""Builds the files of oprf-psi from a list.

    list --batches--> OPRF output --> keys under the epoch, sealed label --> scratch, in order (resumable)
    scratch --sorted by store key--> labels, stretch by stretch --> store, shard by shard --> set.bin

Sorting by a pseudorandom key hides the list's order from devices. Given the OPRF key, every byte follows
from the list: the same key and list give the same files, however often the build was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from blindmatch_protocol import filter as membership
from blindmatch_protocol import labels, resumable, rowwise, store
from blindmatch_protocol.ciphersuite import Mode
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract.entries import EntryBatch, EntrySource
from blindmatch_protocol.contract.files import Progress, Workspace
from blindmatch_protocol.designs.deltas import PUBLIC_KEY_KIND, SET_FILE
from blindmatch_protocol.designs.oprf_psi import files
from blindmatch_protocol.designs.recipe import Recipe
from blindmatch_protocol.executor import Executor, Helpers, spread
from blindmatch_protocol.fuse_map import Words
from blindmatch_protocol.oprf import SecretKey, evaluate_rows
from blindmatch_protocol.setfile import Identity, SetFileWriter

INPUT_TAG: Final = b"blindmatch/oprf-psi/pdq/v1"
"""Goes before a hash in every OPRF input."""

SCRATCH: Final = "evaluated"
BATCH = resumable.BATCH
"""Entries evaluated at once, and what a killed build may lose."""
_TASK = 512
"""Entries of one thread's task at least: the longer it is, the less often threads wait for each other."""
SHARED: Final = 1 << 15
"""Entries from which on helpers compute: to start them takes as long as to evaluate some 5,000."""
_STRETCH = 1 << 16
"""Rows of the scratch read at once."""
_BLOCK = labels.STRETCH << 6
"""Labels put into order at once: 72 MiB."""
_FRONT = store.KEY_BYTES + labels.MASK_BYTES


def _width(recipe: Recipe) -> int:
    """Bytes of a row."""
    return _FRONT * len(recipe.epochs) + labels.record_bytes(recipe.signatures)


def oprf_inputs(hashes: Rows) -> list[bytes]:
    """OPRF inputs of PDQ hashes, uint8 (n, 32)."""
    raw = hashes.tobytes()
    return [INPUT_TAG + raw[at : at + 32] for at in range(0, len(raw), 32)]


def evaluated_rows(
    key: SecretKey, batch: EntryBatch, recipe: Recipe, executor: Executor | None = None
) -> Rows:
    """For each entry, uint8 (n, width): store key 16, mask 8; the same in each earlier file; sealed label."""

    def work(start: int, stop: int) -> Rows:
        part = batch.part(start, stop)
        outputs = evaluate_rows(key, rowwise.joined(len(part), INPUT_TAG, part.hashes))
        keys = labels.derive(outputs, recipe.epoch)
        sealed = labels.seal(
            keys.label_keys, part, recipe.epoch, labels.unsigned(len(part), recipe.signatures)
        )
        places = [keys, *(labels.places(outputs, epoch) for epoch in recipe.earlier)]
        return np.concatenate([*map(_front, places), sealed], axis=1)

    parts = spread(work, len(batch), executor, _TASK)
    return np.concatenate([np.empty((0, _width(recipe)), np.uint8), *parts])


def rows_of(secret: bytes, batch: EntryBatch) -> Rows:
    """`evaluated_rows` in a helper; `secret` is the recipe and the key of mode VOPRF."""
    recipe, scalar = Recipe.unpack(secret)
    return evaluated_rows(SecretKey(Mode.VOPRF, scalar), batch, recipe)


def build(
    entries: EntrySource,
    key: SecretKey,
    identity: Identity,
    executor: Executor | None,
    out: Workspace,
    progress: Progress,
) -> None:
    """Write ``set.bin`` and ``matcher.bin``.

    Raises:
        DesignError: if the list holds a hash twice, or changes while it is read.
    """
    recipe = Recipe(identity.epoch, identity.parameters["signatures"])
    rows = evaluate_list(entries, key, recipe, executor, out, progress)
    file = SetFileWriter(out.create(SET_FILE), identity)
    digest = write_layer(file, rows, key, identity, progress)
    files.write_matcher(out.create(files.MATCHER_FILE), key, digest, identity, len(rows))


def evaluate_list(
    entries: EntrySource,
    key: SecretKey,
    recipe: Recipe,
    executor: Executor | None,
    out: Workspace,
    progress: Progress,
) -> Rows:
    """`evaluated_rows` of a whole list, in a scratch from which an interrupted build goes on.

    Raises:
        DesignError: if the list changes while it is read.
    """

    def compute(batches: Iterator[EntryBatch]) -> Iterator[Rows]:
        if isinstance(executor, Helpers) and len(entries) >= SHARED:
            return executor.rows(rows_of, recipe.pack() + key.reveal(), batches)
        return (evaluated_rows(key, batch, recipe, executor) for batch in batches)

    width = _width(recipe)
    scratch = out.scratch(SCRATCH, resumable.scratch_bytes(len(entries), width, BATCH))
    return resumable.fill(scratch, entries, width, _plan(key, recipe), compute, progress, BATCH)


def _plan(key: SecretKey, recipe: Recipe) -> bytes:
    """What the rows depend on besides the entries: the key, and how they are derived."""
    tags = (INPUT_TAG, labels.STORE_TAG, labels.MASK_TAG, labels.LABEL_TAG)
    return b"\0".join([key.public.element, *tags, recipe.pack()])


def _front(keys: labels.Places) -> Rows:
    return np.concatenate([keys.store_keys, keys.masks[:, None].view(np.uint8)], axis=1)


def keys_of(rows: Rows, file: int = 0) -> labels.Places:
    """Where the entries of evaluated rows lie: in their own file (0), the first earlier one (1), ..."""
    at = _FRONT * file
    masks = np.ascontiguousarray(rows[:, at + store.KEY_BYTES : at + _FRONT]).view(np.uint64)
    return labels.Places(rows[:, at : at + store.KEY_BYTES], masks.ravel())


def _fronts(rows: Rows, progress: Progress) -> labels.Places:
    """Store keys and masks of all rows, copied stretch by stretch, so that the scratch need not be in
    memory while they are sorted."""
    fronts = np.empty((len(rows), store.KEY_BYTES), np.uint8)
    masks = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), _STRETCH):
        part = slice(start, start + _STRETCH)
        own = keys_of(rows[part])
        fronts[part], masks[part] = own.store_keys, own.masks
        progress(len(rows), len(rows))
    return labels.Places(fronts, masks)


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


def write_layer(
    file: SetFileWriter, rows: Rows, key: SecretKey, identity: Identity, progress: Progress
) -> bytes:
    """Write public key and labels and store (or filter) of these rows; the finished file's overall digest.

    Raises:
        DuplicateKeyError: if a hash is there twice.
    """
    fronts, count = _fronts(rows, progress), len(rows)
    keys, masks = fronts.store_keys, fronts.masks
    order = store.order_of(keys)
    file.section(PUBLIC_KEY_KIND, [key.public.element], 1)
    if identity.parameters["filter"]:
        file.section(membership.KIND, membership.build(keys, order), count)
        return file.finish(count)
    records = _Records(rows, labels.record_bytes(identity.parameters["signatures"]), order, progress)
    for parts, items in labels.stretches(records, count):
        file.section(labels.KIND, parts, items)

    def values(start: int, stop: int) -> Words:
        numbers = np.arange(start, stop, dtype=np.uint64) ^ masks[order[start:stop]]
        return numbers[:, None]

    fill = store.fill_key(key.reveal(), identity.epoch)
    for parts, items in store.shards(keys, order, values, 1, fill):
        file.section(store.KIND, parts, items)
        progress(count, count)
    return file.finish(count)
