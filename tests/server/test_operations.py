"""Running a server: metrics, back-pressure, drain, signals and exit codes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
import urllib.request
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting import exit_codes
from blindmatch_server.hosting.authority import Identity
from blindmatch_server.hosting.endpoint import ServerContext, Service
from blindmatch_server.hosting.serving import running
from blindmatch_server.storage.batching import Batcher
from blindmatch_server.storage.errors import PortTakenError, QuotaError, UnavailableError
from grpc_health.v1 import health_pb2

from .deployment import (
    ALICE,
    OPERATOR,
    SECONDS,
    Client,
    Deployment,
    channel,
    port_of,
    process,
    refused,
    run,
    until,
)
from .scene import HASH, Scene
from .test_centre import submission
from .test_serving import Scripted, ask, scripted

STATUS = grpc.StatusCode
KEY = "/blindmatch.v1.Centre/Key"


async def scrape(deployment: Deployment) -> str:
    (event,) = deployment.events("metrics")

    def get() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{event['port']}/metrics", timeout=SECONDS) as reply:
            return str(reply.read().decode())

    return await asyncio.to_thread(get)


async def test_metrics_are_off_unless_a_port_is_given() -> None:
    deployment = Deployment()
    async with scripted(deployment):
        assert deployment.events("metrics") == []


async def test_metrics_count_by_method_and_status_and_name_no_account() -> None:
    deployment = Deployment()
    async with scripted(deployment, metrics_port=0) as (service, port):
        await ask(deployment.credentials(ALICE), port)
        await ask(deployment.credentials(ALICE), port)
        service.error = ValueError("secret")
        await refused(ask(deployment.credentials(ALICE), port))
        text = await scrape(deployment)
        assert f'blindmatch_calls_total{{method="{KEY}",status="OK"}} 2.0' in text
        assert f'blindmatch_calls_total{{method="{KEY}",status="INTERNAL"}} 1.0' in text
        assert f'blindmatch_message_bytes_total{{direction="out",method="{KEY}"}} 68.0' in text
        assert f'blindmatch_call_seconds_count{{method="{KEY}"}} 3.0' in text
        assert "blindmatch_draining 0.0" in text
        for word in ("alice", "secret", "account"):
            assert word not in text


async def test_a_taken_metrics_port_is_an_error_like_any_other_taken_port() -> None:
    deployment = Deployment()
    async with scripted(deployment, metrics_port=0):
        (event,) = deployment.events("metrics")

        @asynccontextmanager
        async def services(desk: ServerContext) -> AsyncIterator[Sequence[Service]]:
            yield [Scripted()]

        listen = deployment.listen(Party.CENTRE, metrics_port=event["port"])
        with pytest.raises(PortTakenError, match="metrics"):
            async with running("centre", listen, services):
                pass


async def test_the_metrics_say_that_the_server_drains() -> None:
    deployment = Deployment()
    seen: list[str] = []

    async def look(service: Scripted) -> None:
        while not seen or "blindmatch_draining 1.0" not in seen[-1]:
            seen.append(await scrape(deployment))
        service.may_end.set()

    async with scripted(deployment, metrics_port=0, grace_seconds=SECONDS) as (service, port):
        service.may_end.clear()
        call = asyncio.ensure_future(ask(deployment.credentials(ALICE), port))
        await service.called.wait()
        watcher = asyncio.ensure_future(look(service))
    await asyncio.gather(call, watcher)
    assert deployment.events("drained")


async def test_more_calls_than_a_device_may_have_are_refused_and_the_others_end_well() -> None:
    deployment = Deployment()
    async with scripted(deployment, most_calls=64) as (service, port):
        service.may_end.clear()
        mine = deployment.credentials(ALICE)
        calls = [asyncio.ensure_future(ask(mine, port)) for _ in range(2)]
        await until(lambda: len(service.callers) == 2)
        assert (await refused(ask(mine, port)))[0] is STATUS.RESOURCE_EXHAUSTED
        service.may_end.set()
        assert [(await call).public_key for call in calls] == [b"k" * 32] * 2
        assert (await ask(mine, port)).public_key == b"k" * 32


async def test_a_worker_refuses_what_would_wait_too_long_and_everything_once_it_is_closed() -> None:
    begun = threading.Event()
    hold = threading.Event()

    def work(tasks: Sequence[int]) -> list[int | Exception]:
        begun.set()
        hold.wait(SECONDS)
        return list(tasks)

    with ThreadPoolExecutor(1) as executor:
        batcher: Batcher[int, int] = Batcher(work, executor, most=1, most_waiting=2)
        tasks = [asyncio.ensure_future(batcher.submit(0))]
        assert await asyncio.to_thread(begun.wait, SECONDS)
        tasks += [asyncio.ensure_future(batcher.submit(n)) for n in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(QuotaError) as caught:
            await batcher.submit(3)
        assert caught.value.status == "RESOURCE_EXHAUSTED"
        hold.set()
        assert await asyncio.gather(*tasks) == [0, 1, 2]
        await batcher.close()
        with pytest.raises(UnavailableError) as late:
            await batcher.submit(1)
        assert late.value.status == "UNAVAILABLE"


async def test_health_says_not_serving_while_a_server_drains_and_new_calls_are_unavailable() -> None:
    deployment = Deployment()
    states: list[int] = []

    async def watch(opened: grpc.aio.Channel) -> None:
        watching = opened.unary_stream(
            "/grpc.health.v1.Health/Watch",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        try:
            async for reply in watching(health_pb2.HealthCheckRequest(service="")):
                states.append(reply.status)
        except grpc.aio.AioRpcError:
            return

    async with scripted(deployment, grace_seconds=SECONDS) as (service, port):
        opened = channel(deployment.credentials(OPERATOR), Party.CENTRE, port)
        watcher = asyncio.ensure_future(watch(opened))
        await until(lambda: bool(states))
        service.may_end.clear()
        call = asyncio.ensure_future(ask(deployment.credentials(ALICE), port))
        await service.called.wait()
        late = asyncio.ensure_future(_after_drain(deployment, states, port))
        late.add_done_callback(lambda _: service.may_end.set())
    assert (await call).public_key == b"k" * 32
    assert (await late)[0] is STATUS.UNAVAILABLE
    await watcher
    await opened.close()
    assert states == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]


async def _after_drain(deployment: Deployment, states: list[int], port: int) -> Any:
    await until(lambda: health_pb2.HealthCheckResponse.NOT_SERVING in states)
    await asyncio.sleep(0.1)
    return await refused(ask(deployment.credentials(ALICE), port))


def test_a_call_that_outlasts_the_grace_period_costs_the_exit_code_5(tmp_path: Path) -> None:
    deployment = Deployment()
    scene = Scene(tmp_path)
    deployment.credentials(Identity.of(Party.CENTRE)).write(scene.directory, "centre")

    async def never_ends(port: int, server: subprocess.Popen[bytes]) -> None:
        async with channel(deployment.credentials(ALICE), Party.CENTRE, port) as opened:
            submit = opened.stream_unary(
                "/blindmatch.v1.Centre/Submit", wire.SubmitPart.SerializeToString, wire.Receipt.FromString
            )
            call = submit(timeout=SECONDS)
            part = wire.Part(size=10, data=b"x")
            await call.write(wire.SubmitPart(report_id=b"i" * 16, part=part))
            incoming = scene.directory / "state/reports/incoming"
            await until(lambda: any(incoming.iterdir()))
            server.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(server.wait, SECONDS)
            assert code == exit_codes.DRAIN_TIMED_OUT
            assert await call.code() in {STATUS.UNAVAILABLE, STATUS.CANCELLED}

    with process("centre_process.py", scene.directory, 0.5) as server:
        run(never_ends(port_of(scene.directory), server))
    assert not list((scene.directory / "state/reports/incoming").iterdir())


async def epoch_is(client: Client, epoch: int) -> None:
    """Wait until a matcher serves `epoch`."""
    while True:
        if (await client.one("Matching/Describe", wire.DescribeRequest())).epoch == epoch:
            return
        await asyncio.sleep(0.15)


def test_sighup_makes_a_matcher_take_the_next_epoch_at_once(tmp_path: Path) -> None:
    deployment = Deployment()
    deployment.credentials(Identity.of(Party.MATCHER)).write(tmp_path, "matcher")
    (tmp_path / "epoch").write_text("5")

    async def test(server: subprocess.Popen[bytes], port: int) -> None:
        async with deployment.client(ALICE, Party.MATCHER, port) as alice:
            assert (await alice.one("Matching/Describe", wire.DescribeRequest())).epoch == 5
            (tmp_path / "epoch").write_text("6")
            assert (await alice.one("Matching/Describe", wire.DescribeRequest())).epoch == 5
            server.send_signal(signal.SIGHUP)
            await epoch_is(alice, 6)
            (tmp_path / "epoch").write_text("junk")
            server.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.5)
            await epoch_is(alice, 6)
            (tmp_path / "epoch").write_text("7")
            server.send_signal(signal.SIGHUP)
            await epoch_is(alice, 7)

    with process("matcher_process.py", tmp_path) as server:
        run(test(server, port_of(tmp_path)))
        server.send_signal(signal.SIGTERM)
        assert server.wait(SECONDS) == exit_codes.OK


async def test_the_log_has_every_call_under_its_request_id_and_nothing_that_anybody_wrote(
    tmp_path: Path,
) -> None:
    deployment = Deployment()
    scene = Scene(tmp_path)
    report = scene.report()
    async with scene.centre(deployment) as (alice, _, operator, _):
        await alice.one("Centre/Submit", submission(report.report_id, scene.seal(report)))
        await operator.one("Centre/List", wire.ListRequest())
        move = wire.MoveRequest(report_id=report.report_id, state="unfounded", reason="WORDS of mine")
        await operator.one("Centre/Move", move)
        complaint = wire.ComplainRequest(
            complaint_id=b"c" * 16, report_id=report.report_id, text="WORDS of Alice"
        )
        await alice.one("Centre/Complain", complaint)
        _, _, trailing = await refused(operator.one("Centre/Move", move))
        await operator.one("Centre/DueNotices", wire.DueNoticesRequest())
    calls = deployment.events("call")
    assert [call["method"].rsplit("/")[-1] for call in calls] == [
        "Submit",
        "List",
        "Move",
        "Complain",
        "Move",
        "DueNotices",
    ]
    assert len({call["request_id"] for call in calls}) == len(calls)
    assert (calls[4]["status"], calls[4]["request_id"]) == ("FAILED_PRECONDITION", trailing["request-id"])
    text = "\n".join(deployment.lines)
    for secret in ("WORDS", "hello", HASH.hex(), report.report_id.hex(), "bob"):
        assert secret not in text
