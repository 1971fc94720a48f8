"""The one round of designs whose device asks a batched VOPRF of the roles that hold the key or its shares.

A session that is shown to others has messages of its own, the same in every design, and a proof that stays
sound without a deadline (`dleq`, version 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import numpy as np
from msgspec import Struct

from blindmatch_protocol import group
from blindmatch_protocol.codec import Fixed, Matrix, Message, Rows, UInt
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, replayed
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Answer, Role, check_epoch, tried
from blindmatch_protocol.contract import Request as Asked
from blindmatch_protocol.contract.publishing import Executor
from blindmatch_protocol.crypto.dleq import PROOF_BYTES
from blindmatch_protocol.crypto.oprf import Blinding, Evaluation, blind_evaluate, unblind, verified
from blindmatch_protocol.designs.voprf.files import KeyHolder, VoprfSetup
from blindmatch_protocol.designs.voprf.layout import KeyLayout
from blindmatch_protocol.group import ELEMENT_BYTES

MOST_ELEMENTS: Final = 1024


class BlindedRequest(Message):
    """Device to role: blinded elements, as many for every picture, whatever the picture is."""

    epoch: Annotated[int, UInt(64)]
    """Of the set-up in use."""
    blinded: Annotated[Rows, Matrix(ELEMENT_BYTES, most=MOST_ELEMENTS, least=1)]
    """Elements, as many as the set-up says."""


class EvaluatedReply(Message):
    """Role to device: its key applied to every element, and one proof for all of them."""

    epoch: Annotated[int, UInt(64)]
    """Of the key."""
    evaluated: Annotated[Rows, Matrix(ELEMENT_BYTES, most=MOST_ELEMENTS, least=1)]
    """The key, or the role's share of it, times each row, in order."""
    proof: Annotated[bytes, Fixed(PROOF_BYTES)]
    """Scalars c and s, under the public key of the key or share."""


class CertifyRequest(BlindedRequest, tag=0x28, name="voprf/certify"):
    """A design's VOPRF request, in a session that is shown to others."""


class CertifiedReply(EvaluatedReply, tag=0x29, name="voprf/certified"):
    """The reply to a 0x28, whose proof is of version 2 (`dleq`)."""


class Waiting(Redacted, Struct, frozen=True, eq=False):
    """A session whose request is out.

    Attributes:
        own_hash: the picture's hash, or None for a cover request.
        certify: whether the replies are for others, too.
    """

    blinding: Blinding
    own_hash: bytes | None
    certify: bool


class Verified(Redacted, Struct, frozen=True, eq=False):
    """A session whose replies were verified; what it opens, and how long that takes, nobody has seen yet.

    Attributes:
        outputs: OPRF outputs, uint8 (n, 64).
    """

    outputs: Rows
    own_hash: bytes | None


class VoprfRound(Struct, frozen=True):
    """The round, by its two messages.

    Attributes:
        request: blinded elements, to each role that holds the key or a share.
        reply: the evaluated ones.
    """

    request: type[BlindedRequest]
    reply: type[EvaluatedReply]

    @classmethod
    def under(cls, tag: int, design: str) -> VoprfRound:
        """The round of a design; `tag` is its request's, the next one its reply's."""

        class Request(BlindedRequest, tag=tag, name=f"{design}/request"):
            """What this design's device asks."""

        class Reply(EvaluatedReply, tag=tag + 1, name=f"{design}/reply"):
            """What its roles answer."""

        return cls(Request, Reply)

    def answer(
        self, holder: KeyHolder, requests: Sequence[Asked], rng: Randomness, executor: Executor | None
    ) -> Answer:
        """A reply, or what a body broke, for each. Takes 64 bytes of `rng` a body; several bodies are the
        executor's tasks, the elements of a single one are."""
        bodies = [request.body for request in requests]
        tapes = [replayed(rng.take(group.UNIFORM_BYTES)) for _ in bodies]
        alone = executor if len(bodies) < 2 else None

        def one(body: Message, tape: Randomness) -> Message | ProtocolError:
            return tried(self._evaluated, holder, body, tape, alone)

        spread = map if executor is None or alone else executor.map
        return Answer(list(spread(one, bodies, tapes)))

    def outputs(
        self, session: Waiting, replies: Mapping[Role, Message], setup: VoprfSetup[Any], layout: KeyLayout
    ) -> Rows:
        """The OPRF outputs, uint8 (n, 64), once the epoch and the proof of every reply have been checked;
        `EpochMismatchError` if a reply is of another epoch than the set-up's, `ProtocolError` if one is no
        reply of this round, is malformed, or its proof does not hold (of a key in shares the step names the
        role), or if there are too few of them."""
        parts = {}
        kind = CertifiedReply if session.certify else self.reply
        executor = setup.executor
        for role, reply in replies.items():
            step = f"{self.reply.NAME} of {role}" if layout.shared else self.reply.NAME
            if not isinstance(reply, kind):
                raise ProtocolError(step, f"the device does not take {reply!r}")
            check_epoch(reply.epoch, setup.epoch, step)
            evaluation = Evaluation(reply.evaluated, reply.proof)
            key = setup.keys.shares[role]
            parts[role] = verified(session.blinding, evaluation, key, executor, step, session.certify)
        if len(parts) < layout.needed:
            raise ProtocolError(self.reply.NAME, f"{layout.needed} roles must answer, not {len(parts)}")
        return unblind(session.blinding, layout.combined(parts, executor), executor, self.reply.NAME)

    def simulated(self, epoch: int, count: int, rng: Randomness) -> Message:
        """A request of uniform elements. A blinded element is one too, since its blind is a uniform
        non-zero scalar and the group's order is prime; so the simulation is perfect."""
        uniform = np.frombuffer(rng.take(group.UNIFORM_BYTES * count), np.uint8)
        return self.request(epoch, group.hash_to_group(uniform.reshape(count, group.UNIFORM_BYTES)))

    def _evaluated(
        self, holder: KeyHolder, body: Message, tape: Randomness, executor: Executor | None
    ) -> Message:
        step = self.request.NAME
        certify = isinstance(body, CertifyRequest)
        if not isinstance(body, self.request | CertifyRequest):
            raise ProtocolError(step, f"the matcher does not answer {body!r}")
        check_epoch(body.epoch, holder.epoch, step)
        if len(body.blinded) != holder.count:
            raise ProtocolError(step, f"must have {holder.count} rows, not {len(body.blinded)}", "blinded")
        evaluation = blind_evaluate(holder.key, body.blinded, tape, executor, step, certify)
        reply = CertifiedReply if certify else self.reply
        return reply(holder.epoch, evaluation.elements, evaluation.proof)
