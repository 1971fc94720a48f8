"""The reply in an answer: envelopes as docs/wire.md has them, and one declared message inside."""

from __future__ import annotations

from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.contract import AnyDesign, Role
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from blindmatch_simulations.conformance.remote.counterpart import Heard
from blindmatch_simulations.inprocess.verdict import BrokenError


def reply_in(design: AnyDesign, role: Role, epoch: int, heard: Heard) -> Message:
    """The message that `role` answers with.

    Raises:
        BrokenError: if an envelope has a field too many, or one that is not what was asked for, or the body
            is not the canonical encoding of a declared reply.
    """
    step = f"reply of {role}"
    body = _body(design, role, epoch, [_envelope(step, raw) for raw in heard.parts])
    try:
        reply = decode_any(design.replies[role], body, design.info.name)
    except ProtocolError as error:
        raise BrokenError(step, str(error), reply=body[:4096]) from error
    if reply.encode() != body:
        raise BrokenError(step, "is not the canonical encoding of its message", reply=body[:4096])
    return reply


def _envelope(step: str, raw: bytes) -> pb.Envelope:
    try:
        envelope = pb.Envelope.FromString(raw)
    except DecodeError as error:
        raise BrokenError(step, "is no Envelope", reply=raw[:4096]) from error
    unknown = UnknownFieldSet(envelope)
    if len(unknown):
        number = unknown[0].field_number
        raise BrokenError(step, f"field {number}: there is no such field in an Envelope", reply=raw[:4096])
    return envelope


def _body(design: AnyDesign, role: Role, epoch: int, parts: list[pb.Envelope]) -> bytes:
    step, info = f"reply of {role}", design.info
    if not parts:
        raise BrokenError(step, "is empty: there must be one envelope or more")
    wanted = {"design": info.name, "version": info.version, "epoch": epoch, "role": str(role)}
    for field, value in wanted.items():
        if getattr(parts[0], field) != value:
            raise BrokenError(step, f"field {field}: must be what was asked for, {value!r}")
    if parts[0].request_id:
        raise BrokenError(step, "field request_id: must be empty in a reply")
    for part in parts[1:]:
        if any(getattr(part, name) for name in (*wanted, "body_size", "request_id")):
            raise BrokenError(step, "only the first envelope bears more than a body")
    body = b"".join(part.body for part in parts)
    if parts[0].body_size not in ((len(body),) if info.large_bodies else (0, len(body))):
        raise BrokenError(step, "field body_size: must be the length of the body")
    return body
