"""Cheats of publishing and of roles, and claims that are too small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256, sha512
from typing import Annotated, Any, ClassVar, Self

from blindmatch_protocol import contract
from blindmatch_protocol.codec import Buffer, Fixed, Message, Nested, message
from blindmatch_protocol.contract import (
    Answer,
    Binding,
    Item,
    Leak,
    Learner,
    Published,
    Role,
    Send,
    Started,
    Step,
    no_progress,
)
from blindmatch_protocol.designs.hash_upload import QUALITY, Compared, HashUpload
from blindmatch_protocol.designs.oprf_psi import Reply, Request
from blindmatch_protocol.designs.oprf_psi.design import MATCHER
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.oprf import blind_evaluate
from blindmatch_protocol.randomness import Randomness, replayed, seeded

from blindmatch_simulations.conformance.mutations.devices import Psi


class KeyReuse(Psi):
    """Every epoch has the same key."""

    def publish(
        self, entries: Any, parameters: Any, rng: Randomness, executor: Any, out: Any, progress: Any = None
    ) -> Published:
        return super().publish(entries, parameters, seeded("the one key"), executor, out)


class Gossips(Psi):
    """The nonce of each proof says what was asked before, by whomever."""

    def __init__(self) -> None:
        self.before = b""

    def answer(
        self, role: Role, state: Any, requests: Sequence[contract.Request], rng: Randomness, executor: Any
    ) -> Answer:
        nonce, self.before = sha512(self.before).digest(), requests[-1].body.encode()
        return super().answer(role, state, requests, replayed(nonce * len(requests)), executor)


class SaysNeighbours(Psi):
    """The nonce of each proof says what else is in the batch."""

    def answer(
        self, role: Role, state: Any, requests: Sequence[contract.Request], rng: Randomness, executor: Any
    ) -> Answer:
        nonce = sha512(b"".join(request.body.encode() for request in requests)).digest()
        return super().answer(role, state, requests, replayed(nonce * len(requests)), executor)


class EpochIgnored(Psi):
    """Nobody looks at the epoch."""

    def answer(
        self, role: Role, state: Any, requests: Sequence[contract.Request], rng: Randomness, executor: Any
    ) -> Answer:
        bodies: list[Any] = [request.body for request in requests]
        mine = [contract.Request(Request(state.epoch, body.blinded)) for body in bodies]
        return super().answer(role, state, mine, rng, executor)

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        reply = replies[MATCHER]
        return super().receive(
            session, setup, {MATCHER: Reply(setup.epoch, reply.evaluated, reply.proof)}, rng
        )


class EpochNotChecked(EpochIgnored, KeyReuse):
    """One key for all epochs, and nobody looks at the epoch."""


class LenientRequest(Request):
    """Ignores what is left over."""

    @classmethod
    def decode(cls, data: Buffer) -> Self:
        for end in range(len(data), 0, -1):
            try:
                return super().decode(memoryview(data)[:end])
            except ProtocolError:
                continue
        return super().decode(data)


class LenientDecode(Psi):
    """Takes requests with bytes left over."""

    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (LenientRequest,)}

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        started = super().start(state, setup, item, binding, rng)
        assert isinstance(started.step, Send)
        body = started.step.bodies[MATCHER]
        assert isinstance(body, Request)
        return Started(
            started.state, Send(started.step.session, {MATCHER: LenientRequest(body.epoch, body.blinded)})
        )


class BatchedProof(Psi):
    """The last body of a batch gets the elements of the first."""

    def answer(
        self, role: Role, state: Any, requests: Sequence[contract.Request], rng: Randomness, executor: Any
    ) -> Answer:
        return super().answer(role, state, [*requests[:-1], requests[0]], rng, executor)


class BatchFails(Psi):
    """One bad body, and the whole batch is refused."""

    def answer(
        self, role: Role, state: Any, requests: Sequence[contract.Request], rng: Randomness, executor: Any
    ) -> Answer:
        answer = super().answer(role, state, requests, rng, executor)
        for reply in answer.replies:
            if isinstance(reply, ProtocolError):
                return Answer([reply] * len(requests))
        return answer


class RoleCrash(Psi):
    """Bytes that are no group element end in an error of another kind."""

    def answer(
        self, role: Role, state: Any, requests: Sequence[contract.Request], rng: Randomness, executor: Any
    ) -> Answer:
        replies: list[Message | ProtocolError] = []
        for body in (request.body for request in requests):
            assert isinstance(body, Request)
            try:
                made = blind_evaluate(state.key, body.blinded, rng)
            except ProtocolError as error:
                raise RuntimeError("libsodium says no") from error
            replies.append(Reply(state.epoch, made.elements, made.proof))
        return Answer(replies)


@message
class Hinted(Message):
    """A reply, and a digest."""

    TAG: ClassVar[int] = 0x74
    NAME: ClassVar[str] = "cheat/reply"
    reply: Annotated[Compared, Nested(Compared)]
    hint: Annotated[bytes, Fixed(32)]


class UndeclaredHash(HashUpload):
    """hash-upload that declares the quality and not the hash."""

    info = replace(HashUpload.info, name="cheat")

    def leakage(self) -> tuple[Leak, ...]:
        return tuple(replace(leak, facts=(QUALITY,)) for leak in super().leakage())


class UndeclaredLearner(HashUpload):
    """hash-upload that says the matcher does not learn the outcome."""

    info = replace(HashUpload.info, name="cheat", learns=frozenset({Learner.DEVICE}))


class ListInSetup(HashUpload):
    """Every device gets the list."""

    info = replace(HashUpload.info, name="cheat")

    def publish(
        self,
        entries: Any,
        parameters: Any,
        rng: Randomness,
        executor: Any,
        out: Any,
        progress: Any = no_progress,
    ) -> Published:
        made = super().publish(entries, parameters, rng, executor, out, progress)
        return Published((*made.setup, *made.roles[MATCHER]), made.roles)


class NearestInReply(HashUpload):
    """A reply without a match bears the digest of the first entry."""

    info = replace(HashUpload.info, name="cheat")
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Hinted,)}

    def answer(
        self, role: Role, state: Any, requests: Sequence[contract.Request], rng: Randomness, executor: Any
    ) -> Answer:
        answer = super().answer(role, state, requests, rng, executor)
        hint = sha256(state.hashes[0].tobytes()).digest()
        made = [Hinted(reply, hint) for reply in answer.replies if isinstance(reply, Compared)]
        return Answer(made, answer.verdicts)

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        return super().receive(session, setup, {MATCHER: replies[MATCHER].reply}, rng)
