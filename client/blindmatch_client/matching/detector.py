"""Drives a design for one picture after the other, whatever the design and whatever the picture.

    picture --> Session.start --> device state saved --> exchange --> ... --> Verified --conclude--> Decided
                     |                                      |           |
                     |                                      |           +--> Decided: a server learns it too
                     +---- the design breaks ---------------+---- no answer, or a wrong one --> Undecided

`Verified` is where the device hands the message over: the outcome is looked at after that. What is done with
an undecided picture is the device's `FailureMode`; what a failure means for later pictures is
`matching.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Message, decode_any, errors
from blindmatch_protocol.codec.randomness import Randomness, Recording
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Exchange, Outcome
from blindmatch_protocol.contract.relation import NO_ENTRIES
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
from blindmatch_client.egress.calls import EXCHANGE, EXCHANGE_LARGE
from blindmatch_client.errors import MisbehavedError, ServiceError
from blindmatch_client.settings import ROUND_DEADLINE_S
from blindmatch_client.trace import Encodings, Purpose, Round, SessionTrace

T = TypeVar("T")


class Cause(StrEnum):
    UNAVAILABLE = "unavailable"
    """A role could not be reached, was slow or refused, or what was carried from it cannot be opened, or its
    design distrusts nobody: asking again may help."""
    CHEATED = "cheated"
    """A role's answer broke the protocol: it gets nothing else."""
    BROKEN = "broken"
    """The design broke its contract on the device."""


class Decided(Struct, frozen=True):
    """The session came to an outcome; a `Match` in it is confirmed."""

    outcome: Outcome


class Undecided(Struct, frozen=True):
    """The session failed; nothing was learnt."""

    cause: Cause
    error: errors.BlindmatchError


Detection: TypeAlias = Decided | Undecided


class Verified(Redacted, Struct, frozen=True):
    """A session with nothing left to send, whose replies were all verified; its outcome was not looked at.

    Attributes:
        conclude: works the outcome out; local. To be called once.
        abandon: gives the session up; its trace then has no outcome.
    """

    epoch: int
    conclude: Callable[[], Detection]
    abandon: Callable[[], None]


Asked: TypeAlias = Detection | Verified


class StateKeeper(Protocol):
    """Where the account's device state of the design is kept; `save` returns once it is durable."""

    def load(self) -> bytes | None:
        """The encoded state, or None if the account is not enrolled."""
        ...

    def save(self, state: bytes, /) -> None: ...


def is_confirmed(relation: bm.Relation, item: bm.Item, found: bm.Match | bm.Flag) -> bool:
    """Is the device's own hash within the relation of the hash in the opened label, or the item of the
    category?"""
    if isinstance(found, bm.Flag):
        return relation.matches(item, NO_ENTRIES)
    entry = np.frombuffer(found.label.entry_hash, np.uint8).reshape(1, 32)
    return bool(relation.holds(item, entry)[0])


