"""A message as the relay sees it, and what its ciphertext is bound to.

::

    SealedMessage = version, session, [initial], header, commitment, ciphertext
      initial     X3DH's initial header; there until the first answer has come (X3DH, section 3.3)
      header      the Double Ratchet's header (Double Ratchet, section 3.1: DH key, PN, N)
      commitment  franking.py

Everything but the ciphertext goes into the associated data. Public keys are u-coordinates of Curve25519 in
their one canonical form (RFC 7748, section 5).
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

from msgspec import Struct

from blindmatch_protocol.codec import Fixed, Message, Nested, Reader, Sequence, UInt, Variable
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.content import Content
from blindmatch_protocol.messages.franking import COMMITMENT_LENGTH, MESSAGE_ID_LENGTH, FrankingMode

WIRE_VERSION: Final = 5
"""Version 1 had commitments that open as a whole, 2 no checkpoint, 3 nothing but a content inside, 4 nothing
that is asked for again."""
SESSION_TAG: Final = b"blindmatch/messenger/session/v1"
SESSION_ID_LENGTH: Final = 16
PLACE_TAG: Final = b"blindmatch/messenger/place/v1"
PLACE_LENGTH: Final = 16
CIPHERTEXT_MOST: Final = 1 << 17

_FIELD_PRIME: Final = 2**255 - 19
_TOP_BYTE: Final = _FIELD_PRIME >> 248
"""The prime's last byte in little-endian order: what has a lower one is below the prime."""


class Version(Struct, frozen=True):
    """One byte that must have one value; read first, so that another version is named as such."""

    value: int

    def write(self, value: int, step: str, field: str) -> bytes:
        if value != self.value:
            raise ProtocolError(step, f"must be {self.value}, not {value}", field)
        return value.to_bytes(1, "big")

    def read(self, reader: Reader, field: str) -> int:
        value = reader.uint(1, field)
        self.write(value, reader.step, field)
        return value


SMALL_ORDER: Final = frozenset(
    u.to_bytes(32, "little")
    for u in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _FIELD_PRIME - 1,
    )
)
"""u-coordinates of the points of curve and twist whose order divides 8 (cr.yp.to/ecdh.html, "validate"):
anybody makes signatures under them, and agrees on zeros with them."""


class Curve25519Key(Struct, frozen=True):
    """A public key: 32 bytes, little-endian, below 2^255 - 19, none of the five of small order."""

    def write(self, value: bytes, step: str, field: str) -> bytes:
        if len(value) != 32:
            raise ProtocolError(step, f"must be 32 bytes, not {len(value)}", field)
        if value[31] >= _TOP_BYTE and int.from_bytes(value, "little") >= _FIELD_PRIME:
            raise ProtocolError(step, "not the canonical form of a public key", field)
        if bytes(value) in SMALL_ORDER:
            raise ProtocolError(step, "a public key of small order", field)
        return bytes(value)

    def read(self, reader: Reader, field: str) -> bytes:
        return self.write(reader.take(32, field), reader.step, field)


class InitialHeader(Message, tag=0x66, name="messenger/initial-header"):
    """What the recipient of a first message needs for X3DH (X3DH, section 3.3)."""

    identity: Annotated[bytes, Curve25519Key()]
    """The initiator's identity key."""
    ephemeral: Annotated[bytes, Curve25519Key()]
    signed_pre_key: Annotated[bytes, Curve25519Key()]
    """Which of the responder's was used."""
    one_time: Annotated[tuple[bytes, ...], Sequence(Curve25519Key(), 1)]
    """Which one-time pre-key was used, if one was."""


class RatchetHeader(Message, tag=0x67, name="messenger/ratchet-header"):
    """The Double Ratchet's header (Double Ratchet, section 3.1)."""

    ratchet_key: Annotated[bytes, Curve25519Key()]
    """The sender's."""
    previous_chain_length: Annotated[int, UInt(32)]
    """PN."""
    number: Annotated[int, UInt(32)]
    """N."""


class SealedMessage(Message, tag=0x65, name="messenger/sealed-message"):
    """A message on the wire, version 5; earlier versions are refused."""

    version: Annotated[int, Version(WIRE_VERSION)]
    session: Annotated[bytes, Fixed(SESSION_ID_LENGTH)]
    """Name of the session, which follows from the 0x66."""
    initial: Annotated[tuple[InitialHeader, ...], Sequence(Nested(InitialHeader), 1)]
    """From the initiator until the first answer has come."""
    header: Annotated[RatchetHeader, Nested(RatchetHeader)]
    commitment: Annotated[bytes, Fixed(COMMITMENT_LENGTH)]
    ciphertext: Annotated[bytes, Variable(CIPHERTEXT_MOST)]

    def check(self) -> None:
        """The session's name follows from its initial header."""
        if self.initial and self.session != session_id(self.initial[0]):
            raise ProtocolError(self.NAME, "does not follow from the initial header", "session")

    def place(self, recipient: str) -> bytes:
        """Names the message key, 16 bytes: two messages to `recipient` in one place are under one key."""
        head = self.session + self.header.encode()
        return hashlib.sha256(PLACE_TAG + head + recipient.encode()).digest()[:PLACE_LENGTH]


class MessageBinding(Message, tag=0x68, name="messenger/binding"):
    """The first part of a message's associated data; never sent. A 0x67, 41 bytes, is appended."""

    agreement: Annotated[bytes, Variable(1024)]
    """The associated data of X3DH: both identity keys and both names."""
    version: Annotated[int, Version(WIRE_VERSION)]
    session: Annotated[bytes, Fixed(SESSION_ID_LENGTH)]
    initial: Annotated[tuple[InitialHeader, ...], Sequence(Nested(InitialHeader), 1)]
    commitment: Annotated[bytes, Fixed(COMMITMENT_LENGTH)]


def session_id(initial: InitialHeader) -> bytes:
    """The name of the session that `initial` sets up, 16 bytes; the relay can compute it as well."""
    return hashlib.sha256(SESSION_TAG + initial.encode()).digest()[:SESSION_ID_LENGTH]


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
    """The mode of a deployment, and the centre's key as a judge, which `DESIGNATED` needs; `ProtocolError` if
    that key is missing or none."""

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
