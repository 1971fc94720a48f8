"""Checkpoints: the head of a log, in the text of a signed note (c2sp.org/tlog-checkpoint), and who signs it.

    origin                  which log, and here which stream of it
    size
    base64(root)
    <empty line>
    — name base64(key id, 4 bytes || signature)        one line a signature (c2sp.org/signed-note)

Extension lines, which no log of ours writes and no monitor can audit, are refused. Keys sign a checkpoint as
its log, or cosign it as witnesses (c2sp.org/tlog-cosignature):

    0x01  Ed25519 over the text                                                               a log's
    0x04  Ed25519 over "cosignature/v1\\ntime T\\n" and the text                                a witness's
    0x06  ML-DSA-44 over the cosigned_message of subtree/v1, the witness's name in it         a witness's

An Ed25519 cosignature does not bind the witness's name, so that a key must have one name alone. ML-DSA-44
signing draws randomness: it is verified here, and made elsewhere.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from functools import lru_cache
from hashlib import sha256
from typing import ClassVar, Final

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.crypto.ed25519 import is_signature
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from msgspec import Struct
from msgspec.structs import replace
from nacl.signing import SigningKey

from blindmatch_proofs.merkle import HASH_BYTES

NOTE_STEP: Final = "signed note"
KEY_STEP: Final = "verifier key"
ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
"""Ed25519 cosignature (c2sp.org/tlog-cosignature)."""
ML_DSA_44: Final = 0x06
"""ML-DSA-44 cosignature (c2sp.org/tlog-cosignature)."""
KEY_BYTES: Final = {ED25519: 32, COSIGNATURE: 32, ML_DSA_44: 1312}
SIGNATURE_SIZES: Final = {ED25519: 64, COSIGNATURE: 72, ML_DSA_44: 2428}
"""A witness's begin with its time, 8 bytes."""
NOTE_MOST: Final = 1 << 16
SIGNATURES_MOST: Final = 64
NAME_MOST: Final = 255
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DASH: Final = "\u2014 "
_ID_BYTES: Final = 4


class VerifierKey(Struct, frozen=True):
    """A public key with its name ("vkey"); `ProtocolError` if the name is none, the kind is not known, or the
    key has another length.

    Attributes:
        name: whose it is, a schema-less URL by custom.
    """

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name, KEY_STEP)
        if KEY_BYTES.get(self.kind) != len(self.public):
            raise ProtocolError(KEY_STEP, "must be Ed25519 or ML-DSA-44, of a kind known here", "key")

    @property
    def id(self) -> bytes:
        """Return the four bytes that stand for the key in a note ("Signatures")."""
        hashed = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return sha256(hashed).digest()[:_ID_BYTES]

    @property
    def text(self) -> str:
        """Return ``name+id+key`` ("Verifier keys")."""
        return f"{self.name}+{self.id.hex()}+{encode_base64(bytes([self.kind]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a key from its text.

        Raises:
            ProtocolError: The text is no key, or the id does not follow from name and key.
        """
        name, _, rest = text.partition("+")
        key_id, _, key = rest.partition("+")
        raw = decode_base64(key, KEY_STEP, "key")
        verifier_key = cls(name, raw[0] if raw else 0, raw[1:])
        if verifier_key.id.hex() != key_id:
            raise ProtocolError(KEY_STEP, "must be the one that follows from name and key", "id")
        return verifier_key


class NoteSignature(Struct, frozen=True):
    """A signature line: whose, the key's id, and the signature."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """Return the line with its end, as it stands in a note."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}\n"

    @classmethod
    def parse(cls, line: str) -> NoteSignature:
        """Read the signature on a line without its end; `ProtocolError` if it is none."""
        name, _, rest = line.removeprefix(_DASH).partition(" ")
        raw = decode_base64(rest, NOTE_STEP, "signature")
        if not line.startswith(_DASH) or len(raw) <= _ID_BYTES:
            raise ProtocolError(
                NOTE_STEP, "must be a dash, a name, and base64 of more than 4 bytes", "signature"
            )
        check_name(name, NOTE_STEP)
        return cls(name, raw[:_ID_BYTES], raw[_ID_BYTES:])

    def is_by(self, key: VerifierKey) -> bool:
        """Tell if the signature claims to be by `key`; only `verify_signature` says if it is."""
        return (self.name, self.key_id) == (key.name, key.id)


class Note(Struct, frozen=True):
    """A text and its signatures."""

    text: str
    signatures: tuple[NoteSignature, ...] = ()

    def encode(self) -> bytes:
        """Return the note's bytes ("Format")."""
        return (self.text + "\n" + "".join(signature.line for signature in self.signatures)).encode()

    @classmethod
    def parse(cls, raw: bytes) -> Note:
        """Read the note with exactly these bytes; `ProtocolError` if there is none ("Format")."""
        if len(raw) > NOTE_MOST:
            raise ProtocolError(NOTE_STEP, f"must be at most {NOTE_MOST} bytes")
        try:
            whole = raw.decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(NOTE_STEP, "must be UTF-8") from error
        if _CONTROL.search(whole):
            raise ProtocolError(NOTE_STEP, "must have no control character but line ends")
        text, empty, signed = whole.rpartition("\n\n")
        lines = signed.split("\n")
        if not (text and empty) or lines[-1] or not 1 < len(lines) <= SIGNATURES_MOST + 1:
            raise ProtocolError(
                NOTE_STEP, f"must be a text, an empty line and 1 to {SIGNATURES_MOST} signatures"
            )
        return cls(text + "\n", tuple(NoteSignature.parse(line) for line in lines[:-1]))

    def add_signatures(self, *more: NoteSignature) -> Note:
        """Return the note with `more` signatures behind its own."""
        return replace(self, signatures=(*self.signatures, *more))


