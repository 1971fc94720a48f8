"""A server that learns is told which query is a retry, so that a picture is reported once; no other is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from blindmatch_protocol.contract import AnyDesign, Learner
from dummy_designs import ECHO, LARGE, SHARES
from support.fakes import World, down, hashes_with, picture


@pytest.fixture(params=[ECHO, LARGE, SHARES], ids=lambda design: design.info.name)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    design: AnyDesign = request.param
    made = World(tmp_path, design, hashes_with(picture(1)))
    yield made
    made.close()


def asked(world: World) -> list[bytes]:
    """Request ids the matcher got since it was last looked at."""
    found = [envelope.request_id for envelope in world.matcher.asked]
    world.matcher.asked.clear()
    return found


def test_a_picture_has_one_request_id_at_every_attempt_and_over_a_restart(world: World) -> None:
    alice = world.device("alice")
    _ = world.device("bob")
    world.matcher.fail_always(down())
    alice.device.send_picture("bob", picture(1))
    first = asked(world)
    alice.device.close()
    world.matcher.heal()
    again = world.device("alice", fresh=False)
    assert again.device.flush().waiting == 0
    later = asked(world)
    assert len(first) > 1 and later
    assert len({*first, *later}) == 1
    learns = Learner.SERVER in world.design.info.learns
    assert {len(one) for one in later} == {16 if learns else 0}


@pytest.mark.parametrize("world", [ECHO, LARGE], ids=("echo", "large"), indirect=True)
def test_two_pictures_have_two_even_if_they_are_the_same_and_a_group_has_one(world: World) -> None:
    alice = world.device("alice")
    _ = world.device("bob")
    _ = world.device("carol")
    seen = []
    for _ in range(2):
        alice.device.send_picture("bob", picture(1))
        seen.append(set(asked(world)))
    alice.device.send_picture_to(["bob", "carol"], picture(1))
    seen.append(set(asked(world)))
    assert [len(one) for one in seen] == [1, 1, 1]
    assert len(set.union(*seen)) == 3


@pytest.mark.parametrize("world", [ECHO, LARGE], ids=("echo", "large"), indirect=True)
def test_the_relay_sees_nothing_that_a_request_id_is_made_of(world: World) -> None:
    alice = world.device("alice")
    _ = world.device("bob")
    sent = alice.device.send_picture("bob", picture(1))
    ids = {one for one in asked(world) if one}
    assert len(ids) == 1
    assert not ids & {sent.message_id, *world.relay.blobs}
