"""A message that nobody fetched in time is told to its sender."""

from __future__ import annotations

import grpc
import pytest
from blindmatch_client.device import Device, OutcomeKind
from blindmatch_client.messages import expiry, recovery
from blindmatch_client.messages.notices import describe_expired
from blindmatch_client.settings import Consequence, FailureMode
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from support.fakes import Fail, Owned, World, down, hashes_with, picture

from .conftest import MakeWorld

LISTED = picture(1)
AT_MS = 1_700_000_000_000


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    made = make_world(DESIGN, hashes_with(LISTED))
    for name in ("bob", "carol"):
        made.device(name)
    return made


def expire(world: World, *messages: tuple[bytes, str], sender: str = "alice") -> None:
    """Have the relay say that messages of `sender` expired."""
    told = world.relay.expired.setdefault(sender, [])
    for message_id, recipient in messages:
        one = pb.Expired(number=len(told) + 1, message_id=message_id, recipient=recipient)
        one.accepted_at_ms = AT_MS
        told.append(one)


def wait_an_hour(device: Device) -> None:
    asked_at_ms, after = device._expiry._state()
    assert asked_at_ms is not None
    earlier = max(0, asked_at_ms - expiry.ASK_AFTER_MS - 10_000)
    device._base.store.put("expired", earlier.to_bytes(8, "big") + after.to_bytes(8, "big"))


def asked(owned: Owned) -> list[int]:
    """The numbers up to which a device said that it has all, one for each time that it asked."""
    records = [one for one in owned.recorder.records() if one.method.endswith("/FetchExpired")]
    return [pb.ExpiredRequest.FromString(one.requests[0]).after for one in records]


def told(device: Device) -> list[tuple[str, bytes]]:
    return [
        (one.recipient, one.message_id)
        for one in device.outcomes()
        if one.outcome is OutcomeKind.EXPIRED and not one.delivered
    ]


@pytest.mark.parametrize("call", ["flush", "receive", "ask_what_expired"])
def test_a_message_that_expired_is_told_at_the_next_connection_and_until_it_was_shown(
    world: World, call: str
) -> None:
    alice = world.device("alice")
    sent = alice.device.send_text("bob", "never fetched")
    alice.device.close()
    expire(world, (sent.message_id, "bob"))
    alice = world.device("alice", fresh=False)
    getattr(alice.device, call)()
    for _ in range(2):
        (kept,) = alice.device.outcomes()
        assert (kept.outcome, kept.delivered) == ("not delivered: expired", False)
        assert kept.notice == describe_expired("bob", AT_MS) and "2023-11-14 22:13 UTC" in kept.notice
        alice = world.device("alice", fresh=False)
    alice.device.mark_shown(alice.device.outcomes())
    wait_an_hour(alice.device)
    alice.device.flush()
    assert alice.device.outcomes() == [] and asked(alice) == [1], "the relay may delete it now"


def test_the_relay_is_asked_once_an_hour_whatever_is_sent(world: World) -> None:
    alice = world.device("alice")
    for _ in range(3):
        alice.device.send_picture("bob", LISTED)
        alice.device.flush()
        alice.device.receive()
    assert asked(alice) == [0]
    wait_an_hour(alice.device)
    alice.device.receive()
    alice.device.flush()
    assert asked(alice) == [0, 0]


def test_a_relay_that_is_away_is_asked_next_time(world: World) -> None:
    alice = world.device("alice")
    sent = alice.device.send_text("bob", "never fetched")
    expire(world, (sent.message_id, "bob"))
    world.relay.fail_always(down(), "FetchExpired")
    alice.device.flush()
    assert told(alice.device) == []
    world.relay.heal()
    alice.device.flush()
    assert told(alice.device) == [("bob", sent.message_id)]


def test_a_relay_of_an_earlier_version_keeps_nothing_from_going_on(world: World) -> None:
    alice = world.device("alice")
    world.relay.fail_always(Fail(grpc.StatusCode.UNIMPLEMENTED), "FetchExpired")
    assert alice.device.send_text("bob", "hi").delivered
    flushed = alice.device.flush()
    assert flushed.problems == () and alice.device.receive() == []


def test_of_a_group_those_are_told_whom_it_did_not_reach(world: World) -> None:
    alice = world.device("alice")
    bobs, carols = alice.device.send_picture_to(["bob", "carol"], LISTED)
    alice.device.mark_shown(alice.device.outcomes())
    expire(world, (carols.message_id, "carol"))
    alice.device.flush()
    assert told(alice.device) == [("carol", carols.message_id)] and bobs.delivered


def test_what_came_of_the_picture_is_not_lost_by_the_expiry_of_its_message(world: World) -> None:
    alice = world.device("alice", consequence=Consequence.WARN)
    sent = alice.device.send_picture("bob", LISTED)
    expire(world, (sent.message_id, "bob"))
    alice.device.flush()
    assert [one.outcome for one in alice.device.outcomes()] == [OutcomeKind.MATCH, OutcomeKind.EXPIRED]
    assert {one.message_id for one in alice.device.outcomes()} == {sent.message_id}


