"""Hostile clients of a relay: what each kind does, attempt by attempt, and what the relay answers.

    kind      what one attempt is
    calls     a well-formed message to an account of the attacker's own
    oversize  a message, an attachment or an acknowledgement above the limits
    slow      a stream of what waits that is opened and not read, an upload that does not go on
    garbage   bytes that are no message in a call, and bytes that are no TLS on a connection
    forged    a certificate of another authority, an acknowledgement of what waits for others
    draining  another account's pre-keys

Attackers have certificates and accounts, except where it says otherwise: accounts are free here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.authority import Credentials, Kind, server_name
from google.protobuf.message import Message

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
WAITING_MESSAGES: Final = 32
WAITING_BYTES: Final = 512 << 10
"""What waits for an account before its streams are opened and not read: more than a stream's windows hold."""
HELD_S: Final = 1.0
"""How long one slow call is held before it is dropped and made again."""
CALL_S: Final = 20.0
FOREIGN_S: Final = 2.0
"""How long a client of another authority tries to connect."""

DROPPED: Final = "connection dropped"
HELD: Final = "held"
NOTHING_REMOVED: Final = "nothing removed"


@dataclass(frozen=True, slots=True)
class Intruder:
    """An attacker's account.

    Attributes:
        account: its name.
        address: of the relay, HOST:PORT.
        channel: with the account's certificate.
        foreign: a certificate for a victim's name by an authority of the attacker's own.
        victims: other accounts.
    """

    account: str
    address: str
    channel: grpc.aio.Channel
    foreign: Credentials
    victims: Sequence[str]

    async def call(self, method: str, body: bytes) -> str:
        """One request, one reply; the status."""
        to_call: Any = self.channel.unary_unary(f"/blindmatch.v1.Relay/{method}")
        return await _status(to_call(body, timeout=CALL_S))

    async def upload(self, parts: AsyncIterator[bytes]) -> str:
        """Many requests, one reply; the status."""
        to_call: Any = self.channel.stream_unary("/blindmatch.v1.Relay/Upload")
        return await _status(to_call(parts, timeout=CALL_S))


Attempt: TypeAlias = Callable[[Intruder, int], Awaitable[str]]
"""One attempt, with a number that differs among all of the intruder's; the status or another word."""


@dataclass(slots=True)
class Attack:
    """Attempts under way, each of which begins again when it has ended.

    Attributes:
        outcomes: how often attempts ended in which way.
    """

    outcomes: Counter[str] = field(default_factory=Counter)

    async def run(self, kind: str, intruders: Sequence[Intruder], at_once: int, stop: asyncio.Event) -> None:
        """Attack with `at_once` attempts of each intruder, until `stop` is set and the last have ended."""

        async def repeat(intruder: Intruder, number: int) -> None:
            while not stop.is_set():
                self.outcomes[await KINDS[kind](intruder, number)] += 1
                number += at_once

        await asyncio.gather(*(repeat(one, number) for one in intruders for number in range(at_once)))


@asynccontextmanager
async def intruding(
    accounts: Mapping[str, Credentials], address: str, foreign: Credentials, victims: Sequence[str]
) -> AsyncIterator[list[Intruder]]:
    """Intruders with registered accounts, for whom large messages wait, until the block ends.

    Raises:
        grpc.aio.AioRpcError: if the relay does not register one.
    """
    intruders = [
        Intruder(name, address, _channel(held, address), foreign, victims) for name, held in accounts.items()
    ]
    try:
        for intruder in intruders:
            await _settle(intruder)
        yield intruders
    finally:
        for intruder in intruders:
            await intruder.channel.close()


async def _settle(intruder: Intruder) -> None:
    keys = wire.RegisterRequest(
        identity_key=secrets.token_bytes(KEY_BYTES),
        signed_pre_key=secrets.token_bytes(KEY_BYTES),
        signed_pre_key_signature=secrets.token_bytes(SIGNATURE_BYTES),
    )
    register: Any = intruder.channel.unary_unary("/blindmatch.v1.Relay/Register")
    await register(keys.SerializeToString(), timeout=CALL_S, wait_for_ready=True)
    for _ in range(WAITING_MESSAGES):
        await intruder.call("Send", _message(intruder.account, WAITING_BYTES))


