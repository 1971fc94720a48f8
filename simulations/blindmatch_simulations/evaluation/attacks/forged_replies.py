"""Whoever answers does so with what is no right reply, or shows one to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any, Final

import numpy as np
from blindmatch_proofs import absence
from blindmatch_proofs.absence import AbsenceProof
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol import group
from blindmatch_protocol.codec import Message, Rows, decode_any
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.contract import Buffers, Done, Equal, Label, Match, Party, Role
from blindmatch_protocol.contract.publishing import batches_of
from blindmatch_protocol.crypto import dleq
from blindmatch_protocol.crypto.oprf import Mode, blind_evaluate, generate_key_pair
from blindmatch_protocol.designs import third_party
from blindmatch_protocol.designs.third_party import THIRD, answered_with, signatures
from blindmatch_protocol.designs.voprf import VoprfDesign
from blindmatch_protocol.designs.voprf.round import CertifiedReply
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from blindmatch_server.epochs.signing import CuratorKey
from msgspec.structs import replace
from nacl.signing import SigningKey

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted, tally
from blindmatch_simulations.testbed.inprocess.deployed import Build, Deployed, manifest_of, transcript, update
from blindmatch_simulations.testbed.inprocess.steps import Stop, deliver, hostile, stops
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError
from blindmatch_simulations.testbed.pictures.pool import HashOnly

ENTRIES: Final = 8
ROWS: Final = 4
"""Elements of a request of a design that lets them be chosen."""
FLIPS: Final = 32


@attack(
    "forged-replies",
    Means(frozenset({Party.MATCHER}), has="every reply, of a key in shares those of one party"),
    Claim("a matcher that cheats is refused"),
    budget="some 150 replies to each of two requests",
    weakness=replacing((dleq, "verify_proof", lambda *_, **__: None)),
    needs=(needs.BOUND,),
    exposes="that an outcome is the list's",
    left=Left.REFUSED,
)
def forged_replies(arena: Arena) -> Figure:
    """Count the replies that are not refused, or that end in another error than a refusal."""
    listed = arena.hashes(ENTRIES, "listed")
    other = arena.hashes(1, "other")
    if not isinstance(arena.design, VoprfDesign):
        return _forged_whatever_the_key(arena, listed, other)
    deployed = arena.deployed(listed, "set", evaluations=ROWS, k=8, bands=2, probes=2)
    items = {"listed": HashOnly(listed[0].tobytes()), "other": HashOnly(other[0].tobytes())}
    (listed_stop,), (other_stop,) = (stops(deployed, item, arena.rng(name)) for name, item in items.items())
    pairs = {"listed": (listed_stop, other_stop), "other": (other_stop, listed_stop)}
    cases = {}
    for name, (stop, foreign) in arena.each(pairs.items()):
        taken = [
            _not_refused(arena, deployed, stop, role, raw)
            for role in arena.design.layout.roles
            for raw in _no_evaluations(arena, deployed, stop, foreign, role)
        ]
        cases[name] = (sum(taken), len(taken))
    return counted("replies taken", cases)


def _forged_whatever_the_key(arena: Arena, listed: Rows, other: Rows) -> Figure:
    """Count the wrong replies that are not refused of a design whose messages are not known here.

    Each round of two sessions gets, from each role in turn, its reply to the other picture, the reply of a
    party with a key of its own and the same list, and altered and made-up ones.
    """
    deployed = arena.deployed(listed, "set")
    own_key = arena.deployed(listed, "own key")
    items = {"listed": HashOnly(listed[0].tobytes()), "other": HashOnly(other[0].tobytes())}
    rounds = {name: stops(deployed, item, arena.rng(name)) for name, item in items.items()}
    pairs = {"listed": (rounds["listed"], rounds["other"]), "other": (rounds["other"], rounds["listed"])}
    cases = {}
    for name, (own, foreign) in arena.each(pairs.items()):
        taken = list[bool]()
        for at, stop in enumerate(own):
            for role, body in stop.bodies.items():
                forged = _wrong_replies(arena, own_key, stop, role, body)
                if at < len(foreign) and role in foreign[at].replies:
                    forged = chain([foreign[at].replies[role].encode()], forged)
                taken += [_not_refused(arena, deployed, stop, role, raw) for raw in forged]
        cases[name] = (sum(taken), len(taken))
    return counted("replies taken", cases)


def _wrong_replies(arena: Arena, own_key: Deployed, stop: Stop, role: Role, body: Message) -> Iterator[bytes]:
    """Yield encoded replies of a role that are not the right one, whatever the protocol."""
    with suppress(ProtocolError):  # a role with another key may refuse the body
        yield own_key.answer(role, body, arena.rng("own key"))[0].encode()
    raw = stop.replies[role].encode()
    yield from hostile(arena.design.replies[role], raw, arena.rng("forged"), FLIPS)


def _not_refused(arena: Arena, deployed: Deployed, stop: Stop, role: Role, raw: bytes) -> bool:
    if raw == stop.replies[role].encode():
        return False
    try:
        return deliver(deployed, stop, role, raw, arena.rng("receive")) is not None
    except BrokenError:
        return True


def _no_evaluations(
    arena: Arena, deployed: Deployed, stop: Stop, foreign: Stop, role: Role
) -> Iterator[bytes]:
    """Encoded replies of a role, none of which is the right one."""
    held: list[Mapping[Role, Any]] = [stop.bodies, stop.replies, foreign.replies]
    body, reply, others = (one[role] for one in held)
    rng = arena.rng("forged")
    wrong = blind_evaluate(generate_key_pair(Mode.VOPRF, rng), body.blinded, rng)
    rows: Rows = reply.evaluated
    mixed = rows.copy()
    mixed[-1] = wrong.elements[-1]
    swapped = rows[::-1] if len(rows) > 1 else rows[:0]
    chosen = group.hash_to_group(np.frombuffer(rng.take(64 * len(rows)), np.uint8).reshape(-1, 64))
    yield replace(reply, evaluated=wrong.elements, proof=wrong.proof).encode()
    yield others.encode()
    repeated = rows[[0, *range(len(rows))]]
    for elements in (wrong.elements, mixed, swapped, chosen, body.blinded, rows[1:], repeated):
        if len(elements):
            yield replace(reply, evaluated=elements).encode()
    for proof in (bytes(64), others.proof, rng.take(64), reply.proof[32:] + reply.proof[:32]):
        yield replace(reply, proof=proof).encode()
    yield from (replace(reply, epoch=epoch).encode() for epoch in (0, reply.epoch + 1))
    yield from hostile(deployed.design.replies[role], reply.encode(), rng, FLIPS)


CURATOR: Final = CuratorKey.of(bytes(32))


@attack(
    "false-absence",
    Means(frozenset({Party.DEVICE, Party.MATCHER}), has="a listed hash, every set, and a key of its own"),
    Claim("no listed hash is shown to be absent", "docs/explanation/accountability.md"),
    budget="six proofs at most",
    weakness=replacing(
        (absence, "verify_files", lambda *_: Passed()),
        (absence, "open_setup", lambda *_: None),
        (absence, "verify_absence", lambda *_: Passed()),
    ),
    needs=(needs.BOUND, needs.A_LIST),
    exposes="that a proof of absence is true",
    left=Left.ABSENCE,
)
def false_absence(arena: Arena) -> Figure:
    """Count the false proofs that a verifier takes."""
    first = arena.publish(arena.hashes(ENTRIES, "listed"), "set", evaluations=2)
    last = _extended(arena, first, "added")
    deployed = arena.opened(last)
    signed = CURATOR.sign(manifest_of(last.design, last.setup_files, last.epoch))
    absent = HashOnly(arena.hashes(1, "absent")[0].tobytes())
    honest = transcript(deployed, signed, absent, arena.rng("honest"))
    if not _proves(deployed, honest, absent, last.setup_files):
        raise AttackError("a proof that is true was refused")
    cases = list[tuple[str, bool]]()
    for name, prove in arena.each(list(_false_proofs(arena, first, deployed, signed, honest))):
        try:
            proof, item, files = prove()
        except ProtocolError:  # a role refuses what it is asked, so there is no proof to show
            cases.append((name, False))
            continue
        cases.append((name, _proves(deployed, proof, item, files)))
    return counted("false proofs taken", tally(cases))


def _extended(arena: Arena, build: Build, purpose: str) -> Build:
    """Return the next epoch with more entries, of a design whose sets deltas update; else the same."""
    if not needs.DELTAS.met(arena.design):
        return build
    return update(build, arena.hashes(ENTRIES, purpose), [], arena.rng(f"update/{purpose}"))


Shown = tuple[AbsenceProof, HashOnly, Buffers]
"""A proof, the picture that it is shown to be of, and the set-up files."""


def _false_proofs(
    arena: Arena, first: Build, deployed: Deployed, signed: SignedManifest, honest: AbsenceProof
) -> Iterator[tuple[str, Callable[[], Shown]]]:
    """Yield what makes false proofs, of any design whose replies are bound to a key."""
    listed = HashOnly(arena.hashes(ENTRIES, "listed")[0].tobytes())
    files = deployed.build.setup_files

    def made(by: Deployed, alter: Callable[[Role, Message], Message] = lambda _, reply: reply) -> Shown:
        return transcript(by, signed, listed, arena.rng("forged"), alter), listed, files

    yield "a listed hash", lambda: made(deployed)
    own = arena.publish(arena.hashes(ENTRIES, "others"), "own", evaluations=2)
    theirs = arena.opened(_extended(arena, own, "more"))
    yield "another key", lambda: made(replace(deployed, states=theirs.states))
    # the same tape and state are asked the same, so replies of another session would fit by their form
    yield "replies to another", lambda: (replace(honest, hash=listed.hash), listed, files)
    yield "replies of another session", lambda: made(deployed, _replies_of(arena, deployed, honest))
    if needs.DELTAS.met(arena.design):
        added = HashOnly(arena.hashes(ENTRIES, "added")[0].tobytes())
        before = arena.opened(first)
        yield (
            "a delta left out",
            lambda: (transcript(before, signed, added, arena.rng("forged")), added, first.setup_files),
        )
    replies = [decode_any(arena.design.replies[Role(one.role)], one.body, "forged") for one in honest.replies]
    if all(isinstance(reply, CertifiedReply) and len(reply.evaluated) > 1 for reply in replies):
        yield "rows swapped", lambda: made(deployed, _swapped)


def _replies_of(arena: Arena, deployed: Deployed, proof: AbsenceProof) -> Callable[[Role, Message], Message]:
    """Return what puts the replies of a proof in the place of right ones, as far as there are any."""
    left = {role: [one.body for one in proof.replies if one.role == role] for role in deployed.states}

    def alter(role: Role, reply: Message) -> Message:
        return decode_any(arena.design.replies[role], left[role].pop(0), "forged") if left[role] else reply

    return alter


def _swapped(role: Role, reply: Message) -> Message:
    assert isinstance(reply, CertifiedReply)
    return replace(reply, evaluated=reply.evaluated[::-1].copy())


def _proves(deployed: Deployed, proof: AbsenceProof, item: HashOnly, files: Buffers) -> bool:
    """Does a verifier with the curator's key take the proof, as `proof verify` does?"""
    try:
        if absence.verify_files(proof.signed, CURATOR.public, files) != Passed():
            return False
        setup = absence.open_setup(deployed.design, proof.signed.manifest, files)
    except BlindmatchError:
        return False
    picture = None if isinstance(deployed.design.info.relation, Equal) else item
    return absence.verify_absence(proof, deployed.design, setup, picture) == Passed()


