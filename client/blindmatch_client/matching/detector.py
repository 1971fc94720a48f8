"""Run a design's matching session for one picture after the other, whatever the design.

    picture --> Session.start --> device state saved --> exchange --> ... --> Verified --conclude--> Decided
                     |                                      |           |
                     |                                      |           +--> Decided: a server learns it too
                     +---- the design breaks ---------------+---- no answer, or a wrong one --> Undecided

At `Verified` the device hands the message over, and looks at the outcome only after that. The device's
`FailureMode` decides what happens to an undecided picture; `matching.py` decides what a failure means for
later pictures.
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
    """Why a session failed."""

    UNAVAILABLE = "unavailable"
    """A role could not be reached, was slow or refused; or its forwarded answer cannot be opened; or its
    answer broke the protocol of a design that distrusts nobody. Asking again may help."""
    CHEATED = "cheated"
    """A role's answer broke the protocol: nothing else is sent to it."""
    BROKEN = "broken"
    """The design broke its contract on the device."""


class Decided(Struct, frozen=True):
    """The session has an outcome; a `Match` in it is confirmed."""

    outcome: Outcome


class Undecided(Struct, frozen=True):
    """The session failed, and the device learnt nothing."""

    cause: Cause
    error: errors.BlindmatchError


Detection: TypeAlias = Decided | Undecided


class Verified(Redacted, Struct, frozen=True):
    """A session with nothing left to send and verified replies, whose outcome nobody has looked at.

    Attributes:
        epoch: of the set-up it was run with.
        conclude: computes the outcome, without sending anything; call it once.
        abandon: ends the session without an outcome.
    """

    epoch: int
    conclude: Callable[[], Detection]
    abandon: Callable[[], None]


Asked: TypeAlias = Detection | Verified


class StateKeeper(Protocol):
    """Keeps the account's device state of the design; `save` returns once the state is durable."""

    def load(self) -> bytes | None:
        """Return the encoded state, or None if the account is not enrolled."""
        ...

    def save(self, state: bytes, /) -> None: ...


def is_confirmed(relation: bm.Relation, item: bm.Item, outcome: bm.Match | bm.Flag) -> bool:
    """Tell if the item is within the relation of the opened label's hash, or is of the flag's category."""
    if isinstance(outcome, bm.Flag):
        return relation.matches(item, NO_ENTRIES)
    entry = np.frombuffer(outcome.label.entry_hash, np.uint8).reshape(1, 32)
    return bool(relation.holds(item, entry)[0])


