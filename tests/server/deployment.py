"""A deployment for tests: certificates, servers on loopback in the test's own event loop, and channels."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.authority import Authority, Credentials, Identity, Kind
from blindmatch_server.hosting.event_log import Clock, Sink, system_clock
from blindmatch_server.hosting.limits import LeastPace
from blindmatch_server.hosting.serving import Listen, OpenServices, running

HERE = Path(__file__).parent
T = TypeVar("T")
NOW = datetime.now(UTC)
ALICE = Identity(Kind.DEVICE, "alice")
BOB = Identity(Kind.DEVICE, "bob")
OPERATOR = Identity(Kind.OPERATOR, "op")
SECONDS = 240.0
"""How long whatever a test waits for may take: a machine that stalls must fail no test."""


def run(test: Coroutine[Any, Any, T]) -> T:
    """A coroutine in a loop of its own, as `conftest` runs a test that is one."""
    return asyncio.run(asyncio.wait_for(test, SECONDS))


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; the test's own time limit ends a wait in vain."""
    while True:
        if holds():
            return
        await asyncio.sleep(0.01)


@contextmanager
def process(name: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program of this folder, which is killed at the end."""
    command = [sys.executable, str(HERE / name), *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as opened:
        try:
            yield opened
        finally:
            opened.kill()


def port_of(directory: Path) -> int:
    """Where a server listens that has just been started."""
    deadline = time.monotonic() + SECONDS
    while not (path := directory / "port").exists():
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.05)
    return int(path.read_text())


@dataclass
class Deployment:
    """An authority with certificates made on demand, and the lines its servers log."""

    authority: Authority = field(default_factory=lambda: Authority.create(NOW))
    lines: list[str] = field(default_factory=list)
    clock: Clock = system_clock
    sink: Sink | None = None
    _issued: dict[Identity, Credentials] = field(default_factory=dict)

    def credentials(self, identity: Identity) -> Credentials:
        if identity not in self._issued:
            self._issued[identity] = self.authority.issue(identity, NOW, timedelta(days=1))
        return self._issued[identity]

    def listen(self, party: Party, **options: Any) -> Listen:
        sink = self.sink or self.lines.append
        pace = LeastPace(SECONDS)
        return Listen(
            self.credentials(Identity.of(party)), clock=self.clock, sink=sink, **{"pace": pace, **options}
        )

    @asynccontextmanager
    async def server(self, party: Party, services: OpenServices, **options: Any) -> AsyncIterator[int]:
        async with running(party.server, self.listen(party, **options), services) as server:
            yield server.port

    @asynccontextmanager
    async def client(self, identity: Identity, party: Party, port: int) -> AsyncIterator[Client]:
        async with channel(self.credentials(identity), party, port) as opened:
            yield Client(opened)

    @asynccontextmanager
    async def serving(
        self, party: Party, services: OpenServices, *callers: Identity
    ) -> AsyncIterator[tuple[Client, ...]]:
        """A server, and a client of it for each caller."""
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(self.server(party, services))
            clients = [self.client(one, party, port) for one in callers]
            yield tuple([await stack.enter_async_context(one) for one in clients])

    def events(self, name: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.lines]
        return [event for event in found if event["event"] == name]


def channel(credentials: Credentials, party: Party, port: int, *more: tuple[str, int]) -> grpc.aio.Channel:
    return grpc.aio.secure_channel(
        f"127.0.0.1:{port}",
        grpc.ssl_channel_credentials(credentials.root, credentials.key, credentials.certificate),
        [
            ("grpc.ssl_target_name_override", party.dns_name),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            *more,
        ],
    )


class Client:
    """Calls methods by name, with messages of the .proto."""

    def __init__(self, opened: grpc.aio.Channel) -> None:
        self.channel = opened

    async def one(self, method: str, request: Any, seconds: float = SECONDS) -> Any:
        """unary_unary or stream_unary, depending on whether `request` is a list."""
        path, reply = _method(method)
        if isinstance(request, list):
            call: Any = self.channel.stream_unary(path, _write, reply.FromString)
            return await call(iter(request), timeout=seconds)
        call = self.channel.unary_unary(path, _write, reply.FromString)
        return await call(request, timeout=seconds)

    def many(self, method: str, request: Any, seconds: float = SECONDS) -> Any:
        """unary_stream or stream_stream: an async iterator of replies."""
        path, reply = _method(method)
        if isinstance(request, list):
            call: Any = self.channel.stream_stream(path, _write, reply.FromString)
            return call(iter(request), timeout=seconds)
        call = self.channel.unary_stream(path, _write, reply.FromString)
        return call(request, timeout=seconds)

    async def all(self, method: str, request: Any, seconds: float = SECONDS) -> list[Any]:
        return [reply async for reply in self.many(method, request, seconds)]


def _write(message: Any) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def _method(name: str) -> tuple[str, Any]:
    service, method = name.split("/")
    descriptor = wire.DESCRIPTOR.services_by_name[service].methods_by_name[method]
    return f"/blindmatch.v1.{name}", getattr(wire, descriptor.output_type.name)


async def refused(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Status, text and trailing metadata of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailing = {key: str(value) for key, value in caught.value.trailing_metadata() or ()}
    return caught.value.code(), caught.value.details() or "", trailing
