"""Envelopes: what every exchange says of itself, checked, and the envelopes of replies."""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.codec.errors import EpochMismatchError, ProtocolError
from blindmatch_protocol.contract import AnyDesign, Learner, Role
from blindmatch_protocol.messages.parts import ENVELOPE, MOST_SMALL_BYTES
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from blindmatch_server.matching.epochs import OpenEpoch
from blindmatch_server.storage.errors import NotFoundError, PreconditionError, UnsupportedError

EXCHANGE: Final = "matching/exchange"
REQUEST_ID_BYTES: Final = 16


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
        raise UnsupportedError(EXCHANGE, f"must be {info.name}", "design")
    if envelope.version != info.version:
        raise UnsupportedError(EXCHANGE, f"must be {info.version}, not {envelope.version}", "version")
    if envelope.epoch != epoch.epoch:
        raise EpochMismatchError(EXCHANGE, f"must be {epoch.epoch}, not {envelope.epoch}", "epoch")
    role = Role(envelope.role)
    known = epoch.roles.keys() | carried
    if role not in known:
        raise NotFoundError(EXCHANGE, f"must be one of {', '.join(sorted(known))}", "role")
    length = REQUEST_ID_BYTES if Learner.SERVER in info.learns else 0
    if len(envelope.request_id) != length:
        raise ProtocolError(EXCHANGE, f"must be {length} bytes for this design", "request_id")
    return role


def reply_to(head: wire.Envelope) -> wire.Envelope:
    """The reply to an envelope with `head`, without its body."""
    return wire.Envelope(design=head.design, version=head.version, epoch=head.epoch, role=head.role)


def small_reply(head: wire.Envelope, body: bytes) -> wire.Envelope:
    """The whole reply to an envelope with `head`.

    Raises:
        PreconditionError: if it is too long for one envelope.
    """
    if len(body) > MOST_SMALL_BYTES:
        raise PreconditionError(EXCHANGE, "the reply is too long for Exchange: use ExchangeLarge")
    return ENVELOPE.first(reply_to(head), len(body), body)
