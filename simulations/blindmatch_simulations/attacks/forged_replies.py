"""A matcher answers with what is no evaluation under the set-up's key; each reply must be refused, and alike.

Made for the request of a picture on the list and of another: evaluations under another key, with that key's
proof or the right one's; single rows replaced, swapped, left out or repeated; the reply to another request;
other epochs; other proofs; rows that are no elements; and noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from blindmatch_protocol import dleq, group
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.contract import Party, Role
from blindmatch_protocol.oprf import Mode, blind_evaluate, generate_key_pair
from blindmatch_protocol.randomness import Randomness

from blindmatch_simulations.attacks.adversary import Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.inprocess.deployed import Deployed
from blindmatch_simulations.inprocess.steps import Stop, deliver, hostile, stops
from blindmatch_simulations.inprocess.verdict import BrokenError
from blindmatch_simulations.pictures.hash_only import HashOnly

ENTRIES: Final = 8
ROWS: Final = 4
"""Elements of a request of a design that lets them be chosen."""
FLIPS: Final = 32


def run(arena: Arena) -> Figure:
    """Count the replies that are not refused, or that end in another error than a refusal."""
    listed, other = arena.hashes(ENTRIES, "listed"), arena.hashes(1, "other")
    deployed = arena.deployed(listed, "set", evaluations=ROWS, k=8, bands=2, probes=2)
    items = {"listed": HashOnly(listed[0].tobytes()), "other": HashOnly(other[0].tobytes())}
    (listed_stop,), (other_stop,) = (stops(deployed, item, arena.rng(name)) for name, item in items.items())
    pairs = {"listed": (listed_stop, other_stop), "other": (other_stop, listed_stop)}
    cases = {}
    for name, (stop, foreign) in arena.each(pairs.items()):
        taken = [
            _taken(arena, deployed, stop, role, raw)
            for role in stop.replies
            for raw in _forged(arena, deployed, stop, foreign, role)
        ]
        cases[name] = (sum(taken), len(taken))
    return counted("replies taken", cases)


def _taken(arena: Arena, deployed: Deployed, stop: Stop, role: Role, raw: bytes) -> bool:
    if raw == stop.replies[role].encode():
        return False
    try:
        return deliver(deployed, stop, role, raw, arena.rng("receive")) is not None
    except BrokenError:
        return True


def _forged(arena: Arena, deployed: Deployed, stop: Stop, foreign: Stop, role: Role) -> Iterator[bytes]:
    """Encoded replies of a role, none of which is the right one."""
    body, reply, others = (bodies[role] for bodies in (stop.bodies, stop.replies, foreign.replies))
    rng = arena.rng("forged")
    yield from (made.encode() for made in _replies(body, reply, others, rng))
    yield from hostile(deployed.design.replies[role], reply.encode(), rng, FLIPS)


def _replies(body: Any, reply: Any, others: Any, rng: Randomness) -> Iterator[Message]:
    """Well-formed ones."""
    wrong = blind_evaluate(generate_key_pair(Mode.VOPRF, rng), body.blinded, rng)
    rows: Rows = reply.evaluated
    mixed, swapped = rows.copy(), rows.copy()
    mixed[-1], swapped[[0, 1]] = wrong.elements[-1], rows[[1, 0]]
    chosen = group.hash_to_group(np.frombuffer(rng.take(64 * len(rows)), np.uint8).reshape(-1, 64))
    yield replace(reply, evaluated=wrong.elements, proof=wrong.proof)
    yield others
    repeated = rows[[0, *range(len(rows))]]
    for elements in (wrong.elements, mixed, swapped, chosen, body.blinded, rows[1:], repeated):
        yield replace(reply, evaluated=elements)
    for proof in (bytes(64), others.proof, rng.take(64), reply.proof[32:] + reply.proof[:32]):
        yield replace(reply, proof=proof)
    yield from (replace(reply, epoch=epoch) for epoch in (0, reply.epoch + 1))


ATTACK: Final = Adversary(
    name="forged-replies",
    means=Means(frozenset({Party.MATCHER}), has="every reply, of a key in shares those of one party"),
    claim=Claim("a matcher that cheats is refused"),
    budget="some 150 replies to each of two requests",
    move=run,
    weakness=replacing((dleq, "verify_proof", lambda *_, **__: None)),
    against=frozenset({"oprf-psi", "token-psi", "split-psi", "split-token-psi"}),
)
