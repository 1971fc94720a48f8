"""From a service's methods to gRPC handlers: what happens to every call of every service.

    bytes --identity--> may call? --rate--> turn --> parse --> method --> serialise --> bytes
                                                                 |
                       any exception --> status (statuses.py), one log line and one count for each call

A call that is refused for its rate is answered late; so is every refused call of an account that had many
refused. A flood is held up by its own calls then, of which a connection has a bounded number.

Handlers are made from the .proto's descriptors, so that a method that is missing or superfluous is noticed
when the server starts. Messages are parsed and serialised here, since that is where bytes can be counted.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeAlias

import grpc
import grpc.aio
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.failpoint import reach
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from blindmatch_server.authority import Identity, Kind
from blindmatch_server.clock import Clock
from blindmatch_server.errors import ForbiddenError, GoneError, RateError
from blindmatch_server.identity import caller_of
from blindmatch_server.log import Log
from blindmatch_server.rate import Rate, TokenBuckets
from blindmatch_server.statuses import Refusal, refusal_of
from blindmatch_server.waiting import Turns

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
EVERYONE: Final = frozenset(Kind)
DEVICES: Final = frozenset({Kind.DEVICE})
OPERATORS: Final = frozenset({Kind.OPERATOR})
REFUSALS: Final = Rate(20.0, 100)
"""Refused calls of an account to one service that are answered at once."""
_REFUSED_SECONDS: Final = 0.25


@dataclass(slots=True)
class Call:
    """One call on its way through.

    Attributes:
        method: full name, ``/blindmatch.v1.Relay/Send``.
        request_id: random; stands in the log and in the trailing metadata.
        caller: from the certificate; None until it is known.
        draining: set when the server shuts down; a method that waits ends then.
        bytes_in, bytes_out: serialised messages so far.
        status: the gRPC status's name, once the call is finished.
        seconds: how long it took, once it is finished.
    """

    method: str
    request_id: str
    draining: asyncio.Event
    caller: Identity | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    status: str = ""
    seconds: float = 0.0

    @property
    def account(self) -> str:
        """The caller's name in tables and logs; empty before it is known."""
        return self.caller.account if self.caller else ""


