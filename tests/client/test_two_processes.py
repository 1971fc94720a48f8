"""Two programs with one device folder, such as `device run` and `device trust` in another terminal."""

from __future__ import annotations

import pytest
from blindmatch_client.errors import MessengerError, StoreError
from dummy_designs import ECHO
from support.fakes import Owned, World, down, hashes_with, picture

from .conftest import MakeWorld
from .test_safety_numbers import Between


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(ECHO, hashes_with(picture(1)))


def substituted(world: World) -> tuple[Owned, Between, str]:
    """Alice has a session with the relay in Bob's place, a text waits in it, and Bob's own key was shown."""
    alice = world.device("alice")
    bob = world.device("bob")
    relay = Between(world)
    alice.device.send_text("bob", "first")
    relay.be_honest()
    bob.device.send_text("alice", "it is me")
    world.relay.fail_always(down(), "Send")
    alice.device.send_text("bob", "a secret")
    assert "compare the safety number" in alice.device.receive()[0].problem
    world.relay.queues["bob"].clear()
    return alice, relay, alice.device.contacts.look_up("bob").offered


def test_a_program_that_runs_does_not_undo_the_trust_that_another_one_noted(world: World) -> None:
    alice, relay, number = substituted(world)
    alice.device.close()
    running, asking = (world.device("alice", fresh=False, beside=True) for _ in range(2))
    assert running.device.contacts.look_up("bob").offered == number  # it has read the peers' keys
    assert asking.device.contacts.trust("bob", number).verified
    world.relay.heal()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"another process"):
            running.device.send_text("bob", "and now")
        asking.device.close()
    running.device.close()
    again = world.device("alice", fresh=False)
    again.device.flush()
    assert again.device.contacts.look_up("bob").verified
    assert len(world.relay.queues["bob"]) == 1
    for one in world.relay.queues["bob"]:
        with pytest.raises(MessengerError):
            relay.mine["bob"].decrypt("alice", one.sealed)


def test_while_one_writes_another_one_reads_and_deletes_no_file(world: World) -> None:
    alice, _, number = substituted(world)
    file = alice.device._files.write([b"on its way"])
    other = world.device("alice", fresh=False, beside=True)
    assert other.device.contacts.look_up("bob").offered == number
    with pytest.raises(StoreError, match=r"`device run`.*end that first"):
        other.device.contacts.trust("bob", number)
    assert alice.device._files.path(file).exists()
    alice.device.send_text("bob", "one more")
    alice.device.close()
    with pytest.raises(StoreError, match="another process has changed this device: open it again"):
        other.device.contacts.trust("bob", number)
