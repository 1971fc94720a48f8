"""From the OPRF outputs of a picture's tokens to the labels they open, on the device.

    outputs --> store keys, masks --> store[key] xor mask: a value for every probe, whether it hit or not
    values of any `needed` bands --> candidate secrets --> addresses --> index --> label, opened by its key

A token that is in nobody's entry reads a value that looks like any other, so a hit in fewer than `needed`
bands cannot be told from none: an address of its candidates would have to be met by chance.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from blindmatch_protocol import labels
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract.outcome import Label
from blindmatch_protocol.designs.token_psi import derivation, shares
from blindmatch_protocol.designs.token_psi.families import MOST_MEMBERS
from blindmatch_protocol.designs.token_psi.files import Setup
from blindmatch_protocol.designs.token_psi.gf64 import Elements
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE


def find_label(setup: Setup, outputs: Rows, own_hash: bytes | None) -> Label | None:
    """The nearest opened label whose hash is within the distance of `own_hash`.

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
    near = [label for label in opened if _distance(label.entry_hash, own_hash) <= MATCH_DISTANCE]
    return min(near, key=lambda it: (_distance(it.entry_hash, own_hash), it.entry_id), default=None)


def opened_labels(setup: Setup, outputs: Rows) -> list[Label]:
    """Every label that the outputs open, of near entries and of others that agree in enough bands."""
    return labels_of(setup, shares.candidates(read_values(setup, outputs), setup.tokening.needed))


def labels_of(setup: Setup, secrets: Rows) -> list[Label]:
    """Every label that candidate secrets, uint8 (m, 16), open, each once."""
    rows, _ = setup.addresses.lookup(derivation.addresses(secrets))
    distinct = dict.fromkeys(secrets[row].tobytes() for row in rows.tolist())
    return [label for secret in distinct for label in _family(setup, secret)]


def read_values(setup: Setup, outputs: Rows) -> Elements:
    """What the store holds for each token, unmasked: uint64 (bands, probes)."""
    keys = derivation.token_keys(outputs)
    found = setup.store.lookup(keys.store_keys) ^ keys.masks
    return found.reshape(setup.tokening.probes, setup.tokening.bands).T


def _family(setup: Setup, secret: bytes) -> Iterator[Label]:
    """The labels of a family's members, in their order, up to the first that is not there."""
    for member in range(MOST_MEMBERS):
        label = _open(setup, derivation.member_secret(secret, member))
        if label is None:
            return
        yield label


def _open(setup: Setup, secret: bytes) -> Label | None:
    row = np.frombuffer(secret, np.uint8).reshape(1, -1)
    _, numbers = setup.addresses.lookup(derivation.addresses(row))
    key = derivation.label_keys(row).tobytes()
    for number in numbers.tolist():
        opened = labels.unseal(key, setup.labels.record(number))
        if opened is not None:
            return opened[0]
    return None


def _distance(left: bytes, right: bytes) -> int:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).bit_count()
