"""Builds the files of token-psi from a list.

    list --batches--> tokens --OPRF--> store keys and masks --> scratch, in the list's order (resumable)
    hashes --> families, and which token is whose (`families`)
    key, family's first entry --> polynomial --> secret --> addresses, label keys; value at each band
    labels in the order of their addresses, stretch by stretch --> index of addresses
    store keys in order, value xor mask, shard by shard --> set.bin

Given the OPRF key every byte follows from the list: the same key and list give the same files, however
often the build was interrupted. A token that is not stored for its entry is replaced by a key that nobody
asks for, so the number of keys is bands times entries and tells nothing of how entries meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from struct import Struct
from typing import Final

import numpy as np

from blindmatch_protocol import labels, resumable, rowwise, store
from blindmatch_protocol.ciphersuite import Mode
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract.entries import EntryBatch, EntrySource
from blindmatch_protocol.contract.files import Progress, Workspace
from blindmatch_protocol.designs.deltas import PUBLIC_KEY_KIND, SET_FILE
from blindmatch_protocol.designs.token_psi import addresses, derivation, files, shares
from blindmatch_protocol.designs.token_psi.families import Plan, plan
from blindmatch_protocol.designs.token_psi.gf64 import Elements
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND
from blindmatch_protocol.designs.token_psi.parameters import Limits, Tokening
from blindmatch_protocol.designs.token_psi.tokens import Tokens, entry_tokens
from blindmatch_protocol.errors import DesignError
from blindmatch_protocol.executor import Executor, Helpers, spread
from blindmatch_protocol.oprf import SecretKey, evaluate_rows
from blindmatch_protocol.setfile import SetFileWriter

INPUT_TAG: Final = b"blindmatch/token-psi/token/v1"
"""Goes before a band's number and its bits in every OPRF input."""

SCRATCH: Final = "evaluated"
BATCH: Final = 1024
"""Entries evaluated at once, and what a killed build may lose."""
SHARED: Final = 1 << 12
"""Entries from which on helpers compute: to start them takes as long as to evaluate some 500."""
TOKEN_BYTES: Final = 4
_NUMBERS = Struct(">4I")
_FRONT = derivation.STORE_KEY_BYTES
_WIDTH = _FRONT + 8


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Held:
    """The list and what follows from it and the key, in memory.

    Attributes:
        entries: all entries.
        plan: families and tokens.
        coefficients: of each family's polynomial, under its first member, uint64 (n, needed).
    """

    entries: EntryBatch
    plan: Plan
    coefficients: Elements


def oprf_inputs(tokens: Tokens) -> list[bytes]:
    """OPRF inputs of tokens, uint32 (n, bands) or (bands, n).T: tag, band, bits; n * bands of them."""
    fronts = [INPUT_TAG + band.to_bytes(1, "big") for band in range(tokens.shape[1])]
    raw = np.ascontiguousarray(tokens, ">u4").tobytes()
    parts = (raw[at : at + TOKEN_BYTES] for at in range(0, len(raw), TOKEN_BYTES))
    return [fronts[at % len(fronts)] + part for at, part in enumerate(parts)]


def oprf_input_rows(tokens: Tokens) -> Rows:
    """`oprf_inputs` as an array, uint8 (n * bands, w)."""
    count, bands = tokens.shape
    numbers = np.tile(np.arange(bands, dtype=np.uint8), count)[:, None]
    bits = np.ascontiguousarray(tokens, ">u4").view(np.uint8).reshape(-1, TOKEN_BYTES)
    return rowwise.joined(len(bits), INPUT_TAG, numbers, bits)


def evaluated_rows(
    key: SecretKey, batch: EntryBatch, tokening: Tokening, executor: Executor | None = None
) -> Rows:
    """For each entry and band: store key 16, mask 8 (little-endian); uint8 (n, bands * 24)."""

    def work(start: int, stop: int) -> Rows:
        tokens = entry_tokens(batch.hashes[start:stop], tokening.k, tokening.bands)
        keys = derivation.token_keys(evaluate_rows(key, oprf_input_rows(tokens)))
        masks = keys.masks.astype("<u8")[:, None].view(np.uint8)
        return np.concatenate([keys.store_keys, masks], axis=1).reshape(stop - start, -1)

    return np.concatenate(spread(work, len(batch), executor))


def rows_of(secret: bytes, batch: EntryBatch) -> Rows:
    """`evaluated_rows` in a helper; `secret` is the tokening's numbers and the key of mode VOPRF."""
    tokening = Tokening(*_NUMBERS.unpack_from(secret))
    return evaluated_rows(SecretKey(Mode.VOPRF, secret[_NUMBERS.size :]), batch, tokening)


def build(
    entries: EntrySource,
    key: SecretKey,
    epoch: int,
    tokening: Tokening,
    limits: Limits,
    executor: Executor | None,
    out: Workspace,
    progress: Progress,
) -> None:
    """Write ``set.bin`` and ``matcher.bin``.

    Raises:
        DesignError: if the list changes while it is read.
    """
    identity = files.identity(epoch, tokening, limits)
    file = SetFileWriter(out.create(SET_FILE), identity)
    rows = evaluate_list(entries, key, tokening, executor, out, progress)
    digest = write_layer(file, entries, rows, key, tokening, progress)
    files.write_matcher(out.create(files.MATCHER_FILE), key, digest, identity, len(entries))


