"""Cheats that show only where one looks: under other fields, in short draws, late, or in large things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha512
from typing import Any, ClassVar, Final

import numpy as np
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import (
    Answer,
    Binding,
    Done,
    Item,
    Label,
    Leak,
    Match,
    NoMatch,
    Outcome,
    Published,
    Request,
    Role,
    Started,
    Step,
    Verdict,
    no_progress,
)
from blindmatch_protocol.designs.hash_upload import Compared, HashUpload
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.randomness import Randomness, replayed

from blindmatch_simulations.conformance.mutations.devices import Psi
from blindmatch_simulations.conformance.mutations.padded import About, PaddedPsi
from blindmatch_simulations.conformance.mutations.worst import Sent

ELEMENT: Final = 32
FILLER: Final = 32
UNIFORM: Final = 64
SPARE: Final = 0x80
PERIOD: Final = 1_000
LARGE_SET: Final = 1_000
LARGE_PICTURE: Final = 1_000_000
GOOD: Final = 50
BEST: Final = 100
NOTHING: Final = bytes(8)


class UnderElement(PaddedPsi):
    """The hash, backwards, under the blinded element, which everybody sees."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        front = about.sent[-ELEMENT : -ELEMENT // 2]
        return bytes(a ^ b for a, b in zip(front, reversed(about.item.hash[:16]), strict=True))


class SpareBit(PaddedPsi):
    """One bit of the picture in the bit of a group element's encoding that is always zero."""

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        started: Started[Any, Any] = super().start(state, setup, item, binding, rng)
        step: Any = started.step
        for body in step.bodies.values():
            spare = SPARE if item.hash[0] & 1 else 0
            object.__setattr__(body, "request", body.request[:-1] + bytes([body.request[-1] | spare]))
        return started

    def answer(
        self, role: Role, state: Any, requests: Sequence[Request], rng: Randomness, executor: Any
    ) -> Answer:
        clear = [Request(self.cleared(request.body)) for request in requests]
        return super().answer(role, state, clear, rng, executor)

    def cleared(self, body: Any) -> Message:
        """The body as it should have been."""
        raw: bytes = body.request
        cleared: Message = type(body)(raw[:-1] + bytes([raw[-1] & ~SPARE]), body.padding)
        return cleared


class ShortBlind(Psi):
    """A blind of 16 bits."""

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        drawn = rng.take(FILLER + UNIFORM)
        return super().start(state, setup, item, binding, replayed(drawn[: FILLER + 2] + bytes(UNIFORM - 2)))


class SmallBlind(Psi):
    """A blind below 2^64, of which every drawn byte has a part."""

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        drawn = rng.take(FILLER + UNIFORM)
        small = sha512(drawn).digest()[:8]
        return super().start(
            state, setup, item, binding, replayed(drawn[:FILLER] + small + bytes(UNIFORM - 8))
        )


class ShortKey(Psi):
    """A key of 64 bits."""

    def publish(
        self,
        entries: Any,
        parameters: Any,
        rng: Randomness,
        executor: Any,
        out: Any,
        progress: Any = no_progress,
    ) -> Published:
        short = replayed(rng.take(UNIFORM)[:8] + bytes(UNIFORM - 8))
        return super().publish(entries, parameters, short, executor, out, progress)


class OneNonce(Psi):
    """One nonce for the proofs of all replies."""

    def answer(
        self, role: Role, state: Any, requests: Sequence[Request], rng: Randomness, executor: Any
    ) -> Answer:
        nonce = sha512(b"the one nonce").digest()
        return super().answer(role, state, requests, replayed(nonce * len(requests)), executor)


class KeyInError(Psi):
    """Says of a request that is refused which key does not take it."""

    def answer(
        self, role: Role, state: Any, requests: Sequence[Request], rng: Randomness, executor: Any
    ) -> Answer:
        answer = super().answer(role, state, requests, rng, executor)
        words = f"is not taken by key {int.from_bytes(state.key.reveal(), 'little')}"
        said = [
            ProtocolError("cheat/request", words) if isinstance(reply, ProtocolError) else reply
            for reply in answer.replies
        ]
        return Answer(said, answer.verdicts)


