"""Cheats of roles, and claims that are too small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256, sha512
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Buffer, Fixed, Message, Nested
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, replayed, seeded
from blindmatch_protocol.crypto.oprf import blind_evaluate
from blindmatch_protocol.designs.facts import QUALITY, leaks
from blindmatch_protocol.designs.hash_upload import Compared
from blindmatch_protocol.designs.oprf_psi import Reply, Request
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.designs.voprf.round import BlindedRequest
from msgspec.structs import replace

from planted.mutations.hooks import About, Psi, Upload, planted, variant

PIECE = 4

KeyReuse = planted("one key for all epochs", "fresh keys")(
    variant(Psi, keyed=lambda *_: seeded("the one key"))
)
planted("a key of 64 bits", "draws", "publish")(
    variant(Psi, keyed=lambda _, rng: replayed(rng.take(64)[:8] + bytes(56)))
)
planted("one nonce for all proofs", "proofs", "answer")(
    variant(Psi, nonce=lambda *_: sha512(b"the one nonce").digest())
)
planted("a reply says what else is in the batch", "batches", "answer")(
    variant(Psi, nonce=lambda _, asked: sha512(b"".join(one.body.encode() for one in asked)).digest())
)
planted("an answer depends on the batch", "batches")(
    variant(Psi, handed=lambda _, state, asked: [*asked[:-1], asked[0]])
)


@planted("what the key tells of the list is not declared", "list knowledge")
class UndeclaredGuess(Psi):
    """Says that whoever has the key knows the size of the list, and no more."""

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        return min(super().list_knowledge(parties), bm.ListKnowledge.SIZE)


class Undeclared(Psi):
    """Does not declare one fact."""

    silent: ClassVar[str]

    def leakage(self) -> tuple[bm.Leak, ...]:
        return tuple(
            replace(leak, facts=tuple(fact for fact in leak.facts if fact.name != self.silent))
            for leak in super().leakage()
        )


planted("the epoch is not declared", "declarations")(variant(Undeclared, silent="epoch"))
planted("the time of a query is not declared", "declarations")(variant(Undeclared, silent="query_time"))


class Mark(Message, tag=0xEE, name="cheat/mark"):
    """Something that a role holds of an account."""

    mark: Annotated[bytes, Fixed(16)]


@planted("an enrolment is not declared", "declarations")
class UndeclaredEnrolment(Psi):
    """Accounts enrol with a mark, and it is not declared that pictures are linked by it."""

    enrolments: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (Mark,)}

    def enrolment(self, state: Any, setup: Any, rng: Randomness) -> bm.Enrolment[Any]:
        return bm.Enrolment(state, {MATCHER: Mark(rng.take(16))})


@planted("a reply says what was asked before", "batches", "answer")
class Gossips(Psi):
    """The nonce of each proof says it, by whomever it was asked."""

    def __init__(self) -> None:
        self.before = b""

    def nonce(self, requests: Sequence[bm.Request]) -> bytes | None:
        nonce = sha512(self.before).digest()
        self.before = requests[-1].body.encode()
        return nonce


@planted("epochs of an update are mixed up", "update", "epochs of an update")
class EpochIgnored(Psi):
    """Epochs that differ by an update have one key, and nobody looks at the number."""

    def handed(self, state: Any, requests: Sequence[bm.Request]) -> Sequence[bm.Request]:
        bodies: list[Any] = [request.body for request in requests]
        return [bm.Request(Request(state.epoch, body.blinded)) for body in bodies]

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> bm.Step[Any]:
        reply = Reply(setup.epoch, replies[MATCHER].evaluated, replies[MATCHER].proof)
        return super().receive(session, setup, {MATCHER: reply}, rng)


planted("the epoch is not checked", "epoch binding")(variant(EpochIgnored, keyed=KeyReuse.keyed))


class LenientRequest(BlindedRequest, tag=Request.TAG, name=Request.NAME):
    """Ignores what is left over."""

    @classmethod
    def decode(cls, data: Buffer) -> Self:
        for end in range(len(data), 0, -1):
            try:
                return super().decode(memoryview(data)[:end])
            except ProtocolError:
                continue
        return super().decode(data)


@planted("left-over bytes are taken", "codec")
class LenientDecode(Psi):
    requests: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (LenientRequest,)}

    def sent(self, about: About, step: bm.Send[Any], rng: Randomness) -> bm.Send[Any]:
        body: Any = step.bodies[MATCHER]
        return bm.Send(step.session, {MATCHER: LenientRequest(body.epoch, body.blinded)})


@planted("one bad body spoils the batch", "batches")
class BatchFails(Psi):
    def answered(self, state: Any, requests: Sequence[bm.Request], answer: bm.Answer) -> bm.Answer:
        bad = [reply for reply in answer.replies if isinstance(reply, ProtocolError)]
        return bm.Answer(bad[:1] * len(requests)) if bad else answer


@planted("a key in an error text", "error texts", "answer")
class KeyInError(Psi):
    """Says of a request that is refused which key does not take it."""

    def answered(self, state: Any, requests: Sequence[bm.Request], answer: bm.Answer) -> bm.Answer:
        words = f"is not taken by key {int.from_bytes(state.key.reveal(), 'little')}"
        said = ProtocolError("cheat/request", words)
        replies = [said if isinstance(reply, ProtocolError) else reply for reply in answer.replies]
        return bm.Answer(replies, answer.verdicts)


@planted("hostile bytes crash the role", "hostile requests")
class RoleCrash(Psi):
    def answer(
        self,
        role: bm.Role,
        state: Any,
        requests: Sequence[bm.Request],
        rng: Randomness,
        executor: Any,
    ) -> bm.Answer:
        replies: list[Message | ProtocolError] = []
        for body in (request.body for request in requests):
            assert isinstance(body, Request)
            try:
                made = blind_evaluate(state.key, body.blinded, rng)
            except ProtocolError as error:
                raise RuntimeError("libsodium says no") from error
            replies.append(Reply(state.epoch, made.elements, made.proof))
        return bm.Answer(replies)


@planted("the hash is not declared", "games")
class UndeclaredHash(Upload):
    def leakage(self) -> tuple[bm.Leak, ...]:
        return tuple(replace(leak, facts=(QUALITY,)) for leak in super().leakage())


@planted("32 bits of a hash are declared, and all sent", "egress")
class DeclaresPart(Upload):
    def leakage(self) -> tuple[bm.Leak, ...]:
        fact = bm.Fact(
            "cheat.part",
            "32 bits of every hash",
            bm.Severity.HASH,
            lambda item, _: item.hash[:PIECE],
        )
        others = [leak for leak in super().leakage() if leak.parties != {bm.Party.MATCHER}]
        return (*others, *leaks({bm.Party.MATCHER}, fact))


@planted("a learner is not declared", "outcomes")
class UndeclaredLearner(Upload):
    """Says that the matcher does not learn the outcome."""

    info = replace(Upload.info, learns=frozenset({bm.Learner.DEVICE}))

    def answered(self, state: Any, requests: Sequence[bm.Request], answer: bm.Answer) -> bm.Answer:
        return bm.Answer(answer.replies, [self.judged(state, asked.body)[1] for asked in requests])


@planted("pictures 34 to 40 bits away are reported", "entries", "outcome")
class MatchesFurther(Upload):
    """Too far from an entry, but not so near to the limit as 32 or 33 bits."""

    def answered(self, state: Any, requests: Sequence[bm.Request], answer: bm.Answer) -> bm.Answer:
        replies = list(answer.replies)
        verdicts = list(answer.verdicts)
        for at, request in enumerate(requests):
            own: Any = request.body
            away = np.bitwise_xor(state.hashes, np.frombuffer(own.hash, np.uint8))
            bits = np.unpackbits(away, axis=1).sum(axis=1)
            for row in np.flatnonzero((bits > 33) & (bits <= 40))[:1]:
                label = state.label(int(row))
                replies[at] = Compared(True, label)
                verdicts[at] = bm.Verdict(label)
        return bm.Answer(replies, verdicts)

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> bm.Step[Any]:
        (reply,) = replies.values()
        return bm.Done(bm.Match(reply.label) if reply.matched else bm.NoMatch())


@planted("the list in the set-up", "list")
class ListInSetup(Upload):
    def published(self, made: bm.Published, entries: Any, out: Any) -> bm.Published:
        return bm.Published((*made.setup, *made.roles[MATCHER]), made.roles)


class Hinted(Message, tag=0x74, name="cheat/reply"):
    """A reply, and a digest."""

    reply: Annotated[Compared, Nested(Compared)]
    hint: Annotated[bytes, Fixed(32)]


@planted("a digest of an entry in a reply", "list")
class NearestInReply(Upload):
    """One without a match bears it, of the first entry."""

    replies: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (Hinted,)}

    def answered(self, state: Any, requests: Sequence[bm.Request], answer: bm.Answer) -> bm.Answer:
        hint = sha256(state.hashes[0].tobytes()).digest()
        made = [Hinted(reply, hint) for reply in answer.replies if isinstance(reply, Compared)]
        return bm.Answer(made, answer.verdicts)

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> bm.Step[Any]:
        return super().receive(session, setup, {MATCHER: replies[MATCHER].reply}, rng)
