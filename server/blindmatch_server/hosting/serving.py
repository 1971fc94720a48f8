"""A server process: mutual TLS, health, reflection, drain; the same for every service.

bind --> write the port file --> SERVING ... SIGTERM --> NOT_SERVING --> finish calls --> close --> exit
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

import grpc
import grpc.aio
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.redacted import Redacted
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_server.hosting import exit_codes
from blindmatch_server.hosting.authority import Credentials
from blindmatch_server.hosting.calls import REFUSALS, Endpoint, LineEndpoint
from blindmatch_server.hosting.certificates import Revocations
from blindmatch_server.hosting.endpoint import (
    EVERYONE,
    MOST_CALLS,
    NOT_DEVICES,
    OPERATORS,
    Call,
    Line,
    Method,
    ServerContext,
    Service,
)
from blindmatch_server.hosting.event_log import Clock, EventLog, Sink, standard_error, system_clock
from blindmatch_server.hosting.limits import LeastPace, Places, TokenBuckets
from blindmatch_server.hosting.metrics import Audit, Metrics
from blindmatch_server.storage.errors import NotFoundError, PortTakenError, StateError


def handlers_of(service: Service, context: ServerContext) -> grpc.GenericRpcHandler:
    """The gRPC handlers of a service; `TypeError` if its methods are not those of the descriptor."""
    described = {one.name: one for one in service.descriptor.methods}
    methods = service.methods()
    if described.keys() != methods.keys():
        differing = sorted(described.keys() ^ methods.keys())
        raise TypeError(f"{service.descriptor.name}: methods differ from the .proto: {differing}")
    refusals = TokenBuckets(REFUSALS, context.clock)
    made = {
        name: Endpoint(context, described[name], method, refusals)
        for name, method in methods.items()
        if isinstance(method, Method)
    }
    lines = {
        name: LineEndpoint(context, described[name], line, refusals, made)
        for name, line in methods.items()
        if isinstance(line, Line)
    }
    # each takes a stream and writes its replies itself, whatever the method does (calls.py)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        name: grpc.stream_stream_rpc_method_handler(
            one.to_many if one.descriptor.server_streaming else one.to_one
        )
        for name, one in (made | lines).items()
    }
    return grpc.method_handlers_generic_handler(service.descriptor.full_name, handlers)


MOST_MESSAGE_BYTES: Final = (1 << 20) + (64 << 10)
"""1 MiB of message and what frames it."""
STREAM_WINDOW_BYTES: Final = 256 << 10
"""What a caller may send ahead of what was read; measured windows grow by the speed of the link instead."""


class Listen(Redacted, Struct, frozen=True):
    """Where and how a server listens.

    Attributes:
        credentials: certificate and key of the service, and the roots its callers must be signed by.
        port: 0 takes a free one.
        port_file: gets the bound port, written in one step once the server can be called; removed at the end.
        grace_seconds: how long calls may go on after SIGTERM.
        most_calls: calls at the same time; more are refused with RESOURCE_EXHAUSTED. `Places` says how many
            of them an account may have.
        metrics_port: where monitoring scrapes on loopback (metrics.py); 0 takes a free one, None is off.
        revoked: the list of certificates that are refused (certificates.py), and where the highest number
            read is kept; None: there is none.
        ends_with: a descriptor of a pipe; the server stops, as for SIGTERM, once it has no writer any more.
            Whoever starts servers holds the other end, so that they go with it however it ends.
    """

    SHOWN: ClassVar = ("host", "port")

    credentials: Credentials
    host: str = "127.0.0.1"
    port: int = 0
    port_file: Path | None = None
    grace_seconds: float = 10.0
    most_calls: int = MOST_CALLS
    pace: LeastPace = LeastPace()
    metrics_port: int | None = None
    revoked: tuple[Path, Path] | None = None
    ends_with: int | None = None
    clock: Clock = system_clock
    sink: Sink = standard_error


OpenServices: TypeAlias = Callable[[ServerContext], AbstractAsyncContextManager[Sequence[Service]]]
"""Opens a server's services, and closes what they hold when the server has drained."""


class Running(Struct, frozen=True):
    port: int
    context: ServerContext


