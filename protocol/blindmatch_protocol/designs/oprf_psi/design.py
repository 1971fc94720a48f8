"""oprf-psi: the device learns whether its hash is on the list, the matcher learns nothing of the hash.

    device(hash, set-up)                                 matcher(key)
        quality < 50: a random hash takes its place
        r = random, C = r*H(tag, hash)
                          ---- Request: epoch, C ---->
                                                         D = k*C, proof that k is the set-up's key
                          <-- Reply: epoch, D, proof --
        verify the proof; output = hash(tag, hash, D/r); Ready: what follows waits for the hand-over
        store key, mask, label key = derived from output and the epoch of each layer, the newest first
        number = store[store key] xor mask; number >= entries: NoMatch
        open label[number] with the label key; it does not open, or holds another hash: NoMatch
        Match(label)

The round, and whatever else designs with a VOPRF share, is in `voprf`. Without a proof a matcher could
answer garbage and thereby switch matching off unseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from blindmatch_protocol import contract as bm
from blindmatch_protocol.crypto.oprf import SecretKey, evaluate
from blindmatch_protocol.designs.facts import EVERY_GUESS, any_hash
from blindmatch_protocol.designs.oprf_psi.build import INPUT_TAG, keys_of, list_build, oprf_inputs
from blindmatch_protocol.designs.oprf_psi.layers import (
    AnyLayer,
    FilterLayer,
    Layer,
    find,
    open_layer,
    worked_out,
)
from blindmatch_protocol.designs.recipe import SIGNATURES, Recipe
from blindmatch_protocol.designs.voprf import MATCHER, Limits, PublicKeys, VoprfDesign, VoprfRound, VoprfSetup
from blindmatch_protocol.designs.voprf.building import ListBuild
from blindmatch_protocol.designs.voprf.messages import MOST_ELEMENTS
from blindmatch_protocol.designs.voprf.round import Verified
from blindmatch_protocol.setfile import SetFile

HASH_BYTES = 32


class Setup(VoprfSetup[AnyLayer], frozen=True, eq=False):
    """The set-up of one epoch, opened."""


class OprfPsi(VoprfDesign[Setup]):
    info: ClassVar[bm.Info] = bm.Info(
        name="oprf-psi",
        evaluation=bm.Evaluation.OPRF,
        version=2,
        option="1b",
        summary="A verifiable OPRF tells the device, and only it, whether its very hash is listed.",
        relation=bm.Equal(),
        learns=frozenset({bm.Learner.DEVICE}),
        roles={MATCHER: bm.Party.MATCHER},
        tie=bm.Tie.KEY,
        parameters=(
            bm.Parameter(
                "evaluations", "Blinded elements in every request.", "elements", 1, 1, MOST_ELEMENTS
            ),
            bm.Parameter(
                "filter", "Kind of set: 0 labelled, 1 filter (unconfirmed matches).", "kind", 0, 0, 1
            ),
            SIGNATURES,
        ),
    )
    round: ClassVar[VoprfRound] = VoprfRound.under(0x20, "oprf-psi")

    of_key: ClassVar[bm.Fact] = EVERY_GUESS
    key_tells: ClassVar[bm.ListKnowledge] = bm.ListKnowledge.TESTABLE
    asking_tells: ClassVar[tuple[bm.Fact, ...]] = (any_hash(0),)

    def unconfirmed(self, setup: Setup) -> bool:
        """Is the set of kind `filter`?"""
        return isinstance(setup.layers[0], FilterLayer)

    def settle(self, values: Mapping[str, int]) -> tuple[int, Limits | None]:
        for name, least, most in (("evaluations", 1, MOST_ELEMENTS), ("filter", 0, 1)):
            if not least <= values.get(name, -1) <= most:
                raise bm.DesignError(f"parameter {name}: must be there, and {least} to {most}")
        return values["evaluations"], None

    def building(self, key: SecretKey, values: Mapping[str, int], recipe: Recipe) -> ListBuild:
        if values["filter"] and recipe.earlier:
            raise bm.DesignError("a set of kind filter cannot be updated: publish a whole set")
        return list_build(key, recipe, bool(values["filter"]))

    def opened(self, files: Sequence[tuple[str, SetFile]], keys: PublicKeys) -> Setup:
        newest = files[-1][1].identity
        layers = tuple(open_layer(name, file) for name, file in files)
        return Setup(newest.epoch, keys, layers, *self.settle(newest.parameters))

    def inputs(self, setup: Setup, item: bm.Item, cover: bool, rng: bm.Randomness) -> list[bytes]:
        """Takes 32 bytes of `rng` an element. All but a picture's own hash, which comes first, are random."""
        filler = rng.take(HASH_BYTES * setup.count)
        drawn = [INPUT_TAG + filler[at : at + HASH_BYTES] for at in range(0, len(filler), HASH_BYTES)]
        return drawn if cover else [INPUT_TAG + item.hash, *drawn[1:]]

    def found(self, setup: Setup, session: Verified) -> bm.Label | None:
        return find_label(setup, session.outputs[:1], session.own_hash)

    def worked_out(self, session: Verified, setup: Setup) -> bm.WorkedOut:
        return worked_out(setup.layers, session.outputs)

    def present(
        self, setup: Setup, key: SecretKey, batch: bm.EntryBatch, rows: bm.Rows
    ) -> Iterator[tuple[int, bm.Label]]:
        """The rows tell nearly every new entry from those that are there; only what is left is evaluated
        again, for the key that opens its label."""
        maybe = _maybe_there(setup.layers, rows)
        outputs = evaluate(key, oprf_inputs(batch.hashes[maybe]))
        for place, row in enumerate(maybe.tolist()):
            label = find(setup.layers, outputs[place : place + 1], None)
            if label is not None:
                yield row, label


def _maybe_there(layers: Sequence[AnyLayer], rows: bm.Rows) -> npt.NDArray[np.intp]:
    """Which rows any layer's store has a label for."""
    there = np.zeros(len(rows), np.bool_)
    for file, layer in enumerate(layers, 1):
        if isinstance(layer, Layer):
            there |= layer.numbers(keys_of(rows, file)) < layer.entries
    return there.nonzero()[0]


def find_label(setup: Setup, outputs: bm.Rows, own_hash: bytes | None) -> bm.Label | None:
    """The label that an OPRF output, uint8 (1, 64), opens, if it is one of `own_hash`."""
    label = find(setup.layers, outputs, own_hash)
    return label if label is not None and label.entry_hash == own_hash else None


DESIGN = OprfPsi()
Request, Reply = OprfPsi.round.request, OprfPsi.round.reply
