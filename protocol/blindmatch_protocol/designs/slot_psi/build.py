"""From a list and both keys to a table and records; every byte follows from those, so that an endorser that
holds them builds the same again and compares.

    tokens --first key--> keys and masks --> table (`table`)
    tokens, slots --second key--> pads --> wraps --> records --> hash tree (`records`)

An evaluation of the first key for each band, one of the second for each pair of bands: with 8 bands 36 of an
entry. A token that is lost has a key in the table that nobody asks for, so the number of keys is bands times
entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

import numpy as np
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.publishing import EntryBatch
from blindmatch_protocol.crypto.oprf import SecretKey, evaluate_rows
from blindmatch_protocol.designs.slot_psi import records
from blindmatch_protocol.designs.slot_psi.parameters import DIGEST_BYTES, WRAP_BYTES, Slotting
from blindmatch_protocol.designs.slot_psi.plan import Indices, Plan, places, plan
from blindmatch_protocol.designs.slot_psi.table import Slots, positions, shards
from blindmatch_protocol.designs.token_psi.tokens import Tokens
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.group.rows import expand
from blindmatch_protocol.sets import store

SEED_TAG: Final = b"blindmatch/slot-psi/seed/v1"
TABLE_FILL_TAG: Final = b"blindmatch/slot-psi/table-fill/v1"
LOST_TAG: Final = b"blindmatch/slot-psi/lost-token/v1"
BATCH: Final = 1024
"""Entries evaluated at once."""


class Built(Redacted, Struct, frozen=True, eq=False):
    """What a list becomes.

    Attributes:
        epoch: of the table.
        entries: their number.
        table: the shards, public.
        tops: nodes of the hash tree that the set-up holds, uint8 (n, 32), public.
        records: of every slot, uint8 (2^s, record_bytes), at both parties.
    """

    SHOWN: ClassVar = ("slotting", "epoch", "entries")

    slotting: Slotting
    epoch: int
    entries: int
    table: tuple[bytes, ...]
    tops: Rows
    records: Rows


def build(
    entries: EntryBatch,
    first: SecretKey,
    second: SecretKey,
    slotting: Slotting,
    epoch: int,
    earlier: Sequence[Tokens] = (),
) -> Built:
    """Build a list's table and records.

    Args:
        entries: the list.
        first: the matcher's key.
        second: the key that both parties hold shares of.
        slotting: the parameters.
        epoch: of the table; together with the same keys it serves one list.
        earlier: for each band the tokens that earlier tables under these keys have.

    Raises:
        DesignError: the list is empty or holds an entry twice, or keys collide, so that other secret keys are
            needed.
    """
    made = plan(entries.hashes, slotting, earlier)
    seed = expand(SEED_TAG, epoch, [first.reveal() + second.reveal()], 64).tobytes()
    where = places(len(entries), slotting, seed, epoch)
    # place p is in slot p mod 2^s
    slots = (where & (slotting.slots - 1)).astype(np.uint32)
    table = _table(made, first, slotting, epoch, slots, seed)
    held = np.empty((slotting.slots, slotting.record_bytes(len(entries))), np.uint8)
    _write_records(held, entries, made, second, slotting, epoch, where, seed)
    tops = _write_paths(held, slotting, epoch)
    return Built(slotting, epoch, len(entries), table, tops, held)


def _table(
    made: Plan, first: SecretKey, slotting: Slotting, epoch: int, slots: Slots, seed: bytes
) -> tuple[bytes, ...]:
    count, bands = made.tokens.shape
    # pseudorandom keys and values of tokens that are lost
    numbers = np.arange(count * bands).astype(">u8").view(np.uint8).reshape(-1, 8)
    lost = ~made.held.ravel()
    keys = np.empty((count * bands, store.KEY_BYTES), np.uint8)
    values = np.empty(count * bands, np.uint32)
    inputs = rowwise.joined(int(lost.sum()), seed, numbers[lost])
    filled = rowwise.expand(LOST_TAG, epoch, inputs, store.KEY_BYTES + 4)
    keys[lost] = filled[:, : store.KEY_BYTES]
    drawn = np.ascontiguousarray(filled[:, store.KEY_BYTES :]).view(">u4").ravel()
    values[lost] = drawn & np.uint32(slotting.slots - 1)
    held = np.flatnonzero(~lost)
    for rows in _batches(held, BATCH * bands):
        entry, band = np.divmod(rows, bands)
        tokens = made.tokens[entry, band]
        outputs = evaluate_rows(first, records.first_inputs(band.astype(np.uint32), tokens))
        keys[rows], masks = positions(outputs, epoch, slotting.slot_bits)
        values[rows] = slots[entry] ^ masks
    fill = expand(TABLE_FILL_TAG, epoch, [seed], 32).tobytes()
    return tuple(shards(keys, values, slotting.slot_bits, fill))


def _batches(rows: Indices, size: int) -> Iterator[Indices]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _write_records(
    full: Rows,
    entries: EntryBatch,
    made: Plan,
    second: SecretKey,
    slotting: Slotting,
    epoch: int,
    where: Indices,
    seed: bytes,
) -> None:
    """Write what lies before the paths in records, uint8 (2^s, record_bytes)."""
    capacity = slotting.capacity(len(entries))
    without_paths = full[:, : capacity * slotting.entry_bytes]
    records.fill(seed, epoch, without_paths)
    # no copy: rows of entries within rows of records
    content = without_paths.reshape(slotting.slots, capacity, slotting.entry_bytes)
    held = made.held
    plain = records.plain_labels(slotting, entries, made)
    for rows in _batches(np.arange(len(entries)), BATCH):
        position, slot = np.divmod(where[rows], slotting.slots)
        own = records.secrets(seed, epoch, entries.hashes[rows])
        numbers = where[rows].astype(">u8").view(np.uint8).reshape(-1, 8)
        keys = records.label_keys(own, epoch, numbers)
        content[slot, position, slotting.wraps_bytes :] = rowwise.seal(keys, plain[rows])
        for number, (i, j) in enumerate(slotting.pairs):
            both = np.flatnonzero(held[rows, i] & held[rows, j])
            one = made.tokens[rows[both], i]
            other = made.tokens[rows[both], j]
            inputs = records.second_inputs(slot[both].astype(np.uint32), (i, j), one, other)
            outputs = evaluate_rows(second, inputs)
            positions_of = position[both].astype(">u4").view(np.uint8).reshape(-1, 4)
            wraps = own[both] ^ records.pads(outputs, epoch, positions_of)
            start = number * WRAP_BYTES
            content[slot[both], position[both], start : start + WRAP_BYTES] = wraps


def _write_paths(full: Rows, slotting: Slotting, epoch: int) -> Rows:
    """Write the paths into records, uint8 (2^s, record_bytes), and return the nodes that the set-up holds."""
    width = full.shape[1] - slotting.path_levels * DIGEST_BYTES
    tops = []
    for first in range(0, slotting.slots, records.TREE_SLOTS):
        some = full[first : first + records.TREE_SLOTS]
        levels = records.tree(records.leaves(epoch, first, some[:, :width]), slotting.path_levels)
        some[:, width:] = records.paths(levels)
        tops.append(levels[-1])
    return np.concatenate(tops)
