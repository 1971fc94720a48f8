"""Parameters of token-psi, and the files built with them from a list.

    list --batches--> tokens --OPRF--> store keys and masks --> scratch, in the list's order (resumable)
           key, entry --> polynomial --> values, xor masks; secret --> label key ---^
    hashes --> families, and which token is whose (`tokens`)
    polynomial of the family's first entry --> secret --> addresses, label keys; values of further members
    labels in the order of their addresses, stretch by stretch --> index of addresses
    store keys and values xor masks, shard by shard --> set.bin

Given the OPRF key every byte follows from the list. A token that is not stored for its entry is replaced by a
key that nobody asks for, so the number of keys is bands times entries.

What a modified client, or many that pool, gets out of a set, by formula: with two bands, of N uniform entries
about N (E / 2^(k+1))^2 open after E evaluations; spread over all of ten bands 1.8 times that. Of real
pictures, which share values of their bands, far more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from math import comb
from typing import ClassVar, Final

import numpy as np
from msgspec import Struct, msgpack
from msgspec.structs import asdict, replace

from blindmatch_protocol.codec import Buffer, Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import publishing
from blindmatch_protocol.contract.declaration import Parameter
from blindmatch_protocol.contract.publishing import begun, whole
from blindmatch_protocol.crypto.dleq import Mode
from blindmatch_protocol.crypto.oprf import SecretKey, evaluate_rows
from blindmatch_protocol.designs.deltas import SIGNATURES, Recipe
from blindmatch_protocol.designs.token_psi import shares
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND, Numbers, index_parts
from blindmatch_protocol.designs.token_psi.shares import (
    VALUE_BYTES,
    Elements,
    candidate_count,
    secrets_of,
    values,
)
from blindmatch_protocol.designs.token_psi.tokens import (
    PERMUTATION,
    Order,
    Plan,
    Tokens,
    check_bands,
    entry_tokens,
    plan,
)
from blindmatch_protocol.designs.voprf.files import Job, ListBuild
from blindmatch_protocol.designs.voprf.layout import LIMITS, Limits, check_ranges
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.setfile import SetFileWriter
from blindmatch_protocol.sets import labels, store
from blindmatch_protocol.sets.fuse_map import Words

MOST_CANDIDATES: Final = 1 << 20
"""Secrets a device tries for a picture at most, about a tenth of a second of work."""

TOKENING: Final = (
    Parameter("k", "Bits of a band.", "bits", 24, 4, 32),
    Parameter("bands", "Bands of a hash, each giving an entry one token.", "bands", 10, 2, 16),
    Parameter("probes", "Tokens that a picture asks for in each band.", "tokens", 16, 1, 128),
    Parameter("needed", "Bands that must agree before a label opens.", "bands", 2, 2, 3),
)
DECLARED: Final = (*TOKENING, *LIMITS, SIGNATURES)
"""With the default limits a device on its own opens a sixth of a percent of a uniform list, if it asks over
all bands, and all that pool 26 %; of a list of real pictures, whose bands take some values more often, far
more."""


class Tokening(Struct, frozen=True):
    """How hashes become tokens; see `TOKENING`; `DesignError` if the values do not go together."""

    order: ClassVar[Order] = PERMUTATION
    declared: ClassVar[tuple[Parameter, ...]] = TOKENING

    k: int = 24
    bands: int = 10
    probes: int = 16
    needed: int = 2

    def __post_init__(self) -> None:
        check_ranges(self, self.declared)
        check_bands(self.k, self.bands, self.probes)
        if self.needed > self.bands:
            raise DesignError("needed: must be at most the number of bands")
        if candidate_count(self.bands, self.probes, self.needed) > MOST_CANDIDATES:
            raise DesignError(f"more than {MOST_CANDIDATES} combinations of probes to try for a picture")

    @property
    def tokens(self) -> int:
        return self.bands * self.probes

    def values(self) -> dict[str, int]:
        return asdict(self)


def of_values(values: Mapping[str, int]) -> tuple[Tokening, Limits]:
    """Tokening and limits with these parameters; all of the tokening's must be there, and all limits or none;
    `DesignError` if one is missing, unknown or out of range, or they do not go together."""
    tokening = {p.name: values[p.name] for p in TOKENING if p.name in values}
    if len(tokening) < len(TOKENING) or values.keys() - {p.name for p in DECLARED}:
        raise DesignError("parameters: must be k, bands, probes and needed, and the key's limits")
    found = Tokening(**tokening)
    return found, Limits.of(values, found.tokens)


INPUT_TAG: Final = b"blindmatch/token-psi/token/v1"
"""Goes before a band's number and its bits in every OPRF input."""

BATCH: Final = 1024
"""Entries evaluated at once, and what a killed build may lose."""
SHARED: Final = 1 << 12
"""Entries from which on worker processes compute: to start them takes as long as to evaluate some 500."""
_UNIT = shares.STORE_KEY_BYTES
"""Bytes of a store key, of a mask and of a value; rows are so many times as long."""
_OWN = shares.LABEL_KEY_BYTES
"""Bytes of the label key that a row ends with, behind a polynomial: both the family's of its first entry."""


