"""Calls whose request does not come, comes slowly or is not read: nobody else is kept out by them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio
import pytest
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.hosting.endpoint import DEVICES, MOST_CALLS, Call, Method
from blindmatch_server.hosting.limits import LeastPace, Patience, Places
from blindmatch_server.storage.errors import QuotaError, SlowError
from grpc_health.v1 import health_pb2

from .deployment import ALICE, BOB, OPERATOR, SECONDS, Deployment, channel, refused, until
from .test_serving import Scripted, scripted

STATUS = grpc.StatusCode
MALLORY = Identity(Kind.DEVICE, "mallory")
KEY = "/blindmatch.v1.Centre/Key"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
HEALTH = "/grpc.health.v1.Health/"
PLACES = 64
"""Of the server: two of a device, sixteen of another party, 48 of all devices."""


async def never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


@asynccontextmanager
async def holding(
    deployment: Deployment, who: Identity, port: int, calls: int, path: str = KEY, connections: int = 2
) -> AsyncIterator[list[Any]]:
    """Calls of one certificate over several connections that are opened, and never send a request."""
    held = []
    async with AsyncExitStack() as stack:
        for _ in range(connections):
            opened = channel(deployment.credentials(who), Party.CENTRE, port)
            await stack.enter_async_context(opened)
            await opened.channel_ready()
            to_call: Any = opened.stream_unary(path)
            held += [to_call(never()) for _ in range(calls // connections)]
        yield held
        for call in held:
            call.cancel()


async def ended(calls: Sequence[Any], how_many: int) -> list[grpc.StatusCode]:
    """The codes of calls that the server ended, once there are so many."""
    await until(lambda: sum(call.done() for call in calls) >= how_many)
    return [await call.code() for call in calls if call.done()]


async def key_of(deployment: Deployment, who: Identity, port: int) -> bytes:
    async with deployment.client(who, Party.CENTRE, port) as client:
        reply: wire.CentreKey = await client.one("Centre/Key", wire.CentreKeyRequest())
        return reply.public_key


async def served(deployment: Deployment, who: Identity, port: int) -> None:
    """Ask until there is an answer: on a busy machine this process may be late itself."""
    while True:
        with suppress(grpc.aio.AioRpcError):
            assert await key_of(deployment, who, port) == b"k" * 32
            return


@pytest.mark.parametrize("path", [KEY, HEALTH + "Check", HEALTH + "Watch", REFLECT])
async def test_calls_of_one_certificate_that_send_no_request_keep_nobody_out(path: str) -> None:
    deployment = Deployment()
    async with (
        scripted(deployment, most_calls=PLACES) as (_, port),
        holding(deployment, MALLORY, port, 2 * PLACES, path) as held,
    ):
        codes = await ended(held, 2 * PLACES - 2)
        assert set(codes) <= {STATUS.RESOURCE_EXHAUSTED, STATUS.PERMISSION_DENIED}
        assert await key_of(deployment, ALICE, port) == b"k" * 32
        assert await key_of(deployment, BOB, port) == b"k" * 32


async def test_any_number_of_devices_leaves_places_for_operators() -> None:
    deployment = Deployment()
    async with scripted(deployment, most_calls=PLACES) as (_, port), AsyncExitStack() as stack:
        held = []
        for number in range(36):  # half of their places to 12 of them, one of the others to each
            device = Identity(Kind.DEVICE, f"m-{number}")
            held += await stack.enter_async_context(holding(deployment, device, port, 2, connections=1))
        assert await ended(held, 24) == [STATUS.RESOURCE_EXHAUSTED] * 24
        async with deployment.client(OPERATOR, Party.CENTRE, port) as operator:
            await operator.one("Audit/ReadCounters", wire.CountersRequest())
        with pytest.raises(
            grpc.aio.AioRpcError, match="all devices together may have 48 of these calls at a time"
        ):
            await key_of(deployment, ALICE, port)


def test_a_few_certificates_do_not_fill_the_places_of_all_devices() -> None:
    places = Places(MOST_CALLS)
    few = 0
    with ExitStack() as stack:

        def take(account: str, most: int = MOST_CALLS, kind: Kind = Kind.DEVICE) -> int:
            for had in range(most):
                try:
                    stack.enter_context(places.hold(Identity(kind, account), "x"))
                except QuotaError:
                    return had
            return most

        assert [take(f"mallory-{number}") for number in range(24)] == [64] * 12 + [4] * 12
        for number in range(400):  # who asks one thing at a time is served beside them, and they get no more
            assert take(f"honest-{number}", 1) == 1 and take(f"mallory-{number % 24}") == 0
        while take(f"mallory-{24 + few}"):
            few += 1
        assert 24 + few > 100
        assert take("honest", 1) == 0 and take("olga", 1, Kind.OPERATOR) == 1
    assert take("mallory-0", 65) == 64


async def test_a_request_that_does_not_come_loses_its_place_in_time() -> None:
    deployment = Deployment()
    async with (
        scripted(deployment, most_calls=PLACES, pace=LeastPace(0.3)) as (service, port),
        holding(deployment, MALLORY, port, 2) as held,
    ):
        assert await ended(held, 2) == [STATUS.DEADLINE_EXCEEDED] * 2
        async with holding(deployment, MALLORY, port, 2) as again:
            assert await ended(again, 2) == [STATUS.DEADLINE_EXCEEDED] * 2
        assert service.callers == []


async def test_a_second_message_to_a_method_that_takes_one_is_refused_before_it_is_called() -> None:
    deployment = Deployment()
    async with (
        scripted(deployment) as (service, port),
        channel(deployment.credentials(ALICE), Party.CENTRE, port) as opened,
    ):
        to_call: Any = opened.stream_unary(KEY)
        for messages in ([b"", b""], []):
            code, text, _ = await refused(to_call(iter(messages)))
            assert (code, "must be one message" in text) == (STATUS.INVALID_ARGUMENT, True)
        assert service.callers == []


async def test_a_message_without_the_end_of_its_stream_does_not_count() -> None:
    deployment = Deployment()

    async def half() -> AsyncIterator[bytes]:
        yield b""
        await asyncio.Event().wait()

    async with (
        scripted(deployment, pace=LeastPace(0.3)) as (service, port),
        channel(deployment.credentials(ALICE), Party.CENTRE, port) as opened,
    ):
        to_call: Any = opened.stream_unary(KEY)
        assert (await refused(to_call(half())))[0] is STATUS.DEADLINE_EXCEEDED
        assert service.callers == []


async def test_a_certificate_that_names_no_party_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = Deployment()
    odd = Identity(Kind.DEVICE, "x")
    with monkeypatch.context() as patch:
        patch.setattr(Identity, "uri", "blindmatch://device/relay")
        deployment.credentials(odd)
    async with (
        scripted(deployment, most_calls=PLACES) as (_, port),
        holding(deployment, odd, port, 2 * PLACES) as held,
    ):
        assert set(await ended(held, 2 * PLACES)) == {STATUS.UNAUTHENTICATED}
        assert await key_of(deployment, ALICE, port) == b"k" * 32


async def test_reflection_is_for_operators_and_its_errors_tell_no_exception() -> None:
    deployment = Deployment()
    async with scripted(deployment) as (_, port):
        async with channel(deployment.credentials(ALICE), Party.CENTRE, port) as opened:
            reflect: Any = opened.stream_stream(REFLECT)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                [reply async for reply in reflect(iter([b"\x3a\x00"]))]
            assert caught.value.code() is STATUS.PERMISSION_DENIED
        async with channel(deployment.credentials(OPERATOR), Party.CENTRE, port) as opened:
            reflect = opened.stream_stream(REFLECT)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                [reply async for reply in reflect(iter([b"\xff\xff"]))]
            assert caught.value.code() is STATUS.INVALID_ARGUMENT
    assert not any("DecodeError" in line for line in deployment.lines)


async def test_health_of_a_service_that_is_not_there_is_not_found() -> None:
    deployment = Deployment()
    async with (
        scripted(deployment) as (_, port),
        channel(deployment.credentials(ALICE), Party.CENTRE, port) as opened,
    ):
        check: Any = opened.unary_unary(HEALTH + "Check", health_pb2.HealthCheckRequest.SerializeToString)
        code, _, _ = await refused(check(health_pb2.HealthCheckRequest(service="nobody")))
        assert code is STATUS.NOT_FOUND
        watch: Any = opened.unary_stream(HEALTH + "Watch", health_pb2.HealthCheckRequest.SerializeToString)
        with pytest.raises(grpc.aio.AioRpcError, match="PERMISSION_DENIED"):
            [reply async for reply in watch(health_pb2.HealthCheckRequest())]


async def test_who_is_late_catches_up_by_what_moves_and_gets_no_credit() -> None:
    patience = Patience(LeastPace(1.0, 100.0), late=0.5)
    patience.moved(20)
    assert patience.late == pytest.approx(0.3)
    patience.moved(10_000)
    assert patience.late == 0.0
    patience.late = 1.0
    with pytest.raises(SlowError, match="100 bytes a second"):
        await patience.wait(asyncio.Event().wait(), "x")


NARROW = (("grpc.http2.lookahead_bytes", 1), ("grpc.http2.bdp_probe", 0))
"""Of a caller that lets little come before it reads."""


class Running:
    """A pace that counts once both calls of a test have come: a busy machine may be late itself."""

    seconds = SECONDS
    per_second = float(1 << 30)


class Large(Scripted):
    """Replies that are larger than what a caller lets come, once there are two calls of Mallory's."""

    def __init__(self, pace: Running) -> None:
        super().__init__()
        self.pace = pace
        self.both = asyncio.Event()

    async def came(self, call: Call) -> None:
        self.callers.append(call.caller)
        if self.callers.count(MALLORY) == 2:
            self.pace.seconds = 0.5
            self.both.set()
        if call.caller == MALLORY:
            await self.both.wait()

    def methods(self) -> Mapping[str, Method]:
        mine = {"Export": Method(self.large, DEVICES), "Key": Method(self.one, DEVICES)}
        return {**super().methods(), **mine}

    async def large(self, request: wire.ExportRequest, call: Call) -> AsyncIterator[wire.Part]:
        await self.came(call)
        for _ in range(64):
            yield wire.Part(data=bytes(256 << 10))

    async def one(self, request: wire.CentreKeyRequest, call: Call) -> wire.CentreKey:
        await self.came(call)
        return wire.CentreKey(public_key=bytes(1 << 20) if call.caller == MALLORY else b"k" * 32)


