"""One method of a service: what happens to every call of every service.

    identity --> place --> may call? --rate--> request --parse--> turn --> method --> serialise --> bytes
                                                                             |
                       any exception --> status (`refusal_of`), one log line and one count for each call

Every method is registered as one that takes a stream: gRPC calls its handler before a message has come, so a
call has a place from its first byte on, of which an account has few. Texts of our own errors name a field and
a rule and are passed on; whatever else was raised becomes ``internal error``, since its text may quote what
it choked on.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
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
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_server.hosting.authority import Identity
from blindmatch_server.hosting.certificates import Certificate, certificate_of
from blindmatch_server.hosting.endpoint import Call, Method, ServerContext
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
    """One method."""

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
            read, seconds = partial(self._read, source, call), self._seconds(context)
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
        """A call of this method on a line (line.py), under the same conditions.

        Args:
            certificate: the caller's, which may have run out since the line was opened.
            more: takes each of several replies.

        Returns:
            The last reply, `Ended` after several, or how it was refused.
        """
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
        started, turns, placed = time.monotonic(), self._method.turns, place is None
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
        """Send a reply; a small one counts more, as the server chose to send it by itself.

        Raises:
            GoneError: if the caller is gone; gRPC has an internal error for that.
            SlowError: if it does not take replies in time.
        """
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
        call.status, call.seconds = code.name, time.monotonic() - started
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
        return None if raw is None else self._parse(raw, call)

    def _parse(self, raw: bytes, call: Call) -> Message:
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
