"""The device's line to the relay: whatever the relay does on it, a call ends, in time, and is made again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from blindmatch_client.egress import Call, Egress, Endpoint, Recorder, Retry
from blindmatch_client.egress.calls import ACKNOWLEDGE, RECEIVE, SEND
from blindmatch_client.errors import MisbehavedError, RefusedError, ServiceUnavailableError
from blindmatch_client.messages.relay import RelayClient
from blindmatch_client.trace import Purpose
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from support.fakes import credentials_of, serve

Serve = Callable[[Iterator[pb.Ask]], Iterator[pb.Answer]]
PATIENCE_S = 240.0
REQUEST = pb.SendRequest(recipient="bob", message_id=b"i" * 16, sealed=b"sealed" * 40)


class Relay(grpc.GenericRpcHandler):
    """A relay of which a test says what it does on a line."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.lines = 0

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        assert details.method == "/blindmatch.v1.Relay/Connect"

        def connect(raw: Iterator[bytes], context: Any) -> Iterator[bytes]:
            self.lines += 1
            yield from (answer.SerializeToString() for answer in self.serve(map(pb.Ask.FromString, raw)))

        return grpc.stream_stream_rpc_method_handler(connect)


@pytest.fixture
def line() -> Iterator[Callable[[Serve], tuple[Relay, Egress]]]:
    opened: list[tuple[grpc.Server, Egress]] = []

    def make(serve_line: Serve) -> tuple[Relay, Egress]:
        relay = Relay(serve_line)
        server, port = serve(Party.PROVIDER, lambda s: s.add_generic_rpc_handlers((relay,)))
        endpoints = {Party.PROVIDER: Endpoint(f"127.0.0.1:{port}")}
        retry = Retry(attempts=2, first_wait_s=0.01)
        egress = Egress(endpoints, credentials_of("alice"), Recorder(), lambda: 0, lambda _: None, retry)
        opened.append((server, egress))
        return relay, egress

    yield make
    for server, egress in opened:
        egress.close()
        server.stop(None).wait()


def send(egress: Egress, seconds: float = PATIENCE_S) -> pb.SendReply:
    return egress.unary(Call(Party.PROVIDER, SEND, Purpose.MESSAGE, None, True, seconds), REQUEST)


def accepted(number: int) -> pb.Answer:
    return pb.Answer(number=number, send=pb.SendReply(accepted_at_ms=number + 1))


def honest(asks: Iterator[pb.Ask]) -> Iterator[pb.Answer]:
    for number, ask in enumerate(asks):
        assert ask.send == REQUEST
        yield accepted(number)


def test_calls_share_one_line_and_are_recorded_as_calls(line: Any) -> None:
    relay, egress = line(honest)
    assert [send(egress).accepted_at_ms for _ in range(3)] == [1, 2, 3] and relay.lines == 1
    (record, *_) = egress.recorder.records()
    raw = REQUEST.SerializeToString(deterministic=True)
    assert (record.method, record.requests, record.failed) == (SEND.path, (raw,), False)
    assert record.reply_bytes == pb.SendReply(accepted_at_ms=1).ByteSize()


def test_answers_in_another_order_reach_their_calls(line: Any) -> None:
    def reversed_pairs(asks: Iterator[pb.Ask]) -> Iterator[pb.Answer]:
        for number, _ in enumerate(asks):
            if number % 2:
                yield from (accepted(number), accepted(77), accepted(number - 1))

    _, egress = line(reversed_pairs)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(send(egress).accepted_at_ms)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(found) == [1, 2, 3, 4]


def test_an_answer_that_is_repeated_is_taken_once(line: Any) -> None:
    def twice(asks: Iterator[pb.Ask]) -> Iterator[pb.Answer]:
        for number, _ in enumerate(asks):
            yield from (accepted(number), accepted(number))

    relay, egress = line(twice)
    assert [send(egress).accepted_at_ms for _ in range(4)] == [1, 2, 3, 4] and relay.lines == 1


def test_a_line_that_ends_is_opened_again_for_the_same_call(line: Any) -> None:
    def once(asks: Iterator[pb.Ask]) -> Iterator[pb.Answer]:
        next(asks)
        if relay.lines > 1:
            yield accepted(0)

    relay, egress = line(once)
    assert send(egress).accepted_at_ms == 1 and relay.lines == 2
    first, second = egress.recorder.records()
    assert (first.failed, second.failed) == (True, False) and first.requests == second.requests


def test_a_relay_that_does_not_answer_is_given_up_on_in_time(line: Any) -> None:
    def silent(asks: Iterator[pb.Ask]) -> Iterator[pb.Answer]:
        yield from (accepted(99) for _ in asks)

    relay, egress = line(silent)
    with pytest.raises(ServiceUnavailableError, match="did not answer in time"):
        send(egress, 0.3)
    assert [record.failed for record in egress.recorder.records()] == [True] * 2 and relay.lines <= 2


@pytest.mark.parametrize(
    "reply", [{}, {"acknowledge": pb.AcknowledgeReply()}, {"ended": pb.Ended()}, {"receive": pb.Delivery()}]
)
def test_another_kind_of_answer_is_misbehaviour(line: Any, reply: dict[str, Any]) -> None:
    _, egress = line(lambda asks: (pb.Answer(number=n, **reply) for n, _ in enumerate(asks)))
    with pytest.raises(MisbehavedError, match="its own reply"):
        send(egress)