@pytest.mark.parametrize("method", ["Export", "Key"], ids=["of several", "the only one"])
async def test_a_reply_that_is_not_read_is_given_up_and_keeps_its_own_account_out_alone(method: str) -> None:
    """gRPC cannot send a status before what waits, nor drop that: the call keeps its account's place until
    the caller goes, or replies would pile up in the server's memory."""
    deployment = Deployment()
    pace = Running()
    async with (
        scripted(deployment, Large(pace), most_calls=PLACES, pace=pace) as (_, port),
        channel(deployment.credentials(MALLORY), Party.CENTRE, port, *NARROW) as opened,
    ):
        to_call: Any = opened.stream_stream(f"/blindmatch.v1.Centre/{method}")
        unread = [to_call(iter([b""])) for _ in range(2)]
        await until(lambda: [one["status"] for one in deployment.events("call")] == ["DEADLINE_EXCEEDED"] * 2)
        await asyncio.sleep(0.5)
        more = [to_call(iter([b""])) for _ in range(4)]
        assert await ended(more, 4) == [STATUS.RESOURCE_EXHAUSTED] * 4
        assert not any(call.done() for call in unread)
        await served(deployment, ALICE, port)
        for call in unread:
            call.cancel()
        await until(lambda: all(call.done() for call in unread))
        check: Any = opened.unary_unary(HEALTH + "Check", health_pb2.HealthCheckRequest.SerializeToString)
        await until_served(lambda: check(health_pb2.HealthCheckRequest()))


async def until_served(call: Any) -> None:
    while True:
        with suppress(grpc.aio.AioRpcError):
            await call()
            return
