"""Envelopes, checked; and bodies that one server carries to another: opaque to the carrier, and of nobody to
the role's host.

Whatever the host refuses, and whyever it does not answer, the device is told the same, without a time: by how
it refuses it could tell devices apart. Bodies that come in one time slot, where a design has such, go on
together in an order of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Final

import grpc
import grpc.aio
from blindmatch_protocol.codec.errors import EpochMismatchError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Info, Learner, Party, Role
from blindmatch_protocol.messages.parts import ENVELOPE, MOST_SMALL_BYTES, Joiner, begun, single, split, whole
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_protocol.rpc import blindmatch_v1_pb2_grpc as rpc
from msgspec import Struct

from blindmatch_server.hosting.authority import Credentials, Identity, Kind
from blindmatch_server.hosting.endpoint import channel_to
from blindmatch_server.hosting.limits import TurnQueue
from blindmatch_server.matching.answering import MatchingLimits
from blindmatch_server.matching.epochs import OpenEpoch
from blindmatch_server.storage import errors

EXCHANGE: Final = "matching/exchange"
REQUEST_ID_BYTES: Final = 16


def check_head(
    envelope: wire.Envelope, design: AnyDesign, epoch: OpenEpoch, carried: frozenset[Role] = frozenset()
) -> Role:
    """The role an envelope is for; `carried` are those that this server forwards to. `UnsupportedError` if it
    is of another design or version; `EpochMismatchError` if of another epoch; `NotFoundError` if this server
    neither plays the role nor forwards to it; `ProtocolError` if it has no request id and this server learns,
    or has one and it does not."""
    info = design.info
    if envelope.design != info.name:
        raise errors.UnsupportedError(EXCHANGE, f"must be {info.name}", "design")
    if envelope.version != info.version:
        raise errors.UnsupportedError(EXCHANGE, f"must be {info.version}, not {envelope.version}", "version")
    if envelope.epoch != epoch.epoch:
        raise EpochMismatchError(EXCHANGE, f"must be {epoch.epoch}, not {envelope.epoch}", "epoch")
    role = Role(envelope.role)
    known = epoch.roles.keys() | carried
    if role not in known:
        raise errors.NotFoundError(EXCHANGE, f"must be one of {', '.join(sorted(known))}", "role")
    length = REQUEST_ID_BYTES if Learner.SERVER in info.learns else 0
    if len(envelope.request_id) != length:
        raise ProtocolError(EXCHANGE, f"must be {length} bytes for this design", "request_id")
    return role


def reply_to(head: wire.Envelope) -> wire.Envelope:
    """The reply to an envelope with `head`, without its body."""
    return wire.Envelope(design=head.design, version=head.version, epoch=head.epoch, role=head.role)


def small_reply(head: wire.Envelope, body: bytes) -> wire.Envelope:
    """The whole reply to an envelope with `head`; `PreconditionError` if it is too long for one envelope."""
    if len(body) > MOST_SMALL_BYTES:
        raise errors.PreconditionError(EXCHANGE, "the reply is too long for Exchange: use ExchangeLarge")
    return ENVELOPE.first(reply_to(head), len(body), body)


_SMALL_SECONDS: Final = 60.0
_LARGE_SECONDS: Final = 3600.0
NO_REPLY: Final = "the role that this is carried to did not reply"


def carriers(info: Info) -> frozenset[Identity]:
    return frozenset(map(Identity.of, info.forwarded.values()))


def check_sender(info: Info, role: Role, hosted: bool, sender: Identity | None) -> None:
    """Make sure that a body for `role` comes from whom it must: at its host (`hosted`) from its carrier if it
    is forwarded, else from a device; `ForbiddenError` if it comes from anybody else."""
    carrier = info.forwarded.get(role) if hosted else None
    right = sender is not None and (
        sender.kind is Kind.DEVICE if carrier is None else sender == Identity.of(carrier)
    )
    if not right:
        raise errors.ForbiddenError(EXCHANGE, f"not from a {sender.words if sender else 'stranger'}", "role")


class Carrying(Redacted, Struct, frozen=True):
    """What forwarding needs.

    Attributes:
        find: the address of another party's server, ``host:port``; empty if it is not known to run. Called
            in a thread, when it is first needed and after a call found nobody there.
    """

    SHOWN: ClassVar = ("party", "find")

    party: Party
    find: Callable[[Party], str]
    credentials: Credentials


class Forwarder:
    """Carries bodies to the hosts of roles: to each as many at a time as 3/4 of its calls from a carrier, by
    `limits`, beyond which it refuses; the others wait here. `rng` decides the order of bodies that go on
    together."""

    def __init__(self, info: Info, carrying: Carrying, limits: MatchingLimits, rng: Randomness) -> None:
        self._info = info
        self._carrying = carrying
        self._most = limits.most_body_bytes
        at_once = limits.most_carried_large if info.large_bodies else limits.most_carried
        self._turns = TurnQueue(max(1, at_once * 3 // 4))
        self._rng = rng
        self._waiting = list[asyncio.Future[None]]()
        self._open: dict[Party, grpc.aio.Channel] = {}
        self._closing = set[asyncio.Task[None]]()
        self.roles = frozenset(role for role, party in info.forwarded.items() if party == carrying.party)

    async def close(self) -> None:
        for closing in self._closing:
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        for channel in self._open.values():
            await channel.close()
        self._open.clear()

    async def ask(self, head: wire.Envelope, body: bytes, slot_seconds: float = 0.0) -> bytes:
        """The reply of the role's host to `body`, which waits for the end of its time slot, if there are any,
        under the fields of `head` that it must see; `UnavailableError`, always the same, if the host refused,
        cannot be reached or answers no reply."""
        if slot_seconds:
            await self._slot_ends(slot_seconds)
        host = self._info.roles[Role(head.role)]
        first = reply_to(head)
        first.request_id = head.request_id
        try:
            async with self._turns.take(host):
                channel = await self._channel(host)
                ask = self._large if self._info.large_bodies else self._small
                return await ask(channel, first, body)
        except grpc.aio.AioRpcError as error:
            await self._failed(host, error)
            raise errors.UnavailableError(EXCHANGE, NO_REPLY) from None
        except ProtocolError as error:
            raise errors.UnavailableError(EXCHANGE, NO_REPLY) from error

    async def _slot_ends(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            loop.call_later(seconds - loop.time() % seconds, self._go_on)
        await turn

    def _go_on(self) -> None:
        waiting = self._waiting
        self._waiting = []
        for turn in sorted(waiting, key=lambda _: self._rng.take(8)):
            if not turn.done():
                turn.set_result(None)

    async def _small(self, channel: grpc.aio.Channel, head: wire.Envelope, body: bytes) -> bytes:
        head.body = body
        stub: Any = rpc.MatchingStub(channel)  # type: ignore[no-untyped-call]
        reply = _read(await stub.Exchange(head, timeout=_SMALL_SECONDS))
        if len(told := single(reply, EXCHANGE)) > MOST_SMALL_BYTES:  # else that is refused here, by a status
            raise ProtocolError(EXCHANGE, f"must be at most {MOST_SMALL_BYTES}", "body")
        return told

    async def _large(self, channel: grpc.aio.Channel, head: wire.Envelope, body: bytes) -> bytes:
        stub: Any = rpc.MatchingStub(channel)  # type: ignore[no-untyped-call]
        asked = stub.ExchangeLarge(split(ENVELOPE, head, body), timeout=_LARGE_SECONDS)
        replies = (_read(reply) async for reply in asked)
        _, data = await begun(Joiner(ENVELOPE, self._most, EXCHANGE), replies)
        return await whole(data)

    async def _channel(self, host: Party) -> grpc.aio.Channel:
        if host not in self._open:
            address = await asyncio.to_thread(self._carrying.find, host)
            if not address:
                raise errors.UnavailableError(EXCHANGE, NO_REPLY)
            self._open.setdefault(host, channel_to(host, address, self._carrying.credentials))
        return self._open[host]

    async def _failed(self, host: Party, error: grpc.aio.AioRpcError) -> None:
        """Look for the host anew before the next body, if nobody was there; others that are under way there
        are answered."""
        if error.code() is grpc.StatusCode.UNAVAILABLE and host in self._open:
            closing = asyncio.create_task(self._open.pop(host).close(_LARGE_SECONDS))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def _read(reply: wire.Envelope | None) -> wire.Envelope:
    """What came, which is None where gRPC could not parse it; `ProtocolError` then."""
    if reply is None:
        raise ProtocolError(EXCHANGE, "must be an Envelope")
    return reply