class Held(Redacted, Struct, frozen=True, eq=False):
    """The list and what follows from it and the key, in memory.

    Attributes:
        coefficients: of each family's polynomial, under its first member, uint8 (n, needed, 16).
        label_keys: of each family, likewise, uint8 (n, 32).
        recipe: what the file is made for.
    """

    entries: publishing.EntryBatch
    plan: Plan
    coefficients: Elements
    label_keys: Rows
    recipe: Recipe


def oprf_inputs(tokens: Tokens) -> list[bytes]:
    """OPRF inputs of tokens, (n, bands) or (bands, n).T: tag, band, bits; n * bands of them."""
    return [row.tobytes() for row in oprf_input_rows(tokens)]


def oprf_input_rows(tokens: Tokens) -> Rows:
    """`oprf_inputs` as an array, uint8 (n * bands, w)."""
    count, bands = tokens.shape
    numbers = np.tile(np.arange(bands, dtype=np.uint8), count)[:, None]
    width = tokens.dtype.itemsize
    bits = np.ascontiguousarray(tokens, f">u{width}").view(np.uint8).reshape(-1, width)
    return rowwise.joined(len(bits), INPUT_TAG, numbers, bits)


def evaluated_rows(key: SecretKey, batch: publishing.EntryBatch, tokening: Tokening, recipe: Recipe) -> Rows:
    """For each entry: for each file every band's store key 16, and then every band's mask 16, in the first
    one XOR the value of the entry's polynomial; that polynomial, 16 times `needed`, and label key, 32."""
    tokens = entry_tokens(batch.hashes, tokening.k, tokening.bands, tokening.order)
    outputs = evaluate_rows(key, oprf_input_rows(tokens))
    keys = [shares.token_keys(outputs, epoch) for epoch in recipe.epochs]
    made = polynomials(batch, key, tokening.needed, recipe.epoch)
    # a single row comes as a view that cannot be written to
    keys[0] = replace(keys[0], masks=keys[0].masks ^ values(made, tokening.bands).reshape(-1, _UNIT))
    labels_of = shares.label_keys(secrets_of(made), recipe.epoch)
    columns = [part for one in keys for part in (one.store_keys, one.masks)]
    return np.concatenate([part.reshape(len(batch), -1) for part in (*columns, made, labels_of)], axis=1)


def rows_of(secret: bytes, batch: publishing.EntryBatch) -> Rows:
    """`evaluated_rows`, here or in a worker process; `secret`: tokening, recipe and the key of mode VOPRF."""
    tokening, recipe, scalar = msgpack.decode(secret, type=tuple[Tokening, Recipe, bytes])
    return evaluated_rows(SecretKey(Mode.VOPRF, scalar), batch, tokening, recipe)


def list_build(key: SecretKey, tokening: Tokening, recipe: Recipe) -> ListBuild:
    """How a list becomes the files of token-psi."""
    return ListBuild(
        key,
        width=(2 * len(recipe.epochs) * tokening.bands + tokening.needed) * _UNIT + _OWN,
        batch=BATCH,
        shared=SHARED,
        products=tokening.bands,
        plan=b"\0".join([key.public.element, INPUT_TAG, *shares.TAGS, msgpack.encode((tokening, recipe))]),
        task=(rows_of, msgpack.encode((tokening, recipe, key.reveal()))),
        write=partial(_write, key, tokening, recipe),
    )


def _write(
    key: SecretKey, tokening: Tokening, recipe: Recipe, job: Job, file: SetFileWriter, rows: Rows
) -> None:
    entries = whole(job.entries, BATCH)
    families = plan(entries.hashes, tokening.k, tokening.bands, tokening.order)
    # the ends of rows are copied, to be read in any order
    made = np.ascontiguousarray(rows[:, -_OWN - tokening.needed * VALUE_BYTES : -_OWN])
    coefficients = made.reshape(-1, tokening.needed, VALUE_BYTES)
    held = Held(entries, families, coefficients, np.ascontiguousarray(rows[:, -_OWN:]), recipe)
    labels_are_there = begun(lambda: _write_labels(file, held, job.progress), job.executor)
    for parts, items in _shards(rows, held, key, job.executor):
        labels_are_there()
        file.section(store.KIND, parts, items)
        job.progress(len(rows), len(rows))


def keys_of(rows: Rows, bands: int, file: int = 0) -> shares.TokenKeys:
    """The tokens' keys of evaluated rows, the bands changing fastest, in their own file (0; its masks are XOR
    values), the first of the earlier ones (1), ..."""
    columns = rows.reshape(len(rows), -1, _UNIT)[:, 2 * file * bands :]
    return shares.TokenKeys(*(columns[:, at : at + bands].reshape(-1, _UNIT) for at in (0, bands)))


