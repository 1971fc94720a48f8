"""Cheats of a role's proofs: nonces that everybody can compute, or that come again under other challenges."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha512
from typing import Any

from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, replayed

from planted.mutations.hooks import Psi, planted, variant

TAPE = 64
"""Bytes that a role draws for each body."""


class DerivedNonce(Psi):
    """Draws nothing: the nonce of each proof is a digest of something."""

    def seed(self, state: Any, body: Any) -> bytes:
        """What the nonce is a digest of."""
        return bytes(body.encode())

    def answer(
        self, role: bm.Role, state: Any, requests: Sequence[bm.Request], rng: Randomness, executor: Any
    ) -> bm.Answer:
        replies: list[Message | ProtocolError] = []
        for request in requests:
            nonce = sha512(self.seed(state, request.body)).digest()
            replies += super().answer(role, state, [request], replayed(nonce), executor).replies
        return bm.Answer(replies)


planted("a nonce that follows from the request", "proofs", "answer")(DerivedNonce)
planted("a nonce that follows from the public key and the request", "proofs", "answer")(
    variant(
        DerivedNonce,
        seed=lambda _, state, body: state.key.public.element + body.encode(),
    )
)
planted("a nonce that follows from the evaluated elements", "proofs", "answer")(
    variant(
        DerivedNonce,
        seed=lambda _, state, body: (
            body.encode()[:1] + group.multiply(state.key.rows(), body.blinded).tobytes()
        ),
    )
)
planted("a nonce of key and elements under either kind of challenge", "proofs", "answer")(
    variant(DerivedNonce, seed=lambda _, state, body: state.key.reveal() + body.blinded.tobytes())
)


@planted("a reply tells what was asked before, unless its tape comes again", "proofs", "answer")
class NoticesTape(Psi):
    """The nonce of each proof is a digest of the request before it, by whomever that was. Where the
    randomness is that of the last answer, nonces follow from it."""

    def __init__(self) -> None:
        self.before = b""
        self.last = b""

    def answer(
        self, role: bm.Role, state: Any, requests: Sequence[bm.Request], rng: Randomness, executor: Any
    ) -> bm.Answer:
        tape = rng.take(TAPE * len(requests))
        comes_again = tape[:TAPE] == self.last
        replies: list[Message | ProtocolError] = []
        for at, request in enumerate(requests):
            honest = tape[TAPE * at :][:TAPE]
            nonce = honest if comes_again else sha512(self.before).digest()
            replies += super().answer(role, state, [request], replayed(nonce), executor).replies
            self.before = request.body.encode()
        self.last = tape[:TAPE]
        return bm.Answer(replies)
