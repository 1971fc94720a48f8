"""Rows computed from a list batch by batch, in a scratch buffer that survives a killed process.

    scratch:  row 0 | row 1 | ... | row n-1 | digest of batch 0 | digest of batch 1 | ...

The digest of a batch covers the plan (whatever the rows depend on besides the entries), the entries and
the rows. A batch whose digest fits is not computed again; any other is: one that was never reached, one
that was being written when the process was killed or the machine lost power, one whose entries changed.
So nothing has to be flushed in any order, and the result is the same however often the work was cut off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import TypeAlias

import numpy as np
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract.publishing import EntryBatch, EntrySource, Progress

DIGEST_TAG = b"blindmatch/resumable-batch/v1"
DIGEST_BYTES = 32
BATCH = 2048
"""Entries of a batch: about 0.15 seconds of libsodium's work. A killed build loses those being computed."""

Compute: TypeAlias = Callable[[Iterator[EntryBatch]], Iterator[Rows]]
"""The rows of each batch, uint8 (len(batch), width), in the order of the batches; it may read ahead."""


def scratch_bytes(count: int, width: int, batch: int = BATCH) -> int:
    """Size of the scratch for `count` rows of `width` bytes, never zero."""
    return max(1, count * width + -(-count // batch) * DIGEST_BYTES)


def fill(
    scratch: memoryview,
    entries: EntrySource,
    width: int,
    plan: bytes,
    compute: Compute,
    progress: Progress,
    batch: int = BATCH,
) -> Rows:
    """Compute the rows that are not in `scratch` yet, `scratch_bytes(n, width)` bytes, zero or left by an
    earlier call; all rows, uint8 (n, width), a view of it. `plan` is what rows depend on besides the entries;
    `compute` is given the batches whose rows are missing. `DesignError` if the list does not give the number
    of entries it said."""
    total = len(entries)
    held = np.frombuffer(scratch, np.uint8)
    rows = held[: total * width].reshape(total, width)
    digests = held[total * width :][: -(-total // batch) * DIGEST_BYTES].reshape(-1, DIGEST_BYTES)
    waiting: deque[_Place] = deque()
    places = _places(entries, rows, digests, batch)
    missing = _missing(places, waiting, plan, lambda done: progress(done, total))
    for computed in compute(missing):
        place = waiting.popleft()
        place.put(computed, plan)
        progress(place.stop, total)
    return rows


def forget(scratch: memoryview, count: int, width: int) -> None:
    """Let no batch of a scratch for `count` rows count as computed."""
    np.frombuffer(scratch, np.uint8)[count * width :] = 0


class _Place(Struct, frozen=True):
    """A batch, and where its rows and its digest lie; `stop` is the number of entries up to its end."""

    part: EntryBatch
    rows: Rows
    digest: Rows
    stop: int

    def holds(self, plan: bytes) -> bool:
        return bool(self.digest.any()) and self.digest.tobytes() == _digest(self.part, self.rows, plan)

    def put(self, rows: Rows, plan: bytes) -> None:
        self.digest[:] = 0
        self.rows[:] = rows
        self.digest[:] = np.frombuffer(_digest(self.part, self.rows, plan), np.uint8)


def _places(entries: EntrySource, rows: Rows, digests: Rows, batch: int) -> Iterator[_Place]:
    total = len(entries)
    at = 0
    for number, part in enumerate(entries.batches(batch)):
        if len(part) != min(batch, total - at):
            raise DesignError("the list changed while it was read")
        stop = at + len(part)
        yield _Place(part, rows[at:stop], digests[number], stop)
        at = stop
    if at != total:
        raise DesignError("the list changed while it was read")


def _missing(
    places: Iterator[_Place], waiting: deque[_Place], plan: bytes, done: Callable[[int], None]
) -> Iterator[EntryBatch]:
    """Batches whose rows must be computed; the place of each is put at the end of `waiting`."""
    for place in places:
        if not place.holds(plan):
            waiting.append(place)
            yield place.part
        elif not waiting:
            done(place.stop)


def _digest(part: EntryBatch, rows: Rows, plan: bytes) -> bytes:
    state = sha256(DIGEST_TAG + len(plan).to_bytes(8, "big") + plan)
    for array in (part.hashes, part.ids.astype(">u8"), part.salts, rows):
        state.update(len(array).to_bytes(8, "big"))
        state.update(np.ascontiguousarray(array).data)
    return state.digest()
