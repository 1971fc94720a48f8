"""Organisations, signed batches and tables, made for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from typing import Any

import numpy as np
from blindmatch_proofs.endorsement import Action, Batch, EndorsedTable, EndorsementPolicy, Terms, hash_entries
from blindmatch_proofs.endorsement.batch import (
    UNSIGNED,
    Organisation,
    build_batch,
    build_endorsement_policy,
    write_table,
)
from blindmatch_protocol.contract import EntryBatch, Info, Label
from blindmatch_protocol.designs.oprf_psi import DESIGN
from msgspec.structs import replace
from nacl.signing import SigningKey

NAMES = ("north", "south", "west")
KEYS: Mapping[str, SigningKey] = {name: SigningKey(sha256(name.encode()).digest()) for name in NAMES}
POLICY = build_endorsement_policy(2, [(name, bytes(key.verify_key)) for name, key in KEYS.items()])
TERMS = Terms(b"c" * 32, DESIGN.info.name, POLICY)
INFO = DESIGN.info


def some_entries(count: int, first: int = 1) -> EntryBatch:
    """Entries that differ from those of another `first`."""
    drawn = np.random.default_rng(first).integers(0, 256, (count, 48), np.uint8)
    return EntryBatch(
        drawn[:, :32].copy(), np.arange(first, first + count, dtype=np.uint64), drawn[:, 32:].copy()
    )


def label(entries: EntryBatch, row: int) -> Label:
    """The label of an entry."""
    return Label(entries.hashes[row].tobytes(), int(entries.ids[row]), entries.salts[row].tobytes())


def signed_batch(
    entries: EntryBatch,
    by: Sequence[str] = NAMES[:2],
    action: Action = Action.LIST,
    epochs: tuple[int, int] = (1, 9),
    terms: Terms = TERMS,
    keys: Mapping[bytes, SigningKey] | None = None,
) -> Batch:
    """The batch of these entries, signed by some organisations with every key they have in `terms`."""
    held = keys or {bytes(key.verify_key): key for key in KEYS.values()}
    batch = build_batch(action, epochs, hash_entries(entries))
    signatures = [
        terms.sign(batch, held[one.key]) if one.name in by else UNSIGNED for one in terms.policy.organisations
    ]
    return replace(batch, signatures=tuple(signatures))


def file_of(
    batches: Sequence[tuple[Batch, EntryBatch]], entries: int, epoch: int = 1, info: Info = INFO
) -> bytes:
    """The file of a table."""
    out = BytesIO()
    leaves = [np.frombuffer(b"".join(hash_entries(one)), np.uint8).reshape(-1, 32) for _, one in batches]
    write_table(out, info, epoch, [batch for batch, _ in batches], leaves, entries)
    return out.getvalue()


def table_of(batches: Sequence[tuple[Batch, EntryBatch]], entries: int, epoch: int = 1, keys: int = 3) -> Any:
    """An opened table."""
    return EndorsedTable(file_of(batches, entries, epoch), INFO, epoch, keys)


def with_second_key(name: str, key: SigningKey) -> EndorsementPolicy:
    """The policy in which an organisation has another key, too."""
    more = (*POLICY.organisations, Organisation(name, bytes(key.verify_key)))
    return EndorsementPolicy(POLICY.needed, tuple(sorted(more, key=lambda one: (one.name, one.key))))
