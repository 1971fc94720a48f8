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
from blindmatch_protocol.designs.recipe import SIGNATURES, Recipe
from blindmatch_protocol.designs.token_psi import addresses, derivation, files, shares
from blindmatch_protocol.designs.token_psi.addresses import Numbers
from blindmatch_protocol.designs.token_psi.families import Plan, plan
from blindmatch_protocol.designs.token_psi.gf256 import Elements
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND
from blindmatch_protocol.designs.token_psi.parameters import Tokening, of_values
from blindmatch_protocol.designs.token_psi.tokens import Tokens, entry_tokens
from blindmatch_protocol.errors import DesignError
from blindmatch_protocol.executor import Executor, Helpers, spread
from blindmatch_protocol.fuse_map import Words
from blindmatch_protocol.oprf import SecretKey, evaluate_rows
from blindmatch_protocol.setfile import Identity, SetFileWriter
from blindmatch_protocol.tagged import cut, expand

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
_WIDTH = _FRONT + shares.VALUE_BYTES


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Held:
    """The list and what follows from it and the key, in memory.

    Attributes:
        entries: all entries.
        plan: families and tokens.
        coefficients: of each family's polynomial, under its first member, uint8 (n, needed, 16).
        recipe: what the file is made for.
    """

    entries: EntryBatch
    plan: Plan
    coefficients: Elements
    recipe: Recipe


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
    key: SecretKey, batch: EntryBatch, tokening: Tokening, recipe: Recipe, executor: Executor | None = None
) -> Rows:
    """For each entry, file and band: store key 16, mask 16; uint8 (n, epochs * bands * 32)."""

    def work(start: int, stop: int) -> Rows:
        tokens = entry_tokens(batch.hashes[start:stop], tokening.k, tokening.bands)
        outputs = evaluate_rows(key, oprf_input_rows(tokens))
        keys = [derivation.token_keys(outputs, epoch) for epoch in recipe.epochs]
        rows = [np.concatenate([one.store_keys, one.masks], axis=1).reshape(stop - start, -1) for one in keys]
        return np.concatenate(rows, axis=1)

    return np.concatenate(spread(work, len(batch), executor))