@lru_cache(256)
def check_name(name: str, step: str) -> None:
    """Raise `ProtocolError` unless `name` may name a key."""
    if not 0 < len(name.encode(errors="replace")) <= NAME_MOST or any(
        character in "+\n" or character.isspace() or unicodedata.category(character)[0] == "C"
        for character in name
    ):
        raise ProtocolError(step, f"must be 1 to {NAME_MOST} bytes without spaces, + and controls", "name")


def encode_base64(raw: bytes) -> str:
    """Return the base64 of bytes (RFC 4648, section 4)."""
    return base64.b64encode(raw).decode()


def decode_base64(text: str, step: str, field: str) -> bytes:
    """Return the bytes that `encode_base64` was given; `ProtocolError` for any other text."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ProtocolError(step, "must be base64", field) from error
    if encode_base64(raw) != text:
        raise ProtocolError(step, "must be canonical base64", field)
    return raw


def parse_decimal(text: str, step: str, field: str) -> int:
    """Read a number as a log writes it.

    Raises:
        ProtocolError: The text is not ASCII digits without a zero in front, or the number not below 2^63.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 19) or str(int(text)) != text:
        raise ProtocolError(step, "must be decimal, without zeros in front", field)
    if int(text) >= 1 << 63:
        raise ProtocolError(step, "must be below 2^63", field)
    return int(text)


STEP: Final = "checkpoint"
_LINES: Final = 3


class Checkpoint(Struct, frozen=True):
    """The head of a log: `size` leaves under `root`."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """Return the text that is signed ("Note text")."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    @classmethod
    def from_note(cls, note: Note) -> Checkpoint:
        """Read the checkpoint in a note's text; no signature is verified.

        Raises:
            ProtocolError: The text is no checkpoint, or has extension lines.
        """
        lines = note.text.split("\n")[:-1]
        if len(lines) != _LINES:
            raise ProtocolError(STEP, "must be three lines: origin, size and root")
        origin, size, root = lines
        check_name(origin, STEP)
        raw = decode_base64(root, STEP, "root")
        if len(raw) != HASH_BYTES:
            raise ProtocolError(STEP, f"must be {HASH_BYTES} bytes", "root")
        return cls(origin, parse_decimal(size, STEP, "size"), raw)


LABEL: Final = b"subtree/v1\n\0"
TIME_BYTES: Final = 8


class NoteSigner(Redacted, Struct, frozen=True):
    """An Ed25519 key that signs checkpoints: a log's of kind 0x01, a witness's of kind 0x04."""

    SHOWN: ClassVar = ("key",)

    key: VerifierKey
    _secret: SigningKey

    @classmethod
    def from_seed(cls, name: str, kind: int, seed: bytes) -> NoteSigner:
        """Derive the key from 32 secret bytes (RFC 8032, section 5.1.5)."""
        secret = SigningKey(seed)
        return cls(VerifierKey(name, kind, bytes(secret.verify_key)), secret)

    def sign(self, text: str, now: int = 0) -> NoteSignature:
        """Sign the text of a checkpoint; a cosignature says it was the largest at `now`, Unix seconds."""
        if self.key.kind == ED25519:
            signature = self._secret.sign(text.encode()).signature
        else:
            signed = self._secret.sign(_encode_cosigned(text, now)).signature
            signature = now.to_bytes(TIME_BYTES, "big") + signed
        return NoteSignature(self.key.name, self.key.id, signature)


def verify_signature(key: VerifierKey, signature: NoteSignature, text: str) -> int | None:
    """Verify that `signature` is by `key` over `text`.

    Returns:
        When `key` signed, in Unix seconds; 0 for a log's own signature; None if the signature is not valid.

    Raises:
        ProtocolError: `key` is of ML-DSA-44, which signs checkpoints alone, and the text is none.
    """
    raw = signature.signature
    if not signature.is_by(key):
        return None
    if key.kind == ED25519:
        return 0 if is_signature(key.public, text.encode(), raw) else None
    signed_at = int.from_bytes(raw[:TIME_BYTES], "big")
    if len(raw) <= TIME_BYTES or signed_at >> 63:
        return None
    if key.kind == COSIGNATURE:
        is_valid = is_signature(key.public, _encode_cosigned(text, signed_at), raw[TIME_BYTES:])
    else:
        is_valid = _is_ml_dsa(key, raw[TIME_BYTES:], signed_at, Checkpoint.from_note(Note(text)))
    return signed_at if is_valid else None


def find_signature(key: VerifierKey, note: Note) -> NoteSignature | None:
    """Return the first valid signature by `key` in a note, or None; raises as `verify_signature`."""
    for signature in note.signatures:
        if verify_signature(key, signature, note.text) is not None:
            return signature
    return None


def _encode_cosigned(text: str, signed_at: int) -> bytes:
    """Return the bytes that a cosignature covers ("Ed25519 signed message")."""
    return f"cosignature/v1\ntime {signed_at}\n{text}".encode()


def _is_ml_dsa(key: VerifierKey, signature: bytes, signed_at: int, head: Checkpoint) -> bool:
    """Tell if a cosignature of ML-DSA-44 is valid ("ML-DSA-44 signed message")."""
    if key.kind != ML_DSA_44:
        raise ProtocolError("cosignature", "is of no kind that is known here", "key")
    name = key.name.encode()
    origin = head.origin.encode()
    parts = (LABEL, bytes([len(name)]), name, signed_at.to_bytes(8, "big"), bytes([len(origin)]), origin)
    signed = b"".join((*parts, bytes(8), head.size.to_bytes(8, "big"), head.root))
    try:
        MLDSA44PublicKey.from_public_bytes(key.public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True
