"""Brings a design's bodies to its roles and their replies back: the device's `Exchange`.

    body --> Envelope{design, version, epoch, role, body} --> the role's party
    Info.large_bodies: ExchangeLarge; the first Envelope bears all fields, the following ones `body` alone

Replies are taken only if every field is what was asked for and the body is the canonical encoding of a
message the role has declared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.contract import AnyDesign, Info, Role
from blindmatch_protocol.errors import DesignError, EpochMismatchError, ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_client.egress import Call, Egress
from blindmatch_client.egress.methods import EXCHANGE, EXCHANGE_LARGE
from blindmatch_client.trace import Purpose

PART_BYTES: Final = 512 << 10
"""Bytes of a body, an attachment or a report in one message."""

MOST_SMALL_BYTES: Final = 960 << 10
"""A body up to here fits one Envelope; `Info.large_bodies` is for the others."""

MOST_BODY_BYTES: Final = 256 << 20
"""No body or reply is longer."""

ROUND_DEADLINE_S: Final = 30.0


def _has_head(envelope: pb.Envelope) -> bool:
    """Does it bear more than a body?"""
    names = ("design", "version", "epoch", "role", "body_size", "request_id")
    return any(getattr(envelope, name) for name in names)


def parts_of(data: bytes) -> Iterator[bytes]:
    """`data` in parts of 512 KiB; one empty part if it is empty."""
    for at in range(0, max(1, len(data)), PART_BYTES):
        yield data[at : at + PART_BYTES]


def envelopes(head: pb.Envelope, body: bytes) -> Iterator[pb.Envelope]:
    """`body` as a stream of envelopes, `head` (without sizes and body) being the first one's fields."""
    for number, part in enumerate(parts_of(body)):
        envelope = pb.Envelope(body=part)
        if number == 0:
            envelope.MergeFrom(head)
            envelope.body_size = len(body)
        yield envelope


@dataclass(frozen=True, slots=True)
class MatchingExchange:
    """Exchanges one picture's rounds with the roles of a design; all roles of a round are asked at once.

    Attributes:
        egress: the way out.
        design: whose messages these are.
        epoch: of the set-up in use.
        item: number of the picture.
        deadline_s: for one role's answer.
        request_id: 16 bytes, the same whenever this picture is asked about; for designs whose server learns.
    """

    egress: Egress
    design: AnyDesign
    epoch: int
    item: int
    deadline_s: float = ROUND_DEADLINE_S
    request_id: bytes = b""

    def __call__(self, bodies: Mapping[Role, Message], /) -> Mapping[Role, Message]:
        """The replies of the roles in `bodies`. A retry sends the same bytes again.

        Raises:
            ProtocolError: if a reply is not one to what was asked.
            ServiceError: if a call failed; of several, that of the first role by name.
            DesignError: if a body is large and the design has not declared that.
        """
        encoded = [(role, bodies[role].encode()) for role in sorted(bodies)]
        if len(encoded) == 1:
            return {role: self._ask(role, body) for role, body in encoded}
        with ThreadPoolExecutor(len(encoded), "round") as pool:
            asked = [(role, pool.submit(self._ask, role, body)) for role, body in encoded]
            return {role: answer.result() for role, answer in asked}

    def _ask(self, role: Role, body: bytes) -> Message:
        head = self._head(role)
        ask = self._ask_large if self._info.large_bodies else self._ask_small
        return decode_any(self.design.replies[role], ask(role, head, body), self._step(role))

    @property
    def _info(self) -> Info:
        return self.design.info

    def _head(self, role: Role) -> pb.Envelope:
        info = self._info
        return pb.Envelope(
            design=info.name, version=info.version, epoch=self.epoch, role=role, request_id=self.request_id
        )

    def _ask_small(self, role: Role, head: pb.Envelope, body: bytes) -> bytes:
        if len(body) > MOST_SMALL_BYTES:
            raise DesignError(f"design {self._info.name}: a body of {len(body)} bytes needs large_bodies")
        call = Call(self._info.asked(role), EXCHANGE, Purpose.MATCHING, self.item, True, self.deadline_s)
        head.body = body
        reply = self.egress.unary(call, head)
        self._check_head(head, reply)
        if reply.body_size not in (0, len(reply.body)):
            raise self._broken(role, "must be the length of the body", "body_size")
        return reply.body

    def _ask_large(self, role: Role, head: pb.Envelope, body: bytes) -> bytes:
        call = Call(
            self._info.asked(role), EXCHANGE_LARGE, Purpose.MATCHING, self.item, True, self.deadline_s
        )
        return self.egress.converse(call, lambda: envelopes(head, body), self._joiner(head))

    def _joiner(self, head: pb.Envelope) -> Callable[[Iterator[pb.Envelope]], bytes]:
        return lambda replies: self._join(head, replies)

    def _join(self, head: pb.Envelope, replies: Iterator[pb.Envelope]) -> bytes:
        """The body that a stream of envelopes bears, of exactly the announced size."""
        role = Role(head.role)
        first = next(replies, None)
        if first is None:
            raise self._broken(role, "no reply")
        self._check_head(head, first)
        if first.body_size > MOST_BODY_BYTES:
            raise self._broken(role, f"must be at most {MOST_BODY_BYTES}", "body_size")
        body = bytearray(first.body)
        for reply in replies:
            if _has_head(reply):
                raise self._broken(role, "only the first part bears more than a body")
            body += reply.body
            if len(body) > first.body_size:
                break
        if len(body) != first.body_size:
            raise self._broken(role, "must be the length of the body", "body_size")
        return bytes(body)

    def _check_head(self, asked: pb.Envelope, reply: pb.Envelope) -> None:
        role = Role(asked.role)
        if reply.epoch != asked.epoch:
            raise EpochMismatchError(self._step(role), f"must be {asked.epoch}, not {reply.epoch}", "epoch")
        for field in ("design", "version", "role"):
            if getattr(reply, field) != getattr(asked, field):
                raise self._broken(role, "must be what was asked for", field)
        if reply.request_id:
            raise self._broken(role, "must be empty in a reply", "request_id")

    def _broken(self, role: Role, rule: str, field: str | None = None) -> ProtocolError:
        return ProtocolError(self._step(role), rule, field)

    def _step(self, role: Role) -> str:
        return f"{self._info.name}/reply of {role}"
