"""What a device can work out in a session beyond its outcome, for designs whose set is known from inside.

It has the set-up and the OPRF outputs of what it asked for: store keys, what the store reads there, and which
label numbers or addresses follow. That is the best place to look for a lone hit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from blindmatch_protocol import labels
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import AnyDesign, Party, Role
from blindmatch_protocol.designs.oprf_psi import OprfPsi
from blindmatch_protocol.designs.token_psi import TokenPsi, derivation, shares
from blindmatch_protocol.oprf import Blinding, Evaluation, Mode, finalize

from blindmatch_simulations.conformance.leakage.play import Event


def computed(
    design: AnyDesign, setup: Any, session: Any, replies: Mapping[Role, Message], move: int
) -> list[Event]:
    """The event of what the device computes from the replies of one round; none for other designs.

    The leaves are keys, the shape counts: zeros read, equal values read, labels or addresses that are met.
    """
    if not isinstance(design, OprfPsi | TokenPsi) or not hasattr(session, "blinding"):
        return []
    reply: Any = next(iter(replies.values()))
    held: Blinding = session.blinding
    # the proof was checked in the session; an output does not depend on it (RFC 9497, section 3.3.1)
    plain = Blinding(Mode.OPRF, held.inputs, held.blinds, held.blinded)
    outputs = finalize(plain, Evaluation(reply.evaluated), step=reply.NAME)
    keys, shape = _of_tokens(setup, outputs) if isinstance(design, TokenPsi) else _of_element(setup, outputs)
    leaves = tuple(row.tobytes() for part in (outputs, *keys) for row in part)
    return [Event(Party.DEVICE, "computed", move, b"", leaves, shape)]


def _of_element(setup: Any, outputs: Any) -> tuple[list[Any], tuple[Any, ...]]:
    keys, shape = list[Any](), list[Any]()
    for layer in setup.layers:
        own = labels.places(outputs, layer.file.identity.epoch)
        keys.append(own.store_keys)
        if hasattr(layer, "store"):
            read = layer.store.lookup(own.store_keys)
            shape += [*_alike(read), int((layer.numbers(own) < layer.entries).sum())]
    return keys, tuple(shape)


def _of_tokens(setup: Any, outputs: Any) -> tuple[list[Any], tuple[Any, ...]]:
    t = setup.tokening
    keys, shape = list[Any](), list[Any]()
    for layer in setup.layers:
        own = derivation.token_keys(outputs, layer.epoch)
        keys.append(own.store_keys)
        values = layer.values(own)
        by_band = values.reshape(-1, t.bands, shares.VALUE_BYTES).swapaxes(0, 1)
        met, _ = layer.addresses.lookup(
            derivation.addresses(shares.candidates(by_band, t.needed), layer.epoch)
        )
        read = layer.store.lookup(own.store_keys)
        shape += [*_alike(read), *_alike(values.view(np.uint64)), len(set(met.tolist()))]
    return keys, tuple(shape)


def _alike(read: Any) -> tuple[int, int]:
    """How many values are zero, and how many repeat another."""
    return int((read == 0).sum()), int(read.size - len(np.unique(read)))