def serve(name: str, listen: Listen, open_services: OpenServices) -> int:
    """Run a server until SIGTERM or SIGINT; one of `exit_codes`."""
    log = EventLog(name, listen.sink, listen.clock)
    try:
        return asyncio.run(_until_signal(name, listen, open_services))
    except PortTakenError as error:
        log.write("stopped", reason=str(error))
        return exit_codes.PORT_TAKEN
    except BlindmatchError as error:
        log.write("stopped", reason=str(error))
        return exit_codes.BAD_STATE
    except OSError as error:
        log.write("stopped", reason=f"{Path(str(error.filename or '')).name}: {error.strerror}")
        return exit_codes.BAD_STATE
    except Exception as error:
        log.failure("stopped", error)
        return exit_codes.FAILED


async def _until_signal(name: str, listen: Listen, open_services: OpenServices) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    hangup = asyncio.Event()
    # before the port is told to anybody: without a handler the signal ends the process
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    if listen.ends_with is not None:
        _watch_end(loop, listen.ends_with, stop)
    async with running(name, listen, open_services, hangup) as server:
        await stop.wait()
        began = time.monotonic()
        server.context.log.write("draining")
    timed_out = time.monotonic() - began > listen.grace_seconds
    return exit_codes.DRAIN_TIMED_OUT if timed_out else exit_codes.OK


def _watch_end(loop: asyncio.AbstractEventLoop, descriptor: int, stop: asyncio.Event) -> None:
    """Set `stop` when what can be read from `descriptor` has come to its end."""

    def readable() -> None:
        if not os.read(descriptor, 4096):
            loop.remove_reader(descriptor)
            stop.set()

    try:
        loop.add_reader(descriptor, readable)
    except OSError as error:
        raise StateError("standard input: must be a pipe or a terminal to be waited for") from error


@asynccontextmanager
async def running(
    name: str, listen: Listen, open_services: OpenServices, hangup: asyncio.Event | None = None
) -> AsyncIterator[Running]:
    """A running server, with `ServerContext.hangup`; drains on leaving; `PortTakenError` if the address, or
    that of the metrics, cannot be bound; `AuthorityError` if the certificate and the key do not belong
    together, or the list of revoked certificates cannot be used; `StateError` if a service cannot be
    opened."""
    audit = Audit()
    metrics = Metrics()

    def count(call: Call) -> None:
        audit.count(call)
        if listen.metrics_port is not None:
            metrics.count(call)

    log = EventLog(name, listen.sink, listen.clock, metrics.drop_line)
    places = Places(listen.most_calls)
    context = ServerContext(listen.clock, log, count, places, listen.pace, hangup=hangup or asyncio.Event())
    if listen.revoked is not None:
        revocations = Revocations(*listen.revoked, listen.credentials.root, log)
        context = replace(context, is_revoked=revocations.includes)
    async with open_services(context) as services:
        server = _build([*services, audit], context)
        port = _bind(server, listen)
        with ExitStack() as until_stopped, ExitStack() as until_drained:
            if listen.metrics_port is not None:
                scraped = until_stopped.enter_context(metrics.served(listen.metrics_port))
                context.log.write("metrics", port=scraped)
            await server.start()
            try:
                until_drained.enter_context(_noted(port, listen.port_file))
                context.log.write("serving", host=listen.host, port=port)
                yield Running(port, context)
            finally:
                metrics.drain()
                context.draining.set()
                await server.stop(listen.grace_seconds)
                context.log.write("drained")


def _build(services: Sequence[Service], context: ServerContext) -> grpc.aio.Server:
    # no bound of gRPC's own: a flood of calls that get no place would count there until they are refused
    server = grpc.aio.server(options=_options())
    names = [service.descriptor.full_name for service in services]
    every: list[Service] = [*services, Health(names, context.draining), Reflection([*names, *_GRPC_S_OWN])]
    server.add_generic_rpc_handlers([handlers_of(service, context) for service in every])
    return server


