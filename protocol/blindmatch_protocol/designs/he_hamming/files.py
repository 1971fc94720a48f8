"""The files of he-hamming: ``set.bin`` for devices, ``matcher.bin`` for the matcher; how a list fills them.

    list --padded with random rows--> batches of as many entries as there are slots --random order-->
        set.bin: the sealed label of every place      matcher.bin: hash and label key of every place

Entries that one picture could match both, at most 62 bits apart, never share a slot: the sum over batches
would garble their keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import publishing
from blindmatch_protocol.contract.declaration import Info
from blindmatch_protocol.contract.publishing import whole
from blindmatch_protocol.designs.deltas import SET_FILE
from blindmatch_protocol.designs.he_hamming.circuit import KEY_BYTES, Batch, babies_for
from blindmatch_protocol.designs.he_hamming.packing import Ring, Sizes, ring_of
from blindmatch_protocol.group.rows import cut, expand
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter
from blindmatch_protocol.sets import labels
from blindmatch_protocol.sets.plain_list import open_file

MATCHER_FILE: Final = "matcher.bin"
LABEL_TAG: Final = b"blindmatch/he-hamming/label-key/v1"
READY: Final = "ready"
"""Parameter: batches whose encodings the matcher keeps."""

HASHES_KIND: Final = 0x120
"""Of the matcher's file: hashes by place, 32 each."""
KEYS_KIND: Final = 0x121
"""Of the matcher's file: label keys by place, 16 each."""
SET_DIGEST_KIND: Final = 0x102
MOST_BATCHES: Final = 256
_ROUNDS: Final = 64
_READ: Final = 1 << 16


class Setup(Redacted, Struct, frozen=True, eq=False):
    """The set-up of one epoch, opened.

    Attributes:
        batches: of as many places as the ring has slots.
        labels: sealed, by place.
    """

    SHOWN: ClassVar = ("epoch", "entries", "batches")

    epoch: int
    entries: int
    batches: int
    ring: Ring
    file: SetFile
    labels: labels.SealedLabels


class MatcherState(Redacted, Struct, frozen=True, eq=False):
    epoch: int
    ring: Ring
    batches: tuple[Batch, ...]


def label_keys(keys: Rows, epoch: int) -> Rows:
    """What labels are sealed with, uint8 (n, 32), under keys that replies carry, uint8 (n, 16)."""
    return expand(LABEL_TAG, epoch, cut(keys), labels.LABEL_KEY_BYTES)


