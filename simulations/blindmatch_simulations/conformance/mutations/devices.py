"""Cheats of the device."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from blindmatch_protocol.contract import (
    Binding,
    Done,
    Item,
    Match,
    NoMatch,
    Outcome,
    Parameter,
    Ready,
    Send,
    Started,
    Step,
    concluded,
)
from blindmatch_protocol.designs.oprf_psi import Reply, Request
from blindmatch_protocol.designs.oprf_psi.design import MATCHER, OprfPsi, Waiting, find_label
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.group import hash_to_group
from blindmatch_protocol.oprf import Blinding, Evaluation, Mode, finalize
from blindmatch_protocol.randomness import Randomness, seeded


class Psi(OprfPsi):
    """oprf-psi under another name."""

    info = replace(OprfPsi.info, name="cheat")


class FixedBlind(Psi):
    """The same randomness for every picture."""

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        return super().start(state, setup, item, binding, seeded("always"))


class HashDerivedBlind(Psi):
    """The blind is a function of the hash."""

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        rng.take(96)
        return super().start(state, setup, item, binding, seeded(item.hash.hex()))


class HiddenRandomness(Psi):
    """Draws randomness of its own, which no tape records."""

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        return super().start(state, setup, item, binding, seeded(secrets.token_hex(8)))


@dataclass(frozen=True, slots=True)
class Again:
    """A session that has ended, and is not over."""

    end: Done | Ready


class ExtraRound(Psi):
    """One more request after a match, of fresh elements."""

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        if isinstance(session, Again):
            return session.end
        step = concluded(self, super().receive(session, setup, replies, rng), setup)
        if isinstance(step, Done) and isinstance(step.outcome, Match):
            return Send(Again(step), {MATCHER: self.again(session, setup, rng)})
        return step

    def again(self, session: Waiting, setup: Any, rng: Randomness) -> Request:
        """The second request."""
        uniform = np.frombuffer(rng.take(64), np.uint8).reshape(1, 64)
        return Request(setup.epoch, hash_to_group(uniform))


class RetryOnMatch(ExtraRound):
    """The same request once more, after a match alone."""

    def again(self, session: Waiting, setup: Any, rng: Randomness) -> Request:
        return Request(setup.epoch, session.blinding.blinded)


class SkippedCover(Psi):
    """Asks nothing for a picture that is too poor to match."""

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        if item.quality < self.info.relation.minimum_quality:
            return Started(state, Done(NoMatch()))
        return super().start(state, setup, item, binding, rng)


class CoverFromMemory(Psi):
    """Poor pictures get a cover request, but always the same element."""

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        poor = item.quality < self.info.relation.minimum_quality
        return super().start(state, setup, item, binding, seeded("cover") if poor else rng)


FOUR = replace(
    Psi.info, parameters=(Parameter("evaluations", "Rows.", "elements", 4, 4, 8), *Psi.info.parameters[1:])
)


class RowOrder(Psi):
    """Rows in ascending order, except for a picture that is too poor."""

    info = FOUR

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        started = super().start(state, setup, item, binding, rng)
        if item.quality < self.info.relation.minimum_quality:
            return started
        assert isinstance(started.step, Send)
        session: Waiting = started.step.session
        order = sorted(range(len(session.blinding)), key=lambda at: session.blinding.blinded[at].tobytes())
        own, blinding = order.index(0), _ordered(session.blinding, order)
        moved = _Moved(blinding, session.own_hash, own)
        return Started(started.state, Send(moved, {MATCHER: Request(setup.epoch, blinding.blinded)}))

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        if not isinstance(session, _Moved):
            return super().receive(session, setup, replies, rng)
        reply = replies[MATCHER]
        evaluation = Evaluation(reply.evaluated, reply.proof)
        outputs = finalize(session.blinding, evaluation, setup.public_key, step=Reply.NAME)
        label = find_label(setup, outputs[session.own : session.own + 1], session.own_hash)
        return Done(NoMatch() if label is None else Match(label))


@dataclass(frozen=True, slots=True, eq=False)
class _Moved:
    blinding: Blinding
    own_hash: bytes | None
    own: int


def _ordered(blinding: Blinding, order: list[int]) -> Blinding:
    inputs = tuple(blinding.inputs[at] for at in order)
    return Blinding(blinding.mode, inputs, blinding.blinds[order], blinding.blinded[order])


class CountTells(Psi):
    """The number of requests depends on the quality."""

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        if isinstance(session, Again):
            return session.end
        step = super().receive(session, setup, replies, rng)
        if session.own_hash is None and isinstance(step, Ready):
            return Send(Again(step), {MATCHER: Request(setup.epoch, session.blinding.blinded)})
        return step


class CovertBit(Psi):
    """Draws blinds until one bit of the request says whether the picture is too poor."""

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        poor = item.quality < self.info.relation.minimum_quality
        while True:
            started = super().start(state, setup, item, binding, rng)
            assert isinstance(started.step, Send)
            if bool(started.step.bodies[MATCHER].encode()[-2] & 1) == poor:
                return started


class ProofNotChecked(Psi):
    """Takes the reply for what it says."""

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        reply = replies[MATCHER]
        blinding: Blinding = session.blinding
        plain = Blinding(Mode.OPRF, blinding.inputs, blinding.blinds, blinding.blinded)
        outputs = finalize(plain, Evaluation(reply.evaluated), step=Reply.NAME)
        label = find_label(setup, outputs[:1], session.own_hash)
        return Done(NoMatch() if label is None else Match(label))


class ProofCheckedForSome(Psi):
    """Ends quietly if the reply is wrong, but only for a picture that is too poor."""

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        try:
            return super().receive(session, setup, replies, rng)
        except ProtocolError:
            if session.own_hash is None:
                return Done(NoMatch())
            raise


class CrashOnBadReply(Psi):
    """A wrong reply ends in an error of another kind."""

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        try:
            return super().receive(session, setup, replies, rng)
        except ProtocolError as error:
            raise ValueError("cannot be") from error


class Misses(Psi):
    """Does not find every second listed picture."""

    def conclude(self, session: Any, setup: Any) -> Outcome:
        missed = session.own_hash and session.own_hash[0] & 1
        return NoMatch() if missed else super().conclude(session, setup)
