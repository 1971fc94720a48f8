"""The message that a picture is sent in, as a design may bind what it hands out to it."""

from __future__ import annotations

from typing import ClassVar, Final

from msgspec import Struct

from blindmatch_protocol.codec.redacted import Redacted


class Binding(Redacted, Struct, frozen=True):
    """Of one message; nobody but the device has it before the message is sent.

    Attributes:
        commitment: the message's franking commitment, 32 bytes; the provider sees it with the message.
        evidence: what a report would tell of the message beside the picture, an encoded
            `franking.Evidence`; empty where there is none. It is for the centre alone, under seal.
        certify: whether the replies are for others to verify later, who set no deadline: a design that has
            more than one form of proof asks for the one that stays sound then.
    """

    SHOWN: ClassVar = ("commitment",)

    commitment: bytes
    evidence: bytes
    certify: bool = False


UNBOUND: Final = Binding(bytes(32), b"")
"""The binding of a picture that is in no message: in harnesses, benches and vectors."""
CERTIFYING: Final = Binding(bytes(32), b"", certify=True)
"""That of a session whose replies are shown to others: a proof of absence."""
