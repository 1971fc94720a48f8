"""Many messages at once: saved together, sent side by side, acknowledged together, and none of them lost."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from blindmatch_client.egress import Recorder
from blindmatch_client.errors import MalformedError, MisbehavedError
from blindmatch_client.messages import receiving, relay
from blindmatch_client.messages.relay import RelayClient
from blindmatch_client.store.store import Store
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from dummy_designs import ECHO
from support.fakes import Fail, World, down, hashes_with, picture

PATIENCE_S = 240.0


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world(ECHO, hashes_with(picture(1)))


def group_of(world: World) -> tuple[Any, list[Any]]:
    """Alice, who has a session with each of three others."""
    alice = world.device("alice")
    others = [world.device(name) for name in ("bob", "carol", "dave")]
    for other in others:
        alice.device.send_text(other.device.account, "first")
        other.device.receive()
    return alice.device, [other.device for other in others]


def test_a_text_for_a_group_is_saved_for_all_before_it_is_sent_to_one(world: World) -> None:
    alice, others = group_of(world)
    waiting: list[int] = []

    def look(method: str) -> None:
        store = Store(world.folder / "alice", create=False)
        query = "SELECT 1 FROM outgoing WHERE stage = 'sealed'"
        waiting.append(len(store.all(query)))
        store.close()

    world.relay.fault = look
    sent = alice.send_text_to(["bob", "carol", "dave"], "for all")
    world.relay.heal()
    assert waiting == [3, 3, 3] and all(one.delivered and not one.notice for one in sent)
    assert [[m.text for m in other.receive()] for other in others] == [["for all"]] * 3
    assert alice.flush().messages == ()


def test_members_with_and_without_a_session_are_answered_in_their_order(world: World) -> None:
    alice, (bob, *_) = group_of(world)
    eve = world.device("eve").device
    sent = alice.send_text_to(["eve", "bob", "nobody"], "mixed")
    assert [one.delivered for one in sent] == [True, True, False] and "refused" in sent[2].notice
    assert [[m.text for m in other.receive()] for other in (eve, bob)] == [["mixed"]] * 2


def test_one_that_the_relay_refuses_keeps_no_other_from_the_text(world: World) -> None:
    alice, others = group_of(world)
    refusals = [Fail(grpc.StatusCode.NOT_FOUND, "no such account")]

    def refuse(method: str) -> None:
        if method == "Send" and refusals:
            raise refusals.pop()

    world.relay.fault = refuse
    sent = alice.send_text_to(["bob", "carol", "dave"], "for two")
    world.relay.heal()
    assert sorted(one.delivered for one in sent) == [False, True, True]
    assert ["refused" in one.notice for one in sent if not one.delivered] == [True]
    assert sum(len(other.receive()) for other in others) == 2 and alice.flush().messages == ()


def test_a_text_for_a_group_waits_while_the_relay_is_down_and_arrives_once(world: World) -> None:
    alice, others = group_of(world)
    world.relay.fail_always(down(), "Send")
    sent = alice.send_text_to(["bob", "carol", "dave"], "later")
    assert [("waits on this device" in one.notice, one.delivered) for one in sent] == [(True, False)] * 3
    world.relay.heal()
    assert alice.flush().waiting == 0
    assert [[m.text for m in other.receive()] for other in others] == [["later"]] * 3


def test_a_text_that_is_too_long_is_refused_before_anything_is_queued(world: World) -> None:
    alice, _ = group_of(world)
    with pytest.raises(MalformedError, match="65536"):
        alice.send_text_to(["bob", "carol"], "x" * (1 << 17))
    assert alice.standing().messages == 0
    assert alice.send_text("bob", "short").delivered


def test_garbage_and_repeats_take_none_of_the_messages_that_came_with_them(world: World) -> None:
    alice, (bob, *_) = group_of(world)
    for text in ("one", "two"):
        alice.send_text("bob", text)
    queue = world.relay.queues["bob"]
    queue.insert(1, pb.Delivery(sequence=900, sender="alice", sealed=b"garbage", accepted_at_ms=1))
    queue.append(pb.Delivery(sequence=901, sender="alice", sealed=queue[0].sealed, accepted_at_ms=1))
    queue.append(queue[0])
    complete: list[int] = []
    got = bob.receive(on_complete=complete.append)
    assert [m.text for m in got] == ["one", "two", ""] and got[2].problem and sum(complete) == 4
    alice.send_text("bob", "three")
    assert [m.text for m in bob.receive()] == ["three"] and world.relay.queues["bob"] == []


def await_sum(complete: list[int], number: int) -> None:
    """Wait until so many messages are taken, so that none comes before."""
    until = time.monotonic() + PATIENCE_S
    while sum(complete) < number and time.monotonic() < until:
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("more", "most", "together"),
    [
        pytest.param([True, True, False], 1 << 20, [3], id="until the last of them"),
        pytest.param([True, True, True], 1 << 20, [3], id="until the stream ends"),
        pytest.param([True, True, True], 1, [1, 1, 1], id="until they are too large"),
    ],
)
def test_messages_that_follow_at_once_are_saved_together(
    world: World, monkeypatch: pytest.MonkeyPatch, more: list[bool], most: int, together: list[int]
) -> None:
    alice, (bob, *_) = group_of(world)
    for text in ("one", "two", "three"):
        alice.send_text("bob", text)
    monkeypatch.setattr(relay, "MOST_TOGETHER_BYTES", most)
    complete: list[int] = []

    def deliveries(account: str, context: Any) -> Iterator[pb.Delivery]:
        for number, (delivery, follows) in enumerate(zip(world.relay.queues["bob"], more, strict=True), 1):
            delivery.more = follows
            yield delivery
            if len(together) > 1:
                await_sum(complete, number)

    world.relay.deliveries = deliveries
    assert [m.text for m in bob.receive(on_complete=complete.append)] == ["one", "two", "three"]
    assert complete == together and world.relay.queues["bob"] == []


def test_what_is_said_of_messages_counts_for_how_many_are_saved_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = world.device("bob").device
    monkeypatch.setattr(relay, "MOST_TOGETHER_BYTES", 1 << 10)
    complete: list[int] = []

    def deliveries(account: str, context: Any) -> Iterator[pb.Delivery]:
        for sequence in range(1, 4):
            yield pb.Delivery(sequence=sequence, sender="eve", message_id=bytes(1 << 10), more=True)
            await_sum(complete, sequence)

    world.relay.deliveries = deliveries
    assert [bool(m.problem) for m in bob.receive(on_complete=complete.append)] == [True] * 3
    assert complete == [1, 1, 1]


def test_what_came_before_the_relay_misbehaved_is_kept_on_disk_alone(world: World) -> None:
    alice, (bob, *_) = group_of(world)
    alice.send_text("bob", "one")
    complete: list[int] = []

    def deliveries(account: str, context: Any) -> Iterator[pb.Delivery]:
        yield from world.relay.queues["bob"]
        await_sum(complete, 1)
        yield pb.Delivery(sequence=1 << 63, sender="alice")

    honest = world.relay.deliveries
    world.relay.deliveries = deliveries
    with pytest.raises(MisbehavedError):
        bob.receive(on_complete=complete.append)
    assert not bob._receiver._came
    assert [m.text for m in bob.inbox()] == ["first", "one"]
    world.relay.queues["bob"].clear()
    world.relay.deliveries = honest
    assert [m.text for m in bob.receive()] == ["one"]


def test_a_picture_is_complete_once_it_is_fetched(world: World) -> None:
    alice, (bob, *_) = group_of(world)
    complete: list[int] = []
    alice.send_picture("bob", picture(5))
    world.relay.fail_always(down(), "Download")
    assert bob.receive(on_complete=complete.append) == [] and sum(complete) == 0
    world.relay.heal()
    assert [m.pictures for m in bob.receive()] == [(picture(5),)]
    alice.send_picture("bob", picture(5))
    alice.send_text("bob", "with it")
    assert len(bob.receive(on_complete=complete.append)) == 2 and sum(complete) == 2


def test_messages_are_acknowledged_while_others_still_come(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, (bob, *_) = group_of(world)
    for text in ("one", "two"):
        alice.send_text("bob", text)
    monkeypatch.setattr(receiving, "ACKNOWLEDGE_EVERY", 1)
    queue = list(world.relay.queues["bob"])
    acknowledged = threading.Event()
    world.relay.fault = lambda method: acknowledged.set() if method == "Acknowledge" else None

    def deliveries(account: str, context: Any) -> Iterator[pb.Delivery]:
        yield queue[0]
        assert acknowledged.wait(PATIENCE_S)
        yield queue[1]

    world.relay.deliveries = deliveries
    assert [m.text for m in bob.receive()] == ["one", "two"] and world.relay.queues["bob"] == []


def test_a_stream_that_does_not_come_to_rest_is_left(world: World) -> None:
    group_of(world)

    def deliveries(account: str, context: Any) -> Iterator[pb.Delivery]:
        for number in itertools.count(1000):
            if not context.is_active():
                return
            yield pb.Delivery(sequence=number, sender="alice", sealed=b"garbage", accepted_at_ms=1)
            time.sleep(0.005)

    world.relay.deliveries = deliveries
    seconds = itertools.count(0, 10)
    taken: list[int] = []
    egress = world.egress("bob", Recorder(), [])
    RelayClient(egress, lambda: float(next(seconds))).receive(
        0, lambda some: taken.extend(d.sequence for d in some)
    )
    egress.close()
    assert taken == list(range(1000, 1000 + len(taken))) and taken