class Detector(Redacted, Struct, dict=True, eq=False):
    """Matches pictures with `design` against one epoch's set-up; `ProtocolError` if the device state that
    `keeper` has is not one of the design; if it has none, a new account is enrolled. `confirm` says whether a
    match stands, unless a set of filters alone says it."""

    design: bm.AnyDesign
    setup: Any
    keeper: StateKeeper
    rng: Randomness
    trace: Callable[[SessionTrace], None] = lambda trace: None
    confirm: Callable[[bm.Match], Outcome] = lambda found: found

    def __post_init__(self) -> None:
        kept = self.keeper.load()
        if kept is None:
            self._state: Message = guarded(self.design, "enrol", lambda: self.design.enrol(self.rng))
            self.keeper.save(self._state.encode())
        else:
            self._state = self.design.device_state.decode(kept)

    def prepare(self) -> None:
        """The offline phase: call it whenever there is time, before a picture is there; `DesignError` if the
        design fails in it."""
        before = self._state
        after = guarded(self.design, "prepare", lambda: self.design.prepare(before, self.setup, self.rng))
        if after is not before and after != before:
            self.keeper.save(after.encode())
            self._state = after

    def match(
        self, item: bm.Item, number: int, exchange: Exchange, binding: bm.Binding = bm.UNBOUND
    ) -> Detection:
        """`ask`, and conclude at once; by default for no message."""
        asked = self.ask(item, number, exchange, binding)
        return asked.conclude() if isinstance(asked, Verified) else asked

    def ask(self, item: bm.Item, number: int, exchange: Exchange, binding: bm.Binding = bm.UNBOUND) -> Asked:
        """Run one session for `item` in its message, up to where nothing but its outcome is left;
        `PictureError` if the picture cannot be decoded; nothing was sent then."""
        tape = Recording(self.rng)
        rounds = list[Round]()
        state = self._state.encode()
        session = bm.Session(self.design, self.setup, self._state, tape.rng)

        def traced(outcome: Outcome | None) -> None:
            self.trace(SessionTrace(number, state, tape.tape(), tuple(rounds), outcome, binding))

        try:
            ready = self._drive(session, partial(session.start, item, binding), exchange, rounds)
        except BaseException as error:
            traced(None)
            if isinstance(error, errors.PictureError) or not isinstance(error, errors.BlindmatchError):
                raise
            return self._failed(error)
        conclude = partial(self._conclude, session, item, traced)
        if not ready:
            return conclude()
        return Verified(self.design.epoch_of(self.setup), conclude, partial(traced, None))

    def _drive(
        self, session: bm.Session, start: Callable[[], Any], exchange: Exchange, rounds: list[Round]
    ) -> bool:
        """Exchange all rounds; whether there is an outcome that nobody has looked at."""
        step = guarded(self.design, "start", start)
        if session.state is not self._state and session.state != self._state:
            self.keeper.save(session.state.encode())
            self._state = session.state
        while isinstance(step, Mapping):
            sent = Encodings(step)
            rounds.append(Round(sent, {}))  # before it is sent
            replies = exchange(step)
            rounds[-1] = Round(sent, Encodings(replies))
            step = guarded(self.design, "receive", partial(session.receive, replies))
        return isinstance(step, bm.Ready)

    def _conclude(
        self, session: bm.Session, item: bm.Item, traced: Callable[[Outcome | None], None]
    ) -> Detection:
        outcome: Outcome | None = None
        try:
            found: Outcome = guarded(self.design, "conclude", session.conclude)
            self._check_confirmed(found, item)
            # a filter's match opened no label; what a label says of itself does not decide that
            if isinstance(found, bm.Match) and not (
                found.label.unconfirmed
                and guarded(self.design, "unconfirmed", partial(self.design.unconfirmed, self.setup))
            ):
                found = self.confirm(found)
            outcome = found
        except errors.BlindmatchError as error:
            return self._failed(error)
        finally:
            traced(outcome)
        return Decided(outcome)

    def _check_confirmed(self, found: Outcome, item: bm.Item) -> None:
        relation = self.design.info.relation
        step = f"{self.design.info.name}/outcome"
        if isinstance(found, bm.Match | bm.Flag) and not is_confirmed(relation, item, found):
            words = "an opened label must be of an entry the item matches"
            raise errors.ProtocolError(
                step, words if isinstance(found, bm.Match) else "only an item of the category is flagged"
            )

    def _failed(self, error: errors.BlindmatchError) -> Undecided:
        match error:
            case _ if _is_unavailable(error):
                return Undecided(Cause.UNAVAILABLE, error)
            case errors.ProtocolError() if not self.design.info.distrusts:
                return Undecided(Cause.UNAVAILABLE, error)
            case errors.ProtocolError() | MisbehavedError():
                return Undecided(Cause.CHEATED, error)
            case _:
                return Undecided(Cause.BROKEN, error)


