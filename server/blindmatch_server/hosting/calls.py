"""One method of a service: what happens to every call of every service, also on a line.

    identity --> place --> may call? --rate--> request --parse--> turn --> method --> serialise --> bytes
                                                                             |
                       any exception --> status (`refusal_of`), one log line and one count for each call

Every method is registered as one that takes a stream: gRPC calls its handler before a message has come, so a
call has a place from its first byte on, of which an account has few. Texts of our own errors name a field and
a rule and are passed on; whatever else was raised becomes ``internal error``, since its text may quote what
it choked on.

A line is one stream of calls of several methods (docs/reference/wire.md, "Lines"). A call on it is admitted,
counted, logged and refused as if it were one, except that its end is an `Answer`.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, aclosing, nullcontext
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import grpc
import grpc.aio
from blindmatch_protocol.codec.errors import (
    DesignError,
    EpochMismatchError,
    PictureError,
    ProtocolError,
)
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_server.hosting.authority import Identity
from blindmatch_server.hosting.certificates import Certificate, certificate_of
from blindmatch_server.hosting.endpoint import Call, Line, Method, ServerContext
from blindmatch_server.hosting.limits import Patience, Rate, TokenBuckets
from blindmatch_server.storage.errors import ForbiddenError, GoneError, RateError, RefusedError, SlowError
from blindmatch_server.storage.files import StorageError

_STORAGE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


class Refusal(Struct, frozen=True):
    """How a call ends.

    Attributes:
        foreseen: False if the error is ours to look into.
    """

    code: grpc.StatusCode
    text: str
    trailing: tuple[tuple[str, str], ...] = ()
    foreseen: bool = True


def refusal_of(error: Exception) -> Refusal:
    """The status for `error`; see the module's text."""
    match error:
        case RateError():
            wait = ("retry-after-ms", str(error.retry_after_ms))
            return Refusal(grpc.StatusCode[error.status], str(error), (wait,))
        case RefusedError():
            return Refusal(grpc.StatusCode[error.status], str(error))
        case EpochMismatchError() | DesignError():
            return Refusal(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        case ProtocolError() | PictureError():
            return Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        case TimeoutError():
            return Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "the call took too long")
        case _ if _is_storage(error):
            return Refusal(grpc.StatusCode.UNAVAILABLE, "storage failed: nothing was kept", (), False)
        case _:
            return Refusal(grpc.StatusCode.INTERNAL, "internal error", (), False)


def _is_storage(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, StorageError) else error
    return isinstance(cause, sqlite3.OperationalError) or (
        isinstance(cause, OSError) and cause.errno in _STORAGE
    )


T = TypeVar("T")
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
REFUSALS: Final = Rate(20.0, 100)
"""Refused calls of an account to one service that are answered at once."""
_REFUSED_SECONDS: Final = 0.25
_LEAST_WRITTEN: Final = 16 << 10