def write(
    entries: publishing.EntrySource,
    identity: Identity,
    degree: int,
    rng: Randomness,
    out: publishing.Workspace,
    progress: publishing.Progress,
) -> None:
    """Write both files. Takes 24 bytes of `rng` a place, and 120 for each place that stays empty;
    `DesignError` if the list is too long, or too many entries are near one another."""
    held = whole(entries, _READ, progress)
    places = max(1, -(-len(held) // degree)) * degree
    if places > MOST_BATCHES * degree:
        raise DesignError(f"at most {MOST_BATCHES * degree} entries fit one set")
    empty = places - len(held)
    hashes = np.concatenate([held.hashes, _random(rng, empty, publishing.HASH_BYTES)])
    keys = _random(rng, places, KEY_BYTES)
    sealed = labels.seal(label_keys(keys[: len(held)], identity.epoch), held, identity.epoch)
    records = np.concatenate([sealed, _random(rng, empty, labels.record_bytes(0))])
    order = placed(hashes, degree, rng)
    file = SetFileWriter(out.create(SET_FILE), identity)
    for part, count in labels.stretches(lambda start, stop: records[order[start:stop]], places):
        file.section(labels.KIND, part, count)
    digest = file.finish(len(held))
    matcher = SetFileWriter(out.create(MATCHER_FILE), identity)
    matcher.section(HASHES_KIND, [hashes[order].tobytes()], places)
    matcher.section(KEYS_KIND, [keys[order].tobytes()], places)
    matcher.section(SET_DIGEST_KIND, [digest], 1)
    matcher.finish(len(held))


def placed(hashes: Rows, degree: int, rng: Randomness) -> npt.NDArray[np.intp]:
    """Which row lies at each place, (n,): a random order in which rows that are near do not share a slot;
    `DesignError` if none was found: some thousand entries are near one another."""
    words = np.ascontiguousarray(hashes).view(np.uint64).reshape(-1, 4)
    order = np.argsort(np.frombuffer(rng.take(8 * len(words)), np.uint64), kind="stable")
    for _ in range(_ROUNDS):
        clashing = _clashing(words[order].reshape(-1, degree, 4))
        if not len(clashing):
            return order
        others = np.frombuffer(rng.take(8 * len(clashing)), np.uint64) % np.uint64(len(order))
        for one, other in zip(clashing.tolist(), others.astype(int).tolist(), strict=True):
            order[[one, other]] = order[[other, one]]
    raise DesignError("the list has too many entries that are near one another")


def _clashing(grid: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
    """Places, of (batches, slots, 4), that are near one of the same slot in a batch before."""
    found = [np.zeros(0, np.intp)]
    for batch in range(1, len(grid)):
        apart = np.bitwise_count(grid[:batch] ^ grid[batch]).sum(axis=2, dtype=np.int32)
        near = (apart <= 2 * MATCH_DISTANCE).any(axis=0)
        found.append(near.nonzero()[0] + batch * grid.shape[1])
    return np.concatenate(found)


def open_setup(info: Info, files: publishing.Buffers, sizes: Sizes, epoch: int | None) -> Setup:
    """The set-up in `SET_FILE`; `SetFileError` if it is damaged, of another design or epoch, or its labels do
    not fill whole batches."""
    file = open_file(info, files, SET_FILE, epoch)
    count = sum(file.row(labels.KIND, index).items for index in range(file.count(labels.KIND)))
    batches, rest = divmod(count, sizes.degree)
    if rest or not 0 < batches <= MOST_BATCHES or file.entries > count:
        raise SetFileError(f"{SET_FILE}: {count} places are no batches of {sizes.degree}")
    if len(file.sections) != file.count(labels.KIND):
        raise SetFileError(f"{SET_FILE}: has a section that does not belong in it")
    held = labels.SealedLabels(file, count, 0)
    return Setup(file.identity.epoch, file.entries, batches, ring_of(sizes), file, held)


def open_matcher(info: Info, files: publishing.Buffers, sizes: Sizes) -> MatcherState:
    """See `Design.open_role`. If the set file is there, it must be the one this was made with."""
    file = open_file(info, files, MATCHER_FILE, None)
    file.verify()
    if SET_FILE in files:
        setup = open_setup(info, files, sizes, file.identity.epoch)
        if bytes(file.section(SET_DIGEST_KIND)) != setup.file.digest:
            raise SetFileError(f"{MATCHER_FILE}: made for another {SET_FILE} than the one beside it")
    hashes = _rows(file, HASHES_KIND, publishing.HASH_BYTES, sizes.degree)
    keys = _rows(file, KEYS_KIND, KEY_BYTES, sizes.degree)
    if len(hashes) != len(keys):
        raise SetFileError(f"{MATCHER_FILE}: not one key for each place")
    ring = ring_of(sizes)
    ready = file.identity.parameters.get(READY, 0)
    pairs = zip(hashes, keys, strict=True)
    babies = babies_for(len(hashes))
    batches = (Batch(ring, rows, chunk, at < ready, babies) for at, (rows, chunk) in enumerate(pairs))
    return MatcherState(file.identity.epoch, ring, tuple(batches))


def _rows(file: SetFile, kind: int, width: int, degree: int) -> Sequence[Rows]:
    raw = file.section(kind)
    if not raw or len(raw) % (width * degree):
        raise SetFileError(f"{MATCHER_FILE}: section of kind {kind:#x} is not whole")
    return list(np.frombuffer(raw, np.uint8).reshape(-1, degree, width))


def _random(rng: Randomness, rows: int, width: int) -> Rows:
    return np.frombuffer(rng.take(rows * width), np.uint8).reshape(rows, width)
