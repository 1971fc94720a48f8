"""What keys sign of a checkpoint: a log's own signature, and cosignatures (c2sp.org/tlog-cosignature).

    0x01  Ed25519 over the text                                                               a log's
    0x04  Ed25519 over "cosignature/v1\\ntime T\\n" and the text                                a witness's
    0x06  ML-DSA-44 over the cosigned_message of subtree/v1, the witness's name in it         a witness's

An Ed25519 cosignature does not bind the witness's name, so that a key must have one name alone. ML-DSA-44
signing draws randomness: it is verified here, and made elsewhere.
"""

from __future__ import annotations

from typing import ClassVar, Final

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from msgspec import Struct
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from blindmatch_proofs.checkpoint import Checkpoint
from blindmatch_proofs.signed_note import COSIGNATURE, ED25519, ML_DSA_44, Note, NoteSignature, VerifierKey

LABEL: Final = b"subtree/v1\n\0"
TIME_BYTES: Final = 8
_ED25519_BYTES: Final = 64


class NoteSigner(Redacted, Struct, frozen=True):
    """An Ed25519 key that signs checkpoints: a log's of kind 0x01, a witness's of kind 0x04.

    Attributes:
        key: the public half, with name and kind.
    """

    SHOWN: ClassVar = ("key",)

    key: VerifierKey
    _secret: SigningKey

    @classmethod
    def of(cls, name: str, kind: int, seed: bytes) -> NoteSigner:
        """The key that follows from 32 secret bytes (RFC 8032, section 5.1.5)."""
        secret = SigningKey(seed)
        return cls(VerifierKey(name, kind, bytes(secret.verify_key)), secret)

    def sign(self, text: str, now: int = 0) -> NoteSignature:
        """Sign the text of a checkpoint; a cosignature says it was the largest at `now`, Unix seconds."""
        if self.key.kind == ED25519:
            return self._line(self._secret.sign(text.encode()).signature)
        signed = self._secret.sign(_cosigned(text, now)).signature
        return self._line(now.to_bytes(TIME_BYTES, "big") + signed)

    def _line(self, signature: bytes) -> NoteSignature:
        return NoteSignature(self.key.name, self.key.id, signature)


def verify_signature(key: VerifierKey, signature: NoteSignature, text: str) -> int | None:
    """When `key` signed `text`, in Unix seconds, 0 for a log's own signature; None if it did not.

    Raises:
        ProtocolError: if `key` signs checkpoints alone, and the text is none.
    """
    raw = signature.signature
    if not signature.is_by(key):
        return None
    if key.kind == ED25519:
        return 0 if _ed25519(key.public, raw, text.encode()) else None
    at = int.from_bytes(raw[:TIME_BYTES], "big")
    if len(raw) <= TIME_BYTES or at >> 63:
        return None
    if key.kind == COSIGNATURE:
        return at if _ed25519(key.public, raw[TIME_BYTES:], _cosigned(text, at)) else None
    return at if _ml_dsa(key, raw[TIME_BYTES:], at, Checkpoint.of(Note(text))) else None


def _cosigned(text: str, at: int) -> bytes:
    """What a cosignature covers ("Ed25519 signed message")."""
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _ed25519(public: bytes, signature: bytes, signed: bytes) -> bool:
    if len(signature) != _ED25519_BYTES:
        return False
    try:
        VerifyKey(public).verify(signed, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def _ml_dsa(key: VerifierKey, signature: bytes, at: int, head: Checkpoint) -> bool:
    """See "ML-DSA-44 signed message"."""
    if key.kind != ML_DSA_44:
        raise ProtocolError("cosignature", "is of no kind that is known here", "key")
    name, origin = key.name.encode(), head.origin.encode()
    parts = (LABEL, bytes([len(name)]), name, at.to_bytes(8, "big"), bytes([len(origin)]), origin)
    signed = b"".join((*parts, bytes(8), head.size.to_bytes(8, "big"), head.root))
    try:
        MLDSA44PublicKey.from_public_bytes(key.public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True
