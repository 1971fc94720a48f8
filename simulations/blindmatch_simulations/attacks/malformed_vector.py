"""A modified client asks a homomorphic matcher with a vector that is no hash, to read label keys.

    all ones        v is the entry's weight, near every entry: each slot would hold its key
    128 times a bit v is 128 or 0: the slot of every entry with that bit would hold its key

It runs in the ring without security, where a request takes 0.1 s and slots are filled alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.contract import Party, Request
from blindmatch_protocol.designs.he_hamming import files, packing
from blindmatch_protocol.designs.he_hamming.circuit import Evaluation, indicator
from blindmatch_protocol.designs.he_hamming.messages import Query, Reply, Secret
from blindmatch_protocol.designs.he_hamming.seal import PLAIN_MODULUS

from blindmatch_simulations.attacks.adversary import Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.inprocess.deployed import Deployed, enrolled
from blindmatch_simulations.inprocess.opened import request_of

ENTRIES: Final = 256
VECTORS: Final[Mapping[str, npt.NDArray[Any]]] = {
    "all ones": np.ones(256, np.int64),
    "128 times a bit": np.eye(256, dtype=np.int64)[3] * 128,
}
_VALUES: Final = range(256)
"""What v can be where an entry's key shows."""


def run(arena: Arena) -> Figure:
    """Count the entries whose labels open."""
    small = arena.reduced()
    deployed = small.deployed(small.hashes(ENTRIES, "list"), "set")
    vectors = arena.each(VECTORS.items())
    read = {name: (_read(small, deployed, vector), ENTRIES) for name, vector in vectors}
    return counted("entries read", read)


def _read(arena: Arena, deployed: Deployed, vector: npt.NDArray[Any]) -> int:
    """How many entries open with what comes back for a vector."""
    rng, setup = arena.rng("client"), deployed.setup
    state = enrolled(deployed, rng)
    assert isinstance(state, Secret)
    ((role, matcher),) = deployed.states.items()
    seed, rows = setup.ring.encrypt(state.coefficients, vector, rng)
    request: Request = request_of(deployed.design, setup, role, Query(setup.epoch, seed, rows))
    arena.spending.queries += 1
    (reply,) = deployed.design.answer(role, matcher, [request], rng, None).replies
    assert isinstance(reply, Reply)
    slots = setup.ring.decrypt(state.coefficients, packing.unpacked(reply.rows, 1, reply.NAME, "rows"))
    factors = [pow(z, -1, PLAIN_MODULUS) for z in map(indicator, _VALUES) if z]
    return sum(_opens(setup, slot, slots[:, slot], factors) for slot in range(setup.ring.degree))


def _opens(setup: Any, slot: int, held: npt.NDArray[Any], factors: list[int]) -> bool:
    """Does what a slot holds open the label there, divided by one of the factors?"""
    chunks = np.outer(factors, held) % PLAIN_MODULUS
    fitting = chunks[(chunks < 1 << 16).all(axis=1)].astype(">u2").view(np.uint8)
    keys = files.label_keys(fitting, setup.epoch)
    return any(setup.labels.unseal(key.tobytes(), slot) is not None for key in keys)


ATTACK: Final = Adversary(
    name="malformed-vector",
    means=Means(frozenset({Party.DEVICE}), has="a modified device with keys that SEAL made"),
    claim=Claim("a vector that is no hash reads no key", "docs/designs/he-hamming.md"),
    budget=f"{len(VECTORS)} requests, {ENTRIES} entries",
    move=run,
    weakness=replacing((Evaluation, "_validity", lambda self, query, at: [])),
    against=frozenset({"he-hamming"}),
)
