"""What is sealed and not handed over when the sessions with its recipient end: it is sealed again, once."""

from __future__ import annotations

from typing import Any

import pytest
from blindmatch_client.device import CentreIdentity, Device, OutcomeKind
from blindmatch_client.errors import MessengerError, StoreError
from blindmatch_client.store.outbox import Outbox, SendState
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.messages.content import compose
from msgspec.structs import replace
from support.fakes import CENTRE, Owned, World, down, hashes_with, picture

from .conftest import MakeWorld
from .test_safety_numbers import Between

LISTED = picture(1)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(DESIGN, hashes_with(LISTED))


def talking(world: World) -> tuple[Owned, Owned]:
    alice = world.device("alice")
    bob = world.device("bob")
    alice.device.send_text("bob", "first")
    bob.device.receive()
    return alice, bob


def shown(device: Device) -> list[tuple[str, int, str]]:
    return [(one.text, len(one.attachments), one.problem) for one in device.receive()]


def sealed(device: Device) -> list[SendState]:
    return [row.state for row in device._outbox.list_waiting()]


def send_all(device: Device) -> None:
    device.send_text("bob", "a text")
    device.send_text_to(["bob", "carol"], "to several")
    device.send_picture_to(["bob", "carol"], LISTED, "a picture")


def test_what_was_sealed_to_a_key_of_the_relay_s_is_sealed_again_to_the_one_that_was_compared(
    world: World,
) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    world.device("carol")
    relay = Between(world)
    world.relay.fail_always(down(), "Send")
    send_all(alice.device)
    relay.be_honest()
    alice.device.reset_session("bob")
    alice.device.flush()  # finds out that the key is another one
    bob.device.contacts.look_up("alice")
    number = bob.device.contacts.look_up("alice").number
    assert alice.device.contacts.look_up("bob").offered == number
    alice.device.contacts.trust("bob", number)
    world.relay.heal()
    alice.device.send_text("bob", "and now")
    alice.device.flush()
    to_bob = [one.sealed for one in world.relay.queues["bob"]]
    for body in to_bob:
        with pytest.raises(MessengerError):
            relay.mine["bob"].decrypt("alice", body)
    assert shown(bob.device)[-1] == ("and now", 0, "")


@pytest.mark.parametrize("taken", [False, True], ids=["the relay never had them", "their answers were lost"])
def test_after_a_reset_what_waits_comes_once_and_is_reported_once(world: World, taken: bool) -> None:
    alice, bob = talking(world)
    carol = world.device("carol")
    if taken:
        world.relay.fault_after = lambda method: _fail(down()) if method == "Send" else None
    else:
        world.relay.fail_always(down(), "Send")
    send_all(alice.device)
    assert len(sealed(alice.device)) == 5 and set(sealed(alice.device)) == {SendState.SEALED}
    assert alice.device.reset_session("bob")
    assert sorted(sealed(alice.device)) == ["queued"] * 3 + ["sealed"] * 2
    world.relay.heal()
    world.relay.fault_after = lambda method: None
    flushed = alice.device.flush()
    assert flushed.waiting == 0 and [one.outcome for one in flushed.messages].count(OutcomeKind.MATCH) == 2
    expected = {("a text", 0, ""), ("to several", 0, ""), ("a picture", 1, "")}
    came = shown(bob.device)
    assert set(came) == expected and len(came) == 3
    assert set(shown(carol.device)) == expected - {("a text", 0, "")}
    assert len(world.centre.reports) == 1 and alice.methods().count("Upload") == 1
    assert world.relay.queues["bob"] == [] and alice.device.flush().messages == ()
    alice.device.close()
    assert shown(world.device("alice", fresh=False).device) == []


def _fail(fault: Exception) -> None:
    raise fault


def test_it_is_one_transaction_with_the_sessions_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, _ = talking(world)
    world.relay.fail_always(down(), "Send")
    alice.device.send_text("bob", "a text")
    before = [(row.message_id, row.sealed) for row in alice.device._outbox.list_waiting()]
    requeue = Outbox.requeue

    def dies(outbox: Outbox, *given: Any) -> None:
        requeue(outbox, *given)
        raise StoreError("killed here")

    monkeypatch.setattr(Outbox, "requeue", dies)
    with pytest.raises(StoreError):
        alice.device.reset_session("bob")
    monkeypatch.undo()
    alice.device.close()
    alice = world.device("alice", fresh=False)
    assert alice.device._keeper.account.has_session("bob")
    assert [(row.message_id, row.sealed) for row in alice.device._outbox.list_waiting()] == before


def send_under(owned: Owned, content_id: bytes, text: str) -> None:
    """Sends Bob a text whose content has this id."""
    keeper = owned.device._keeper
    relay = owned.device._relay
    rng = system_randomness()
    content = replace(compose(text, (), 1, rng), id=content_id)
    bundle = None if keeper.account.has_session("bob") else relay.fetch_bundle("bob")
    with keeper.saving() as account:
        body = account.encrypt("bob", content, bundle)
    relay.send("bob", rng.take(16), body, None)


def test_only_the_sender_s_own_message_under_a_content_id_makes_another_one_a_repeat(world: World) -> None:
    alice, bob = talking(world)
    send_under(alice, bytes(16), "hers")
    mallory = world.device("mallory")
    send_under(mallory, bytes(16), "not hers")
    send_under(mallory, bytes(16), "a repeat")
    assert [text for text, _, _ in shown(bob.device)] == ["hers", "not hers"]
    assert world.relay.queues["bob"] == []


def test_what_was_sealed_to_another_key_than_one_that_is_configured_now_is_sealed_again(world: World) -> None:
    alice, _ = talking(world)
    world.relay.fail_always(down(), "Send")
    alice.device.send_text("bob", "a text")
    alice.device.close()
    centre = CentreIdentity(CENTRE.sealing, CENTRE.notices, "bob")
    alice = world.device("alice", fresh=False, centre=centre)
    assert sealed(alice.device) == ["queued"] and not alice.device._keeper.account.has_session("bob")
