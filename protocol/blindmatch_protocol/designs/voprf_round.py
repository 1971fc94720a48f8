"""The one round of designs whose device asks a batched VOPRF of a role that holds the key.

    device: blinded elements  --- Request: epoch, C --->   role: D = k*C, one proof for all (RFC 9497, 2.2)
    device: verify, finalize  <-- Reply: epoch, D, proof --

The proof ties a reply to the public key in the set-up, so a reply made with the key of another epoch, or for
one device alone, is refused; the epoch travels beside it, so that the error says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from blindmatch_protocol import group
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.contract import Answer
from blindmatch_protocol.contract import Request as Asked
from blindmatch_protocol.errors import EpochMismatchError, ProtocolError
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.oprf import Blinding, Evaluation, PublicKey, SecretKey, blind_evaluate, finalize
from blindmatch_protocol.randomness import Randomness, replayed


@dataclass(frozen=True, slots=True)
class Holder:
    """What the role that holds the key answers from.

    Attributes:
        key: the secret key, of mode VOPRF.
        epoch: the epoch in force.
        count: elements that a request must have.
    """

    key: SecretKey
    epoch: int
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """A session whose reply was verified; what it opens, and how long that takes, nobody has seen yet.

    Attributes:
        outputs: OPRF outputs, uint8 (n, 64).
        own_hash: the picture's hash, or None for a cover request.
    """

    outputs: Rows = field(repr=False)
    own_hash: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class VoprfRound:
    """The round, by its two messages.

    Attributes:
        request: has the fields `epoch` and `blinded`, uint8 (n, 32).
        reply: is made of epoch, evaluated elements, uint8 (n, 32), and proof, 64 bytes; has these fields.
    """

    request: type[Any]
    reply: type[Any]

    def answer(
        self, holder: Holder, requests: Sequence[Asked], rng: Randomness, executor: Executor | None
    ) -> Answer:
        """A reply, or what a body broke, for each. Takes 64 bytes of `rng` a body; several bodies are the
        executor's tasks, the elements of a single one are."""
        bodies = [request.body for request in requests]
        tapes = [replayed(rng.take(group.UNIFORM_BYTES)) for _ in bodies]
        if executor is None or len(bodies) < 2:
            return Answer([self._one(holder, b, t, executor) for b, t in zip(bodies, tapes, strict=True)])
        return Answer(list(executor.map(lambda b, t: self._one(holder, b, t, None), bodies, tapes)))

    def outputs(
        self,
        blinding: Blinding,
        reply: Message,
        epoch: int,
        public_key: PublicKey,
        executor: Executor | None = None,
    ) -> Rows:
        """The OPRF outputs, uint8 (n, 64), once the reply's epoch and proof have been checked.

        Raises:
            EpochMismatchError: if the reply is of another epoch than the set-up's.
            ProtocolError: if it is no reply of this round, is malformed, or its proof does not hold.
        """
        step = self.reply.NAME
        if not isinstance(reply, self.reply):
            raise ProtocolError(step, f"the device does not take {reply!r}")
        _check_epoch(reply.epoch, epoch, step)
        evaluation = Evaluation(reply.evaluated, reply.proof)
        return finalize(blinding, evaluation, public_key, executor, step)

    def simulated(self, epoch: int, count: int, rng: Randomness) -> Message:
        """A request of uniform elements. A blinded element is one too, since its blind is a uniform
        non-zero scalar and the group's order is prime; so the simulation is perfect."""
        uniform = np.frombuffer(rng.take(group.UNIFORM_BYTES * count), np.uint8)
        body: Message = self.request(epoch, group.hash_to_group(uniform.reshape(count, group.UNIFORM_BYTES)))
        return body

    def _one(
        self, holder: Holder, body: Message, tape: Randomness, executor: Executor | None
    ) -> Message | ProtocolError:
        try:
            return self._evaluated(holder, body, tape, executor)
        except ProtocolError as error:
            return error

    def _evaluated(
        self, holder: Holder, body: Message, tape: Randomness, executor: Executor | None
    ) -> Message:
        step = self.request.NAME
        if not isinstance(body, self.request):
            raise ProtocolError(step, f"the matcher does not answer {body!r}")
        _check_epoch(body.epoch, holder.epoch, step)
        if len(body.blinded) != holder.count:
            raise ProtocolError(step, f"must have {holder.count} rows, not {len(body.blinded)}", "blinded")
        evaluation = blind_evaluate(holder.key, body.blinded, tape, executor, step)
        reply: Message = self.reply(holder.epoch, evaluation.elements, evaluation.proof)
        return reply


def _check_epoch(theirs: int, mine: int, step: str) -> None:
    if theirs != mine:
        raise EpochMismatchError(step, f"epoch {mine} is in force here, not {theirs}", "epoch")
