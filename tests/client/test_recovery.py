"""Messages that cannot be opened, as after a device was put back from a backup, are sent again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from blindmatch_client.device import Device, OutcomeKind
from blindmatch_client.errors import RefusedError
from blindmatch_client.messages import recovery
from blindmatch_client.messages.receiving import ASKED, REQUESTS
from blindmatch_client.messages.recovery import RESENT_MOST
from blindmatch_client.settings import Consequence
from blindmatch_client.store.incoming import Asked
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.messages.content import compose
from blindmatch_protocol.messages.sealed_message import WIRE_VERSION, RatchetHeader, SealedMessage
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from support.fakes import NOTICES, Fail, Owned, World, down, hashes_with, picture

from .conftest import MakeWorld

LISTED = picture(1)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(DESIGN, hashes_with(LISTED))


def talk(one: Owned, other: Owned, rounds: int = 1) -> None:
    """Both say something and hear it, so that the ratchet moves on."""
    for number in range(rounds):
        for owned, to in ((one, other), (other, one)):
            assert owned.device.send_text(to.device.account, f"round {number}").delivered
            assert [text.problem for text in to.device.receive()] == [""]


def back_up(world: World, owned: Owned) -> Owned:
    """Copy a device's folder; the device, opened again."""
    name = owned.device.account
    owned.device.close()
    shutil.copytree(world.folder / name, world.folder / f"{name}-backup")
    return world.device(name, fresh=False)


def put_back(world: World, owned: Owned) -> Owned:
    """The device, as it was when it was copied."""
    name = owned.device.account
    owned.device.close()
    shutil.rmtree(world.folder / name)
    (world.folder / f"{name}-backup").rename(world.folder / name)
    return world.device(name, fresh=False)


def texts(device: Device) -> list[str]:
    return [one.text for one in device.receive() if not one.problem]


def test_what_a_device_that_was_put_back_sends_comes_since_the_relay_knows_what_was_sent(
    world: World,
) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    alice = back_up(world, alice)
    alice.device.send_text("bob", "of a lost future")
    bob.device.receive()
    alice = put_back(world, alice)
    said = [f"text {number}" for number in range(20)]
    assert all(alice.device.send_text("bob", text).delivered for text in said)
    assert texts(bob.device) == said
    assert alice.methods().count("FetchBundle") == 1, "one new session"
    assert "Register" in alice.methods() or (alice.device.flush() and "Register" in alice.methods())
    talk(bob, alice, 2)


@pytest.mark.parametrize("rounds", [0, 3], ids=["the same chain", "the ratchet moved on"])
def test_it_comes_where_the_relay_does_not_know_too(world: World, rounds: int) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    alice = back_up(world, alice)
    for number in range(20):
        alice.device.send_text("bob", f"of a lost future {number}")
    bob.device.receive()
    talk(alice, bob, rounds)
    alice = put_back(world, alice)
    world.relay.places.clear()
    said = [f"text {number}" for number in range(20)]
    for text in said:
        alice.device.send_text("bob", text)
    assert [one.problem.endswith(ASKED) for one in bob.device.receive()] == [True] * 20
    assert alice.device.receive() == []
    assert texts(bob.device) == said
    talk(alice, bob, 2)
    assert world.relay.queues == {"alice": [], "bob": []}


