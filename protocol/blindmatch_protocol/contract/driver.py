"""Runs one session through its legal steps: who may do what next is one table, all else raises.

new --start--> sent --receive--> sent ... --> ready --conclude--> done
          |                       +----------------------------> done
          +------------> as after receive
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import BlindmatchError, DesignError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract.declaration import Role
from blindmatch_protocol.contract.design import AnyDesign
from blindmatch_protocol.contract.publishing import Executor
from blindmatch_protocol.contract.relation import Item
from blindmatch_protocol.contract.steps import (
    CERTIFYING,
    UNBOUND,
    Binding,
    Done,
    Outcome,
    Ready,
    Request,
    Send,
    Step,
    Verdict,
    X,
)

MOST_ROUNDS = 64
"""A design that is not done by then has broken the contract."""

_LEGAL = frozenset({("new", "start"), ("sent", "receive"), ("ready", "conclude"), ("done", "conclude")})


class SessionError(BlindmatchError):
    """A session was driven out of order."""


class Exchange(Protocol):
    """Delivers one round's bodies and brings the replies of the same roles."""

    def __call__(self, bodies: Mapping[Role, Message], /) -> Mapping[Role, Message]:
        """Any error it raises ends the session with nothing learnt."""
        ...


class Finished(Struct, frozen=True):
    """A finished session: the device state to keep, the outcome, and the number of rounds."""

    state: Message
    outcome: Outcome
    rounds: int


def answered(
    design: AnyDesign,
    role: Role,
    state: Any,
    request: Request,
    rng: Randomness,
    executor: Executor | None = None,
) -> tuple[Message, Verdict | None]:
    """The role's reply to one request, and what it learnt. Raises the `ProtocolError` that it answers with;
    `DesignError` if it does not give one reply."""
    answer = design.answer(role, state, [request], rng, executor)
    if len(answer.replies) != 1:
        raise DesignError(f"design {design.info.name} gives {len(answer.replies)} replies to one request")
    if isinstance(reply := answer.replies[0], ProtocolError):
        raise reply
    return reply, answer.verdicts[0] if answer.verdicts else None


def concluded(design: AnyDesign, step: Step[X], setup: Any) -> Send[X] | Done:
    """`step`, with its outcome if it is `Ready`: for harnesses that drive a design's steps themselves."""
    return Done(design.conclude(step.session, setup)) if isinstance(step, Ready) else step


class Session:
    """One item's session of `design`, from `start` to an outcome. It may stay `Ready` for as long as the
    caller likes; `conclude` then needs nobody else."""

    def __init__(self, design: AnyDesign, setup: Any, state: Message, rng: Randomness) -> None:
        self._design = design
        self._setup = setup
        self._rng = rng
        self._inner: Any = None
        self._phase = "new"
        self._asked: frozenset[Role] = frozenset()
        self._outcome: Outcome | None = None
        self.state = state
        self.rounds = 0

    def start(self, item: Item, binding: Binding = UNBOUND) -> Mapping[Role, Message] | Ready | Outcome:
        """The first bodies to send; if there is nothing to send, as `receive`. Only a design with vouchers is
        told of the message."""
        self._expect("start")
        unbound = CERTIFYING if binding.certify else UNBOUND
        told = binding if self._design.vouchers else unbound
        started = self._design.start(self.state, self._setup, item, told, self._rng)
        self.state = started.state
        return self._take(started.step)

    def receive(self, replies: Mapping[Role, Message]) -> Mapping[Role, Message] | Ready | Outcome:
        """The next bodies; or the outcome, or `Ready` if there is one to `conclude`; `ProtocolError` if a
        role that was asked did not answer and no quorum did, or one answered unasked, or with a message that
        the role has not declared."""
        self._expect("receive")
        name = self._design.info.name
        missing = sorted(self._asked - replies.keys())
        if replies.keys() - self._asked or (missing and not 0 < self._design.info.quorum <= len(replies)):
            silent = f"; not {' and '.join(missing)}" if missing else ""
            rule = f"each role that was asked answers once, and no other{silent}"
            raise ProtocolError(f"{name}/receive", rule)
        for role, reply in replies.items():
            if type(reply) not in self._design.replies[role]:
                raise ProtocolError(f"{name}/receive", f"role {role} does not answer with {reply!r}")
        return self._take(self._design.receive(self._inner, self._setup, replies, self._rng))

    def conclude(self) -> Outcome:
        """The outcome, once nothing is left to send; it is worked out at the first call."""
        self._expect("conclude")
        if self._outcome is None:
            self._outcome = self._design.conclude(self._inner, self._setup)
            self._phase = "done"
            self._inner = None
        return self._outcome

    def run(self, item: Item, exchange: Exchange, binding: Binding = UNBOUND) -> Finished:
        """Drive the whole session; `ProtocolError` if a reply breaks the protocol, `DesignError` if the
        design breaks the contract."""
        step = self.start(item, binding)
        while isinstance(step, Mapping):
            step = self.receive(exchange(step))
        return Finished(self.state, self.conclude(), self.rounds)

    def _expect(self, event: str) -> None:
        if (self._phase, event) not in _LEGAL:
            raise SessionError(f"a session that is {self._phase} cannot {event}")

    def _take(self, step: Step[Any]) -> Mapping[Role, Message] | Ready | Outcome:
        match step:
            case Done(outcome):
                self._phase = "done"
                self._inner = None
                self._outcome = outcome
                return outcome
            case Ready(inner):
                self._phase = "ready"
                self._inner = inner
                return step
            case Send(inner, bodies):
                self._check_bodies(bodies)
                self._phase = "sent"
                self._inner = inner
                self._asked = frozenset(bodies)
                self.rounds += 1
                return bodies

    def _check_bodies(self, bodies: Mapping[Role, Message]) -> None:
        info = self._design.info
        if self.rounds >= MOST_ROUNDS:
            raise DesignError(f"design {info.name} is not done after {MOST_ROUNDS} rounds")
        if not bodies:
            raise DesignError(f"design {info.name} sent a step without a body")
        for role, body in bodies.items():
            if role not in info.roles or type(body) not in self._design.requests[role]:
                raise DesignError(f"design {info.name} sent {body!r} to role {role}: not declared")
