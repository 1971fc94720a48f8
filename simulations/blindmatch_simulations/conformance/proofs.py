"""Proofs in replies: two that share a nonce give the key away, whatever else they are for.

A proof of knowledge of a key k is a challenge c and a response s = r - c*k (RFC 9497, section 2.2.1; one of
Schnorr's has the other sign). Two proofs of one nonce r give k = (s' - s) / (c - c'). So every pair of what
can be read as proofs is solved, and what comes of it is held against the public keys that everybody has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import Final, TypeAlias

from blindmatch_protocol import single
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import UNBOUND, Role
from blindmatch_protocol.contract.outcome import Send
from blindmatch_protocol.errors import ProtocolError

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.conformance.settings import as_published
from blindmatch_simulations.inprocess.deployed import Deployed, enrolled
from blindmatch_simulations.inprocess.enrolled import request_of
from blindmatch_simulations.inprocess.fields import byte_fields
from blindmatch_simulations.inprocess.verdict import BrokenError, NotApplicableError, Passed

REPLIES: Final = 12
"""Bodies that are answered one by one, and as many in one batch."""
BYTES: Final = single.BYTES
ORDER: Final = single.ORDER

Proof: TypeAlias = tuple[int, int]
"""Challenge and response."""


def check_proofs(bench: Bench) -> Passed:
    """No two proofs, of bodies answered alone or in a batch, give the key behind the set-up's public one."""
    deployed = as_published(bench).deployed
    public = windows(bench)
    found = 0
    for role in bench.design.info.roles:
        proofs = [proof for reply in _replies(bench, deployed, role) for proof in proofs_in(reply)]
        found += len(proofs)
        if solved(proofs, public):
            raise BrokenError(f"answer of {role}", "two proofs share a nonce: the key follows from them")
    if not found:
        raise NotApplicableError("replies bear nothing that can be read as a proof")
    return Passed(f"no key follows from any two of {found} proofs", {"proofs": found})


def windows(bench: Bench) -> frozenset[bytes]:
    """Everything in the set-up that may be a public key."""
    raws = as_published(bench).deployed.build.setup_files.values()
    return frozenset(raw[at : at + BYTES] for raw in raws for at in range(len(raw) - BYTES + 1))


def proofs_in(reply: Message) -> Iterator[Proof]:
    """Fields of a reply that are two scalars, or two fields in a row that are one each."""
    leaves = byte_fields(reply)
    pairs = [leaf for leaf in leaves if len(leaf) == 2 * BYTES]
    pairs += [a + b for a, b in pairwise(leaves) if len(a) == len(b) == BYTES]
    for raw in pairs:
        challenge, response = (int.from_bytes(raw[at : at + BYTES], "little") for at in (0, BYTES))
        if 0 < challenge < ORDER and 0 < response < ORDER:
            yield challenge, response


def solved(proofs: Sequence[Proof], public: frozenset[bytes]) -> bool:
    """Does a key of one of `public`, elements as 32 bytes, follow from two of `proofs`?"""
    for (c, s), (other_c, other_s) in combinations(proofs, 2):
        if c == other_c or s == other_s:
            continue
        key = (other_s - s) * pow(c - other_c, -1, ORDER) % ORDER
        for scalar in (key, ORDER - key):
            if single.multiply_base(scalar.to_bytes(BYTES, "little")) in public:
                return True
    return False


def _replies(bench: Bench, deployed: Deployed, role: Role) -> list[Message]:
    """Replies to different bodies, each alone, then all in one batch; randomness is never the same."""
    design, state = bench.design, deployed.states[role]
    bodies = [body for at in range(REPLIES) for body in _asked(bench, deployed, role, at)]
    requests = [request_of(design, deployed.setup, role, body) for body in bodies]
    alone = [[request] for request in requests]
    found: list[Message | ProtocolError] = []
    for at, batch in enumerate([*alone, requests] if requests else []):
        found += design.answer(role, state, batch, bench.rng(f"proofs/{role}/{at}"), None).replies
    return [reply for reply in found if isinstance(reply, Message)]


def _asked(bench: Bench, deployed: Deployed, role: Role, at: int) -> Iterator[Message]:
    rng, one = bench.rng(f"proofs/ask/{at}"), bench.pool.pictures[at % len(bench.pool.pictures)]
    step = bench.design.start(enrolled(deployed, rng), deployed.setup, one.item, UNBOUND, rng).step
    if isinstance(step, Send) and role in step.bodies:
        yield step.bodies[role]
