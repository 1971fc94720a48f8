"""From the OPRF outputs of a picture's tokens to the labels they open, on the device.

    outputs, under a layer's epoch --> store keys, masks
    store[key] xor mask --> a value for every probe, whether it hit or not
    values of any `needed` bands --> candidate secrets --> addresses --> index --> label, opened by its key

A token that is in nobody's entry reads a value that looks like any other, so a hit in fewer than `needed`
bands cannot be told from none: an address of its candidates would have to be met by chance. But two tokens
of one band that members of one family have store one value, and whoever asks for both sees that; and whoever
opened an entry sees which of its tokens went to another family.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Label, WorkedOut
from blindmatch_protocol.designs.token_psi.derivation import TokenKeys, addresses, token_keys
from blindmatch_protocol.designs.token_psi.layers import Layer
from blindmatch_protocol.designs.token_psi.parameters import Tokening
from blindmatch_protocol.designs.token_psi.shares import VALUE_BYTES, candidates
from blindmatch_protocol.designs.voprf.files import VoprfSetup
from blindmatch_protocol.picture.distance import distance
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE


class Setup(VoprfSetup[Layer], frozen=True, eq=False, kw_only=True):
    """The set-up of one epoch, opened.

    Attributes:
        tokening: how hashes become tokens.
    """

    tokening: Tokening


def find_label(setup: Setup, outputs: Rows, own_hash: bytes | None) -> Label | None:
    """The nearest opened label in force whose hash is within the distance of `own_hash`.

    Args:
        setup: the opened set-up.
        outputs: OPRF outputs, uint8 (probes * bands, 64), the bands changing fastest.
        own_hash: the picture's hash, or None for a cover request.

    Raises:
        SetFileError: if a section of the set was altered.
    """
    opened = opened_labels(setup, outputs)
    if own_hash is None:
        return None
    near = [label for label in opened if distance(label.entry_hash, own_hash) <= MATCH_DISTANCE]
    return min(near, key=lambda it: (distance(it.entry_hash, own_hash), it.entry_id), default=None)


def opened_labels(setup: Setup, outputs: Rows) -> list[Label]:
    """Every label in force that the outputs open, of near entries and of others that agree in enough bands.

    Outputs may be of any number of tokens a band.
    """
    return labels_under(setup, [token_keys(outputs, layer.epoch) for layer in setup.layers])


def labels_under(setup: Setup, keys: Sequence[TokenKeys]) -> list[Label]:
    """The same from the tokens' keys in each layer, the bands changing fastest."""
    t = setup.tokening
    found: list[Label] = []
    for place, layer in enumerate(setup.layers):
        read = layer.values(keys[place]).reshape(-1, t.bands, VALUE_BYTES).swapaxes(0, 1)
        later = setup.layers[place + 1 :]
        found += in_force(layer.labels_of(candidates(read, t.needed)), later)
    return found


def worked_out(setup: Setup, outputs: Rows) -> WorkedOut:
    """See `Design.worked_out`; outputs as in `find_label`."""
    t, layers = setup.tokening, setup.layers
    keys = [token_keys(outputs, layer.epoch) for layer in layers]
    reads = tuple(layer.store.lookup(own.store_keys) for layer, own in zip(layers, keys, strict=True))
    values = [own.values(read) for own, read in zip(keys, reads, strict=True)]
    return WorkedOut(
        (outputs, *(own.store_keys for own in keys)),
        reads,
        tuple(read.view(np.uint64) for read in values),
        tuple(_met(layer, read, t) for layer, read in zip(layers, values, strict=True)),
    )


def _met(layer: Layer, read: Rows, t: Tokening) -> int:
    """How many candidate secrets lead to an address of the index."""
    by_band = read.reshape(-1, t.bands, VALUE_BYTES).swapaxes(0, 1)
    rows, _ = layer.addresses.lookup(addresses(candidates(by_band, t.needed), layer.epoch))
    return len(set(rows.tolist()))


def in_force(labels: list[Label], later: tuple[Layer, ...]) -> list[Label]:
    """Those that no later layer removed."""
    return [label for label in labels if not any(layer.removes(label.entry_id) for layer in later)]