Handler: TypeAlias = Callable[[Any, Call], Any]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service and its conditions.

    Attributes:
        handler: takes (request, call) or (async iterator of requests, call); is a coroutine function, or an
            async generator function where replies are a stream.
        callers: who may call it.
        rate: calls an account may make.
        most_seconds: after which it is cut off, whatever deadline the caller set.
        turns: how many calls of an account are worked on at a time; others wait.
    """

    handler: Handler
    callers: frozenset[Kind]
    rate: TokenBuckets | None = None
    most_seconds: float = 60.0
    turns: Turns | None = None


class Service(Protocol):
    """A service of the .proto."""

    @property
    def descriptor(self) -> ServiceDescriptor:
        """Its descriptor."""
        ...

    def methods(self) -> Mapping[str, Method]:
        """All its methods by name."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What the handlers of one server share.

    Attributes:
        clock: Unix time in seconds.
        log: where events go.
        count: told of every finished call.
        draining: set when the server shuts down.
        hangup: set by SIGHUP; whoever reloads something then clears it.
    """

    clock: Clock
    log: Log
    count: Callable[[Call], None]
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    hangup: asyncio.Event = field(default_factory=asyncio.Event)


def handlers_of(service: Service, desk: Desk) -> grpc.GenericRpcHandler:
    """The gRPC handlers of a service.

    Raises:
        TypeError: if its methods are not those of the descriptor.
    """
    descriptor, methods = service.descriptor, service.methods()
    declared = {method.name for method in descriptor.methods}
    if declared != set(methods):
        raise TypeError(
            f"{descriptor.name}: methods differ from the .proto: {sorted(declared ^ set(methods))}"
        )
    refusals = TokenBuckets(REFUSALS, desk.clock)
    made = {d.name: _handler(Endpoint(desk, d, methods[d.name], refusals)) for d in descriptor.methods}
    return grpc.method_handlers_generic_handler(descriptor.full_name, made)


def _handler(endpoint: Endpoint) -> grpc.RpcMethodHandler[Any, Any]:
    descriptor = endpoint.descriptor
    if descriptor.server_streaming:
        if descriptor.client_streaming:
            return grpc.stream_stream_rpc_method_handler(endpoint.to_many)
        return grpc.unary_stream_rpc_method_handler(endpoint.to_many)
    if descriptor.client_streaming:
        return grpc.stream_unary_rpc_method_handler(endpoint.to_one)
    return grpc.unary_unary_rpc_method_handler(endpoint.to_one)


class Endpoint:
    """One method."""

    def __init__(
        self, desk: Desk, descriptor: MethodDescriptor, method: Method, refusals: TokenBuckets
    ) -> None:
        self.descriptor = descriptor
        self._refusals = refusals
        self._desk = desk
        self._method = method
        self._request: type[Message] = GetMessageClass(descriptor.input_type)
        self._path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
        self._failpoint = f"{descriptor.containing_service.name}.{descriptor.name}.reply"

    async def to_one(self, source: Any, context: Context) -> bytes:
        """Methods that end in one reply."""

        async def work(call: Call) -> bytes:
            reply = await self._method.handler(self._requests(source, call), call)
            return self._serialise(reply, call)

        return await self._guard(context, work)

    async def to_many(self, source: Any, context: Context) -> None:
        """Methods that reply with a stream."""

        async def work(call: Call) -> bytes:
            async with aclosing(self._method.handler(self._requests(source, call), call)) as replies:
                async for reply in replies:
                    await self._write(context, self._serialise(reply, call))
            return b""

        await self._guard(context, work)

    async def _guard(self, context: Context, work: Callable[[Call], Awaitable[bytes]]) -> bytes:
        call, turns = Call(self._path, secrets.token_hex(8), self._desk.draining), self._method.turns
        started = time.monotonic()
        try:
            self._admit(context, call)
            async with asyncio.timeout(self._seconds(context)):
                async with turns.take(call.account) if turns is not None else nullcontext():
                    reply = await work(call)
        except asyncio.CancelledError:
            self._close(call, grpc.StatusCode.CANCELLED, started)
            raise
        except Exception as error:
            refusal = self._refusal(call, error)
            self._close(call, refusal.code, started)
            if isinstance(error, RateError) or not self._patient(call.account):
                await asyncio.sleep(_REFUSED_SECONDS)
            trailing = (*refusal.trailing, ("request-id", call.request_id))
            await context.abort(refusal.code, refusal.text, trailing)
        self._close(call, grpc.StatusCode.OK, started)
        return reply

    def _admit(self, context: Context, call: Call) -> None:
        call.caller = caller_of(context.auth_context(), self._desk.clock())
        if call.caller.kind not in self._method.callers:
            raise ForbiddenError(self._path, f"not for a {call.caller.words}")
        if self._method.rate is not None:
            self._method.rate.take(call.account, self._path)

    async def _write(self, context: Context, reply: bytes) -> None:
        """Send one of several replies.

        Raises:
            GoneError: if the caller is gone; gRPC has an internal error for that.
        """
        try:
            await context.write(reply)
        except grpc.aio.UsageError:
            raise
        except Exception as error:
            raise GoneError(self._path, "the caller is gone") from error

    def _patient(self, account: str) -> bool:
        """Is a refusal of this account answered at once?"""
        try:
            self._refusals.take(account, self._path)
        except RateError:
            return False
        return True

    def _seconds(self, context: Context) -> float:
        remaining = context.time_remaining()
        return self._method.most_seconds if remaining is None else min(remaining, self._method.most_seconds)

    def _refusal(self, call: Call, error: Exception) -> Refusal:
        refusal = refusal_of(error)
        if refusal.foreseen:
            return refusal
        self._desk.log.failure("failure", error, request_id=call.request_id, method=self._path)
        return replace(refusal, text=f"{refusal.text} (request {call.request_id})")

    def _close(self, call: Call, code: grpc.StatusCode, started: float) -> None:
        """Count and log a call before its end is sent, so that whoever saw the end finds it counted."""
        call.status, call.seconds = code.name, time.monotonic() - started
        self._desk.count(call)
        self._desk.log.write(
            "call",
            request_id=call.request_id,
            method=call.method,
            account=call.account,
            status=call.status,
            duration_ms=round(call.seconds * 1000, 3),
            bytes_in=call.bytes_in,
            bytes_out=call.bytes_out,
        )

    def _requests(self, source: Any, call: Call) -> Any:
        if self.descriptor.client_streaming:
            return self._stream(source, call)
        return self._parse(source, call)

    async def _stream(self, source: AsyncIterator[bytes], call: Call) -> AsyncIterator[Message]:
        async for raw in source:
            yield self._parse(raw, call)

    def _parse(self, raw: bytes, call: Call) -> Message:
        call.bytes_in += len(raw)
        try:
            return self._request.FromString(raw)
        except DecodeError as error:
            raise ProtocolError(self._path, f"must be a {self.descriptor.input_type.name}") from error

    def _serialise(self, reply: Message, call: Call) -> bytes:
        raw = reply.SerializeToString()
        reach(self._failpoint)
        call.bytes_out += len(raw)
        return raw
