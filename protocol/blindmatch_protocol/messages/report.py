"""Reports to the centre: what a confirmed match is turned into, and how it is sealed; and cover for them.

Sealing is HPKE in base mode (RFC 9180, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM). The library's
interface takes no associated data, so the report id is bound through `info`. A slot of a cover schedule is
sealed likewise, under an info of its own, and its size is one that no sealed report has.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from blindmatch_protocol.codec import Fixed, Message, Nested, Sequence, Text, UInt, Variable
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract.steps import NO_LABEL, Flag, Label
from blindmatch_protocol.messages.content import MEDIA_TYPE_MOST, pad_attachment, unpad_attachment
from blindmatch_protocol.messages.franking import AttachmentDigest, CommitmentOpening, Evidence, Stamp
from blindmatch_protocol.messages.sealed_message import SenderProof

REPORT_INFO: Final = b"blindmatch/report/6"
NAME_BYTES: Final = 64
MOST_PICTURE_BYTES: Final = 32 << 20
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Report(Message, tag=0x15, name="report"):
    """A confirmed match, or a flag, as the centre gets it, version 6.

    A flag has the score that the item got, and zeros for a label (`NO_LABEL`). A match has no score.

    `sender`, `recipient`, `sent_at_ms`, and digest and media type of `picture` are what `opening` shows of
    the message that bore the picture; nothing else of the message is in a report. `stamp` is the relay's,
    `sender_proof` the sender's, where the mode of franking has one. A provider that reads messages itself has
    none of them, names no recipient, and its word counts for the rest.
    """

    report_id: Annotated[bytes, Fixed(16)]
    """Random; the id that it is submitted under."""
    design: Annotated[str, Text(NAME_BYTES)]
    version: Annotated[int, UInt(32)]
    """Of the design's messages."""
    epoch: Annotated[int, UInt(64)]
    """Of the set that matched."""
    label: Annotated[Label, Nested(Label)]
    """The opened label; zeros for a flag."""
    reporter: Annotated[str, Text(NAME_BYTES)]
    """Account of the certificate that submits."""
    sender: Annotated[str, Text(NAME_BYTES)]
    recipient: Annotated[str, Text(NAME_BYTES)]
    """Empty if a provider reports, or if the device says that the picture went to several."""
    sent_at_ms: Annotated[int, UInt(64)]
    """By the sender's clock; if a provider reports, when it saw the picture."""
    matched_at_ms: Annotated[int, UInt(64)]
    """Milliseconds since 1970."""
    media_type: Annotated[str, Text(MEDIA_TYPE_MOST)]
    opening: Annotated[tuple[CommitmentOpening, ...], Sequence(Nested(CommitmentOpening), 1)]
    """None if a provider reports."""
    picture: Annotated[bytes, Variable(MOST_PICTURE_BYTES)]
    """The picture file."""
    score: Annotated[bytes, Variable(8)] = b""
    """A flag's, IEEE 754, 8 bytes, big-endian, finite; empty for a match."""
    stamp: Annotated[tuple[Stamp, ...], Sequence(Nested(Stamp), 1)] = ()
    """None if a provider reports."""
    sender_proof: Annotated[tuple[SenderProof, ...], Sequence(Nested(SenderProof), 1)] = ()
    """One if the mode of franking has one."""

    def check(self) -> None:
        """A score is a number, and stands in the place of a label."""
        if self.flag is not None and self.label != NO_LABEL:
            raise ProtocolError(self.NAME, "must be all zeros where there is a score", "label")

    @property
    def flag(self) -> Flag | None:
        """The flag, if that is what is reported."""
        return Flag.decode(self.score, self.NAME) if self.score else None

    @property
    def evidence(self) -> Evidence:
        """What the opening must show, and the opening, which there must be."""
        attachment = AttachmentDigest(hashlib.sha256(self.picture).digest(), self.media_type)
        return Evidence(self.sender, self.recipient, self.sent_at_ms, attachment, *self.opening)


def seal_report(report: Report, centre_key: bytes) -> bytes:
    """Seal `report` to the centre's X25519 public key (32 bytes).

    The length of the result depends on the padded length of the report alone (`content`, Padmé).
    """
    return sealed_to(centre_key, REPORT_INFO + report.report_id, pad_attachment(report.encode()))