def guarded(design: bm.AnyDesign, step: str, run: Callable[[], T]) -> T:
    """Run a step of a design. Only `receive` hears another party, so only there can it be at fault; whatever
    else a step raises is a fault of the design, whose text may quote secrets."""
    name = design.info.name
    try:
        return run()
    except errors.ProtocolError as error:
        if step == "receive":
            raise
        raise errors.DesignError(f"design {name} failed in {step}: {error.rule}") from None
    except errors.BlindmatchError:
        raise
    except (Exception, SystemExit) as error:  # a design ends no device
        raise errors.DesignError(f"design {name} failed in {step} ({type(error).__name__})") from None


IN_PROCESSES: Final = 10
"""Times that deadline for a role that answers in worker processes: what it computes takes seconds alone."""
EnvelopeCall: TypeAlias = Call[pb.Envelope, pb.Envelope]


class MatchingExchange(Struct, frozen=True):
    """Exchanges one picture's rounds with the roles of a design; all roles of a round are asked at once.

    Attributes:
        request_id: 16 bytes, the same whenever this picture is asked about; for designs whose server learns.
    """

    egress: Egress
    design: bm.AnyDesign
    epoch: int
    item: int
    deadline_s: float = ROUND_DEADLINE_S
    request_id: bytes = b""

    def __call__(self, bodies: Mapping[bm.Role, Message], /) -> Mapping[bm.Role, Message]:
        """The replies of the roles in `bodies`; a retry sends the same bytes again. `ProtocolError` if a
        reply is not one to what was asked, `UnopenedError` if it was carried; `ServiceError` if a call
        failed, and no quorum is left (of several, that of the first role by name), or a role misbehaved,
        whatever is left; `DesignError` if a body is large and the design has not declared that."""
        encoded = [(role, bodies[role].encode()) for role in sorted(bodies)]
        if len(encoded) == 1:
            return {role: self._ask(role, body) for role, body in encoded}
        with ThreadPoolExecutor(len(encoded), "round") as pool:
            asked = {role: pool.submit(self._ask, role, body) for role, body in encoded}
        # those that did not answer, as far as can be told honestly
        silent = {role for role, one in asked.items() if _is_unavailable(one.exception())}
        enough = 0 < self.design.info.quorum <= len(asked) - len(silent)
        return {role: one.result() for role, one in asked.items() if not (enough and role in silent)}

    def _ask(self, role: bm.Role, body: bytes) -> Message:
        info = self.design.info
        step = f"{info.name}/reply of {role}"
        method = EXCHANGE_LARGE if info.large_bodies else EXCHANGE
        deadline_s = self.deadline_s * (IN_PROCESSES if role in info.in_processes else 1)
        # where bodies are carried nothing is sent because of a reply, not even the same again
        again = role not in info.forwarded
        call = Call(info.asked(role), method, Purpose.MATCHING, self.item, again, deadline_s)
        head = pb.Envelope(
            design=info.name, version=info.version, epoch=self.epoch, role=role, request_id=self.request_id
        )
        ask = self._ask_large if info.large_bodies else self._ask_small
        try:
            return decode_any(self.design.replies[role], ask(call, head, body, step), step)
        except errors.ProtocolError as error:
            if role in info.forwarded:
                raise errors.UnopenedError(step, error.rule, error.field) from error
            raise

    def _ask_small(self, call: EnvelopeCall, head: pb.Envelope, body: bytes, step: str) -> bytes:
        if len(body) > MOST_SMALL_BYTES:
            raise errors.DesignError(f"design {head.design}: a body of {len(body)} bytes needs large_bodies")
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
    if reply.epoch != asked.epoch:
        raise errors.EpochMismatchError(step, f"must be {asked.epoch}, not {reply.epoch}", "epoch")
    for field in ("design", "version", "role"):
        if getattr(reply, field) != getattr(asked, field):
            raise errors.ProtocolError(step, "must be what was asked for", field)
    if reply.request_id:
        raise errors.ProtocolError(step, "must be empty in a reply", "request_id")


def _is_unavailable(why: BaseException | None) -> bool:
    return isinstance(why, ServiceError | errors.UnopenedError) and not isinstance(why, MisbehavedError)