def write_layer(
    file: SetFileWriter,
    entries: EntrySource,
    rows: Rows,
    key: SecretKey,
    tokening: Tokening,
    progress: Progress,
) -> bytes:
    """Write public key, labels, index and store of a list whose rows `evaluate_list` gave; the file's digest.

    Raises:
        DesignError: if the list changes while it is read.
    """
    held = hold(entries, key, tokening)
    file.section(PUBLIC_KEY_KIND, [key.public.element], 1)
    _write_labels(file, held, progress)
    _write_store(file, rows, held, key, progress)
    return file.finish(len(entries))


def evaluate_list(
    entries: EntrySource,
    key: SecretKey,
    tokening: Tokening,
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
            secret = _NUMBERS.pack(*astuple(tokening)) + key.reveal()
            return executor.rows(rows_of, secret, batches)
        return (evaluated_rows(key, batch, tokening, executor) for batch in batches)

    width = tokening.bands * _WIDTH
    scratch = out.scratch(SCRATCH, resumable.scratch_bytes(len(entries), width, BATCH))
    return resumable.fill(scratch, entries, width, _plan_bytes(key, tokening), compute, progress, BATCH)


def keys_of(rows: Rows) -> derivation.TokenKeys:
    """The tokens' keys of evaluated rows, the bands changing fastest."""
    flat = rows.reshape(-1, _WIDTH)
    masks = np.ascontiguousarray(flat[:, _FRONT:]).view("<u8").ravel().astype(np.uint64, copy=False)
    return derivation.TokenKeys(np.ascontiguousarray(flat[:, :_FRONT]), masks)


def hold(entries: EntrySource, key: SecretKey, tokening: Tokening) -> Held:
    """Read the list once more, and find families and polynomials.

    Raises:
        DesignError: if the list does not give the number of entries it said.
    """
    parts = list(entries.batches(BATCH))
    if sum(map(len, parts)) != len(entries):
        raise DesignError("the list changed while it was read")
    empty = EntryBatch(np.empty((0, 32), np.uint8), np.empty(0, np.uint64), np.empty((0, 16), np.uint8))
    parts.append(empty)
    whole = EntryBatch(
        np.concatenate([part.hashes for part in parts]),
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.salts for part in parts]),
    )
    found = plan(whole.hashes, tokening.k, tokening.bands)
    return Held(whole, found, polynomials(whole, key, tokening.needed))


def polynomials(entries: EntryBatch, key: SecretKey, needed: int) -> Elements:
    """A polynomial for every entry, uint64 (n, needed), that only the key and the whole entry give."""
    numbers = entries.ids.astype(">u8")[:, None].view(np.uint8)
    parts = derivation.cut(np.concatenate([entries.hashes, numbers, entries.salts], axis=1))
    secret = key.reveal()
    rows = derivation.tagged(derivation.POLYNOMIAL_TAG, (secret + part for part in parts), 8 * needed)
    return rows.view("<u8").astype(np.uint64).reshape(-1, needed)


def _write_labels(file: SetFileWriter, held: Held, progress: Progress) -> None:
    secrets = _member_secrets(held)
    where = derivation.addresses(secrets)
    order = np.argsort(where, kind="stable")
    entries, count = held.entries, len(held.entries)

    def records(start: int, stop: int) -> Rows:
        rows = order[start:stop]
        part = EntryBatch(entries.hashes[rows], entries.ids[rows], entries.salts[rows])
        return labels.seal(derivation.label_keys(secrets[rows]), part)

    for parts, items in labels.stretches(records, count):
        file.section(labels.KIND, parts, items)
        progress(count, count)
    file.section(ADDRESSES_KIND, addresses.index_parts(where[order]), count)


def _member_secrets(held: Held) -> Rows:
    """The secret under which each entry's label lies, uint8 (n, 16)."""
    secrets = shares.secrets_of(held.coefficients[held.plan.first])
    for row in held.plan.member.nonzero()[0].tolist():
        own = derivation.member_secret(secrets[row].tobytes(), int(held.plan.member[row]))
        secrets[row] = np.frombuffer(own, np.uint8)
    return secrets


def _write_store(file: SetFileWriter, rows: Rows, held: Held, key: SecretKey, progress: Progress) -> None:
    count, bands = held.plan.stored.shape
    found = keys_of(rows)
    keys, masked = found.store_keys, found.masks
    masked ^= shares.values(held.coefficients[held.plan.first], bands).reshape(-1)
    _fill(keys, masked, held, key)
    order = store.order_of(keys)
    for parts, items in store.shards(keys, order, lambda a, b: masked[order[a:b]]):
        file.section(store.KIND, parts, items)
        progress(count, count)


def _fill(keys: Rows, masked: Elements, held: Held, key: SecretKey) -> None:
    """Put pseudorandom keys and values in the place of tokens that are not stored for their entry."""
    gaps = (~held.plan.stored.reshape(-1)).nonzero()[0]
    secret = key.reveal()
    inputs = (secret + int(gap).to_bytes(8, "big") for gap in gaps)
    filler = derivation.tagged(derivation.FILLER_TAG, inputs, _WIDTH)
    keys[gaps] = filler[:, :_FRONT]
    masked[gaps] = np.ascontiguousarray(filler[:, _FRONT:]).view("<u8").ravel()


def _plan_bytes(key: SecretKey, tokening: Tokening) -> bytes:
    """What the scratch's rows depend on besides the entries."""
    numbers = repr((tokening.k, tokening.bands)).encode()
    return b"\0".join([key.public.element, numbers, INPUT_TAG, derivation.STORE_TAG, derivation.MASK_TAG])