async def _calls(intruder: Intruder, number: int) -> str:
    return await intruder.call("Send", _message(intruder.account, 512))


async def _oversize(intruder: Intruder, number: int) -> str:
    match number % 4:
        case 0:
            return await intruder.call("Send", _message(intruder.account, 800 << 10))
        case 1:
            return await intruder.call("Send", _message(intruder.account, 3 << 20))
        case 2:
            return await intruder.upload(_parts(wire.Part(size=121 << 20, data=b"m")))
        case _:
            return await intruder.call("Acknowledge", _acknowledgement(10_001))


async def _slow(intruder: Intruder, number: int) -> str:
    if number % 2:
        return await intruder.upload(_stalled(wire.Part(size=1 << 20, data=b"m")))
    open_stream: Any = intruder.channel.unary_stream("/blindmatch.v1.Relay/Receive")
    stream = open_stream(wire.ReceiveRequest(wait_ms=1000).SerializeToString(), timeout=CALL_S)
    try:
        first = await stream.read()
        await asyncio.sleep(HELD_S)
        return HELD if first is not grpc.aio.EOF else (await stream.code()).name
    except grpc.aio.AioRpcError as error:
        return error.code().name
    finally:
        stream.cancel()


async def _garbage(intruder: Intruder, number: int) -> str:
    if number % 2:
        return await intruder.call("Send", b"\xff" * 100)
    try:
        host, _, port = intruder.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 100)
        with suppress(TimeoutError):
            async with asyncio.timeout(CALL_S):
                await reader.read()
        writer.close()
    except OSError:
        pass
    return DROPPED


async def _forged(intruder: Intruder, number: int) -> str:
    if number % 2:
        removed = wire.AcknowledgeReply()
        call: Any = intruder.channel.unary_unary("/blindmatch.v1.Relay/Acknowledge")
        try:
            removed.ParseFromString(await call(_acknowledgement(100, WAITING_MESSAGES + 1), timeout=CALL_S))
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return f"{removed.removed} removed" if removed.removed else NOTHING_REMOVED
    async with _channel(intruder.foreign, intruder.address) as opened:
        send: Any = opened.unary_unary("/blindmatch.v1.Relay/Send")
        return await _status(send(_message(intruder.account, 512), timeout=FOREIGN_S))


async def _draining(intruder: Intruder, number: int) -> str:
    victim = intruder.victims[number % len(intruder.victims)]
    return await intruder.call("FetchBundle", wire.BundleRequest(account=victim).SerializeToString())


KINDS: Final[Mapping[str, Attempt]] = {
    "calls": _calls,
    "oversize": _oversize,
    "slow": _slow,
    "garbage": _garbage,
    "forged": _forged,
    "draining": _draining,
}
"""Attempts by the kind of hostile client."""


def _channel(held: Credentials, address: str) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(held.root, held.key, held.certificate)
    options = [
        ("grpc.ssl_target_name_override", server_name(Kind.RELAY)),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", 4 << 20),
        # a stream that is not read takes no more than this; else the library fetches ahead what waits
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 64 << 10),
    ]
    return grpc.aio.secure_channel(address, credentials, options)


async def _status(call: Awaitable[bytes]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return grpc.StatusCode.OK.name


def _message(recipient: str, length: int) -> bytes:
    made = wire.SendRequest(recipient=recipient, message_id=secrets.token_bytes(16), sealed=bytes(length))
    return made.SerializeToString()


def _acknowledgement(count: int, first: int = 1) -> bytes:
    return wire.AcknowledgeRequest(sequences=range(first, first + count)).SerializeToString()


async def _parts(*parts: Message) -> AsyncIterator[bytes]:
    for part in parts:
        yield part.SerializeToString()


async def _stalled(part: Message) -> AsyncIterator[bytes]:
    yield part.SerializeToString()
    await asyncio.sleep(HELD_S)
