"""A batch of bodies of one role, from bytes to bytes: the same on a thread and in a worker process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Answer, AnyDesign, Request, Role, Verdict
from blindmatch_protocol.contract.executor import Executor
from msgspec import Struct

from blindmatch_server.matching.enrolments import NotEnrolledError, decoded


class Body(Redacted, Struct, frozen=True):
    """What a device sent, and the file that its account's enrolment lies in, if the role takes any."""

    data: bytes
    enrolment: Path | None = None


class Answered(Redacted, Struct, frozen=True):
    """The reply's encoding, and what the server learnt, if it learns."""

    reply: bytes
    verdict: Verdict | None


Reply: TypeAlias = Answered | ProtocolError | NotEnrolledError


class OpenRole(Redacted, Struct, frozen=True):
    """A role with its opened state."""

    design: AnyDesign
    role: Role
    state: Any

    def answer(self, bodies: Sequence[Body], rng: Randomness, executor: Executor | None) -> list[Reply]:
        """Replies in the order of the bodies. Raises whatever the design raises."""
        found = [self._request(body) for body in bodies]
        requests = [one for one in found if isinstance(one, Request)]
        if not requests:
            return [one for one in found if not isinstance(one, Request)]
        answer = self.design.answer(self.role, self.state, requests, rng, executor)
        replies = iter(self._replies(answer, len(requests)))
        return [next(replies) if isinstance(one, Request) else one for one in found]

    def _request(self, body: Body) -> Request | ProtocolError | NotEnrolledError:
        step = f"{self.design.info.name}/request to {self.role}"
        try:
            message = decode_any(self.design.requests[self.role], body.data, step)
            held = None if body.enrolment is None else decoded(self.design, self.role, body.enrolment)
            return Request(message, held)
        except (ProtocolError, NotEnrolledError) as error:
            return error

    def _replies(self, answer: Answer, count: int) -> list[Reply]:
        verdicts = answer.verdicts or [None] * count
        if len(answer.replies) != count or len(verdicts) != count:
            raise RuntimeError("a design has one reply, and one verdict or none, for each request")
        replies: list[Reply] = []
        for reply, verdict in zip(answer.replies, verdicts, strict=True):
            if isinstance(reply, ProtocolError):
                replies.append(reply)
            elif type(reply) not in self.design.replies[self.role]:
                raise RuntimeError("a design replies with the messages it has declared")
            else:
                replies.append(Answered(reply.encode(), verdict))
        return replies
