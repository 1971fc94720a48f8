"""A line: calls of several methods on one stream (docs/wire.md, "Lines").

A call on a line is admitted, counted, logged and refused as if it were one, except that its end is an
`Answer`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from msgspec import Struct, field

from blindmatch_server.hosting.calls import Context, Endpoint, Refusal, certified
from blindmatch_server.hosting.certificates import Certificate
from blindmatch_server.hosting.endpoint import Call, Line, Method, ServerContext
from blindmatch_server.hosting.limits import TokenBuckets
from blindmatch_server.storage.errors import GoneError, SlowError

MOST_AT_WORK: Final = 16
"""Calls of one line that are worked on at a time."""


IDLE_SECONDS: Final = 60.0
"""After as long as this, at most twice, without a call a line is ended."""


class LineEndpoint(Endpoint):
    """The method that opens lines."""

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
                await self._write(number, "refused", _refused(last))
            else:
                await self._write(number, "ended" if isinstance(last, wire.Ended) else name, last)
        except (GoneError, SlowError):
            return

    async def _write(self, number: int, name: str, reply: Message) -> None:
        answer = wire.Answer(number=number)
        getattr(answer, name).CopyFrom(reply)
        async with self._writing:
            await self.endpoint.write(self.context, answer.SerializeToString(), self.call)


def _refused(refusal: Refusal) -> wire.Refused:
    wait = dict(refusal.trailing).get("retry-after-ms", "0")
    return wire.Refused(status=refusal.code.name, text=refusal.text, retry_after_ms=int(wait))
