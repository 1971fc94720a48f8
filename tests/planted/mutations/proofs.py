"""Cheats of a role's proofs: nonces that everybody can compute, or that come again under other challenges."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha512
from typing import Any

from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import GroupError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, replayed

from planted.mutations.hooks import Psi, planted, variant

TAPE = 64
"""Bytes that a role draws for each body."""
MOST_NOTICED = 64
"""Tapes that a role keeps to notice that one comes again."""


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


@planted("a nonce that follows from the evaluated elements", "proofs", "answer")
class EvaluatedNonce(DerivedNonce):
    """Whoever asks gets them, and so has the nonce."""

    def seed(self, state: Any, body: Any) -> bytes:
        kind = bytes(body.encode()[:1])
        try:
            return kind + group.multiply(state.key.rows(), body.blinded).tobytes()
        except GroupError:
            return kind  # the body is refused


planted("a nonce of key and elements under either kind of challenge", "proofs", "answer")(
    variant(DerivedNonce, seed=lambda _, state, body: state.key.reveal() + body.blinded.tobytes())
)


@planted("a reply tells what was asked before, unless its tape comes again", "proofs", "answer")
class NoticesTape(Psi):
    """The nonce of each proof is a digest of the request before it, by whomever that was, if that was another
    one. Where randomness comes again, so does the nonce."""

    def __init__(self) -> None:
        self.before = b""
        self.nonces: dict[bytes, bytes] = {}

    def answer(
        self, role: bm.Role, state: Any, requests: Sequence[bm.Request], rng: Randomness, executor: Any
    ) -> bm.Answer:
        replies: list[Message | ProtocolError] = []
        for request in requests:
            tape = rng.take(TAPE)
            body = request.body.encode()
            told = tape if self.before in (b"", body) else sha512(self.before).digest()
            nonce = self.nonces.setdefault(tape, told)
            replies += super().answer(role, state, [request], replayed(nonce), executor).replies
            self.before = body
            while len(self.nonces) > MOST_NOTICED:
                del self.nonces[next(iter(self.nonces))]
        return bm.Answer(replies)