class Endpoint:
    def __init__(
        self, context: ServerContext, descriptor: MethodDescriptor, method: Method, refusals: TokenBuckets
    ) -> None:
        self.descriptor = descriptor
        self._refusals = refusals
        self._context = context
        self._method = method
        self._request: type[Message] = GetMessageClass(descriptor.input_type)
        self.path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
        self._failpoint = f"{descriptor.containing_service.name}.{descriptor.name}.reply"

    async def to_one(self, source: Any, context: Context) -> bytes:

        async def work(source: Any, call: Call) -> bytes:
            reply = await self._method.handler(source, call)
            # not returned: gRPC would end the call's handler, and its place, before the caller takes it
            await self.write(context, self._counted(reply, call).SerializeToString(), call)
            return b""

        return await self.guarded(source, context, work)

    async def to_many(self, source: Any, context: Context) -> bytes:

        async def work(source: Any, call: Call) -> bytes:
            certificate = certified(context)
            async with aclosing(self._method.handler(source, call)) as replies:
                async for reply in replies:
                    self._holder(certificate)
                    await self.write(context, self._counted(reply, call).SerializeToString(), call)
            return b""

        return await self.guarded(source, context, work)

    async def guarded(
        self, source: Any, context: Context, work: Callable[[Any, Call], Awaitable[bytes]]
    ) -> bytes:
        """Do a call's work under the method's conditions; if it is refused, end the call with a status.

        The call keeps its place until gRPC has sent that. Behind a reply that is not taken it cannot, nor can
        it drop the reply: the place is kept until the caller goes."""
        call = self._call()
        with ExitStack() as place:
            read = partial(self._read, source, call)
            seconds = self._seconds(context)
            done = await self._done(call, lambda: certified(context), seconds, read, work, place)
            if call.stuck:
                await asyncio.Event().wait()  # cancelled by gRPC when the caller goes
            if isinstance(done, Refusal):
                trailing = (*done.trailing, ("request-id", call.request_id))
                await context.abort(done.code, done.text, trailing)
                raise AssertionError  # it has raised
        return done

    async def ask(
        self, request: Message, certificate: Certificate, more: Callable[[Message], Awaitable[None]]
    ) -> Message | Refusal:
        """A call of this method on a line, under the same conditions, by the holder of `certificate`, which
        may have run out since. `more` takes each of several replies. The last reply is returned, `Ended`
        after several, or how the call was refused."""
        call = self._call()
        call.bytes_in = request.ByteSize()

        async def read() -> Message:
            return request

        async def work(request: Message, call: Call) -> Message:
            if not self.descriptor.server_streaming:
                return self._counted(await self._method.handler(request, call), call)
            async with aclosing(self._method.handler(request, call)) as replies:
                async for reply in replies:
                    self._holder(certificate)
                    await more(self._counted(reply, call))
            return wire.Ended()

        return await self._done(call, lambda: certificate, self._method.most_seconds, read, work)

    async def _done(
        self,
        call: Call,
        certificate: Callable[[], Certificate],
        seconds: float,
        read: Callable[[], Awaitable[Any]],
        work: Callable[[Any, Call], Awaitable[T]],
        place: ExitStack | None = None,
    ) -> T | Refusal:
        """What became of a call; it gets a place that is given back with `place`, or has its line's."""
        started = time.monotonic()
        turns = self._method.turns
        placed = place is None
        try:
            call.caller = self._holder(certificate())
            if place is not None:
                place.enter_context(self._context.places.hold(call.caller, self.path))
                placed = True
            if call.caller.kind not in self._method.callers:
                raise ForbiddenError(self.path, f"not for a {call.caller.words}")
            if self._method.rate is not None:
                self._method.rate.take(call.account, self.path)
            async with asyncio.timeout(seconds):
                request = await read()
                async with turns.take(call.account) if turns is not None else nullcontext():
                    reply = await work(request, call)
        except asyncio.CancelledError:
            self._close(call, grpc.StatusCode.CANCELLED, started)
            raise
        except Exception as error:
            refusal = self._refusal(call, error)
            self._close(call, refusal.code, started)
            if placed and (isinstance(error, RateError) or not self._patient(call.account)):
                await asyncio.sleep(_REFUSED_SECONDS)
            return refusal
        self._close(call, grpc.StatusCode.OK, started)
        return reply

    def _call(self) -> Call:
        return Call(
            self.path, secrets.token_hex(8), self._context.draining, patience=Patience(self._context.pace)
        )

    def _holder(self, certificate: Certificate) -> Identity:
        """Who calls; asked before each of several replies, too: a stream may be older than a revocation."""
        return certificate.holder(self._context.clock(), self._context.is_revoked)

    async def write(self, context: Context, reply: bytes, call: Call) -> None:
        """Send a reply; a small one counts more, as the server chose to send it by itself; `GoneError` if the
        caller is gone (gRPC has an internal error for that), `SlowError` if it does not take it in time."""
        call.patience.moved(max(len(reply), _LEAST_WRITTEN))
        call.stuck = True
        try:
            await call.patience.wait(context.write(reply), self.path)
            call.stuck = False
        except (grpc.aio.UsageError, SlowError):
            raise
        except Exception as error:
            raise GoneError(self.path, "the caller is gone") from error

    def _patient(self, account: str) -> bool:
        try:
            self._refusals.take(account, self.path)
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
        self._context.log.failure("failure", error, request_id=call.request_id, method=self.path)
        return replace(refusal, text=f"{refusal.text} (request {call.request_id})")

    def _close(self, call: Call, code: grpc.StatusCode, started: float) -> None:
        """Count and log a call before its end is sent, so that whoever saw the end finds it counted."""
        call.status = code.name
        call.seconds = time.monotonic() - started
        self._context.count(call)
        self._context.log.write(
            "call",
            request_id=call.request_id,
            method=call.method,
            account=call.account,
            status=call.status,
            duration_ms=round(call.seconds * 1000, 3),
            bytes_in=call.bytes_in,
            bytes_out=call.bytes_out,
        )

    async def _read(self, source: AsyncIterator[bytes], call: Call) -> Any:
        """What the method takes: the one message and the end of the stream, or all that come."""
        if self.descriptor.client_streaming:
            return self._stream(source, call)
        request = await self._next(source, call)
        if request is None or await self._next(source, call) is not None:
            raise ProtocolError(self.path, "must be one message", "request")
        return request

    async def _stream(self, source: AsyncIterator[bytes], call: Call) -> AsyncIterator[Message]:
        while (request := await self._next(source, call)) is not None:
            yield request

    async def _next(self, source: AsyncIterator[bytes], call: Call) -> Message | None:
        raw = await call.patience.wait(anext(source, None), self.path)
        if raw is None:
            return None
        call.bytes_in += len(raw)
        call.patience.moved(len(raw))
        try:
            return self._request.FromString(raw)
        except DecodeError as error:
            raise ProtocolError(self.path, f"must be a {self.descriptor.input_type.name}") from error

    def _counted(self, reply: Message, call: Call) -> Message:
        reach(self._failpoint)
        call.bytes_out += reply.ByteSize()
        return reply


