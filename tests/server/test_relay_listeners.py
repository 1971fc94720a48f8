"""What is handed to a stream from memory: nothing is missing, doubled, out of order or held without bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.relay import store
from blindmatch_server.relay.store import Queued
from blindmatch_server.relay.streams import MOST_BYTES_HELD, MOST_HELD, Listener, Listeners
from hypothesis import given
from hypothesis import strategies as st

from .test_relay import message, relay

STEP = st.sampled_from(["commit", "hand", "lose", "read"])


def queued(sequence: int, size: int = 1) -> Queued:
    return Queued(sequence, "alice", bytes(size), 0, bytes(16), b"")


class Stream:
    """A `Receive` whose database and hands come in whatever order a test wants."""

    def __init__(self) -> None:
        self.listener = Listener()
        self.stored: list[Queued] = []
        self.to_hand: list[Queued] = []
        self.got: list[int] = []

    def commit(self) -> None:
        self.stored.append(queued(len(self.stored) + 1))
        self.to_hand.append(self.stored[-1])

    def hand(self) -> None:
        if self.to_hand:
            self.listener.hand(self.to_hand.pop(0))

    def lose(self) -> None:
        """The call that stored it was broken off before it could hand it over."""
        if self.to_hand:
            self.to_hand.pop(0)

    def read(self) -> bool:
        """One turn of the stream; whether anything came."""
        after = self.got[-1] if self.got else 0
        batch = self.listener.take(after)
        if batch is None:
            batch = self.stored[after : after + 3]
            if batch:
                self.listener.look()
        self.got += [one.sequence for one in batch]
        return bool(batch)


@given(st.lists(STEP, max_size=60))
def test_a_stream_gets_every_message_once_and_in_order(steps: list[str]) -> None:
    stream = Stream()
    for step in steps:
        getattr(stream, step)()
    stream.listener.look()
    while stream.read():
        pass
    assert stream.got == [one.sequence for one in stream.stored]


def test_what_follows_without_a_gap_needs_no_database() -> None:
    listener = Listener()
    assert listener.take(0) is None and listener.take(0) == []
    listener.hand(queued(5))
    assert listener.take(4) == [queued(5)]
    listener.hand(queued(7))
    assert listener.take(5) is None and listener.take(7) == []


@pytest.mark.parametrize("size", [1, MOST_BYTES_HELD // 4])
def test_a_stream_that_is_not_read_holds_no_more_than_it_may(size: int) -> None:
    listener = Listener()
    most = min(MOST_HELD, MOST_BYTES_HELD // size)
    listener.take(0)
    for sequence in range(1, most + 1):
        listener.hand(queued(sequence, size))
    assert listener.take(0) == [queued(n, size) for n in range(1, most + 1)]
    for sequence in range(most + 1, 2 * most + 2):
        listener.hand(queued(sequence, size))
    assert listener.take(most) is None


async def test_all_streams_of_an_account_get_a_message_and_those_of_others_do_not() -> None:
    listeners = Listeners(most=4)
    with (
        listeners.listen("bob", "x") as one,
        listeners.listen("bob", "x") as two,
        listeners.listen("eve", "x") as other,
    ):
        for listener in (one, two, other):
            listener.take(0)
        listeners.hand("bob", queued(1))
        listeners.hand("nobody", queued(1))
        assert one.take(0) == two.take(0) == [queued(1)] and other.take(0) == []
        await other.wait(0.01)
        listeners.wake_all()
        await other.wait(60)
        assert other.take(0) is None


async def test_live_messages_reach_a_stream_without_being_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = store.queued

    def counted(connection: Any, recipient: str, after: int, most: int, most_bytes: int) -> Any:
        reads.append(after)
        return read(connection, recipient, after, most, most_bytes)

    monkeypatch.setattr(store, "queued", counted)
    async with relay(tmp_path) as (alice, bob):
        stream = bob.many("Relay/Receive", wire.ReceiveRequest(wait_ms=200_000))
        for number in range(20):
            await alice.one("Relay/Send", message(number=number))
            assert (await stream.read()).sequence == number + 1
        stream.cancel()
    assert len(reads) <= 3