class Health:
    """gRPC's health service: all services of a server are serving until it drains."""

    descriptor: Any = health_pb2.DESCRIPTOR.services_by_name["Health"]

    def __init__(self, names: Sequence[str], draining: asyncio.Event) -> None:
        self._names = frozenset(["", *names])
        self._draining = draining

    def methods(self) -> Mapping[str, Method]:
        return {
            "Check": Method(self.check, EVERYONE),
            "List": Method(self.every, NOT_DEVICES),
            "Watch": Method(self.watch, NOT_DEVICES, most_seconds=3600.0),
        }

    async def check(
        self, request: health_pb2.HealthCheckRequest, call: Call
    ) -> health_pb2.HealthCheckResponse:
        """Whether a service, or the server, takes calls; `NotFoundError` if there is no such service."""
        if request.service not in self._names:
            raise NotFoundError(call.method, "no such service", "service")
        of = health_pb2.HealthCheckResponse
        return of(status=of.NOT_SERVING if self._draining.is_set() else of.SERVING)

    async def every(self, request: Any, call: Call) -> Any:
        """The status of every service; the installed stubs do not know the messages yet."""
        asked = [(name, health_pb2.HealthCheckRequest(service=name)) for name in sorted(self._names)]
        reply = GetMessageClass(self.descriptor.methods_by_name["List"].output_type)
        return reply(statuses={name: await self.check(one, call) for name, one in asked})

    async def watch(
        self, request: health_pb2.HealthCheckRequest, call: Call
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status, and once more when it changes."""
        yield await self.check(request, call)
        await self._draining.wait()
        yield await self.check(request, call)


class Reflection:
    descriptor: Any = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]

    def __init__(self, names: Sequence[str]) -> None:
        self._servicer = reflection.aio.ReflectionServicer(names)

    def methods(self) -> Mapping[str, Method]:
        return {"ServerReflectionInfo": Method(self._servicer.ServerReflectionInfo, OPERATORS)}


_GRPC_S_OWN: Final = (Health.descriptor.full_name, Reflection.descriptor.full_name)


def _options() -> list[tuple[str, int]]:
    return [
        # without it a second server on a taken port starts, and calls go to either
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MOST_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MOST_MESSAGE_BYTES),
        ("grpc.max_metadata_size", 16 << 10),
        # of one connection; as many calls as a device may have, so an honest one waits in its own library
        ("grpc.max_concurrent_streams", 64),
        ("grpc.server_handshake_timeout_ms", 20_000),
        ("grpc.max_connection_idle_ms", 300_000),
        # longer than the longest call, which then still has as long
        ("grpc.max_connection_age_ms", 7_200_000),
        ("grpc.max_connection_age_grace_ms", 7_200_000),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", STREAM_WINDOW_BYTES),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ]


def _bind(server: grpc.aio.Server, listen: Listen) -> int:
    credentials = listen.credentials
    # gRPC reports unusable ones as an address that cannot be bound
    credentials.check()
    secured = grpc.ssl_server_credentials(
        [(credentials.key, credentials.certificate)], credentials.callers, require_client_auth=True
    )
    address = f"{listen.host}:{listen.port}"
    _check_bindable(listen)
    try:
        port = server.add_secure_port(address, secured)
    except RuntimeError as error:
        raise PortTakenError(f"address {address} cannot be bound: is it in use?") from error
    if port == 0:
        raise PortTakenError(f"address {address} cannot be bound: is it in use?")
    return port


def _check_bindable(listen: Listen) -> None:
    """Try the address first: gRPC says why it cannot bind one in lines of its own, on standard error."""
    host = listen.host.strip("[]")
    address = f"{listen.host}:{listen.port}"
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, listen.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        why = {errno.EADDRINUSE: "it is in use", errno.EADDRNOTAVAIL: "it is not an address of this machine"}
        reason = why.get(error.errno or 0, error.strerror or str(error))
        raise PortTakenError(f"address {address} cannot be bound: {reason}") from error


@contextmanager
def _noted(port: int, path: Path | None) -> Iterator[None]:
    """Keep a file with the port, unless another server has noted its own there meanwhile."""
    if path is None:
        yield
        return
    text = f"{port}\n"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
    try:
        yield
    finally:
        with suppress(OSError):
            if path.read_text() == text:
                path.unlink()