def certified(context: Context) -> Certificate:
    """The certificate of whoever calls; `UnauthenticatedError` if it has none that names one party."""
    return certificate_of(context.auth_context())


MOST_AT_WORK: Final = 16
"""Calls of one line that are worked on at a time."""


IDLE_SECONDS: Final = 60.0
"""After as long as this, at most twice, without a call a line is ended."""


class LineEndpoint(Endpoint):
    def __init__(
        self,
        context: ServerContext,
        descriptor: MethodDescriptor,
        line: Line,
        refusals: TokenBuckets,
        endpoints: Mapping[str, Endpoint],
    ) -> None:
        method = Method(lambda asks, call: None, line.callers, line.rate, line.most_seconds)
        super().__init__(context, descriptor, method, refusals)
        self._line = line
        self._calls = {name.lower(): endpoints[name] for name in line.calls}

    async def to_many(self, source: Any, context: Context) -> bytes:

        async def work(source: Any, call: Call) -> bytes:
            with self._line.open.hold(call.account, self.path):
                opened = _Opened(self, context, call, certified(context), self._calls)
                await opened.serve(source, call.draining)
            return b""

        return await self.guarded(source, context, work)

    async def _read(self, source: AsyncIterator[bytes], call: Call) -> Any:
        """As it is: calls come when there are some, and a line without them is ended."""
        return source


class _Opened(Struct):
    endpoint: LineEndpoint
    context: Context
    call: Call
    certificate: Certificate
    calls: Mapping[str, Endpoint]
    _asked: int = 0
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_WORK))
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, source: AsyncIterator[bytes], draining: asyncio.Event) -> None:
        """Until the caller ends the line, it is idle, or the server drains: then what is under way is
        finished; `ProtocolError` if something else than a known call came."""
        reading = asyncio.create_task(self._read(source))
        drained = asyncio.create_task(draining.wait())
        try:
            while await self._is_used(reading, drained):
                continue
            if reading.done():
                reading.result()
            reading.cancel()  # what still comes would keep a server that shuts down at work
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            left = (reading, drained, *self._tasks)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _is_used(self, reading: asyncio.Task[None], drained: asyncio.Task[bool]) -> bool:
        """Wait for a while; False once the line is to end: an idle one would hold a place among all calls."""
        before = self._asked
        ends = (reading, drained)
        done, _ = await asyncio.wait(ends, timeout=IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        return not done and (self._asked > before or bool(self._tasks))

    async def _read(self, source: AsyncIterator[bytes]) -> None:
        async for raw in source:
            name, request = self._parsed(raw)
            await self._room.acquire()
            task = asyncio.create_task(self._answer(self._asked, name, request))
            self._tasks.add(task)
            task.add_done_callback(self._done)
            self._asked += 1

    def _parsed(self, raw: bytes) -> tuple[str, Message]:
        try:
            ask = wire.Ask.FromString(raw)
        except DecodeError as error:
            raise ProtocolError(self.endpoint.path, "must be an Ask") from error
        name = str(ask.WhichOneof("call"))
        if name not in self.calls:
            raise ProtocolError(self.endpoint.path, f"must be one of {', '.join(self.calls)}", "call")
        return name, getattr(ask, name)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()

    async def _answer(self, number: int, name: str, request: Message) -> None:
        async def more(reply: Message) -> None:
            await self._write(number, name, reply)

        try:
            last = await self.calls[name].ask(request, self.certificate, more)
            if isinstance(last, Refusal):
                wait = int(dict(last.trailing).get("retry-after-ms", "0"))
                refused = wire.Refused(status=last.code.name, text=last.text, retry_after_ms=wait)
                await self._write(number, "refused", refused)
            else:
                await self._write(number, "ended" if isinstance(last, wire.Ended) else name, last)
        except (GoneError, SlowError):
            return

    async def _write(self, number: int, name: str, reply: Message) -> None:
        answer = wire.Answer(number=number)
        getattr(answer, name).CopyFrom(reply)
        async with self._writing:
            await self.endpoint.write(self.context, answer.SerializeToString(), self.call)
