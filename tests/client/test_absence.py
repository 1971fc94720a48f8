"""A device proves absence by a session of its own, after an ordinary message; a match has its consequence."""

from __future__ import annotations

import pytest
from blindmatch_client.messages.messages import DeviceError
from blindmatch_proofs.absence import AbsenceProof, open_setup, verify_absence, verify_files
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.contract import NoMatch
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.picture.decode import Picture
from dummy_designs import ECHO
from support.fakes import CURATOR, hashes_with, picture

from .conftest import MakeWorld

LISTED = picture(1)
OTHER = picture(2)
HASHES = hashes_with(LISTED)


def test_what_is_proven_is_what_another_verifies_with_the_set(make_world: MakeWorld) -> None:
    world = make_world(DESIGN, HASHES)
    world.device("bob")
    alice = world.device("alice")
    proof = AbsenceProof.decode(alice.device.prove_absence("bob", OTHER).encode())
    files = world.matcher.epoch.setup
    assert verify_files(proof.signed, CURATOR.public, files) == Passed()
    setup = open_setup(DESIGN, proof.signed.manifest, files)
    assert verify_absence(proof, DESIGN, setup) == Passed()
    assert proof.hash == Picture.from_bytes(OTHER).hash


def test_a_proof_takes_two_sessions_and_opens_none_of_a_message(make_world: MakeWorld) -> None:
    world = make_world(DESIGN, HASHES)
    world.device("bob")
    alice = world.device("alice")
    proof = alice.device.prove_absence("bob", OTHER)
    assert len(world.matcher.asked) == 2 and len({one.body for one in world.matcher.asked}) == 2
    assert [one.body[0] for one in world.matcher.asked] == [0x20, 0x28], "it is known to be for a proof"
    (live,) = alice.traced.sessions
    assert isinstance(live.outcome, NoMatch) and live.tape != proof.tape
    assert not {live.tape[at : at + 32] for at in range(0, 96, 32)} & {
        proof.tape[at : at + 32] for at in range(0, 96, 32)
    }
    assert alice.device.send_picture("bob", OTHER).delivered


def test_a_picture_that_matches_is_reported_and_there_is_no_proof(make_world: MakeWorld) -> None:
    world = make_world(DESIGN, HASHES)
    world.device("bob")
    alice = world.device("alice")
    with pytest.raises(DeviceError, match="the message came to: match"):
        alice.device.prove_absence("bob", LISTED)
    assert len(alice.device.standing().reports) == 1 and len(world.matcher.asked) == 1


def test_nothing_is_sent_where_nothing_can_be_proven(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    with pytest.raises(DeviceError, match="proves no absence"):
        alice.device.prove_absence("bob", OTHER)
    assert world.matcher.asked == [] and alice.traced.sessions == []


def test_a_matcher_that_cheats_in_the_proofs_session_is_found_out(make_world: MakeWorld) -> None:
    world = make_world(DESIGN, HASHES)
    world.device("bob")
    alice = world.device("alice")

    def second_only(envelope: object) -> object:
        if len(world.matcher.asked) == 2:
            envelope.body = envelope.body[:-1] + bytes([envelope.body[-1] ^ 1])  # type: ignore[attr-defined]
        return envelope

    world.matcher.alter = second_only  # type: ignore[assignment]
    with pytest.raises(Exception, match="no answer that can be verified"):
        alice.device.prove_absence("bob", OTHER)
    assert alice.device.distrust is not None
