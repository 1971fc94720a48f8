"""A device, with the matcher, shows that a listed hash is not on the list.

a listed hash    the honest session, which comes to a match
another key      the matcher answers under a key of its own
a delta left out the hash came with the second epoch, and the set-up is shown without it
rows swapped     the reply's elements in another order
another hash     what was asked about is a hash that is not listed
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from blindmatch_proofs import absence
from blindmatch_proofs.absence import AbsenceProof
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import Buffers, Party, Role
from blindmatch_protocol.designs.voprf.messages import CertifiedReply
from blindmatch_protocol.epoch_manifest import SignedManifest
from blindmatch_protocol.errors import BlindmatchError
from blindmatch_server.curator.signing import CuratorKey
from msgspec.structs import replace

from blindmatch_simulations.attacks.adversary import Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.attacks.figure import Figure, counted, tally
from blindmatch_simulations.inprocess.deployed import Build, Deployed, manifest_of, transcript, update
from blindmatch_simulations.pictures.hash_only import HashOnly

ENTRIES: Final = 8
CURATOR: Final = CuratorKey.of(bytes(32))


@attack(
    "false-absence",
    Means(frozenset({Party.DEVICE, Party.MATCHER}), has="a listed hash, every set, and a key of its own"),
    Claim("no listed hash is shown to be absent", "docs/accountability.md"),
    budget="five proofs",
    weakness=replacing(
        (absence, "verify_files", lambda *_: Passed()),
        (absence, "open_setup", lambda *_: None),
        (absence, "verify_absence", lambda *_: Passed()),
    ),
    against={"oprf-psi"},
)
def false_absence(arena: Arena) -> Figure:
    """Count the false proofs that a verifier takes."""
    first = arena.publish(arena.hashes(ENTRIES, "listed"), "set", evaluations=2)
    second = update(first, arena.hashes(ENTRIES, "added"), [], arena.rng("update"))
    deployed, signed = arena.opened(second), _signed(second)
    honest = transcript(
        deployed, signed, HashOnly(arena.hashes(1, "absent")[0].tobytes()), arena.rng("honest")
    )
    if not _taken(deployed, honest, second.setup_files):
        raise AttackError("a proof that is true was refused")
    forged = arena.each(list(_forged(arena, first, deployed, signed)))
    cases = tally((name, _taken(deployed, proof, files)) for name, proof, files in forged)
    return counted("false proofs taken", cases)


def _forged(
    arena: Arena, first: Build, deployed: Deployed, signed: SignedManifest
) -> Iterator[tuple[str, AbsenceProof, Buffers]]:
    """False proofs, each with the files it is shown with."""
    listed, added = (arena.hashes(ENTRIES, name)[0].tobytes() for name in ("listed", "added"))
    rng, files = arena.rng("forged"), deployed.build.setup_files
    yield "a listed hash", transcript(deployed, signed, HashOnly(listed), rng), files
    own = arena.publish(arena.hashes(ENTRIES, "others"), "own", evaluations=2)
    theirs = arena.opened(update(own, arena.hashes(ENTRIES, "more"), [], arena.rng("own")))
    made = transcript(replace(deployed, states=theirs.states), signed, HashOnly(listed), rng)
    yield "another key", made, files
    before = arena.opened(first)
    yield "a delta left out", transcript(before, signed, HashOnly(added), rng), first.setup_files

    def swapped(role: Role, reply: Message) -> Message:
        assert isinstance(reply, CertifiedReply)
        return replace(reply, evaluated=reply.evaluated[::-1].copy())

    yield "rows swapped", transcript(deployed, signed, HashOnly(listed), rng, swapped), files
    absent = HashOnly(arena.hashes(1, "absent")[0].tobytes())
    yield "another hash", replace(transcript(deployed, signed, absent, rng), hash=listed), files


def _signed(build: Build) -> SignedManifest:
    return CURATOR.sign(manifest_of(build.design, build.setup_files, build.epoch))


def _taken(deployed: Deployed, proof: AbsenceProof, files: Buffers) -> bool:
    """Does a verifier with the curator's key take the proof, as `proof verify` does?"""
    try:
        if absence.verify_files(proof.signed, CURATOR.public, files) != Passed():
            return False
        setup = absence.open_setup(deployed.design, proof.signed.manifest, files)
    except BlindmatchError:
        return False
    return absence.verify_absence(proof, deployed.design, setup) == Passed()
