"""The two messages of oprf-psi; docs/wire.md."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from blindmatch_protocol.codec import Fixed, Matrix, Message, Rows, UInt, message
from blindmatch_protocol.dleq import PROOF_BYTES
from blindmatch_protocol.group import ELEMENT_BYTES

MOST_EVALUATIONS: Final = 1024


@message
class Request(Message):
    """Device to matcher: blinded elements, as many for every picture, whatever the picture is."""

    TAG: ClassVar[int] = 0x20
    NAME: ClassVar[str] = "oprf-psi/request"

    epoch: Annotated[int, UInt(64)]
    blinded: Annotated[Rows, Matrix(ELEMENT_BYTES, most=MOST_EVALUATIONS, least=1)]


@message
class Reply(Message):
    """Matcher to device: the key applied to every element, and one proof for all of them."""

    TAG: ClassVar[int] = 0x21
    NAME: ClassVar[str] = "oprf-psi/reply"

    epoch: Annotated[int, UInt(64)]
    evaluated: Annotated[Rows, Matrix(ELEMENT_BYTES, most=MOST_EVALUATIONS, least=1)]
    proof: Annotated[bytes, Fixed(PROOF_BYTES)]
