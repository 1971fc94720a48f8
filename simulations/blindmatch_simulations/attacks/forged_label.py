"""Whoever answers does so with labels that are not on the list, so that a device reports a picture it wants.

forged-label    a third party, whose labels are signed
forced-report   a matcher whose labels are not

It knows the hash that was asked about, so each label is of that very hash, or of one near it:

    made up      without a signature, or with one of its own key
    borrowed     under the signature of a listed entry, or of the label that says that nothing was found
    outdated     of an entry that the epoch before had, signed then
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import Done, Label, Match, Party, Role
from blindmatch_protocol.contract.entries import batches_of
from blindmatch_protocol.designs import third_party
from blindmatch_protocol.designs.third_party import THIRD, answered_with, signatures
from nacl.signing import SigningKey

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, counted, tally
from blindmatch_simulations.inprocess.deployed import Deployed
from blindmatch_simulations.inprocess.steps import Stop, deliver, stops
from blindmatch_simulations.pictures.hash_only import HashOnly

ENTRIES: Final = 8
CHOSEN: Final = 8


def run(arena: Arena) -> Figure:
    """Count the forged labels that the device takes, by kind."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "listed"), "set")
    own = arena.hashes(1, "chosen")[0].tobytes()
    (stop,) = stops(deployed, HashOnly(own), arena.rng("device"))
    asked = third_party.DESIGN.unsealed(THIRD, deployed.states[THIRD], stop.bodies[THIRD])
    forged = arena.each(
        [(kind, answered_with(label, asked.reply_key)) for kind, label in _forged(arena, deployed, own)]
    )
    cases = tally((kind, _taken(arena, deployed, stop, THIRD, reply)) for kind, reply in forged)
    return counted("labels taken", cases)


def _forged(arena: Arena, deployed: Deployed, own: bytes) -> Iterator[tuple[str, Label]]:
    """Five labels of the hash that was asked about."""
    rng, state = arena.rng("forged"), deployed.states[THIRD]
    label = Label(own, 7, rng.take(16), signatures=bytes(64))
    yield "made up", label
    yield "made up", replace(label, signatures=_signature(label, rng.take(32)))
    yield "borrowed", replace(label, signatures=state.listed.label(0).signatures)
    yield "borrowed", replace(label, signatures=state.nothing.signatures)
    before = arena.deployed(np.frombuffer(own, np.uint8).reshape(1, 32), "before")
    yield "outdated", before.states[THIRD].listed.label(0)


def _signature(label: Label, seed: bytes) -> bytes:
    one = batches_of(
        np.frombuffer(label.entry_hash, np.uint8).reshape(1, 32),
        np.array([label.entry_id], np.uint64),
        np.frombuffer(label.salt, np.uint8).reshape(1, 16),
    )
    return signatures(SigningKey(seed), 1, None, next(one.batches(1))).tobytes()


def _taken(arena: Arena, deployed: Deployed, stop: Stop, role: Role, reply: Message) -> bool:
    step = deliver(deployed, stop, role, reply.encode(), arena.rng("receive"))
    return isinstance(step, Done) and isinstance(step.outcome, Match)


def force(arena: Arena) -> Figure:
    """Count the pictures that are not listed and match, by the reply of a matcher that saw their hashes."""
    deployed, rng, forced = arena.deployed(arena.hashes(ENTRIES, "listed"), "set"), arena.rng("forged"), 0
    for at, row in enumerate(arena.each(arena.hashes(CHOSEN, "chosen")), 1):
        (stop,) = stops(deployed, HashOnly(row.tobytes()), rng)
        (role,) = stop.replies
        honest: Any = stop.replies[role]
        label = Label(row.tobytes(), at, rng.take(16))
        forced += _taken(arena, deployed, stop, role, replace(honest, matched=True, label=label))
    return counted("matches forced", {"pictures not listed": (forced, CHOSEN)})


ATTACK: Final = Adversary(
    name="forged-label",
    means=Means(frozenset({third_party.PARTY}), has="every reply, and the hash that was asked about"),
    claim=Claim("can show none that is not listed", "docs/designs/third-party.md"),
    budget="five labels of the hash that was asked about",
    move=run,
    weakness=replacing((third_party, "check_signature", lambda *_: None)),
    against=frozenset({"third-party"}),
)
FORCED_REPORT: Final = Adversary(
    name="forced-report",
    means=Means(frozenset({Party.MATCHER}), has="every hash, and every reply"),
    claim=Claim("any picture the matcher chooses, since it can answer with a match that is none"),
    budget=f"{CHOSEN} pictures",
    move=force,
    weakness=AS_BUILT,
    against=frozenset({"hash-upload", "partial-hash"}),
)
