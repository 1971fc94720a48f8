"""Hostile clients of a matcher: what each kind does, attempt by attempt.

Attackers have certificates, except where it says otherwise, and know the design and its epoch.
"""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from hostile.intruder import Intruder, Service, clients, parts, stalled

_SET_UP: Final = "set.bin"


async def _settle(intruder: Intruder) -> None:
    """A matcher knows no accounts: connect."""
    await intruder.channel.channel_ready()


async def _calls(intruder: Intruder, number: int) -> str:
    return await intruder.call("Matching/Exchange", intruder.request)


async def _oversize(intruder: Intruder, number: int) -> str:
    match number % 4:
        case 0:
            return await intruder.call("Matching/Exchange", _changed(intruder, body=bytes(900 << 10)))
        case 1:
            return await intruder.call("Matching/Exchange", _changed(intruder, body=bytes(3 << 20)))
        case 2:
            announced = _envelope(intruder, body_size=200 << 20)
            return await intruder.upload("Matching/ExchangeLarge", parts(announced), streamed=True)
        case _:
            return await intruder.unread("Matching/FetchSetup", _file(intruder, 1 << 40))


async def _slow(intruder: Intruder, number: int) -> str:
    if number % 2:
        announced = _envelope(intruder, body_size=1 << 20)
        return await intruder.upload("Matching/ExchangeLarge", stalled(announced), streamed=True)
    return await intruder.unread("Matching/FetchSetup", _file(intruder, 0))


async def _garbage(intruder: Intruder, number: int) -> str:
    match number % 4:
        case 0 | 2:
            return await intruder.no_tls()
        case 1:
            return await intruder.call("Matching/Exchange", b"\xff" * 100)
        case _:
            body = wire.Envelope.FromString(intruder.request).body
            no_element = body[:-32] + b"\xff" * 32
            return await intruder.call("Matching/Exchange", _changed(intruder, body=no_element))


async def _forged(intruder: Intruder, number: int) -> str:
    if number % 2:
        return await intruder.call("Matching/Exchange", _changed(intruder, epoch=1 << 40))
    return await intruder.as_foreigner("Matching/Exchange", intruder.request)


MATCHER: Final = Service(
    Party.MATCHER,
    clients(
        {
            "calls": ("a well-formed request: a multiplication an element and a proof", _calls),
            "oversize": (
                "a body or its announcement above the limits, a file from beyond its end",
                _oversize,
            ),
            "slow": ("a set-up file that is asked for and not read, a body that does not go on", _slow),
            "garbage": ("no envelope, elements of which the last is none, no TLS", _garbage),
            "forged": ("a certificate of another authority, an epoch that is not there", _forged),
        },
    ),
    _settle,
)


def _envelope(intruder: Intruder, **changes: int | bytes) -> wire.Envelope:
    made = wire.Envelope.FromString(intruder.request)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def _changed(intruder: Intruder, **changes: int | bytes) -> bytes:
    return _envelope(intruder, **changes).SerializeToString()


def _file(intruder: Intruder, offset: int) -> bytes:
    epoch = wire.Envelope.FromString(intruder.request).epoch
    return wire.SetupRequest(epoch=epoch, name=_SET_UP, offset=offset).SerializeToString()
