"""The two messages of token-psi; docs/wire.md."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from blindmatch_protocol.codec import Fixed, Matrix, Message, Rows, UInt, message
from blindmatch_protocol.dleq import PROOF_BYTES
from blindmatch_protocol.group import ELEMENT_BYTES

MOST_TOKENS: Final = 1024


@message
class Request(Message):
    """Device to matcher: the blinded tokens, as many for every picture, whatever the picture is."""

    TAG: ClassVar[int] = 0x40
    NAME: ClassVar[str] = "token-psi/request"

    epoch: Annotated[int, UInt(64)]
    blinded: Annotated[Rows, Matrix(ELEMENT_BYTES, most=MOST_TOKENS, least=1)]


@message
class Reply(Message):
    """Matcher to device: the key applied to every token, and one proof for all of them."""

    TAG: ClassVar[int] = 0x41
    NAME: ClassVar[str] = "token-psi/reply"

    epoch: Annotated[int, UInt(64)]
    evaluated: Annotated[Rows, Matrix(ELEMENT_BYTES, most=MOST_TOKENS, least=1)]
    proof: Annotated[bytes, Fixed(PROOF_BYTES)]