class AfterUpdate(PaddedPsi):
    """Tells of the picture once there is a delta."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:8] if about.setup.deltas else NOTHING


class EveryThousandth(PaddedPsi):
    """Tells of every thousandth picture that the process starts."""

    def __init__(self) -> None:
        self.started = 0

    def padding(self, about: About, rng: Randomness) -> bytes:
        self.started += 1
        return NOTHING if self.started % PERIOD else about.item.hash[:8]


class ThousandthOfAccount(PaddedPsi):
    """Tells of an account's thousandth picture, which its state counts."""

    device_state: ClassVar[type[Message]] = Sent

    def enrol(self, rng: Randomness) -> Any:
        return Sent(0)

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        step = super().start(state, setup, item, binding, rng).step
        return Started(Sent((state.pictures + 1) % PERIOD), step)

    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:8] if about.state.pictures == PERIOD - 1 else NOTHING


class RemembersMatches(Psi):
    """Keeps every label it has seen."""

    def __init__(self) -> None:
        self.seen: list[Label] = []

    def conclude(self, session: Any, setup: Any) -> Outcome:
        outcome = super().conclude(session, setup)
        if isinstance(outcome, Match):
            self.seen.append(outcome.label)
        return outcome


class MissesSome(Psi):
    """Never finds one entry of 32."""

    def conclude(self, session: Any, setup: Any) -> Outcome:
        missed = session.own_hash and session.own_hash[-1] % 32 == 0
        return NoMatch() if missed else super().conclude(session, setup)


class ReportsOthers(Psi):
    """Makes a match, with a label of its own making, of one picture of 16 that is on no list."""

    def conclude(self, session: Any, setup: Any) -> Outcome:
        outcome, own = super().conclude(session, setup), session.own_hash
        made_up = own and own[-1] % 16 == 0 and outcome == NoMatch()
        return Match(Label(own, 1, bytes(16))) if made_up else outcome


class LargeSetsTell(PaddedPsi):
    """Tells of the picture where the set is large."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:8] if about.setup.entries > LARGE_SET else NOTHING


class LargePicturesTell(PaddedPsi):
    """Tells of a picture that has many pixels."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:8] if about.item.pixels.size > LARGE_PICTURE else NOTHING


class FaintPicturesTell(PaddedPsi):
    """Tells of a picture that is neither too poor nor of the best quality."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:8] if GOOD <= about.item.quality < BEST else NOTHING


class MatchesFurther(HashUpload):
    """Reports pictures that are too far from an entry, but not so near to the limit as 32 or 33 bits."""

    info = replace(HashUpload.info, name="cheat")

    def answer(
        self, role: Role, state: Any, requests: Sequence[Request], rng: Randomness, executor: Any
    ) -> Answer:
        exact = super().answer(role, state, requests, rng, executor)
        replies, verdicts = list(exact.replies), list(exact.verdicts)
        for at, request in enumerate(requests):
            own: Any = request.body
            away = np.bitwise_xor(state.hashes, np.frombuffer(own.hash, np.uint8))
            bits = np.unpackbits(away, axis=1).sum(axis=1)
            for row in np.flatnonzero((bits > 33) & (bits <= 40))[:1]:
                label = state.label(int(row))
                replies[at], verdicts[at] = Compared(True, label), Verdict(label)
        return Answer(replies, verdicts)

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        (reply,) = replies.values()
        return Done(Match(reply.label) if reply.matched else NoMatch())


class _Undeclared(Psi):
    """Does not declare one fact."""

    silent: ClassVar[str]

    def leakage(self) -> tuple[Leak, ...]:
        return tuple(
            Leak(leak.parties, leak.adversary, tuple(fact for fact in leak.facts if fact.name != self.silent))
            for leak in super().leakage()
        )


class EpochUndeclared(_Undeclared):
    silent = "epoch"


class TimeUndeclared(_Undeclared):
    silent = "query_time"