def test_a_refusal_has_its_status_and_the_line_goes_on(line: Any) -> None:
    def refuse(asks: Iterator[pb.Ask]) -> Iterator[pb.Answer]:
        for number, ask in enumerate(asks):
            refused = pb.Refused(status="NOT_FOUND", text="no\x1bsuch account")
            yield (
                pb.Answer(number=number, refused=refused)
                if ask.HasField("send")
                else pb.Answer(number=number, acknowledge=pb.AcknowledgeReply(removed=1))
            )

    relay, egress = line(refuse)
    with pytest.raises(RefusedError, match=r"NOT_FOUND\): no\?such account"):
        send(egress)
    call = Call(Party.PROVIDER, ACKNOWLEDGE, Purpose.MESSAGE)
    assert egress.unary(call, pb.AcknowledgeRequest(sequences=[1])).removed == 1 and relay.lines == 1


def test_more_than_was_asked_for_ends_the_line(line: Any) -> None:
    def flood(asks: Iterator[pb.Ask]) -> Iterator[pb.Answer]:
        assert next(asks).WhichOneof("call") == "receive"
        yield pb.Answer(number=0, receive=pb.Delivery(sequence=1, sealed=b"sealed"))
        assert next(asks).WhichOneof("call") == "acknowledge"
        for number in range(40):
            yield pb.Answer(number=0, receive=pb.Delivery(sequence=number + 2, sealed=bytes(900 << 10)))

    _, egress = line(flood)
    receive = Call(Party.PROVIDER, RECEIVE, Purpose.MESSAGE, None, False, PATIENCE_S)
    acknowledge = Call(Party.PROVIDER, ACKNOWLEDGE, Purpose.MESSAGE)

    def consume(batches: Iterator[list[pb.Delivery]]) -> int:
        assert len(next(batches)) == 1
        return egress.unary(acknowledge, pb.AcknowledgeRequest(sequences=[1])).removed

    with pytest.raises(MisbehavedError, match="more is sent"):
        egress.listen(receive, pb.ReceiveRequest(), consume)


def test_what_came_while_another_answer_was_waited_for_comes_together(line: Any) -> None:
    def serve_line(asks: Iterator[pb.Ask]) -> Iterator[pb.Answer]:
        next(asks)
        yield pb.Answer(number=0, receive=pb.Delivery(sequence=1))
        next(asks)
        yield from (pb.Answer(number=0, receive=pb.Delivery(sequence=n)) for n in (2, 3))
        yield pb.Answer(number=1, acknowledge=pb.AcknowledgeReply(removed=1))
        yield pb.Answer(number=0, ended=pb.Ended())
        next(asks, None)

    _, egress = line(serve_line)
    acknowledge = Call(Party.PROVIDER, ACKNOWLEDGE, Purpose.MESSAGE)

    def consume(batches: Iterator[list[pb.Delivery]]) -> list[int]:
        sizes = [len(next(batches))]
        assert egress.unary(acknowledge, pb.AcknowledgeRequest(sequences=[1])).removed == 1
        return sizes + [len(some) for some in batches]

    call = Call(Party.PROVIDER, RECEIVE, Purpose.MESSAGE, None, False, PATIENCE_S)
    assert egress.listen(call, pb.ReceiveRequest(), consume) == [1, 2]


def test_an_end_is_noticed_while_nothing_is_asked_and_the_next_call_opens_another_line(line: Any) -> None:
    def one(asks: Iterator[pb.Ask]) -> Iterator[pb.Answer]:
        next(asks)
        yield accepted(0)

    relay, egress = line(one)
    send(egress)
    first = egress._channels._open[Party.PROVIDER].line
    first._reader.join(PATIENCE_S)
    assert first.ended and not first._reader.is_alive()
    assert send(egress).accepted_at_ms == 1 and relay.lines == 2
    assert [record.failed for record in egress.recorder.records()] == [False, False]


@pytest.mark.parametrize(
    "wrong", [{"sequence": 1 << 63}, {"sequence": 1, "accepted_at_ms": 1 << 63}, {"sender": "b" * 4000}]
)
def test_a_message_of_which_the_relay_says_what_cannot_be_kept_is_misbehaviour(line: Any, wrong: Any) -> None:
    def serve_line(asks: Iterator[pb.Ask]) -> Iterator[pb.Answer]:
        for number, _ in enumerate(asks):
            yield pb.Answer(number=number, receive=pb.Delivery(sealed=b"sealed", **wrong))
            yield pb.Answer(number=number, ended=pb.Ended())

    _, egress = line(serve_line)
    taken: list[pb.Delivery] = []
    with pytest.raises(MisbehavedError):
        RelayClient(egress).receive(0, taken.extend)
    assert taken == []


def test_what_waits_is_asked_for_in_portions(line: Any) -> None:
    asked: list[int] = []

    def portions(asks: Iterator[pb.Ask]) -> Iterator[pb.Answer]:
        left = [pb.Delivery(sequence=n + 1, sealed=bytes(900 << 10)) for n in range(7)]
        for number, ask in enumerate(asks):
            size = 0
            while left and size < ask.receive.most_bytes:
                size += len(left[0].sealed)
                yield pb.Answer(number=number, receive=left.pop(0))
            asked.append(size)
            yield pb.Answer(number=number, ended=pb.Ended())

    _, egress = line(portions)
    taken: list[int] = []
    RelayClient(egress).receive(0, lambda some: taken.extend(one.sequence for one in some))
    assert taken == list(range(1, 8)) and [size // (900 << 10) for size in asked] == [5, 2]
