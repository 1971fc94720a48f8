"""Envelopes: what every exchange says of itself, checked, and large bodies in parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

from blindmatch_protocol.contract import AnyDesign, Learner, Role
from blindmatch_protocol.errors import EpochMismatchError, ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from blindmatch_server import parts
from blindmatch_server.errors import NotFoundError, PreconditionError, UnsupportedError
from blindmatch_server.matching.epochs import OpenEpoch

STEP: Final = "matching/exchange"
MOST_SMALL_BYTES: Final = 960 << 10
"""A body up to here fits one Envelope."""
REQUEST_ID_BYTES: Final = 16
_HEAD: Final = ("design", "version", "epoch", "role", "body_size", "request_id")


def check_head(
    envelope: wire.Envelope, design: AnyDesign, epoch: OpenEpoch, carried: frozenset[Role] = frozenset()
) -> Role:
    """The role an envelope is for; `carried` are those that this server forwards to.

    Raises:
        UnsupportedError: if it is of another design or version.
        EpochMismatchError: if it is of another epoch.
        NotFoundError: if this server neither plays the role nor forwards to it.
        ProtocolError: if it has no request id and this server learns, or has one and it does not.
    """
    info = design.info
    if envelope.design != info.name:
        raise UnsupportedError(STEP, f"must be {info.name}", "design")
    if envelope.version != info.version:
        raise UnsupportedError(STEP, f"must be {info.version}, not {envelope.version}", "version")
    if envelope.epoch != epoch.epoch:
        raise EpochMismatchError(STEP, f"must be {epoch.epoch}, not {envelope.epoch}", "epoch")
    role = Role(envelope.role)
    known = epoch.roles.keys() | carried
    if role not in known:
        raise NotFoundError(STEP, f"must be one of {', '.join(sorted(known))}", "role")
    length = REQUEST_ID_BYTES if Learner.SERVER in info.learns else 0
    if len(envelope.request_id) != length:
        raise ProtocolError(STEP, f"must be {length} bytes for this design", "request_id")
    return role


def small_body(envelope: wire.Envelope) -> bytes:
    """The body of an envelope that is not one of several.

    Raises:
        ProtocolError: if it says another size than it has.
    """
    if envelope.body_size not in (0, len(envelope.body)):
        raise ProtocolError(STEP, "must be the length of the body", "body_size")
    return envelope.body


async def large_body(
    first: wire.Envelope, rest: AsyncIterator[wire.Envelope], most: int, step: str = STEP
) -> bytes:
    """The body that a stream of envelopes bears.

    Raises:
        ProtocolError: if the size is 0 or over `most`, a later envelope bears more than a body, or bytes are
            missing or left over.
    """
    joiner = parts.Joiner(first.body_size, most, step)
    body = bytearray(joiner.take(first.body))
    async for envelope in rest:
        if any(getattr(envelope, name) for name in _HEAD):
            raise ProtocolError(step, "only the first envelope bears more than a body")
        body += joiner.take(envelope.body)
    joiner.finish()
    return bytes(body)


def small(head: wire.Envelope, body: bytes) -> wire.Envelope:
    """The reply to an envelope with `head`.

    Raises:
        PreconditionError: if it is too long for one envelope.
    """
    if len(body) > MOST_SMALL_BYTES:
        raise PreconditionError(STEP, "the reply is too long for Exchange: use ExchangeLarge")
    return wire.Envelope(
        design=head.design,
        version=head.version,
        epoch=head.epoch,
        role=head.role,
        body_size=len(body),
        body=body,
    )


def large(head: wire.Envelope, body: bytes) -> Iterator[wire.Envelope]:
    """The reply to a stream whose first envelope had `head`."""
    first = small(head, body[: parts.PART_BYTES])
    first.body_size = len(body)
    yield first
    for at in range(parts.PART_BYTES, len(body), parts.PART_BYTES):
        yield wire.Envelope(body=body[at : at + parts.PART_BYTES])