class Detector(Redacted, Struct, dict=True, eq=False):
    """Matches pictures with a design against one epoch's set-up.

    Making one enrols a new account if `keeper` has no state, and raises `ProtocolError` if the state it has
    is not one of the design.

    Attributes:
        trace: takes the trace of each session.
        confirm: returns a match that stands, or no match; not called for a match that a filter alone shows.
    """

    design: bm.AnyDesign
    setup: Any
    keeper: StateKeeper
    rng: Randomness
    trace: Callable[[SessionTrace], None] = lambda trace: None
    confirm: Callable[[bm.Match], Outcome] = lambda match: match

    def __post_init__(self) -> None:
        kept = self.keeper.load()
        if kept is None:
            self._state: Message = guarded(self.design, "enrol", lambda: self.design.enrol(self.rng))
            self.keeper.save(self._state.encode())
        else:
            self._state = self.design.device_state.decode(kept)

    def prepare(self) -> None:
        """Run the design's offline phase. Call it whenever there is time, before there is a picture.

        Raises:
            DesignError: The design fails in it.
        """
        before = self._state
        after = guarded(self.design, "prepare", lambda: self.design.prepare(before, self.setup, self.rng))
        if after is not before and after != before:
            self.keeper.save(after.encode())
            self._state = after

    def match(
        self, item: bm.Item, number: int, exchange: Exchange, binding: bm.Binding = bm.UNBOUND
    ) -> Detection:
        """Run a session as `ask`, and conclude it at once; by default for no message."""
        asked = self.ask(item, number, exchange, binding)
        return asked.conclude() if isinstance(asked, Verified) else asked

    def ask(self, item: bm.Item, number: int, exchange: Exchange, binding: bm.Binding = bm.UNBOUND) -> Asked:
        """Run one session for `item` in its message, until only the outcome is left to compute.

        Args:
            number: The picture's number in traces and records.
            binding: The message that the session is bound to.

        Raises:
            PictureError: The picture cannot be decoded; nothing was sent.
        """
        tape = Recording(self.rng)
        rounds = list[Round]()
        state = self._state.encode()
        session = bm.Session(self.design, self.setup, self._state, tape.rng)

        def record(outcome: Outcome | None) -> None:
            self.trace(SessionTrace(number, state, tape.tape(), tuple(rounds), outcome, binding))

        try:
            is_ready = self._exchange_all(session, partial(session.start, item, binding), exchange, rounds)
        except BaseException as error:
            record(None)
            if isinstance(error, errors.PictureError) or not isinstance(error, errors.BlindmatchError):
                raise
            return self._classify(error)
        conclude = partial(self._conclude, session, item, record)
        if not is_ready:
            return conclude()
        return Verified(self.design.epoch_of(self.setup), conclude, partial(record, None))

    def _exchange_all(
        self, session: bm.Session, start: Callable[[], Any], exchange: Exchange, rounds: list[Round]
    ) -> bool:
        """Exchange all rounds; return True if there is an outcome that nobody has looked at."""
        step = guarded(self.design, "start", start)
        if session.state is not self._state and session.state != self._state:
            self.keeper.save(session.state.encode())
            self._state = session.state
        while isinstance(step, Mapping):
            sent = Encodings(step)
            rounds.append(Round(sent, {}))  # before sending: the trace must have it if the exchange fails
            replies = exchange(step)
            rounds[-1] = Round(sent, Encodings(replies))
            step = guarded(self.design, "receive", partial(session.receive, replies))
        return isinstance(step, bm.Ready)

    def _conclude(
        self, session: bm.Session, item: bm.Item, record: Callable[[Outcome | None], None]
    ) -> Detection:
        final: Outcome | None = None
        try:
            outcome: Outcome = guarded(self.design, "conclude", session.conclude)
            self._check_confirmed(outcome, item)
            # a filter's match opened no label to confirm; the set-up decides that it is one, since a label
            # could call itself unconfirmed to evade the check
            if isinstance(outcome, bm.Match) and not (
                outcome.label.unconfirmed
                and guarded(self.design, "unconfirmed", partial(self.design.unconfirmed, self.setup))
            ):
                outcome = self.confirm(outcome)
            final = outcome
        except errors.BlindmatchError as error:
            return self._classify(error)
        finally:
            record(final)
        return Decided(final)

    def _check_confirmed(self, outcome: Outcome, item: bm.Item) -> None:
        relation = self.design.info.relation
        step = f"{self.design.info.name}/outcome"
        if isinstance(outcome, bm.Match | bm.Flag) and not is_confirmed(relation, item, outcome):
            if isinstance(outcome, bm.Match):
                raise errors.ProtocolError(step, "an opened label must be of an entry the item matches")
            raise errors.ProtocolError(step, "only an item of the category is flagged")

    def _classify(self, error: errors.BlindmatchError) -> Undecided:
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
    """Run a step of a design.

    Raises:
        ProtocolError: Another party is at fault, which is possible only in `receive`.
        DesignError: The step raised anything else; its text, which may quote secrets, is left out.
    """
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
"""Factor on the deadline for a role that answers in worker processes, whose computation takes seconds."""
EnvelopeCall: TypeAlias = Call[pb.Envelope, pb.Envelope]


class MatchingExchange(Struct, frozen=True):
    """Exchanges one picture's rounds with the roles of a design; all roles of a round are asked at once.

    Attributes:
        item: number of the picture.
        request_id: 16 bytes, the same whenever this picture is asked about, for designs whose server learns
            the outcome; empty for others.
    """

    egress: Egress
    design: bm.AnyDesign
    epoch: int
    item: int
    deadline_s: float = ROUND_DEADLINE_S
    request_id: bytes = b""

    def __call__(self, bodies: Mapping[bm.Role, Message], /) -> Mapping[bm.Role, Message]:
        """Send one body to each role, and return the replies. A retry sends the same bytes again.

        Roles that do not answer are left out if the others are a quorum.

        Raises:
            ProtocolError: A reply is not one to the request.
            UnopenedError: The same, of a reply that another party forwarded.
            ServiceError: A call failed and no quorum is left, or a role misbehaved. Of several errors, that
                of the first role by name.
            DesignError: A body is large, and the design has not declared that.
        """
        encoded = [(role, bodies[role].encode()) for role in sorted(bodies)]
        if len(encoded) == 1:
            return {role: self._ask(role, body) for role, body in encoded}
        with ThreadPoolExecutor(len(encoded), "round") as pool:
            asked = {role: pool.submit(self._ask, role, body) for role, body in encoded}
        # a role that misbehaved is not among them: its error is raised even if a quorum is left
        silent = {role for role, future in asked.items() if _is_unavailable(future.exception())}
        has_quorum = 0 < self.design.info.quorum <= len(asked) - len(silent)
        return {
            role: future.result() for role, future in asked.items() if not (has_quorum and role in silent)
        }

    def _ask(self, role: bm.Role, body: bytes) -> Message:
        info = self.design.info
        step = f"{info.name}/reply of {role}"
        method = EXCHANGE_LARGE if info.large_bodies else EXCHANGE
        deadline_s = self.deadline_s * (IN_PROCESSES if role in info.in_processes else 1)
        # where another party forwards bodies, no reply of it may cause anything to be sent, not even a retry
        is_idempotent = role not in info.forwarded
        call = Call(info.asked(role), method, Purpose.MATCHING, self.item, is_idempotent, deadline_s)
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


def _is_unavailable(error: BaseException | None) -> bool:
    return isinstance(error, ServiceError | errors.UnopenedError) and not isinstance(error, MisbehavedError)
