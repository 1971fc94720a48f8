"""Option 1c to the letter: an intermediate form of every picture goes to the server, which ends the hash.

The form is what PDQ has before it takes signs: how far each coefficient of the 16 x 16 DCT is from their
median.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from msgspec.structs import replace

from blindmatch_protocol import contract as bm
from blindmatch_protocol.designs.facts import QUALITY, QUERY_TIME
from blindmatch_protocol.designs.hash_upload import MATCHER, Asked, HashUpload

FORM_BYTES: Final = 4 * 256
EVERY_FORM: Final = bm.Fact(
    "coefficients",
    "the 256 coefficients of every picture: its hash, and a coarse picture of it",
    bm.Severity.HASH,
    lambda item, _: item.coefficients.astype("<f4").tobytes(),
    frozenset({bm.Shows.HASH}),
    bm.Topic.SEARCH,
    "looks for any picture, has coarse copies",
    "nobody",
)


class Form(bm.Message, tag=0x32, name="partial-hash/request"):
    """How far each of a picture's coefficients is from the median."""

    coefficients: Annotated[bytes, bm.Fixed(FORM_BYTES)]
    """256 times float32, little-endian, finite, in the order of the hash's bits."""
    quality: Annotated[int, bm.UInt(8)]
    """0 to 100."""

    def check(self) -> None:
        """Quality is 0 to 100, coefficients are numbers."""
        if self.quality > 100:
            raise bm.ProtocolError(self.NAME, "must be 0 to 100", "quality")
        if not np.isfinite(np.frombuffer(self.coefficients, "<f4")).all():
            raise bm.ProtocolError(self.NAME, "must be finite numbers", "coefficients")


class PartialHash(HashUpload):
    """The matcher sees what the hash is made of, and learns the outcome; it tells the device."""

    info = replace(
        HashUpload.info,
        name="partial-hash",
        version=1,
        option="1c",
        summary="The device uploads the coefficients that its hash is made of; the matcher compares.",
    )
    requests: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {MATCHER: (Form,)}
    facts = (EVERY_FORM, QUALITY, QUERY_TIME)

    def start(
        self, state: bm.NoState, setup: int, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, Asked]:
        form = Form(item.coefficients.astype("<f4").tobytes(), item.quality)
        return bm.Started(state, bm.Send(Asked(item.hash), {MATCHER: form}))

    def asked(self, body: bm.Message) -> bytes | None:
        assert isinstance(body, Form)
        bits = np.frombuffer(body.coefficients, "<f4") > 0
        good = body.quality >= self.info.relation.minimum_quality
        return np.packbits(bits).tobytes() if good else None

    def simulate(
        self, role: bm.Role, facts: Mapping[str, Any], output: object, rng: bm.Randomness
    ) -> tuple[bm.Message, ...]:
        return (Form(facts["coefficients"], facts["quality"]),)


DESIGN: Final = PartialHash()
