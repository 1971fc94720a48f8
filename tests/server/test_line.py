"""A line of the relay: calls on it are admitted, answered, counted and refused one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.calls import IDLE_SECONDS, MOST_AT_WORK
from blindmatch_server.hosting.limits import Rate
from blindmatch_server.relay.service import RelayConfig, open_relay
from blindmatch_server.relay.store import RelayLimits

from .deployment import ALICE, SECONDS, Client, Deployment, until
from .test_relay import message, relay

STATUS = grpc.StatusCode
GRACE = 120.0
"""How long a server that shuts down waits for what holds it up, in seconds."""


class Open:
    """A line that a test writes to and reads from."""

    def __init__(self, client: Client) -> None:
        call: Any = client.channel.stream_stream("/blindmatch.v1.Relay/Connect")
        self.stream = call(timeout=SECONDS)

    async def ask(self, **call: Any) -> None:
        await self.stream.write(wire.Ask(**call).SerializeToString())

    async def answer(self) -> Any:
        raw = await asyncio.wait_for(self.stream.read(), SECONDS)
        return raw if raw is grpc.aio.EOF else wire.Answer.FromString(raw)

    async def answers(self, count: int) -> dict[int, Any]:
        """One answer to each of `count` calls, by number."""
        found = [await self.answer() for _ in range(count)]
        return {one.number: getattr(one, one.WhichOneof("reply")) for one in found}


async def test_calls_on_a_line_are_answered_under_their_numbers(tmp_path: Path) -> None:
    deployment = Deployment()
    async with relay(tmp_path, deployment) as (alice, bob):
        line = Open(alice)
        other = Open(bob)
        await other.ask(receive=wire.ReceiveRequest(wait_ms=200_000, most_bytes=12))
        for number in range(3):
            await line.ask(send=message(number=number))
        sent = await line.answers(3)
        assert sorted(sent) == [0, 1, 2] and all(one.accepted_at_ms for one in sent.values())
        got = [await other.answer() for _ in range(3)]
        assert [one.receive.sequence for one in got] == [1, 2, 0] and got[2].HasField("ended")
        await other.ask(acknowledge=wire.AcknowledgeRequest(sequences=[1, 2]))
        assert (await other.answers(1))[1].removed == 2
        await other.stream.done_writing()
        assert await other.answer() is grpc.aio.EOF and await other.stream.code() is STATUS.OK
    counted = [(e["method"].rpartition("/")[2], e["account"]) for e in deployment.events("call")]
    assert counted.count(("Send", "alice")) == 3 and ("Acknowledge", "bob") in counted
    sizes = {e["bytes_in"] for e in deployment.events("call") if e["method"].endswith("/Send")}
    assert sizes == {message(number=1).ByteSize()}


async def test_a_call_after_the_certificate_has_run_out_is_refused(tmp_path: Path) -> None:
    later = [0.0]
    async with relay(tmp_path, Deployment(clock=lambda: time.time() + later[0])) as (alice, _):
        line = Open(alice)
        await line.ask(send=message())
        assert (await line.answers(1))[0].accepted_at_ms
        later[0] = 2 * 24 * 3600.0
        await line.ask(send=message(number=1))
        refused = (await line.answers(1))[1]
        assert (refused.status, "run out" in refused.text) == ("UNAUTHENTICATED", True)


async def test_a_refused_call_says_why_and_leaves_the_line_open(tmp_path: Path) -> None:
    now = time.time()
    async with relay(tmp_path, Deployment(clock=lambda: now), calls=Rate(1.0, 2)) as (alice, _):
        line = Open(alice)
        await line.ask(send=message("nobody"))
        await line.ask(send=message(sealed=b""))
        assert {number: one.status for number, one in (await line.answers(2)).items()} == {
            0: "NOT_FOUND",
            1: "INVALID_ARGUMENT",
        }
        await line.ask(send=message())
        refused = (await line.answers(1))[2]
        assert refused.status == "RESOURCE_EXHAUSTED" and 0 < refused.retry_after_ms <= 1001
        await line.ask(acknowledge=wire.AcknowledgeRequest(sequences=[1]))
        assert (await line.answers(1))[3].removed == 0


@pytest.mark.parametrize("raw", [b"", b"\xff" * 20, b"\x7a\x00"])
async def test_what_is_no_known_call_ends_the_line(tmp_path: Path, raw: bytes) -> None:
    async with relay(tmp_path) as (alice, _):
        line = Open(alice)
        await line.stream.write(raw)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await line.answer()
        assert caught.value.code() is STATUS.INVALID_ARGUMENT


async def test_an_account_has_so_many_lines(tmp_path: Path) -> None:
    async with relay(tmp_path, most_streams=1) as (alice, bob):
        first = Open(alice)
        second = Open(alice)
        other = Open(bob)
        for line in (first, other):
            await line.ask(acknowledge=wire.AcknowledgeRequest())
            await line.answers(1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await second.answer()
        assert caught.value.code() is STATUS.RESOURCE_EXHAUSTED


async def test_what_is_asked_beyond_the_room_waits_and_is_not_lost(tmp_path: Path) -> None:
    async with relay(tmp_path, most_streams=MOST_AT_WORK) as (alice, bob):
        line = Open(bob)
        for _ in range(MOST_AT_WORK):
            await line.ask(receive=wire.ReceiveRequest(wait_ms=300))
        await line.ask(acknowledge=wire.AcknowledgeRequest())
        found = [await line.answer() for _ in range(MOST_AT_WORK + 1)]
        assert found[-1].number == MOST_AT_WORK or found[0].HasField("ended")
        assert {one.number for one in found} == set(range(MOST_AT_WORK + 1))
        await alice.one("Relay/Send", message())


@asynccontextmanager
async def stopping(
    directory: Path, deployment: Deployment, **limits: Any
) -> AsyncIterator[tuple[Client, Callable[[], Any]]]:
    """A relay's client, and how to stop the relay while it is there."""
    config = RelayConfig(directory, RelayLimits(**limits))
    services = partial(open_relay, config)
    server = deployment.server(Party.PROVIDER, services, grace_seconds=GRACE)
    port = await server.__aenter__()
    async with deployment.client(ALICE, Party.PROVIDER, port) as client:
        yield client, lambda: server.__aexit__(None, None, None)


