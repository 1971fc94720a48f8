"""Rows computed from a list batch by batch, in a scratch buffer that survives a killed process.

    scratch:  row 0 | row 1 | ... | row n-1 | digest of batch 0 | digest of batch 1 | ...

The digest of a batch covers the plan (whatever the rows depend on besides the entries), the entries and
the rows. A batch whose digest fits is not computed again; any other is: one that was never reached, one
that was being written when the process was killed or the machine lost power, one whose entries changed.
So nothing has to be flushed in any order, and the result is the same however often the work was cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import numpy as np

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract.entries import EntryBatch, EntrySource
from blindmatch_protocol.contract.files import Progress
from blindmatch_protocol.errors import DesignError

DIGEST_TAG = b"blindmatch/resumable-batch/v1"
DIGEST_BYTES = 32
BATCH = 4096
"""Entries of a batch: what a killed build loses, about 0.15 seconds of work on two cores."""


def scratch_bytes(count: int, width: int, batch: int = BATCH) -> int:
    """Size of the scratch for `count` rows of `width` bytes, never zero."""
    return max(1, count * width + -(-count // batch) * DIGEST_BYTES)


def fill(
    scratch: memoryview,
    entries: EntrySource,
    width: int,
    plan: bytes,
    compute: Callable[[EntryBatch], Rows],
    progress: Progress,
    batch: int = BATCH,
) -> Rows:
    """Compute the rows that are not there yet; all rows, uint8 (n, width), a view of the scratch.

    Args:
        scratch: `scratch_bytes(n, width)` bytes, zero or left by an earlier call.
        entries: the list.
        width: bytes of a row.
        plan: what the rows depend on besides the entries.
        compute: the rows of a batch, uint8 (len(batch), width).
        progress: called after each batch.
        batch: entries of a batch.

    Raises:
        DesignError: if the list does not give the number of entries it said.
    """
    total, at = len(entries), 0
    held = np.frombuffer(scratch, np.uint8)
    rows = held[: total * width].reshape(total, width)
    digests = held[total * width :][: -(-total // batch) * DIGEST_BYTES].reshape(-1, DIGEST_BYTES)
    for number, part in enumerate(entries.batches(batch)):
        if len(part) != min(batch, total - at):
            raise DesignError("the list changed while it was read")
        _fill_batch(part, rows[at : at + len(part)], digests[number], plan, compute)
        at += len(part)
        progress(at, total)
    if at != total:
        raise DesignError("the list changed while it was read")
    return rows


def _fill_batch(
    part: EntryBatch, rows: Rows, digest: Rows, plan: bytes, compute: Callable[[EntryBatch], Rows]
) -> None:
    if digest.any() and digest.tobytes() == _digest(part, rows, plan):
        return
    digest[:] = 0
    rows[:] = compute(part)
    digest[:] = np.frombuffer(_digest(part, rows, plan), np.uint8)


def _digest(part: EntryBatch, rows: Rows, plan: bytes) -> bytes:
    state = sha256(DIGEST_TAG + len(plan).to_bytes(8, "big") + plan)
    for array in (part.hashes, part.ids.astype(">u8"), part.salts, rows):
        state.update(len(array).to_bytes(8, "big"))
        state.update(np.ascontiguousarray(array).data)
    return state.digest()
