"""A hostile client: an account's channel to one server, and attempts that begin again when they end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from blindmatch_protocol.contract import Party
from blindmatch_server.hosting.authority import Credentials
from blindmatch_simulations.evaluation.attacks.adversary import Adversary, Claim, Means
from google.protobuf.message import Message
from msgspec import Struct

HELD_S: Final = 1.0
"""How long one slow call is held before it is dropped and made again."""
CALL_S: Final = 20.0
FOREIGN_S: Final = 2.0
"""How long a client of another authority tries to connect."""

DROPPED: Final = "connection dropped"
HELD: Final = "held"
LOST: Final = "status lost"
"""The library sent on a call that had ended, which is an error of its own, and forgot how the call ended."""
_LOST_DETAILS: Final = "Internal error from Core"


class Intruder(Struct, frozen=True):
    """An attacker's account.

    Attributes:
        account: its name.
        party: whose server it is.
        address: of the server, HOST:PORT.
        channel: with the account's certificate.
        foreign: a certificate for somebody else's name by an authority of the attacker's own.
        victims: other accounts.
        request: a request that the server would answer, where one is needed.
    """

    account: str
    party: Party
    address: str
    channel: grpc.aio.Channel
    foreign: Credentials
    victims: Sequence[str] = ()
    request: bytes = b""

    async def call(self, method: str, body: bytes) -> str:
        """One request, one reply, of ``Service/Method``; the status."""
        to_call: Any = self.channel.unary_unary(f"/blindmatch.v1.{method}")
        return await status(to_call(body, timeout=CALL_S))

    async def upload(self, method: str, parts: AsyncIterator[bytes], streamed: bool = False) -> str:
        """Many requests, one reply or a stream of them, of which the first is read; the status."""
        path = f"/blindmatch.v1.{method}"
        if not streamed:
            to_call: Any = self.channel.stream_unary(path)
            return await status(to_call(parts, timeout=CALL_S))
        to_stream: Any = self.channel.stream_stream(path)
        return await first_of(to_stream(parts, timeout=CALL_S))

    async def unread(self, method: str, body: bytes) -> str:
        """A stream that is opened, and not read beyond its first message while it is held."""
        to_open: Any = self.channel.unary_stream(f"/blindmatch.v1.{method}")
        return await first_of(to_open(body, timeout=CALL_S), HELD_S)

    async def no_tls(self) -> str:
        """A connection on which something else than TLS is spoken."""
        try:
            host, _, port = self.address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET / HTTP/1.1\r\n\r\n" * 100)
            with suppress(TimeoutError):
                async with asyncio.timeout(CALL_S):
                    await reader.read()
            writer.close()
        except OSError:
            pass
        return DROPPED

    async def as_foreigner(self, method: str, body: bytes) -> str:
        """One request on a connection of its own, with the certificate of another authority."""
        async with channel_of(self.foreign, self.party, self.address) as opened:
            to_call: Any = opened.unary_unary(f"/blindmatch.v1.{method}")
            return await status(to_call(body, timeout=FOREIGN_S))


Attempt: TypeAlias = Callable[[Intruder, int], Awaitable[str]]
"""One attempt, with a number that differs among all of the intruder's; the status or another word."""

HostileClient: TypeAlias = Adversary[Attempt, None]
"""An adversary whose move is one attempt. What it does to others is measured: no weakness is planted."""


def clients(moves: Mapping[str, tuple[str, Attempt]]) -> dict[str, HostileClient]:
    """The hostile clients of a server, by kind; of each what one attempt is, in words and as code."""
    return {
        kind: Adversary(
            name=kind,
            means=Means(frozenset({Party.DEVICE}), has=has),
            claim=Claim("The target is at most 2", "docs/explanation/messenger.md"),
            budget="four accounts with 16 attempts at once each, see make flood",
            move=attempt,
            weakness=None,
        )
        for kind, (has, attempt) in moves.items()
    }


class Service(Struct, frozen=True):
    """A server that is attacked.

    Attributes:
        party: whose.
        kinds: hostile clients by kind.
        settle: what an account does first.
    """

    party: Party
    kinds: Mapping[str, HostileClient]
    settle: Callable[[Intruder], Awaitable[None]]


async def attack(
    outcomes: Counter[str],
    attempt: Attempt,
    intruders: Sequence[Intruder],
    at_once: int,
    stop: asyncio.Event,
) -> None:
    """Attack with `at_once` attempts of each intruder, each of which begins again when it has ended, until
    `stop` is set; `outcomes` counts how they end."""

    async def repeat(intruder: Intruder, number: int) -> None:
        while not stop.is_set():
            outcomes[await attempt(intruder, number)] += 1
            number += at_once

    await asyncio.gather(*(repeat(one, number) for one in intruders for number in range(at_once)))


@asynccontextmanager
async def intruding(
    service: Service,
    accounts: Mapping[str, Credentials],
    address: str,
    foreign: Credentials,
    victims: Sequence[str] = (),
    request: bytes = b"",
) -> AsyncIterator[list[Intruder]]:
    """Intruders whose accounts have settled, until the block ends; `AioRpcError` if the server does not let
    one settle."""
    party = service.party
    intruders = [
        Intruder(name, party, address, channel_of(held, party, address), foreign, victims, request)
        for name, held in accounts.items()
    ]
    try:
        for intruder in intruders:
            await service.settle(intruder)
        yield intruders
    finally:
        for intruder in intruders:
            await intruder.channel.close()


def channel_of(held: Credentials, party: Party, address: str) -> grpc.aio.Channel:
    """A channel with this certificate, on a connection of its own."""
    credentials = grpc.ssl_channel_credentials(held.root, held.key, held.certificate)
    options = [
        ("grpc.ssl_target_name_override", party.dns_name),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", 4 << 20),
        # a stream that is not read takes no more than this; else the library fetches ahead what waits
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 64 << 10),
    ]
    return grpc.aio.secure_channel(address, credentials, options)


async def status(call: Awaitable[bytes]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return _status(error)
    return grpc.StatusCode.OK.name


async def first_of(stream: Any, held_s: float = 0.0) -> str:
    """Read the first message of a stream, hold it so long, drop it."""
    try:
        first = await stream.read()
        await asyncio.sleep(held_s)
        return HELD if first is not grpc.aio.EOF else str((await stream.code()).name)
    except grpc.aio.AioRpcError as error:
        return _status(error)
    finally:
        stream.cancel()


async def parts(*messages: Message) -> AsyncIterator[bytes]:
    for message in messages:
        yield message.SerializeToString()


async def stalled(message: Message) -> AsyncIterator[bytes]:
    """A stream of requests that does not go on after the first."""
    yield message.SerializeToString()
    await asyncio.sleep(HELD_S)


def _status(error: grpc.aio.AioRpcError) -> str:
    lost = error.code() is grpc.StatusCode.INTERNAL and (error.details() or "").startswith(_LOST_DETAILS)
    return LOST if lost else error.code().name
