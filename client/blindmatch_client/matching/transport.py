"""Brings a design's bodies to its roles and their replies back: the device's `Exchange`.

    body --> Envelope{design, version, epoch, role, body} --> the role's party
    Info.large_bodies: ExchangeLarge; the first Envelope bears all fields, the following ones `body` alone

Replies are taken only if every field is what was asked for and the body is the canonical encoding of a
message the role has declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeAlias

from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import DesignError, EpochMismatchError, ProtocolError, UnopenedError
from blindmatch_protocol.contract import AnyDesign, Role
from blindmatch_protocol.messages.parts import (
    ENVELOPE,
    MOST_BODY_BYTES,
    MOST_SMALL_BYTES,
    Joiner,
    joined,
    single,
    split,
)
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct

from blindmatch_client.egress import Call, Egress
from blindmatch_client.egress.methods import EXCHANGE, EXCHANGE_LARGE
from blindmatch_client.errors import MisbehavedError, ServiceError
from blindmatch_client.settings.config import ROUND_DEADLINE_S
from blindmatch_client.trace import Purpose

IN_PROCESSES: Final = 10
"""Times that deadline for a role that answers in worker processes: what it computes takes seconds alone."""
EnvelopeCall: TypeAlias = Call[pb.Envelope, pb.Envelope]


class MatchingExchange(Struct, frozen=True):
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
            ProtocolError: if a reply is not one to what was asked; `UnopenedError` if it was carried.
            ServiceError: if a call failed, and no quorum is left; of several, that of the first role by name.
                One of a role that misbehaved, whatever is left.
            DesignError: if a body is large and the design has not declared that.
        """
        encoded = [(role, bodies[role].encode()) for role in sorted(bodies)]
        if len(encoded) == 1:
            return {role: self._ask(role, body) for role, body in encoded}
        with ThreadPoolExecutor(len(encoded), "round") as pool:
            asked = {role: pool.submit(self._ask, role, body) for role, body in encoded}
        failed = {role: one.exception() for role, one in asked.items()}
        silent = {role for role, why in failed.items() if _is_silent(why)}
        enough = 0 < self.design.info.quorum <= len(asked) - len(silent)
        return {role: one.result() for role, one in asked.items() if not (enough and role in silent)}

    def _ask(self, role: Role, body: bytes) -> Message:
        info = self.design.info
        step = f"{info.name}/reply of {role}"
        method = EXCHANGE_LARGE if info.large_bodies else EXCHANGE
        deadline_s = self.deadline_s * (IN_PROCESSES if role in info.in_processes else 1)
        call = Call(info.asked(role), method, Purpose.MATCHING, self.item, True, deadline_s)
        head = pb.Envelope(
            design=info.name, version=info.version, epoch=self.epoch, role=role, request_id=self.request_id
        )
        ask = self._ask_large if info.large_bodies else self._ask_small
        try:
            return decode_any(self.design.replies[role], ask(call, head, body, step), step)
        except ProtocolError as error:
            if role in info.forwarded:
                raise UnopenedError(step, error.rule, error.field) from error
            raise

    def _ask_small(self, call: EnvelopeCall, head: pb.Envelope, body: bytes, step: str) -> bytes:
        if len(body) > MOST_SMALL_BYTES:
            raise DesignError(f"design {head.design}: a body of {len(body)} bytes needs large_bodies")
        head.body = body
        reply = self.egress.unary(call, head)
        _check_head(head, step, reply)
        return single(reply, step)

    def _ask_large(self, call: EnvelopeCall, head: pb.Envelope, body: bytes, step: str) -> bytes:
        def join(replies: Iterator[pb.Envelope]) -> bytes:
            joiner = Joiner(ENVELOPE, MOST_BODY_BYTES, step, check=partial(_check_head, head, step))
            return b"".join(joined(joiner, replies))

        return self.egress.converse(call, lambda: split(ENVELOPE, head, body), join)


def _check_head(asked: pb.Envelope, step: str, reply: pb.Envelope) -> None:
    """Raise `ProtocolError` unless `reply` is one to what was `asked`, but for its body."""
    if reply.epoch != asked.epoch:
        raise EpochMismatchError(step, f"must be {asked.epoch}, not {reply.epoch}", "epoch")
    for field in ("design", "version", "role"):
        if getattr(reply, field) != getattr(asked, field):
            raise ProtocolError(step, "must be what was asked for", field)
    if reply.request_id:
        raise ProtocolError(step, "must be empty in a reply", "request_id")


def _is_silent(why: BaseException | None) -> bool:
    """Did a role not answer, as far as can be told honestly?"""
    return isinstance(why, ServiceError | UnopenedError) and not isinstance(why, MisbehavedError)
