"""What a device enrols with: before its first picture, once for each key, whatever breaks off in between."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from blindmatch_client.device import OutcomeKind
from blindmatch_client.errors import ServiceUnavailableError
from blindmatch_protocol.codec.randomness import replayed
from blindmatch_protocol.contract import Party
from blindmatch_protocol.designs.he_hamming import SMALL
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from dummy_designs import MASKED, MATCHER, PADDING_BYTES
from support.fakes import Owned, World, down, hashes_with, picture, publish

HASHES = hashes_with(picture(1))


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world(MASKED, HASHES)


def sent(owned: Owned) -> list[list[pb.EnrolPart]]:
    """The parts of each upload."""
    return [
        [pb.EnrolPart.FromString(raw) for raw in record.requests]
        for record in owned.recorder.records()
        if record.method.endswith("/Enrol")
    ]


def matched(owned: Owned, seed: int) -> OutcomeKind | None:
    return owned.device.send_picture("bob", picture(seed)).outcome


def test_an_account_enrols_once_before_its_first_picture_and_is_known_by_it_afterwards(world: World) -> None:
    world.device("bob")
    alice = world.device("alice")
    before = alice.methods(Party.MATCHER)
    assert before[-3:] == ["Enrolled", "Enrol", "Enrolled"] and "Exchange" not in before
    assert sum(len(part.data) for part in sent(alice)[0]) > PADDING_BYTES
    assert matched(alice, 1) is OutcomeKind.MATCH and matched(alice, 5) is OutcomeKind.NO_MATCH
    alice.device.refresh()
    alice.device.close()
    again = world.device("alice", fresh=False)
    assert matched(again, 1) is OutcomeKind.MATCH
    assert len(sent(alice)) == 1 and sent(again) == []


def test_an_upload_that_broke_off_goes_on_where_it_stopped_also_after_a_restart(world: World) -> None:
    world.device("bob")
    world.matcher.fail_next(None, None, down(), *[down()] * 3, method="enrol-part")
    with pytest.raises(ServiceUnavailableError):
        world.device("alice")
    (alice,) = [device for device in world.devices if device.account == "alice"]
    alice.close()
    world.matcher.heal()
    again = world.device("alice", fresh=False)
    assert matched(again, 1) is OutcomeKind.MATCH
    (parts,) = sent(again)
    assert 0 < parts[0].offset < PADDING_BYTES
    assert parts[0].offset + sum(len(part.data) for part in parts) == parts[0].head.size


def test_a_role_that_lost_it_gets_it_again_and_then_answers(world: World) -> None:
    world.device("bob")
    alice = world.device("alice")
    matched(alice, 1)
    world.matcher.enrolled.clear()
    world.matcher.begun.clear()
    assert matched(alice, 1) is OutcomeKind.MATCH
    first, second = sent(alice)
    assert [part.SerializeToString() for part in first] == [part.SerializeToString() for part in second]
    bodies = [envelope.body for envelope in world.matcher.asked]
    assert len(bodies) == 3 and bodies[1] == bodies[2]


def test_another_key_is_another_enrolment_and_the_same_key_is_not(world: World) -> None:
    world.device("bob")
    alice = world.device("alice")
    for epoch, uploads in ((2, 1), (11, 2)):
        world.matcher.epoch = publish(MASKED, HASHES, epoch)
        alice.device.refresh()
        assert matched(alice, 1) is OutcomeKind.MATCH
        assert len(sent(alice)) == uploads


def test_an_enrolment_can_be_made_again_from_its_trace(world: World) -> None:
    (trace,) = world.device("alice").traced.enrolments
    state = MASKED.device_state.decode(trace.state_before)
    made = MASKED.enrolment(state, 1, replayed(trace.tape))  # type: ignore[arg-type]
    assert {role: body.encode() for role, body in made.bodies.items()} == trace.bodies
    assert trace.bodies.keys() == {MATCHER} and trace.key == MASKED.enrolment_key(1)


def test_an_account_of_he_hamming_has_new_keys_in_the_next_epoch_and_matches_with_them(
    make_world: Callable[..., World],
) -> None:
    """So a matcher's recorded queries serve it no longer than an epoch (`earlier_pictures`)."""
    world = make_world(SMALL, HASHES)
    world.device("bob")
    alice = world.device("alice")
    kinds = (OutcomeKind.MATCH, OutcomeKind.NO_MATCH)
    secrets = []
    for epoch in (1, 2):
        world.matcher.epoch = publish(SMALL, HASHES, epoch)
        alice.device.refresh()
        assert (matched(alice, 1), matched(alice, 5)) == kinds and len(sent(alice)) == epoch
        secrets.append(SMALL.device_state.decode(alice.traced.sessions[-1].state_before))
    assert secrets[0] != secrets[1] and all(secrets)
