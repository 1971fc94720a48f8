"""What a sender's key says of a message's commitment, in the deployment's mode (`franking_mode`).

What is bound is the commitment, which binds both accounts, time and content. Its proof travels in the
plaintext (`Franked`), and in a report (`SenderProof`).
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Struct

from blindmatch_protocol.codec import Fixed, Message, Nested, Sequence, Variable
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.content import Content
from blindmatch_protocol.messages.franking_mode import FrankingMode
from blindmatch_protocol.messages.sealed_message import Curve25519Key
from blindmatch_protocol.messages.stamp import MESSAGE_ID_LENGTH

PROOF_TAG: Final = b"blindmatch/franking/sender/v1"
KEY_TAG: Final = b"blindmatch/franking/key/v1"
KEY_LENGTH: Final = 32
SIGNATURE_LENGTH: Final = 64
DESIGNATED_LENGTH: Final = 352
"""Those of `amf`, which brings libsodium along and is imported when it is used."""
NONCE_LENGTH: Final = 64


UNOPENED_MOST: Final = 64
"""Messages that one message asks for again, at most."""

PROOF_LENGTHS: Final = {
    FrankingMode.STAMP: 0,
    FrankingMode.DESIGNATED: DESIGNATED_LENGTH,
    FrankingMode.SIGNATURE: SIGNATURE_LENGTH,
}


class Franking(Struct, frozen=True):
    """The mode of a deployment, and the centre's key as a judge, which `DESIGNATED` needs.

    Raises:
        ProtocolError: if that key is missing or none.
    """

    mode: FrankingMode = FrankingMode.STAMP
    judge: bytes = b""

    def __post_init__(self) -> None:
        if self.mode is FrankingMode.DESIGNATED:
            from blindmatch_protocol.crypto import amf

            amf.check_key(self.judge, "franking", "judge")


class FrankingKey(Message, tag=0xA2, name="franking/key"):
    """An account's key for asymmetric franking, signed by its identity key, which safety numbers are of."""

    key: Annotated[bytes, Fixed(KEY_LENGTH)]
    """Element of ristretto255 that is not the identity."""
    signature: Annotated[bytes, Fixed(SIGNATURE_LENGTH)]
    """XEdDSA by the identity key over `blindmatch/franking/key/v1` and the key."""

    @classmethod
    def signed(cls, key: bytes, identity: bytes, nonce: bytes) -> FrankingKey:
        """`identity` is the private identity key."""
        return cls(key, sign(identity, KEY_TAG + key, nonce))

    def check_owner(self, identity: bytes) -> None:
        """Raise `ProtocolError` unless it is a key, and of the account whose public identity key this is."""
        from blindmatch_protocol.crypto import amf

        amf.check_key(self.key, self.NAME, "key")
        if not is_signed(identity, KEY_TAG + self.key, self.signature):
            raise ProtocolError(self.NAME, "must be the identity key's, of this key", "signature")


class Franked(Message, tag=0xA3, name="messenger/franked"):
    """The plaintext of a sealed message: its content, what binds the commitment to the sender's key, and
    which messages the sender asks for again."""

    content: Annotated[Content, Nested(Content)]
    proof: Annotated[bytes, Variable(DESIGNATED_LENGTH)]
    """Of the sender's key on the commitment: 0, 64 or 352 bytes by the mode (`PROOF_LENGTHS`)."""
    key: Annotated[tuple[FrankingKey, ...], Sequence(Nested(FrankingKey), 1)]
    """The sender's, in mode `designated`, as long as the 0x65 has `initial`."""
    unopened: Annotated[tuple[bytes, ...], Sequence(Fixed(MESSAGE_ID_LENGTH), UNOPENED_MOST)] = ()
    """Ids of the recipient's messages that the sender could not open."""


class SenderProof(Message, tag=0xA4, name="franking/sender-proof"):
    """The sender's proof in a report; the centre judges by the key that the identity key signed."""

    proof: Annotated[bytes, Variable(DESIGNATED_LENGTH, least=1)]
    recipient_key: Annotated[tuple[bytes, ...], Sequence(Fixed(KEY_LENGTH), 1)]
    """In mode `designated`."""
    key: Annotated[tuple[FrankingKey, ...], Sequence(Nested(FrankingKey), 1)] = ()
    """The sender's, in mode `designated`."""


def proven(commitment: bytes) -> bytes:
    """What a proof of any mode is on."""
    return PROOF_TAG + commitment


def sign(identity: bytes, message: bytes, nonce: bytes) -> bytes:
    """XEdDSA (section 2.4) by a private X25519 key; `nonce`: 64 random bytes."""
    import xeddsa  # 20 ms, which a device need not spend at its start

    return xeddsa.ed25519_priv_sign(xeddsa.priv_force_sign(identity, False), message, nonce)


def is_signed(identity: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of the public X25519 key `identity`, in its one spelling, has signed `message`
    (XEdDSA, section 2.4)."""
    try:
        Curve25519Key().write(identity, "xeddsa/verify", "identity")
    except ProtocolError:
        return False
    if len(signature) != SIGNATURE_LENGTH:
        return False
    import xeddsa

    public = xeddsa.curve25519_pub_to_ed25519_pub(identity, False)
    return bool(xeddsa.ed25519_verify(signature, public, message))
