"""token-psi: the device learns whether its picture is near one on the list, the matcher nothing of it.

docs/designs/token-psi.md draws it. The proof (RFC 9497, section 2.2) covers all tokens at once: a reply in
which some were made with another key is refused whole. From the outputs to the labels they open, on the
device:

    outputs, under a layer's epoch --> store keys, masks
    store[key] xor mask --> a value for every probe, whether it hit or not
    values of any `needed` bands --> candidate secrets --> addresses --> index --> label, opened by its key
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final

import numpy as np

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Label
from blindmatch_protocol.crypto.oprf import SecretKey
from blindmatch_protocol.designs.deltas import Recipe
from blindmatch_protocol.designs.facts import EVERY_ENTRY
from blindmatch_protocol.designs.token_psi.build import (
    DECLARED,
    Tokening,
    best_share,
    keys_of,
    list_build,
    of_values,
    oprf_inputs,
)
from blindmatch_protocol.designs.token_psi.layers import Layer, open_layer
from blindmatch_protocol.designs.token_psi.shares import (
    VALUE_BYTES,
    TokenKeys,
    addresses,
    candidates,
    token_keys,
)
from blindmatch_protocol.designs.token_psi.tokens import band_bits, probe_tokens
from blindmatch_protocol.designs.voprf import MATCHER, Limits, PublicKeys, VoprfDesign, VoprfRound
from blindmatch_protocol.designs.voprf.files import ListBuild, VoprfSetup
from blindmatch_protocol.designs.voprf.round import Verified
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE, distance
from blindmatch_protocol.setfile import SetFile


class Setup(VoprfSetup[Layer], frozen=True, eq=False, kw_only=True):
    """The set-up of one epoch, opened."""

    tokening: Tokening


def find_label(setup: Setup, outputs: Rows, own_hash: bytes | None) -> Label | None:
    """The nearest label in force that OPRF outputs, uint8 (probes * bands, 64), the bands changing fastest,
    open, and whose hash is within the distance of `own_hash`; `SetFileError` if a section was altered."""
    opened = labels_under(setup, [token_keys(outputs, layer.epoch) for layer in setup.layers])
    if own_hash is None:
        return None
    near = [label for label in opened if distance(label.entry_hash, own_hash) <= MATCH_DISTANCE]
    return min(near, key=lambda it: (distance(it.entry_hash, own_hash), it.entry_id), default=None)


def labels_under(setup: Setup, keys: Sequence[TokenKeys]) -> list[Label]:
    """Every label in force that tokens' keys in each layer, the bands changing fastest, open: of near entries
    and of others that agree in enough bands."""
    t = setup.tokening
    found: list[Label] = []
    for place, layer in enumerate(setup.layers):
        read = layer.values(keys[place]).reshape(-1, t.bands, VALUE_BYTES).swapaxes(0, 1)
        later = setup.layers[place + 1 :]
        labels = layer.labels_of(candidates(read, t.needed))
        found += [one for one in labels if not any(after.removes(one.entry_id) for after in later)]
    return found


def _met(layer: Layer, read: Rows, t: Tokening) -> int:
    """How many candidate secrets lead to an address of the index."""
    by_band = read.reshape(-1, t.bands, VALUE_BYTES).swapaxes(0, 1)
    rows, _ = layer.addresses.lookup(addresses(candidates(by_band, t.needed), layer.epoch))
    return len(set(rows.tolist()))


RECALL: Final = 0.989
"""Of PDQ's pairs among held-out edited pictures, default parameters: the lower end of the 95 % interval
(docs/designs/token-psi.md, figures)."""


NEAR_ENTRIES: Final = bm.Fact(
    "near_entries",
    "hash, id and salt of entries, and of their families, that agree with a picture it sends in enough "
    "bands, be they within the distance or not; and of families with two tokens in one band, that they are "
    "listed, if it asks for both, and of an opened entry, which of its tokens one of another family got",
    bm.Severity.LIST,
    lambda item, setup: item.hash,
    topic=bm.Topic.LIST,
)
TOKEN_ORACLE: Final = bm.Fact(
    "any_token",
    "hash, id and salt of entries that agree in enough bands with tokens of its choice: of N uniform entries "
    "up to 1.8 N (E / 2^(k+1))^2 after E tokens under one key, with two of ten bands needed, pooled over any "
    "number of devices, and far more of real pictures; and whether an edit of a picture still matches",
    bm.Severity.LIST,
    lambda item, setup: item.hash,
    topic=bm.Topic.LIST,
    abuse="opens entries by asking",
    noticed_by="the server, by key limits",
)


class TokenPsi(VoprfDesign[Setup]):
    info: ClassVar[bm.Info] = bm.Info(
        name="token-psi",
        evaluation=bm.Evaluation.OPRF,
        version=2,
        option="1b",
        summary="A verifiable OPRF of pieces of the hash tells the device, and only it, whether a near "
        "duplicate is listed.",
        relation=bm.Near(MATCH_DISTANCE, recall=RECALL),
        learns=frozenset({bm.Learner.DEVICE}),
        roles={MATCHER: bm.Party.MATCHER},
        tie=bm.Tie.KEY,
        parameters=DECLARED,
    )
    round: ClassVar[VoprfRound] = VoprfRound.under(0x40, "token-psi")

    of_key: ClassVar[bm.Fact] = EVERY_ENTRY
    key_tells: ClassVar[bm.ListKnowledge] = bm.ListKnowledge.HASHES
    outputs_tell: ClassVar[tuple[bm.Fact, ...]] = (NEAR_ENTRIES,)
    asking_tells: ClassVar[tuple[bm.Fact, ...]] = (TOKEN_ORACLE,)

    @staticmethod
    def tokening_of(values: Mapping[str, int]) -> tuple[Tokening, Limits | None]:
        """Return tokening and limits of a set with these parameters; `DesignError` as in `settle`."""
        return of_values(values)

    def extraction(self, setup: Setup) -> bm.Extraction:
        t = setup.tokening
        places = band_bits(t.k, t.bands, t.order)
        return bm.Extraction("tokens", lambda tokens: best_share(tokens, t), t.tokens, places, t.needed)

    def parts(self, setup: Setup, item: bm.Item) -> bm.Parts:
        t = setup.tokening
        asked = probe_tokens(item.hash, item.coefficients, t.k, t.bands, t.probes, t.order)
        return bm.Parts(band_bits(t.k, t.bands, t.order), asked)

    def worked_out(self, session: Verified, setup: Setup) -> bm.WorkedOut:
        t = setup.tokening
        layers = setup.layers
        outputs = session.outputs
        keys = [token_keys(outputs, layer.epoch) for layer in layers]
        reads = tuple(layer.store.lookup(own.store_keys) for layer, own in zip(layers, keys, strict=True))
        values = [own.values(read) for own, read in zip(keys, reads, strict=True)]
        return bm.WorkedOut(
            (outputs, *(own.store_keys for own in keys)),
            reads,
            tuple(read.view(np.uint64) for read in values),
            tuple(_met(layer, read, t) for layer, read in zip(layers, values, strict=True)),
        )

    def settle(self, values: Mapping[str, int]) -> tuple[int, Limits | None]:
        tokening, limits = self.tokening_of(values)
        return tokening.tokens, limits

    def building(self, key: SecretKey, values: Mapping[str, int], recipe: Recipe) -> ListBuild:
        return list_build(key, self.tokening_of(values)[0], recipe)

    @staticmethod
    def open_layer(name: str, file: SetFile) -> Layer:
        """Open a full set or a delta; `SetFileError` if it is not what it must be."""
        return open_layer(name, file)

    def opened(self, files: Sequence[tuple[str, SetFile]], keys: PublicKeys) -> Setup:
        newest = files[-1][1].identity
        tokening, limits = self.tokening_of(newest.parameters)
        layers = tuple(self.open_layer(name, file) for name, file in files)
        return Setup(newest.epoch, keys, layers, tokening.tokens, limits, tokening=tokening)

    def inputs(self, setup: Setup, item: bm.Item, cover: bool, rng: bm.Randomness) -> list[bytes]:
        """Takes 4 bytes of `rng` a token; of a band of more than 32 bits 8."""
        t = setup.tokening
        # a poor picture is probed, too, so that the time it takes does not tell
        probes = probe_tokens(item.hash, item.coefficients, t.k, t.bands, t.probes, t.order)
        width = probes.dtype.itemsize
        drawn = np.frombuffer(rng.take(width * t.tokens), f">u{width}").astype(probes.dtype)
        random = drawn.reshape(t.bands, t.probes) >> probes.dtype.type(8 * width - t.k)
        return oprf_inputs((random if cover else probes).T)

    def found(self, setup: Setup, session: Verified) -> bm.Label | None:
        return find_label(setup, session.outputs, session.own_hash)

    def present(
        self, setup: Setup, key: SecretKey, batch: bm.EntryBatch, rows: bm.Rows
    ) -> Iterator[tuple[int, bm.Label]]:
        bands = setup.tokening.bands
        layers = len(setup.layers)
        for at, own in enumerate(batch.hashes):
            places = [keys_of(rows[at : at + 1], bands, 1 + place) for place in range(layers)]
            opened = labels_under(setup, places)
            yield from ((at, label) for label in opened if label.entry_hash == own.tobytes())


DESIGN = TokenPsi()
Request = TokenPsi.round.request
Reply = TokenPsi.round.reply
