"""wide-psi: the device learns whether its picture is near one on the list, by one wide token of six; the
matcher learns nothing of it. Research construction, not reviewed outside; docs/designs/wide-psi.md.

    device(hash, coefficients)                                        matcher(k)
        6 bands of 42 bits, the 40 likeliest values of each
        blind each of the 240 tokens    --- Request: epoch, blinded --->
        verify, unblind                 <-- Reply: evaluated, proof ---
        labels: store[key] xor mask, for every token, whether it hit or not --> secret --> label, compared
        filter: is the key of any token there? --> an unconfirmed match

Files with labels are token-psi's, for one band that must agree: the polynomial of a family is a constant,
its secret. The width of a band alone makes the list last: each evaluation of a modified device is one guess
of 2^42. Guesses of several phones, and under several keys of the same list, add up and do not multiply.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Final

import numpy as np
from msgspec import msgpack
from msgspec.structs import replace

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.contract import Label, publishing
from blindmatch_protocol.contract.steps import UNCONFIRMED_ID
from blindmatch_protocol.crypto.dleq import Mode
from blindmatch_protocol.crypto.oprf import SecretKey, evaluate_rows
from blindmatch_protocol.designs.deltas import SET_FILE, Recipe
from blindmatch_protocol.designs.token_psi import Setup, TokenPsi
from blindmatch_protocol.designs.token_psi.build import evaluated_rows, list_build, oprf_input_rows
from blindmatch_protocol.designs.token_psi.shares import STORE_KEY_BYTES, token_keys
from blindmatch_protocol.designs.token_psi.tokens import entry_tokens
from blindmatch_protocol.designs.voprf import Limits, VoprfRound
from blindmatch_protocol.designs.voprf.files import FileLayer, Job, ListBuild
from blindmatch_protocol.designs.voprf.round import Verified
from blindmatch_protocol.designs.wide_psi.tokening import (
    DECLARED,
    FILTER,
    FINGERPRINT,
    WideTokening,
    of_values,
)
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from blindmatch_protocol.setfile import SetFile, SetFileWriter
from blindmatch_protocol.sets import filter as membership
from blindmatch_protocol.sets import store
from blindmatch_protocol.sets.filter import KIND as FILTER_KIND
from blindmatch_protocol.sets.filter import Filter

FILLER_TAG: Final = b"blindmatch/wide-psi/filler/v1"
"""Keys of a filter in the place of tokens that several entries have."""

RECALL: Final = 0.94
"""Of PDQ's pairs of any kind of picture: of playing cards, which have the least, 94.0 % are found in the
corpus, of photographs 97.15 % (docs/designs/wide-psi.md, figures)."""


def rows_of(secret: bytes, batch: publishing.EntryBatch) -> Rows:
    """Return what is evaluated of a batch: `evaluated_rows` of token-psi, or for a filter the store keys of
    all bands, uint8 (n, bands * 16).

    Args:
        secret: whether for a filter, tokening, recipe and the key of mode VOPRF.
    """
    filtered, tokening, recipe, scalar = msgpack.decode(secret, type=tuple[bool, WideTokening, Recipe, bytes])
    key = SecretKey(Mode.VOPRF, scalar)
    if not filtered:
        return evaluated_rows(key, batch, tokening, recipe)
    tokens = entry_tokens(batch.hashes, tokening.k, tokening.bands, tokening.order)
    outputs = evaluate_rows(key, oprf_input_rows(tokens))
    return token_keys(outputs, recipe.epoch).store_keys.reshape(len(batch), -1)


def _write_filter(
    key: SecretKey, epoch: int, fingerprint: int, job: Job, file: SetFileWriter, rows: Rows
) -> None:
    """Write the tokens, each once, filled up to as many as the list has, so that the size of the filter tells
    the number of entries alone."""
    keys = np.unique(rows.reshape(-1, STORE_KEY_BYTES), axis=0)
    total = rows.size // STORE_KEY_BYTES
    missing = np.arange(total - len(keys), dtype=">u8")[:, None].view(np.uint8)
    inputs = rowwise.joined(len(missing), key.reveal(), missing)
    filler = rowwise.expand(FILLER_TAG, epoch, inputs, STORE_KEY_BYTES)
    held = np.concatenate([keys, filler])
    file.section(membership.KIND, membership.build(held, store.order_of(held), fingerprint), total)
    job.progress(len(rows), len(rows))


class FilterLayer(FileLayer, frozen=True, eq=False):
    """A full set of kind filter, opened: whether a token is there, and nothing of its entry."""

    once: ClassVar = (FILTER_KIND,)

    filter: Filter

    def is_there(self, outputs: Rows) -> bool:
        """Is any of the tokens with these OPRF outputs, uint8 (n, 64), in the filter?"""
        return bool(self.filter.contains(token_keys(outputs, self.epoch).store_keys).any())

    def check(self) -> None:
        self.filter.check()


def open_filter(name: str, file: SetFile) -> FilterLayer:
    """Open a full set of kind filter; `SetFileError` if it is not what it must be."""
    values = file.identity.parameters
    held = Filter.open(file.section(FILTER_KIND))
    if held.count != values["bands"] * file.entries or name != SET_FILE:
        raise SetFileError(f"{name}: a filter must hold a token of every band and entry, and has no deltas")
    if held.fingerprint != values[FINGERPRINT.name]:
        wanted = values[FINGERPRINT.name]
        raise SetFileError(f"{name}: the filter keeps {held.fingerprint} bytes of a token, not {wanted}")
    return FilterLayer(name, file, np.zeros(0, np.uint64), held)


NEAR_ENTRIES: Final = bm.Fact(
    "near_entries",
    "hash, id and salt of entries, and of their families, that have a token of its picture, be they within "
    "the distance or not; of an opened entry, which of its tokens one of another family got; of a filter "
    "only that there is such an entry",
    bm.Severity.LIST,
    lambda item, setup: item.hash,
    topic=bm.Topic.LIST,
)
TOKEN_ORACLE: Final = bm.Fact(
    "any_token",
    "hash, id and salt of entries, and of their families, that have one of the tokens of its choice: of N "
    "uniform entries without families N E / 2^k after E tokens, under however many keys, pooled over any "
    "number of devices, since nothing limits all accounts together; far more of real pictures, most of all "
    "of those that resemble a picture it has; and whether an edit of a picture still matches",
    bm.Severity.LIST,
    lambda item, setup: item.hash,
    topic=bm.Topic.LIST,
    abuse="opens entries by asking",
    noticed_by="the server, by key limits",
)


class WidePsi(TokenPsi):
    info: ClassVar[bm.Info] = replace(
        TokenPsi.info,
        name="wide-psi",
        version=1,
        summary="A verifiable OPRF of wide pieces of the hash tells the device, and only it, whether a near "
        "duplicate is listed; research construction, not reviewed outside.",
        relation=bm.Near(MATCH_DISTANCE, recall=RECALL),
        parameters=DECLARED,
    )
    round: ClassVar[VoprfRound] = VoprfRound.under(0x42, "wide-psi")

    outputs_tell: ClassVar[tuple[bm.Fact, ...]] = (NEAR_ENTRIES,)
    asking_tells: ClassVar[tuple[bm.Fact, ...]] = (TOKEN_ORACLE,)

    @staticmethod
    def tokening_of(values: Mapping[str, int]) -> tuple[WideTokening, Limits | None]:
        return of_values(values)

    def unconfirmed(self, setup: Setup) -> bool:
        return bool(setup.parameters[FILTER.name])

    def building(self, key: SecretKey, values: Mapping[str, int], recipe: Recipe) -> ListBuild:
        tokening, _ = of_values(values)
        filtered = bool(values[FILTER.name])
        if filtered and recipe.earlier:
            raise DesignError("a set of kind filter cannot be updated: publish a whole set")
        made = list_build(key, tokening, recipe)
        made = replace(made, task=(rows_of, msgpack.encode((filtered, tokening, recipe, key.reveal()))))
        if not filtered:
            return made
        width = tokening.bands * STORE_KEY_BYTES
        write = partial(_write_filter, key, recipe.epoch, values[FINGERPRINT.name])
        return replace(made, width=width, plan=made.plan + b"\0filter", write=write)

    @staticmethod
    def open_layer(name: str, file: SetFile) -> Any:
        """Open a full set or a delta of kind label as token-psi does, and a full set of kind filter."""
        if not file.identity.parameters[FILTER.name]:
            return TokenPsi.open_layer(name, file)
        return open_filter(name, file)

    def found(self, setup: Setup, session: Verified) -> bm.Label | None:
        if not self.unconfirmed(setup):
            return super().found(setup, session)
        layer: Any = setup.layers[0]
        is_there = layer.is_there(session.outputs)
        if not is_there or session.own_hash is None:
            return None
        return Label(session.own_hash, UNCONFIRMED_ID, bytes(16))

    def worked_out(self, session: Verified, setup: Setup) -> bm.WorkedOut:
        if not self.unconfirmed(setup):
            return super().worked_out(session, setup)
        keys = token_keys(session.outputs, setup.layers[0].epoch)
        return bm.WorkedOut((session.outputs, keys.store_keys), ())


DESIGN: Final = WidePsi()
Request = WidePsi.round.request
Reply = WidePsi.round.reply
