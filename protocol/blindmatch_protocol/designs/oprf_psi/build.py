"""Builds the files of oprf-psi from a list.

    list --batches--> OPRF output --> keys and sealed label --> scratch, in the list's order (resumable)
    scratch --sorted by store key--> labels, stretch by stretch --> store, shard by shard --> set.bin

Sorting by a pseudorandom key hides the list's order from devices. Given the OPRF key, every byte follows
from the list: the same key and list give the same files, however often the build was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from blindmatch_protocol.executor import Executor, Helpers, spread
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


def oprf_inputs(hashes: Rows) -> list[bytes]:
    """OPRF inputs of PDQ hashes, uint8 (n, 32)."""
    raw = hashes.tobytes()
    return [INPUT_TAG + raw[at : at + 32] for at in range(0, len(raw), 32)]


def evaluated_rows(key: SecretKey, batch: EntryBatch, executor: Executor | None = None) -> Rows:
    """For each entry: store key 16, mask 8, sealed label 72; uint8 (n, 96)."""

    def work(start: int, stop: int) -> Rows:
        part = batch.part(start, stop)
        inputs = rowwise.joined(len(part), INPUT_TAG, part.hashes)
        keys = labels.derive(evaluate_rows(key, inputs))
        masks = keys.masks[:, None].view(np.uint8)
        return np.concatenate([keys.store_keys, masks, labels.seal(keys.label_keys, part)], axis=1)

    parts = spread(work, len(batch), executor, _TASK)
    return np.concatenate([np.empty((0, _FRONT + labels.record_bytes(0)), np.uint8), *parts])


def rows_of(secret: bytes, batch: EntryBatch) -> Rows:
    """`evaluated_rows` in a helper; `secret` is the key of mode VOPRF."""
    return evaluated_rows(SecretKey(Mode.VOPRF, secret), batch)


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
    rows = evaluate_list(entries, key, executor, out, progress)
    file = SetFileWriter(out.create(SET_FILE), identity)
    digest = write_layer(file, rows, key, identity, progress)
    files.write_matcher(out.create(files.MATCHER_FILE), key, digest, identity, len(rows))


def evaluate_list(
    entries: EntrySource, key: SecretKey, executor: Executor | None, out: Workspace, progress: Progress
) -> Rows:
    """`evaluated_rows` of a whole list, in a scratch from which an interrupted build goes on.

    Raises:
        DesignError: if the list changes while it is read.
    """

    def compute(batches: Iterator[EntryBatch]) -> Iterator[Rows]:
        if isinstance(executor, Helpers) and len(entries) >= SHARED:
            return executor.rows(rows_of, key.reveal(), batches)
        return (evaluated_rows(key, batch, executor) for batch in batches)

    width = _FRONT + labels.record_bytes(0)
    scratch = out.scratch(SCRATCH, resumable.scratch_bytes(len(entries), width, BATCH))
    return resumable.fill(scratch, entries, width, _plan(key), compute, progress, BATCH)


def _plan(key: SecretKey) -> bytes:
    """What the rows depend on besides the entries: the key, and how they are derived."""
    tags: Sequence[bytes] = (INPUT_TAG, labels.STORE_TAG, labels.MASK_TAG, labels.LABEL_TAG)
    return b"\0".join([key.public.element, *tags])


def keys_of(rows: Rows) -> tuple[Rows, store.Values]:
    """Store keys, uint8 (n, 16), and masks, uint64 (n,), of evaluated rows."""
    masks = np.ascontiguousarray(rows[:, store.KEY_BYTES : _FRONT]).view(np.uint64)
    return rows[:, : store.KEY_BYTES], masks.ravel()


def _fronts(rows: Rows, progress: Progress) -> tuple[Rows, store.Values]:
    """Store keys and masks of all rows, copied stretch by stretch, so that the scratch need not be in
    memory while they are sorted."""
    fronts = np.empty((len(rows), store.KEY_BYTES), np.uint8)
    masks = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), _STRETCH):
        part = slice(start, start + _STRETCH)
        fronts[part], masks[part] = keys_of(rows[part])
        progress(len(rows), len(rows))
    return fronts, masks


class _Records:
    """Sealed labels in the store's order, a block at a time.

    In that order they lie all over the scratch. Instead of fetching each from its place, a block is made
    by reading the scratch once from end to end, so that neither time nor memory depends on where pages are.
    """

    def __init__(self, rows: Rows, order: store.Order, progress: Progress) -> None:
        self._rows, self._progress = rows, progress
        self._rank = np.empty(len(order), np.uint32)
        self._rank[order] = np.arange(len(order), dtype=np.uint32)
        self._start, self._block = 0, np.empty((0, rows.shape[1] - _FRONT), np.uint8)

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
            block[ranks[mine] - start] = self._rows[at : at + _STRETCH][mine, _FRONT:]
            self._progress(count, count)
        return block


def write_layer(
    file: SetFileWriter, rows: Rows, key: SecretKey, identity: Identity, progress: Progress
) -> bytes:
    """Write public key and labels and store (or filter) of these rows; the finished file's overall digest.

    Raises:
        DuplicateKeyError: if a hash is there twice.
    """
    keys, masks = _fronts(rows, progress)
    order = store.order_of(keys)
    file.section(PUBLIC_KEY_KIND, [key.public.element], 1)
    if identity.parameters["filter"]:
        file.section(membership.KIND, membership.build(keys, order), len(rows))
        return file.finish(len(rows))
    for parts, items in labels.stretches(_Records(rows, order, progress), len(rows)):
        file.section(labels.KIND, parts, items)
    for parts, items in store.shards(
        keys, order, lambda a, b: np.arange(a, b, dtype=np.uint64) ^ masks[order[a:b]]
    ):
        file.section(store.KIND, parts, items)
        progress(len(rows), len(rows))
    return file.finish(len(rows))