def open_report(sealed: bytes, report_id: bytes, private_key: X25519PrivateKey) -> Report:
    """Open a sealed report at the centre; `ProtocolError` if it is not sealed to this key under this id, or
    is not a canonical report of this version."""
    padded = opened_with(private_key, REPORT_INFO + report_id, sealed)
    if padded is None:
        raise ProtocolError("report", "must be sealed to this centre under its report id")
    report = Report.decode(unpad_attachment(padded))
    if report.report_id != report_id:
        raise ProtocolError("report", "must be the id it was submitted under", "report_id")
    return report


def sealed_to(centre_key: bytes, info: bytes, plaintext: bytes) -> bytes:
    """`plaintext` sealed to the centre's X25519 public key (32 bytes)."""
    return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(centre_key), info)


def opened_with(private_key: X25519PrivateKey, info: bytes, sealed: bytes) -> bytes | None:
    """What was sealed to the centre under `info`; None if nothing was."""
    try:
        return _SUITE.decrypt(sealed, private_key, info)
    except (InvalidTag, ValueError):
        return None


SLOT_INFO: Final = b"blindmatch/cover-slot/1"
SLOT_SIZES: Final = (16 << 10, 64 << 10, 256 << 10)
"""Bytes of a sealed slot: the size classes of a schedule."""

SEAL_BYTES: Final = 48
"""Encapsulated key and tag."""

MOST_FRAGMENTS: Final = 4096
KEPT_MS: Final = 7 * 24 * 60 * 60 * 1000
"""A centre keeps fragments that wait for so long after the last one of their submission came. A device that
has let more time pass between two begins again with the first."""
_HEAD_BYTES: Final = 1 + 16 + 4 + 4 + 4 + 4


class Slot(Message, tag=0x11, name="cover/slot"):
    """What is in a slot of a cover schedule. `count` is 0 in one that bears nothing."""

    submission: Annotated[bytes, Fixed(16)]
    """Id of the report that this is a fragment of; random in a slot that bears nothing."""
    position: Annotated[int, UInt(32)]
    """The fragment's, from 0 on."""
    count: Annotated[int, UInt(32)]
    """Fragments of the report, up to 4,096; 0 in a slot that bears nothing."""
    data: Annotated[bytes, Variable(SLOT_SIZES[-1])]
    """The fragment; empty in a slot that bears nothing, and in no other."""
    padding: Annotated[bytes, Variable(SLOT_SIZES[-1])]
    """Zeros, up to the slot's size."""

    def check(self) -> None:
        """A fragment is one of its submission's, and not empty; padding is zeros."""
        if self.count > MOST_FRAGMENTS or (self.count and self.position >= self.count):
            raise ProtocolError(self.NAME, "must be below count, and count at most 4096", "position")
        if bool(self.count) != bool(self.data):
            raise ProtocolError(self.NAME, "must be there in a fragment, and in nothing else", "data")
        if self.padding.strip(b"\x00"):
            raise ProtocolError(self.NAME, "must be zeros", "padding")


def capacity(size: int) -> int:
    """Bytes of a sealed report that fit a slot of `size` bytes."""
    return size - SEAL_BYTES - _HEAD_BYTES


def fragments_of(length: int, size: int) -> int:
    """How many slots of `size` bytes a sealed report of `length` bytes takes."""
    return -(-length // capacity(size))


def cover(randomness: Randomness, size: int) -> Slot:
    """A slot that bears nothing; `randomness` gives 16 bytes."""
    return Slot(randomness.take(16), 0, 0, b"", bytes(capacity(size)))


def fragment(sealed_report: bytes, submission: bytes, position: int, size: int) -> Slot:
    """The fragment at `position` of a sealed report that is to be handed in under the id `submission`."""
    room = capacity(size)
    data = sealed_report[position * room : (position + 1) * room]
    count = fragments_of(len(sealed_report), size)
    return Slot(submission, position, count, data, bytes(room - len(data)))


def seal_slot(slot: Slot, slot_id: bytes, centre_key: bytes) -> bytes:
    """`slot` sealed to the centre's X25519 public key (32 bytes), bound to the id it is submitted under."""
    return sealed_to(centre_key, SLOT_INFO + slot_id, slot.encode())


def open_slot(sealed: bytes, slot_id: bytes, private_key: X25519PrivateKey) -> Slot:
    """Open a slot at the centre; `ProtocolError` if it is not sealed to this key under this id, or is not a
    canonical slot."""
    encoded = opened_with(private_key, SLOT_INFO + slot_id, sealed)
    if encoded is None:
        raise ProtocolError(Slot.NAME, "must be sealed to this centre under its id")
    return Slot.decode(encoded)