CHOSEN: Final = 8


@attack(
    "forged-label",
    Means(frozenset({third_party.PARTY}), has="every reply, and the hash that was asked about"),
    Claim("can show none that is not listed", "docs/designs/third-party.md"),
    budget="five labels of the hash that was asked about",
    weakness=replacing((third_party, "check_signature", lambda *_: None)),
    needs=(needs.SIGNED_LABELS,),
    exposes="that a match is of an entry",
    left=Left.REFUSED,
)
def forged_label(arena: Arena) -> Figure:
    """Count the forged labels that the device takes, by kind."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "listed"), "set")
    own = arena.hashes(1, "chosen")[0].tobytes()
    (stop,) = stops(deployed, HashOnly(own), arena.rng("device"))
    asked = third_party.DESIGN.unsealed(THIRD, deployed.states[THIRD], stop.bodies[THIRD])
    forged = arena.each(
        [(kind, answered_with(label, asked.reply_key)) for kind, label in _no_labels(arena, deployed, own)]
    )
    cases = tally((kind, _taken(arena, deployed, stop, THIRD, reply)) for kind, reply in forged)
    return counted("labels taken", cases)


def _no_labels(arena: Arena, deployed: Deployed, own: bytes) -> Iterator[tuple[str, Label]]:
    rng = arena.rng("forged")
    state = deployed.states[THIRD]
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


@attack(
    "forced-report",
    Means(frozenset({Party.MATCHER}), has="every hash, and every reply"),
    Claim("any picture the server chooses: it knows the hash, so it can answer with a match that is none"),
    budget=f"{CHOSEN} pictures",
    needs=(needs.WHOLE_HASH, needs.OPEN_LABEL),
    exposes="any picture that the matcher has devices report",
    left=Left.SAID,
)
def forced_report(arena: Arena) -> Figure:
    """Count the pictures that are not listed and match, by the reply of a matcher that saw their hashes."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "listed"), "set")
    rng = arena.rng("forged")
    forced = 0
    for at, row in enumerate(arena.each(arena.hashes(CHOSEN, "chosen")), 1):
        *_, stop = stops(deployed, HashOnly(row.tobytes()), rng)
        ((role, honest),) = stop.replies.items()
        label = Label(row.tobytes(), at, rng.take(16))
        match = {"matched": True} if hasattr(honest, "matched") else {}
        forced += _taken(arena, deployed, stop, role, replace(honest, label=label, **match))
    return counted("matches forced", {"pictures not listed": (forced, CHOSEN)})
