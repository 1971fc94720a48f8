"""he-hamming in memory: a ring without security, accounts with keys, sessions and what a client could do."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.designs.he_hamming import DESIGN, SMALL, packing
from blindmatch_protocol.designs.he_hamming.circuit import WEIGHT, indicator
from blindmatch_protocol.designs.he_hamming.packing import Keys, Query, Reply, Secret
from blindmatch_protocol.designs.he_hamming.seal import PLAIN_MODULUS, primes
from msgspec.structs import replace

from support.memory import Held, held, random_hashes
from support.voprf_world import MATCHER as MATCHER
from support.voprf_world import Picture as Picture

SLOTS = 512


def entry_at(hash_: bytes, distance: int, seed: int = 1) -> bytes:
    """A hash that many bits away: as many ones as zeros flipped, and one zero more if it is odd."""
    bits = np.unpackbits(np.frombuffer(hash_, np.uint8))
    rng = np.random.default_rng(seed)
    ones = rng.permutation(np.flatnonzero(bits))
    zeros = rng.permutation(np.flatnonzero(bits == 0))
    bits[ones[: distance // 2]] = 0
    bits[zeros[: distance - distance // 2]] = 1
    return np.packbits(bits).tobytes()


def rows(*hashes: bytes) -> Rows:
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


OWN = random_hashes(1, seed=77)[0].tobytes()
LISTED = random_hashes(SLOTS + 40, seed=3)
"""Two batches."""


@cache
def world(*more: bytes, epoch: int = 1, full: bool = False) -> Held:
    """A list of two batches (one, where the ring is the full one), and `more`."""
    design: bm.AnyDesign = DESIGN if full else SMALL
    return held(design, np.concatenate([LISTED, rows(*more)]) if more else LISTED, epoch)


@cache
def account(number: int = 0, full: bool = False) -> bm.Enrolment[Any]:
    place = world(full=full)
    return place.design.enrolment(place.design.enrol(seeded("x")), place.setup, seeded("the same"))


def keys(number: int = 0, full: bool = False) -> Keys:
    found = account(number, full).bodies[MATCHER]
    assert isinstance(found, Keys)
    return found


def secret(number: int = 0, full: bool = False) -> bytes:
    state = account(number, full).state
    assert isinstance(state, Secret)
    return state.coefficients


def start(place: Held, item: Picture, seed: str = "device", number: int = 0) -> tuple[Any, Query]:
    """A session that waits, and what it asks."""
    full = place.design is DESIGN
    begun = place.design.start(account(number, full).state, place.setup, item, bm.UNBOUND, seeded(seed)).step
    assert isinstance(begun, bm.Send)
    body = begun.bodies[MATCHER]
    assert isinstance(body, Query)
    return begun.session, body


def answer(place: Held, body: Message, held_keys: Message | None) -> Message | ProtocolError:
    """The matcher's reply to one body."""
    asked = [bm.Request(body, held_keys)]
    return place.design.answer(MATCHER, place.states[MATCHER], asked, seeded("matcher"), None).replies[0]


def reply(place: Held, body: Message, held_keys: Message | None = None) -> Reply:
    found = answer(place, body, held_keys or keys(full=place.design is DESIGN))
    assert isinstance(found, Reply)
    return found


def rotated(place: Held, babies: int) -> Held:
    """The same, with so many rotations of a query beforehand."""
    state = place.states[MATCHER]
    batches = tuple(replace(batch, babies=babies) for batch in state.batches)
    return replace(place, states={MATCHER: replace(state, batches=batches)})


def conclude(place: Held, session: Any, got: Message) -> bm.Outcome:
    step = place.design.receive(session, place.setup, {MATCHER: got}, seeded("unused"))
    assert isinstance(step, bm.Ready)
    return place.design.conclude(step.session, place.setup)


def run(place: Held, item: Picture) -> bm.Outcome:
    session, body = start(place, item)
    return conclude(place, session, reply(place, body))


def query_of(place: Held, vector: npt.NDArray[Any], seed: str = "client") -> Query:
    """What a modified client sends: any numbers in place of a hash's bits."""
    drawn, sealed = place.setup.ring.encrypt(secret(), vector, seeded(seed))
    return Query(place.setup.epoch, drawn, sealed)


def hits(place: Held, got: Reply) -> list[int]:
    """Slots of a reply that are not zero."""
    session, _ = start(place, Picture(OWN))
    step = place.design.receive(session, place.setup, {MATCHER: got}, seeded("unused"))
    assert isinstance(step, bm.Ready)
    slots = place.setup.ring.decrypt(secret(), step.session.polynomials)
    return np.flatnonzero(slots.any(axis=0)).tolist()


def changed(body: Query, **values: Any) -> Query:
    return replace(body, **values)


def label_of(place: Held, row: int) -> bm.Label:
    return bm.Label(place.entries[row].tobytes(), row + 1, place.salts[row].tobytes(), place.setup.epoch)


def unencrypted(place: Held, entry_hash: bytes) -> Reply:
    """What a matcher sends that looks at no query: the key of one entry, at its slot, as a plaintext."""
    ring = place.setup.ring
    slots = np.zeros((8, SLOTS), np.uint64)
    for batch in place.states[MATCHER].batches:
        (found,) = (batch.hashes == np.frombuffer(entry_hash, np.uint8)).all(axis=1).nonzero()
        slots[:, found] = (
            batch.key_chunks()[:, found] * np.uint64(indicator(WEIGHT)) % np.uint64(PLAIN_MODULUS)
        )
    prime = primes(SLOTS)[0]
    plain = [[ring.plain(one).data(at) for at in range(SLOTS)] for one in slots]
    scaled = (np.array(plain, np.uint64) * np.uint64(prime) + np.uint64(PLAIN_MODULUS // 2)) // np.uint64(
        PLAIN_MODULUS
    )
    pairs = np.stack([scaled, np.zeros_like(scaled)], axis=1).reshape(-1, 1, SLOTS)
    return Reply(place.setup.epoch, packing.packed(pairs % np.uint64(prime)))