def polynomials(entries: publishing.EntryBatch, key: SecretKey, needed: int, epoch: int) -> Elements:
    """A polynomial for every entry, uint8 (n, needed, 16), that only the key, the whole entry and the epoch
    give."""
    numbers = entries.ids.astype(">u8")[:, None].view(np.uint8)
    secrets = rowwise.joined(len(entries), key.reveal(), entries.hashes, numbers, entries.salts)
    rows = rowwise.expand(shares.POLYNOMIAL_TAG, epoch, secrets, VALUE_BYTES * needed)
    return rows.reshape(-1, needed, VALUE_BYTES)


def _write_labels(file: SetFileWriter, held: Held, progress: publishing.Progress) -> None:
    epoch = held.recipe.epoch
    signatures = held.recipe.signatures
    secrets = _member_secrets(held)
    where = shares.addresses(secrets, epoch)
    order = np.argsort(where, kind="stable")
    # one that is listed twice is under one key twice, once its family is cut
    near = (where[order[1:]] == where[order[:-1]]).nonzero()[0]
    if (secrets[order[near]] == secrets[order[near + 1]]).all(axis=1).any():
        raise DesignError("the list holds an entry twice")
    entries = held.entries
    count = len(held.entries)

    def records(start: int, stop: int) -> Rows:
        rows = order[start:stop]
        part = entries.take(rows)
        keys = held.label_keys[held.plan.first[rows]]
        further = held.plan.member[rows] > 0
        keys[further] = shares.label_keys(secrets[rows[further]], epoch)
        return labels.seal(keys, part, epoch, signatures)

    for parts, items in labels.stretches(records, count):
        file.section(labels.KIND, parts, items)
        progress(count, count)
    file.section(ADDRESSES_KIND, index_parts(where[order]), count)


def _member_secrets(held: Held) -> Rows:
    """The secret under which each entry's label lies, uint8 (n, 16)."""
    secrets = secrets_of(held.coefficients[held.plan.first])
    for row in held.plan.member.nonzero()[0].tolist():
        member = int(held.plan.member[row])
        own = shares.member_secret(secrets[row].tobytes(), member, held.recipe.epoch)
        secrets[row] = np.frombuffer(own, np.uint8)
    return secrets


def _shards(
    rows: Rows, held: Held, key: SecretKey, executor: publishing.Executor | None
) -> Iterator[tuple[list[Buffer], int]]:
    gaps = (~held.plan.stored.reshape(-1)).nonzero()[0]
    # pseudorandom keys and values, uint8 (m, 32), of tokens that are not stored for their entry
    inputs = rowwise.joined(len(gaps), key.reveal(), gaps.astype(">u8")[:, None].view(np.uint8))
    filler = rowwise.expand(shares.FILLER_TAG, held.recipe.epoch, inputs, 2 * _UNIT)
    bands = held.plan.stored.shape[1]
    fronts = rows[:, : bands * _UNIT].view(">u4")[:, :: _UNIT // 4].astype(np.uint32).reshape(-1)
    fronts[gaps] = store.fronts_of(filler)
    order = store.by_shard(fronts)

    def content(start: int, stop: int) -> tuple[Rows, Words]:
        tokens = order[start:stop].astype(np.intp)
        keys, masked = _evaluated(rows, held, tokens)
        missing = (~held.plan.stored.reshape(-1)[tokens]).nonzero()[0]
        own = filler[np.searchsorted(gaps, tokens[missing])]
        keys[missing] = own[:, :_UNIT]
        masked[missing] = own[:, _UNIT:]
        return keys, masked.view("<u8")

    fill = store.fill_key(key.reveal(), held.recipe.epoch)
    return store.shards(fronts, content, shares.WORDS, fill, executor)


def _evaluated(rows: Rows, held: Held, tokens: Numbers) -> tuple[Rows, Rows]:
    """Store keys and masked values, uint8 (m, 16) each, of tokens, counted through all entries' bands: the
    family's values, where rows have the entry's own."""
    bands = held.plan.stored.shape[1]
    units = rows.reshape(-1, _UNIT)
    entries, at = np.divmod(tokens, bands)
    places = entries * (rows.shape[1] // _UNIT) + at
    keys = units[places]
    masked = units[places + bands]
    further = held.plan.member[entries].nonzero()[0]
    some = entries[further]
    change = held.coefficients[some] ^ held.coefficients[held.plan.first[some]]
    masked[further] ^= values(change, bands)[np.arange(len(some)), at[further]]
    return keys, masked


def expected_share(evaluations: float, k: int, needed: int = 2, bands: int | None = None) -> float:
    """The share of a uniform list's entries that so many evaluations open, of single-member families, if they
    are spread evenly over `bands` bands; over as many as are needed without it."""
    over = bands or needed
    asked = min(1.0, evaluations / over / 2**k)
    return float(sum(comb(over, n) * asked**n * (1 - asked) ** (over - n) for n in range(needed, over + 1)))


def best_share(evaluations: float, tokening: Tokening) -> float:
    """The same over as many bands as open most."""
    t = tokening
    return max(expected_share(evaluations, t.k, t.needed, n) for n in range(t.needed, t.bands + 1))


def evaluations_for_all(k: int, needed: int = 2) -> int:
    """Evaluations that open every entry."""
    return int(needed * 2**k)
