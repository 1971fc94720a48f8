"""What a device can work out in a session beyond its outcome, for designs whose set is known from inside.

It has the set-up and the OPRF outputs of what it asked for: store keys, what the store of each layer reads
there, and which label numbers or addresses follow. That is the best place to look for a lone hit, and for one
entry in two layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
from blindmatch_protocol import labels
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import AnyDesign, Party, Role
from blindmatch_protocol.designs.oprf_psi import OprfPsi
from blindmatch_protocol.designs.token_psi import TokenPsi, derivation, shares
from blindmatch_protocol.oprf import Blinding, Evaluation, Mode, finalize

from blindmatch_simulations.conformance.leakage.play import Event

NUMBER_BITS: Final = 24
"""Two values of one mask that differ in these low bits alone may be the numbers of two labels."""


def computed(
    design: AnyDesign, setup: Any, session: Any, replies: Mapping[Role, Message], move: int
) -> list[Event]:
    """The events of what the device computes from the replies of one round; none for other designs.

    computed    the leaves are keys, the shape counts: zeros read, equal values read, labels or addresses met
    read        in how many pairs of layers a value belongs to another; for every element asked for, in how
                many deltas it reads zero (or whether in the full set, if that is all there is); a byte each
    """
    if not isinstance(design, OprfPsi | TokenPsi) or not hasattr(session, "blinding"):
        return []
    reply: Any = next(iter(replies.values()))
    held: Blinding = session.blinding
    # the proof was checked in the session; an output does not depend on it (RFC 9497, section 3.3.1)
    plain = Blinding(Mode.OPRF, held.inputs, held.blinds, held.blinded)
    outputs = finalize(plain, Evaluation(reply.evaluated), step=reply.NAME)
    of_one = _of_tokens if isinstance(design, TokenPsi) else _of_element
    keys, shape, reads = of_one(setup, outputs)
    leaves = tuple(row.tobytes() for part in (outputs, *keys) for row in part)
    return [
        Event(Party.DEVICE, "computed", move, b"", leaves, shape),
        Event(Party.DEVICE, "read", move, _across(reads)),
    ]


def _across(reads: Sequence[Any]) -> bytes:
    """What the values that each layer reads for the same elements have to do with one another."""
    words = [read.reshape(len(read), -1) for read in reads]
    zeros = np.sum([(read == 0).all(axis=1) for read in words[1:] or words], axis=0)
    linked = 0
    for one, other in combinations(words, 2):
        apart = one ^ other
        apart[:, 0] >>= np.uint64(NUMBER_BITS)
        linked += int(((apart == 0).all(axis=1) & (one != 0).any(axis=1)).sum())
    return bytes(min(int(count), 255) for count in (linked, *zeros))


def _of_element(setup: Any, outputs: Any) -> tuple[list[Any], tuple[Any, ...], list[Any]]:
    keys, shape, reads = list[Any](), list[Any](), list[Any]()
    for layer in setup.layers:
        own = labels.places(outputs, layer.file.identity.epoch)
        keys.append(own.store_keys)
        if hasattr(layer, "store"):
            reads.append(layer.store.lookup(own.store_keys))
            shape += [*_alike(reads[-1]), int((layer.numbers(own) < layer.entries).sum())]
    return keys, tuple(shape), reads


def _of_tokens(setup: Any, outputs: Any) -> tuple[list[Any], tuple[Any, ...], list[Any]]:
    t = setup.tokening
    keys, shape, reads = list[Any](), list[Any](), list[Any]()
    for layer in setup.layers:
        own = derivation.token_keys(outputs, layer.epoch)
        keys.append(own.store_keys)
        values = layer.values(own)
        by_band = values.reshape(-1, t.bands, shares.VALUE_BYTES).swapaxes(0, 1)
        met, _ = layer.addresses.lookup(
            derivation.addresses(shares.candidates(by_band, t.needed), layer.epoch)
        )
        reads.append(layer.store.lookup(own.store_keys))
        shape += [*_alike(reads[-1]), *_alike(values.view(np.uint64)), len(set(met.tolist()))]
    return keys, tuple(shape), reads


def _alike(read: Any) -> tuple[int, int]:
    """How many values are zero, and how many repeat another."""
    return int((read == 0).sum()), int(read.size - len(np.unique(read)))