def test_a_message_that_expired_while_its_picture_waits_to_be_matched_is_told_and_goes_on(
    world: World,
) -> None:
    alice = world.device("alice", mode=FailureMode.SEND_AND_MATCH_LATER)
    world.matcher.fail_always(down())
    sent = alice.device.send_picture("bob", LISTED)
    expire(world, (sent.message_id, "bob"))
    alice.device.flush()
    assert told(alice.device) == [("bob", sent.message_id)]
    world.matcher.heal()
    (done,) = alice.device.flush().messages
    assert done.outcome is OutcomeKind.MATCH and len(world.centre.reports) == 1


def test_what_only_asked_for_messages_is_not_told(world: World) -> None:
    alice = world.device("alice")
    bob = world.devices[0]
    alice.device.send_text("bob", "first")
    bob.receive()
    bob.reset_session("alice")
    alice.device.send_text("bob", "not opened")
    bob.receive()
    (ask,) = world.relay.queues["alice"]
    expire(world, (ask.message_id, "alice"), sender="bob")
    wait_an_hour(bob)
    bob.flush()
    assert bob.outcomes() == []


def test_for_whom_a_message_was_the_device_knows_while_it_keeps_it(world: World) -> None:
    alice = world.device("alice")
    sent = [alice.device.send_text("bob", text).message_id for text in ("kept", "not kept")]
    alice.device._base.store.run("DELETE FROM handed_over WHERE message_id = ?", sent[1])
    expire(world, *((one, "carol") for one in sent))
    alice.device.flush()
    assert told(alice.device) == [("bob", sent[0]), ("carol", sent[1])], "the second by the relay's word"


def test_a_message_of_a_month_ago_is_still_known(world: World) -> None:
    alice = world.device("alice")
    sent = alice.device.send_text("bob", "never fetched")
    aged = 30 * recovery.DAY_MS + expiry.ASK_AFTER_MS
    alice.device._base.store.run("UPDATE handed_over SET queued_at_ms = queued_at_ms - ?", aged)
    alice.device._recovery.forget()
    expire(world, (sent.message_id, "carol"))
    alice.device.flush()
    assert told(alice.device) == [("bob", sent.message_id)]


# what a relay may try


def test_a_relay_that_makes_up_expired_messages_drives_no_outcome_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "ROOM", 3)
    alice = world.device("alice", consequence=Consequence.REFUSE)
    refused = alice.device.send_picture("bob", LISTED)
    expire(world, *((bytes([number]) * 16, "bob") for number in range(10)))
    for _ in range(3):
        alice.device.flush()
        assert alice.device.outcomes()[0] == refused and len(told(alice.device)) == 3
        wait_an_hour(alice.device)
    assert asked(alice) == [0, 3, 3]
    alice.device.mark_shown(alice.device.outcomes())
    alice.device.flush()
    assert told(alice.device) == [("bob", bytes([number]) * 16) for number in (3, 4, 5)]


def test_what_is_said_twice_of_a_message_is_told_once(world: World) -> None:
    alice = world.device("alice")
    expire(world, (bytes(16), "bob"), (bytes(16), "bob"))
    alice.device.flush()
    assert told(alice.device) == [("bob", bytes(16))]


@pytest.mark.parametrize(
    "one",
    [
        pb.Expired(number=1, message_id=b"short", recipient="bob"),
        pb.Expired(number=1, message_id=bytes(16), recipient="\x1b[2Jbob"),
        pb.Expired(number=1, message_id=bytes(16), recipient="centre-notices"),
        pb.Expired(number=1, message_id=bytes(16), recipient="bob", accepted_at_ms=(1 << 64) - 1),
        pb.Expired(number=1 << 63, message_id=bytes(16), recipient="bob"),
    ],
    ids=["id", "terminal", "centre", "time", "number"],
)
def test_a_notice_that_breaks_the_rules_is_not_taken(world: World, one: pb.Expired) -> None:
    alice = world.device("alice")
    world.relay.expired["alice"] = [one]
    assert alice.device.flush().problems == () and alice.device.outcomes() == []
    assert alice.device._expiry._state() == (None, 0)


def test_a_relay_that_lost_its_database_and_counts_anew_is_followed(world: World) -> None:
    alice = world.device("alice")
    expire(world, *((bytes([number]) * 16, "bob") for number in range(5)))
    alice.device.flush()
    world.relay.expired["alice"] = []
    wait_an_hour(alice.device)
    alice.device.flush()
    expire(world, (b"n" * 16, "carol"))
    wait_an_hour(alice.device)
    alice.device.flush()
    assert told(alice.device)[5:] == [("carol", b"n" * 16)] and asked(alice) == [0, 5, 0]