def test_what_comes_for_a_device_that_was_put_back_is_sent_again(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    bob = back_up(world, bob)
    talk(alice, bob, 3)
    bob = put_back(world, bob)
    said = [f"text {number}" for number in range(10)]
    for text in said:
        alice.device.send_text("bob", text)
    assert [one.problem.endswith(ASKED) for one in bob.device.receive()] == [True] * 10
    alice.device.receive()
    assert texts(bob.device) == said
    talk(bob, alice, 2)


def test_both_put_back_find_each_other_again(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    alice = back_up(world, alice)
    bob = back_up(world, bob)
    talk(alice, bob, 3)
    alice.device.reset_session("bob")
    talk(alice, bob, 1)
    alice = put_back(world, alice)
    bob = put_back(world, bob)
    alice.device.send_text("bob", "from alice")
    bob.device.send_text("alice", "from bob")
    heard: dict[str, list[str]] = {"alice": [], "bob": []}
    for _ in range(4):
        for owned in (alice, bob):
            heard[owned.device.account] += texts(owned.device)
    assert heard == {"alice": ["from bob"], "bob": ["from alice"]}
    talk(alice, bob, 2)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_after_the_other_side_s_reset_messages_come_once(world: World, one_by_one: bool) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    bob.device.reset_session("alice")
    said = [f"text {number}" for number in range(10)]
    problems = 0
    for text in said:
        alice.device.send_text("bob", text)
        problems += len(bob.device.receive()) if one_by_one else 0
    problems += len(bob.device.receive())
    assert problems == 10
    heard: list[str] = []
    for _ in range(3):
        alice.device.receive()
        heard += texts(bob.device)
    assert sorted(heard) == said
    assert bob.methods().count("FetchBundle") <= 3
    talk(alice, bob)


def test_a_picture_is_sent_again_without_being_matched_or_reported_again(world: World) -> None:
    alice, bob, carol = (world.device(name) for name in ("alice", "bob", "carol"))
    talk(alice, bob)
    bob.device.reset_session("alice")
    sent = alice.device.send_picture_to(["bob", "carol"], LISTED, "look")
    assert [one.outcome for one in sent] == [OutcomeKind.MATCH] * 2
    bob.device.receive()
    alice.device.receive()
    (came,) = bob.device.receive()
    assert (came.text, came.pictures, came.problem) == ("look", (LISTED,), "")
    assert [one.pictures for one in carol.device.receive()] == [(LISTED,)]
    assert len(world.centre.reports) == 1 and len(alice.traces) == 1 and alice.methods().count("Upload") == 1
    assert alice.device.flush().waiting == 0


def test_what_was_asked_for_and_could_not_leave_leaves_later_from_either_side(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    bob.device.reset_session("alice")
    alice.device.send_text("bob", "a text")
    world.relay.fail_always(down(), "Send")
    bob.device.receive()
    bob.device.close()
    world.relay.heal()
    bob = world.device("bob", fresh=False)
    assert bob.device.flush().messages == (), "what the user has not sent is not told of"
    world.relay.fail_always(down(), "Send")
    alice.device.receive()
    alice.device.close()
    world.relay.heal()
    alice = world.device("alice", fresh=False)
    alice.device.flush()
    assert texts(bob.device) == ["a text"]


def test_what_is_not_kept_any_more_is_told_to_its_sender(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "KEPT_MOST", 2)
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    bob.device.reset_session("alice")
    for number in range(5):
        alice.device.send_text("bob", f"text {number}")
    bob.device.receive()
    (told,) = alice.device.receive()
    assert told.sender == "bob" and told.problem.startswith("could not open 3 of your messages")
    assert texts(bob.device) == ["text 3", "text 4"]


def test_messages_are_kept_two_days_longer_than_the_relay_keeps_them(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    store = alice.device._base.store
    kept = "SELECT count(*) FROM handed_over"
    assert store.one(kept) == (1,)
    alice.device._recovery.forget()
    assert store.one(kept) == (1,)
    store.run("UPDATE handed_over SET queued_at_ms = queued_at_ms - ?", recovery.KEPT_MS + 10_000)
    alice.device._upkeep.hasten()
    alice.device.flush()
    assert store.one(kept) == (0,)


def test_a_device_that_refuses_pictures_keeps_none(world: World) -> None:
    world.device("bob")
    alice = world.device("alice", consequence=Consequence.REFUSE)
    alice.device.send_picture("bob", picture(2))
    assert alice.device._base.store.one("SELECT count(*) FROM handed_over") == (0,)


# what the user is told of it


def problems(device: Device) -> list[str]:
    return [one.problem.rpartition("; ")[2] for one in device.inbox() if one.problem]


def lost_by_bob(world: World) -> tuple[Owned, Owned]:
    """Alice and Bob, who cannot open a text of hers that waits for him."""
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    bob.device.reset_session("alice")
    alice.device.send_text("bob", "a text")
    return alice, bob


def test_a_sender_is_said_to_be_asked_once_the_relay_has_the_request(world: World) -> None:
    _, bob = lost_by_bob(world)
    world.relay.fail_always(down(), "Send")
    (shown,) = bob.device.receive()
    assert shown.problem.endswith(REQUESTS[Asked.QUEUED]) and ASKED not in shown.problem
    bob.device.close()
    bob = world.device("bob", fresh=False)
    assert problems(bob.device) == [REQUESTS[Asked.QUEUED]]
    world.relay.heal()
    bob.device.flush()
    assert problems(bob.device) == [ASKED]


def test_a_request_of_a_device_that_was_killed_is_noted_when_it_is_handed_over_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bob = lost_by_bob(world)
    store = bob.device._base.store
    monkeypatch.setattr(store, "later", lambda *given: None)  # what is written later goes with the process
    bob.device.receive()
    sends = bob.methods().count("Send")
    bob = world.device("bob", fresh=False)  # the one before was not closed
    assert problems(bob.device) == [REQUESTS[Asked.QUEUED]]
    bob.device.flush()
    assert (problems(bob.device), bob.methods().count("Send")) == ([ASKED], 1) and sends == 2
    assert len(world.relay.queues["alice"]) == 1


def test_a_sender_who_was_asked_a_short_time_before_is_not_said_to_be_asked_again(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    for number in range(3):
        made_up = pb.Delivery(sequence=1000 + number, sender="alice", message_id=bytes([number]) * 16)
        made_up.sealed = world_message(alice, number)
        world.relay.queues["bob"].append(made_up)
        bob.device.receive()
    assert problems(bob.device) == [ASKED, REQUESTS[Asked.NO], REQUESTS[Asked.NO]]
    assert bob.methods().count("Send") == 2


def test_a_sender_whom_a_request_cannot_reach_is_not_said_to_be_asked(world: World) -> None:
    _, bob = lost_by_bob(world)
    world.relay.fail_next(Fail(grpc.StatusCode.NOT_FOUND), method="Send")
    (shown,) = bob.device.receive()
    assert shown.problem.endswith(REQUESTS[Asked.NO]) and bob.device.outcomes() == []
    bob.device._recovery._load_asks().clear()  # as if a day went by
    assert bob.device.receive() == [] and problems(bob.device) == [ASKED]


def test_what_an_earlier_program_said_of_a_request_is_left_as_it_was(world: World) -> None:
    _, bob = lost_by_bob(world)
    bob.device.receive()
    bob.device._base.store.run("UPDATE incoming SET asked = ? WHERE asked IS NOT NULL", Asked.EARLIER)
    (shown,) = [one for one in bob.device.inbox() if one.problem]
    assert not any(words in shown.problem for words in REQUESTS.values())


# what others may try


def ask_as(owned: Owned, to: str, message_ids: tuple[bytes, ...]) -> None:
    keeper = owned.device._keeper
    relay = owned.device._relay
    rng = system_randomness()
    with keeper.saving() as account:
        bundle = relay.fetch_bundle(to)
        body = account.encrypt(to, compose("", (), 1, rng), bundle, b"", message_ids)
    relay.send(to, rng.take(16), body, None)


def test_nobody_gets_what_was_sent_to_somebody_else(world: World) -> None:
    alice, _, mallory = (world.device(name) for name in ("alice", "bob", "mallory"))
    sent = [alice.device.send_text("bob", f"private {number}").message_id for number in range(3)]
    ask_as(mallory, "alice", tuple(sent))
    (told,) = alice.device.receive()
    assert told.problem.startswith("could not open 3 of your messages")
    alice.device.flush()
    assert world.relay.queues["mallory"] == [] and len(world.relay.queues["bob"]) == 3


def spoiling(world: World, to: str) -> Callable[[str, Any], list[pb.Delivery]]:
    """A relay that alters every message for an account."""

    def deliver(account: str, context: Any) -> list[pb.Delivery]:
        queue = world.relay.queues[account]
        if account != to:
            return list(queue)
        return [
            pb.Delivery(
                sequence=one.sequence,
                sender=one.sender,
                sealed=one.sealed[:-1] + bytes([one.sealed[-1] ^ 1]),
                accepted_at_ms=one.accepted_at_ms,
                message_id=one.message_id,
            )
            for one in queue
        ]

    return deliver


def test_a_relay_that_spoils_messages_has_each_sent_again_a_few_times_and_to_the_same_keys(
    world: World,
) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    identity = alice.device.contacts.get_identity("bob")
    world.relay.deliveries = spoiling(world, "bob")
    alice.device.send_text("bob", "a text")
    before = alice.methods().count("Send")
    asks = bob.methods().count("Send")
    for _ in range(10):
        bob.device.receive()
        alice.device.receive()
        if bob.device._recovery._asks:
            bob.device._recovery._asks.clear()  # as if days went by
    assert alice.methods().count("Send") - before == RESENT_MOST
    assert bob.methods().count("Send") - asks == RESENT_MOST + 1
    assert (
        alice.device.contacts.get_identity("bob") == identity
        and alice.device.contacts.look_up("bob").offered == ""
    )
    assert [one.problem[:14] for one in alice.device.inbox() if one.problem][-1] == "could not open"


def test_a_relay_that_makes_messages_up_has_one_ask_until_the_peer_is_heard(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    before = bob.methods().count("Send")
    for number in range(20):
        made_up = pb.Delivery(
            sequence=1000 + number, sender="alice", sealed=b"x", message_id=bytes([number]) * 16
        )
        made_up.sealed = world_message(alice, number)
        world.relay.queues["bob"].append(made_up)
        bob.device.receive()
    assert bob.methods().count("Send") - before == 1
    stranger = pb.Delivery(sequence=2000, sender="nobody-known", message_id=bytes(16))
    stranger.sealed = world_message(alice, 99)
    world.relay.queues["bob"].append(stranger)
    (shown,) = bob.device.receive()
    assert (
        shown.problem
        and ASKED not in shown.problem
        and "nobody-known" not in bob.device._keeper.account.peers()
    )


def test_the_centre_s_account_is_asked_for_nothing(world: World) -> None:
    alice = world.device("alice")
    made_up = pb.Delivery(
        sequence=7, sender=NOTICES.name, message_id=bytes(16), sealed=world_message(alice, 1)
    )
    world.relay.queues["alice"].append(made_up)
    (shown,) = alice.device.receive()
    assert shown.problem and ASKED not in shown.problem and "FetchBundle" not in alice.methods()


def world_message(alice: Owned, number: int) -> bytes:
    """A message of no session of anybody's."""
    header = RatchetHeader(alice.device._keeper.account.identity, 0, number)
    return SealedMessage(WIRE_VERSION, bytes(16), (), header, bytes(32), bytes(304)).encode()


def test_an_ask_that_is_repeated_or_stored_elsewhere_does_nothing(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    bob.device.reset_session("alice")
    alice.device.send_text("bob", "a text")
    bob.device.receive()
    (ask,) = world.relay.queues["alice"]
    alice.device.receive()
    before = alice.methods().count("Send")
    for number, message_id in enumerate((ask.message_id, bytes(16))):
        copy = pb.Delivery(sequence=500 + number, sender="bob", sealed=ask.sealed, message_id=message_id)
        copy.accepted_at_ms = ask.accepted_at_ms
        world.relay.queues["alice"].append(copy)
        alice.device.receive()
    assert alice.methods().count("Send") - before <= 1, "no more than an ask for the one under another id"
    assert texts(bob.device) == ["a text"]


def test_a_relay_that_says_a_store_is_old_is_believed_once_a_day(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    identity = alice.device.contacts.get_identity("bob")
    lie = Fail(grpc.StatusCode.ALREADY_EXISTS)
    world.relay.fail_next(lie, method="Send")
    assert alice.device.send_text("bob", "first").delivered
    world.relay.fail_next(lie, method="Send")
    with pytest.raises(RefusedError):
        alice.device.send_text("bob", "second")
    assert alice.methods().count("FetchBundle") == 2 and alice.device.contacts.get_identity("bob") == identity
    assert texts(bob.device) == ["first"]


def test_a_group_of_which_the_relay_has_other_messages_gets_its_text_and_picture_once(world: World) -> None:
    alice, bob, carol = (world.device(name) for name in ("alice", "bob", "carol"))
    for other in (bob, carol):
        talk(alice, other)
    alice = back_up(world, alice)
    alice.device.send_text_to(["bob", "carol"], "of a lost future")
    for other in (bob, carol):
        other.device.receive()
    alice = put_back(world, alice)
    assert all(one.delivered for one in alice.device.send_text_to(["bob", "carol"], "a text"))
    sent = alice.device.send_picture_to(["bob", "carol"], LISTED)
    assert all(one.delivered for one in sent) and len(world.centre.reports) == 1
    for other in (bob, carol):
        assert [(one.text, len(one.attachments)) for one in other.device.receive()] == [
            ("a text", 0),
            ("", 1),
        ]


def test_a_message_under_a_new_id_is_shown_and_a_copy_is_not(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    talk(alice, bob)
    alice.device.send_text("bob", "a text")
    (first,) = world.relay.queues["bob"]
    assert texts(bob.device) == ["a text"]
    for number, message_id in enumerate((first.message_id, bytes(16))):
        copy = pb.Delivery(sequence=500 + number, sender="alice", sealed=first.sealed, message_id=message_id)
        copy.accepted_at_ms = first.accepted_at_ms
        world.relay.queues["bob"].append(copy)
    (shown,) = bob.device.receive()
    assert "decrypted before" in shown.problem
