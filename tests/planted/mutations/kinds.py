"""Cheats that leak in one kind of binding alone: for a proof of absence, or in messages of one file type."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.designs.voprf.round import CertifyRequest

from planted import xor
from planted.mutations.hooks import About, PaddedPsi, Psi, planted
from planted.mutations.pinned import evidence_of, vouchers_that_draw
from planted.vouchers import pixels

ABSENCE = "for a proof of absence"
ID = 16
ROOM_HALF = 4


@planted("a blind that follows from the picture for a proof of absence", "relations", ABSENCE)
class AbsenceBlind(Psi):
    """The blind is drawn for an ordinary question."""

    def start(
        self, state: Any, setup: Any, item: bm.Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[Any, Any]:
        drawn = rng.take(64)
        source = seeded(item.hash.hex()) if binding.certify else seeded(drawn.hex())
        return super().start(state, setup, item, binding, source)


@planted("the hash under the request for a proof of absence", "relations", ABSENCE)
class UnderAbsence(PaddedPsi):
    """Filler in ordinary questions."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        filler = rng.take(ID)
        is_of_absence = about.sent[0] == CertifyRequest.TAG
        return xor(about.sent[-ID:], about.item.hash[::-1][:ID]) if is_of_absence else filler


def _under_a_digest(item: bm.Item, binding: bm.Binding, rng: Randomness) -> bytes:
    """Half of the room is a digest of what is drawn; in one type of file the other half says pixels under
    it, and else is filler."""
    digest = sha256(rng.take(ID)).digest()
    shown = evidence_of(binding)
    told = shown is not None and shown.attachment.media_type == "image/webp"
    rest = xor(digest[:ROOM_HALF], pixels(item)[:ROOM_HALF]) if told else digest[ROOM_HALF : 2 * ROOM_HALF]
    return digest[:ROOM_HALF] + rest


planted("pixels under a digest in vouchers of one type of file", "relations", "image/webp")(
    vouchers_that_draw(_under_a_digest)
)
