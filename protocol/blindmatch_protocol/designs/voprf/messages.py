"""Fields of the two messages of a VOPRF round; each design has them under its own tags (docs/wire.md)."""

from __future__ import annotations

from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Matrix, Message, Rows, UInt
from blindmatch_protocol.crypto.dleq import PROOF_BYTES
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