def rows_of(secret: bytes, batch: EntryBatch) -> Rows:
    """`evaluated_rows` in a helper; `secret` is tokening, recipe and the key of mode VOPRF."""
    tokening = Tokening(*_NUMBERS.unpack_from(secret))
    recipe, scalar = Recipe.unpack(secret[_NUMBERS.size :])
    return evaluated_rows(SecretKey(Mode.VOPRF, scalar), batch, tokening, recipe)


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
        DesignError: if the list changes while it is read, or the parameters do not go together.
    """
    tokening, _ = of_values(identity.parameters)
    recipe = Recipe(identity.epoch, identity.parameters[SIGNATURES.name])
    file = SetFileWriter(out.create(SET_FILE), identity)
    rows = evaluate_list(entries, key, tokening, recipe, executor, out, progress)
    digest = write_layer(file, entries, rows, key, tokening, recipe, progress)
    files.write_matcher(out.create(files.MATCHER_FILE), key, digest, identity, len(entries))


def write_layer(
    file: SetFileWriter,
    entries: EntrySource,
    rows: Rows,
    key: SecretKey,
    tokening: Tokening,
    recipe: Recipe,
    progress: Progress,
) -> bytes:
    """Write public key, labels, index and store of a list whose rows `evaluate_list` gave; the file's digest.

    Raises:
        DesignError: if the list changes while it is read, or holds an entry twice.
    """
    held = hold(entries, key, tokening, recipe)
    file.section(PUBLIC_KEY_KIND, [key.public.element], 1)
    _write_labels(file, held, progress)
    _write_store(file, rows, held, key, progress)
    return file.finish(len(entries))


def evaluate_list(
    entries: EntrySource,
    key: SecretKey,
    tokening: Tokening,
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
            secret = _NUMBERS.pack(*astuple(tokening)) + recipe.pack() + key.reveal()
            return executor.rows(rows_of, secret, batches)
        return (evaluated_rows(key, batch, tokening, recipe, executor) for batch in batches)

    width = len(recipe.epochs) * tokening.bands * _WIDTH
    scratch = out.scratch(SCRATCH, resumable.scratch_bytes(len(entries), width, BATCH))
    made_for = _plan_bytes(key, tokening, recipe)
    return resumable.fill(scratch, entries, width, made_for, compute, progress, BATCH)


def keys_of(rows: Rows, bands: int, file: int = 0) -> derivation.TokenKeys:
    """The tokens' keys of evaluated rows, the bands changing fastest, in their own file (0), the first of the
    earlier ones (1), ..."""
    width = bands * _WIDTH
    flat = rows[:, file * width : (file + 1) * width].reshape(-1, _WIDTH)
    keys, masks = (np.ascontiguousarray(part) for part in (flat[:, :_FRONT], flat[:, _FRONT:]))
    return derivation.TokenKeys(keys, masks)


def hold(entries: EntrySource, key: SecretKey, tokening: Tokening, recipe: Recipe) -> Held:
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
    return Held(whole, found, polynomials(whole, key, tokening.needed, recipe.epoch), recipe)


def polynomials(entries: EntryBatch, key: SecretKey, needed: int, epoch: int) -> Elements:
    """A polynomial for every entry, uint8 (n, needed, 16), that only the key, the whole entry and the epoch
    give."""
    numbers = entries.ids.astype(">u8")[:, None].view(np.uint8)
    parts = cut(np.concatenate([entries.hashes, numbers, entries.salts], axis=1))
    secret, length = key.reveal(), shares.VALUE_BYTES * needed
    rows = expand(derivation.POLYNOMIAL_TAG, epoch, (secret + part for part in parts), length)
    return rows.reshape(-1, needed, shares.VALUE_BYTES)


def _write_labels(file: SetFileWriter, held: Held, progress: Progress) -> None:
    epoch, signatures = held.recipe.epoch, held.recipe.signatures
    secrets = _member_secrets(held)
    where = derivation.addresses(secrets, epoch)
    order = np.argsort(where, kind="stable")
    _refuse_same(secrets, where, order)
    entries, count = held.entries, len(held.entries)

    def records(start: int, stop: int) -> Rows:
        rows = order[start:stop]
        part = EntryBatch(entries.hashes[rows], entries.ids[rows], entries.salts[rows])
        keys = derivation.label_keys(secrets[rows], epoch)
        return labels.seal(keys, part, epoch, labels.unsigned(len(part), signatures))

    for parts, items in labels.stretches(records, count):
        file.section(labels.KIND, parts, items)
        progress(count, count)
    file.section(ADDRESSES_KIND, addresses.index_parts(where[order]), count)


def _refuse_same(secrets: Rows, where: Words, order: Numbers) -> None:
    """Make sure that no two labels are sealed under one key: an entry that is listed twice would be, once its
    family is cut."""
    near = (where[order[1:]] == where[order[:-1]]).nonzero()[0]
    if (secrets[order[near]] == secrets[order[near + 1]]).all(axis=1).any():
        raise DesignError("the list holds an entry twice")


def _member_secrets(held: Held) -> Rows:
    """The secret under which each entry's label lies, uint8 (n, 16)."""
    secrets = shares.secrets_of(held.coefficients[held.plan.first])
    for row in held.plan.member.nonzero()[0].tolist():
        member = int(held.plan.member[row])
        own = derivation.member_secret(secrets[row].tobytes(), member, held.recipe.epoch)
        secrets[row] = np.frombuffer(own, np.uint8)
    return secrets


def _write_store(file: SetFileWriter, rows: Rows, held: Held, key: SecretKey, progress: Progress) -> None:
    count, bands = held.plan.stored.shape
    found = keys_of(rows, bands)
    keys, masked = found.store_keys, found.masks
    masked ^= shares.values(held.coefficients[held.plan.first], bands).reshape(-1, shares.VALUE_BYTES)
    _fill(keys, masked, held, key)
    order, words = store.order_of(keys), masked.view("<u8")
    fill = store.fill_key(key.reveal(), held.recipe.epoch)
    for parts, items in store.shards(keys, order, lambda a, b: words[order[a:b]], derivation.WORDS, fill):
        file.section(store.KIND, parts, items)
        progress(count, count)


def _fill(keys: Rows, masked: Rows, held: Held, key: SecretKey) -> None:
    """Put pseudorandom keys and values in the place of tokens that are not stored for their entry."""
    gaps = (~held.plan.stored.reshape(-1)).nonzero()[0]
    secret = key.reveal()
    inputs = (secret + int(gap).to_bytes(8, "big") for gap in gaps)
    filler = expand(derivation.FILLER_TAG, held.recipe.epoch, inputs, _WIDTH)
    keys[gaps], masked[gaps] = filler[:, :_FRONT], filler[:, _FRONT:]


def _plan_bytes(key: SecretKey, tokening: Tokening, recipe: Recipe) -> bytes:
    """What the scratch's rows depend on besides the entries."""
    numbers, tags = repr((tokening.k, tokening.bands)).encode(), (derivation.STORE_TAG, derivation.MASK_TAG)
    return b"\0".join([key.public.element, numbers, INPUT_TAG, *tags, recipe.pack()])