async def test_a_line_that_is_idle_does_not_hold_up_a_server_that_shuts_down(tmp_path: Path) -> None:
    deployment = Deployment()
    async with stopping(tmp_path, deployment) as (client, stop):
        line = Open(client)
        await line.ask(acknowledge=wire.AcknowledgeRequest())
        await line.answers(1)
        began = asyncio.get_running_loop().time()
        await stop()
        assert asyncio.get_running_loop().time() - began < GRACE
        assert await line.answer() is grpc.aio.EOF and await line.stream.code() is STATUS.OK
        assert deployment.events("failure") == []


async def test_a_device_that_goes_on_asking_does_not_hold_up_a_server_that_shuts_down(tmp_path: Path) -> None:
    async def flood(line: Open) -> None:
        while True:
            await line.ask(acknowledge=wire.AcknowledgeRequest())
            await asyncio.sleep(0.005)

    async def read(line: Open) -> None:
        while await line.answer() is not grpc.aio.EOF:
            continue

    deployment = Deployment()
    async with stopping(tmp_path, deployment, calls=Rate(1.0, 1)) as (client, stop):
        line = Open(client)
        tasks = [asyncio.create_task(flood(line)), asyncio.create_task(read(line))]
        await asyncio.sleep(0.2)
        began = asyncio.get_running_loop().time()
        await stop()
        assert asyncio.get_running_loop().time() - began < GRACE
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        ended = [e["status"] for e in deployment.events("call") if e["method"].endswith("/Connect")]
        assert ended == ["OK"] and deployment.events("failure") == []


async def test_a_line_on_which_nothing_is_asked_is_ended_and_one_that_waits_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = asyncio.wait
    looks = list[asyncio.Event]()

    async def looking(ends: Any, **more: Any) -> Any:
        """The time after which a line is looked at has passed when the test says so."""
        if more.get("timeout") != IDLE_SECONDS:
            return await wait(ends, **more)
        looks.append(passed := asyncio.Event())
        over = asyncio.create_task(passed.wait())
        done, _ = await wait((*ends, over), return_when=asyncio.FIRST_COMPLETED)
        return done - {over}, set(ends) - done

    monkeypatch.setattr(asyncio, "wait", looking)
    async with relay(tmp_path) as (alice, bob):
        waiting = Open(bob)
        idle = Open(alice)
        await waiting.ask(receive=wire.ReceiveRequest(wait_ms=200_000))
        await idle.ask(acknowledge=wire.AcknowledgeRequest())
        await idle.answers(1)
        for number in range(2):  # looks at both lines: on each something was asked, and then on none
            await alice.one("Relay/Send", message(number=number))
            assert (await waiting.answer()).HasField("receive")
            await until(lambda both=2 + 2 * number: len(looks) == both)
            for look in looks:
                look.set()
        assert await idle.answer() is grpc.aio.EOF and await idle.stream.code() is STATUS.OK
        await alice.one("Relay/Send", message(number=2))
        assert (await waiting.answer()).HasField("receive")
        waiting.stream.cancel()


async def test_a_certificate_that_runs_out_ends_calls_on_an_open_line(tmp_path: Path) -> None:
    now = [1e9]
    deployment = Deployment(clock=lambda: now[0])
    async with relay(tmp_path, deployment) as (alice, _):
        line = Open(alice)
        await line.ask(acknowledge=wire.AcknowledgeRequest())
        assert (await line.answers(1))[0].removed == 0
        now[0] = 1e11
        await line.ask(acknowledge=wire.AcknowledgeRequest())
        assert (await line.answers(1))[1].status == "UNAUTHENTICATED"
