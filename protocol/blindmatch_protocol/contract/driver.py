"""Runs one session through its legal steps: who may do what next is one table, all else raises.

new --start--> sent --receive--> sent ... --> done
           \\-------------------------------> done
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract.declaration import Role
from blindmatch_protocol.contract.design import AnyDesign
from blindmatch_protocol.contract.item import Item
from blindmatch_protocol.contract.outcome import Done, Outcome, Send
from blindmatch_protocol.errors import BlindmatchError, DesignError, ProtocolError
from blindmatch_protocol.randomness import Randomness

MOST_ROUNDS = 64
"""A design that is not done by then has broken the contract."""

_LEGAL = {("new", "start"): ("sent", "done"), ("sent", "receive"): ("sent", "done")}


class SessionError(BlindmatchError):
    """A session was driven out of order."""


class Exchange(Protocol):
    """Delivers one round's bodies and brings the replies of the same roles."""

    def __call__(self, bodies: Mapping[Role, Message], /) -> Mapping[Role, Message]:
        """Any error it raises ends the session with nothing learnt."""
        ...


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished session: the device state to keep, the outcome, and the number of rounds."""

    state: Message
    outcome: Outcome
    rounds: int


class Session:
    """One item's session of `design`, from `start` to an outcome."""

    def __init__(self, design: AnyDesign, setup: Any, state: Message, rng: Randomness) -> None:
        self._design = design
        self._setup = setup
        self._rng = rng
        self._inner: Any = None
        self._phase = "new"
        self._asked: frozenset[Role] = frozenset()
        self.state = state
        self.rounds = 0

    def start(self, item: Item) -> Mapping[Role, Message] | Outcome:
        """The first bodies to send, or the outcome if there is nothing to send."""
        self._expect("start")
        started = self._design.start(self.state, self._setup, item, self._rng)
        self.state = started.state
        return self._take("start", started.step)

    def receive(self, replies: Mapping[Role, Message]) -> Mapping[Role, Message] | Outcome:
        """The next bodies, or the outcome.

        Raises:
            ProtocolError: if a role that was asked did not answer, or one answered unasked, or with a
                message that the role has not declared.
        """
        self._expect("receive")
        name = self._design.info.name
        if replies.keys() != self._asked:
            raise ProtocolError(f"{name}/receive", "each role that was asked answers once, and no other")
        for role, reply in replies.items():
            if type(reply) not in self._design.replies[role]:
                raise ProtocolError(f"{name}/receive", f"role {role} does not answer with {reply!r}")
        return self._take("receive", self._design.receive(self._inner, self._setup, replies, self._rng))

    def run(self, item: Item, exchange: Exchange) -> Finished:
        """Drive the whole session.

        Raises:
            ProtocolError: if a reply breaks the protocol.
            DesignError: if the design breaks the contract.
        """
        step = self.start(item)
        while isinstance(step, Mapping):
            step = self.receive(exchange(step))
        return Finished(self.state, step, self.rounds)

    def _expect(self, event: str) -> None:
        if (self._phase, event) not in _LEGAL:
            raise SessionError(f"a session that is {self._phase} cannot {event}")

    def _take(self, event: str, step: Send[Any] | Done) -> Mapping[Role, Message] | Outcome:
        if isinstance(step, Done):
            self._phase, self._inner = "done", None
            return step.outcome
        self._check_bodies(step.bodies)
        self._phase, self._inner, self._asked = "sent", step.session, frozenset(step.bodies)
        self.rounds += 1
        return step.bodies

    def _check_bodies(self, bodies: Mapping[Role, Message]) -> None:
        info = self._design.info
        if self.rounds >= MOST_ROUNDS:
            raise DesignError(f"design {info.name} is not done after {MOST_ROUNDS} rounds")
        if not bodies:
            raise DesignError(f"design {info.name} sent a step without a body")
        for role, body in bodies.items():
            if role not in info.roles or type(body) not in self._design.requests[role]:
                raise DesignError(f"design {info.name} sent {body!r} to role {role}: not declared")
