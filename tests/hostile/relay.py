"""Hostile clients of a relay: what each kind does, attempt by attempt, and what the relay answers.

Attackers have certificates and accounts, except where it says otherwise: accounts are free here.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import grpc.aio
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from hostile.intruder import CALL_S, Intruder, Service, clients, parts, stalled

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
WAITING_MESSAGES: Final = 32
WAITING_BYTES: Final = 512 << 10
"""What waits for an account before its streams are opened and not read: more than a stream's windows hold."""

NOTHING_REMOVED: Final = "nothing removed"


async def _settle(intruder: Intruder) -> None:
    """Register, and have large messages wait."""
    keys = wire.RegisterRequest(
        identity_key=secrets.token_bytes(KEY_BYTES - 1) + b"\x01",
        signed_pre_key=secrets.token_bytes(KEY_BYTES),
        signed_pre_key_signature=secrets.token_bytes(SIGNATURE_BYTES),
    )
    register: Any = intruder.channel.unary_unary("/blindmatch.v1.Relay/Register")
    await register(keys.SerializeToString(), timeout=CALL_S, wait_for_ready=True)
    for _ in range(WAITING_MESSAGES):
        await intruder.call("Relay/Send", _message(intruder.account, WAITING_BYTES))


async def _calls(intruder: Intruder, number: int) -> str:
    return await intruder.call("Relay/Send", _message(intruder.account, 512))


async def _oversize(intruder: Intruder, number: int) -> str:
    match number % 4:
        case 0:
            return await intruder.call("Relay/Send", _message(intruder.account, 800 << 10))
        case 1:
            return await intruder.call("Relay/Send", _message(intruder.account, 3 << 20))
        case 2:
            return await intruder.upload("Relay/Upload", parts(wire.Part(size=121 << 20, data=b"m")))
        case _:
            return await intruder.call("Relay/Acknowledge", _acknowledgement(10_001))


async def _slow(intruder: Intruder, number: int) -> str:
    if number % 2:
        return await intruder.upload("Relay/Upload", stalled(wire.Part(size=1 << 20, data=b"m")))
    return await intruder.unread("Relay/Receive", wire.ReceiveRequest(wait_ms=1000).SerializeToString())


async def _garbage(intruder: Intruder, number: int) -> str:
    if number % 2:
        return await intruder.call("Relay/Send", b"\xff" * 100)
    return await intruder.no_tls()


async def _forged(intruder: Intruder, number: int) -> str:
    if number % 2 == 0:
        return await intruder.as_foreigner("Relay/Send", _message(intruder.account, 512))
    removed = wire.AcknowledgeReply()
    call: Any = intruder.channel.unary_unary("/blindmatch.v1.Relay/Acknowledge")
    try:
        removed.ParseFromString(await call(_acknowledgement(100, WAITING_MESSAGES + 1), timeout=CALL_S))
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return f"{removed.removed} removed" if removed.removed else NOTHING_REMOVED


async def _draining(intruder: Intruder, number: int) -> str:
    victim = intruder.victims[number % len(intruder.victims)]
    return await intruder.call("Relay/FetchBundle", wire.BundleRequest(account=victim).SerializeToString())


RELAY: Final = Service(
    Party.PROVIDER,
    clients(
        {
            "calls": ("a well-formed message to an account of the attacker's own", _calls),
            "oversize": ("a message, an attachment or an acknowledgement above the limits", _oversize),
            "slow": ("a stream that is opened and not read, an upload that does not go on", _slow),
            "garbage": ("bytes that are no message, and bytes that are no TLS", _garbage),
            "forged": ("a certificate of another authority, what waits for others acknowledged", _forged),
            "draining": ("another account's pre-keys", _draining),
        },
    ),
    _settle,
)


def _message(recipient: str, length: int) -> bytes:
    made = wire.SendRequest(recipient=recipient, message_id=secrets.token_bytes(16), sealed=bytes(length))
    return made.SerializeToString()


def _acknowledgement(count: int, first: int = 1) -> bytes:
    return wire.AcknowledgeRequest(sequences=range(first, first + count)).SerializeToString()
