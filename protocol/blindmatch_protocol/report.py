"""Reports to the centre: what a confirmed match is turned into, and how it is sealed.

    device ---- HPKE(centre's key, padded Report) ----> centre
                info = tag || report id

Sealing is HPKE in base mode (RFC 9180, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM). The
library's interface takes no associated data, so the report id is bound through `info`.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from blindmatch_protocol.codec import Fixed, Message, Nested, Sequence, Text, UInt, Variable, message
from blindmatch_protocol.content import MEDIA_TYPE_MOST
from blindmatch_protocol.contract.outcome import Label
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.franking import AttachmentDigest, CommitmentOpening, Shown
from blindmatch_protocol.padding import pad_attachment, unpad_attachment

REPORT_INFO: Final = b"blindmatch/report/2"
REFUSED_INFO: Final = b"blindmatch/report/1"
"""Of version 1, which opened the message's text and the digests of all its attachments."""
NAME_BYTES: Final = 64
MOST_PICTURE_BYTES: Final = 32 << 20
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@message
class Report(Message):
    """A confirmed match as the centre gets it, version 2.

    `sender`, `recipient`, `sent_at_ms`, and digest and media type of `picture` are what `opening` shows of
    the message that bore the picture; nothing else of the message is in a report. A provider that reads
    messages itself has no opening, names no recipient, and its word counts for the rest.
    """

    TAG: ClassVar[int] = 0x12
    NAME: ClassVar[str] = "report"

    report_id: Annotated[bytes, Fixed(16)]
    design: Annotated[str, Text(NAME_BYTES)]
    version: Annotated[int, UInt(32)]
    epoch: Annotated[int, UInt(64)]
    label: Annotated[Label, Nested(Label)]
    reporter: Annotated[str, Text(NAME_BYTES)]
    sender: Annotated[str, Text(NAME_BYTES)]
    recipient: Annotated[str, Text(NAME_BYTES)]
    sent_at_ms: Annotated[int, UInt(64)]
    matched_at_ms: Annotated[int, UInt(64)]
    media_type: Annotated[str, Text(MEDIA_TYPE_MOST)]
    opening: Annotated[tuple[CommitmentOpening, ...], Sequence(Nested(CommitmentOpening), 1)]
    picture: Annotated[bytes, Variable(MOST_PICTURE_BYTES)]

    @property
    def shown(self) -> Shown:
        """What the opening must show."""
        digest = hashlib.sha256(self.picture).digest()
        attachment = AttachmentDigest(digest, self.media_type)
        return Shown(self.sender, self.recipient, self.sent_at_ms, attachment)


def seal_report(report: Report, centre_key: bytes) -> bytes:
    """Seal `report` to the centre's X25519 public key (32 bytes).

    The length of the result depends on the padded length of the report alone (`padding`, Padmé).
    """
    public = X25519PublicKey.from_public_bytes(centre_key)
    return _SUITE.encrypt(pad_attachment(report.encode()), public, _info(report.report_id))


def open_report(sealed: bytes, report_id: bytes, private_key: X25519PrivateKey) -> Report:
    """Open a sealed report at the centre.

    Raises:
        ProtocolError: if it is not sealed to this key under this id, or is not a canonical report of this
            version.
    """
    padded = _opened(sealed, _info(report_id), private_key)
    if padded is None:
        if _opened(sealed, REFUSED_INFO + report_id, private_key) is not None:
            raise ProtocolError("report", "version 1, which opens the whole message, is not taken", "version")
        raise ProtocolError("report", "must be sealed to this centre under its report id")
    report = Report.decode(unpad_attachment(padded))
    if report.report_id != report_id:
        raise ProtocolError("report", "must be the id it was submitted under", "report_id")
    return report


def _opened(sealed: bytes, info: bytes, private_key: X25519PrivateKey) -> bytes | None:
    try:
        return _SUITE.decrypt(sealed, private_key, info)
    except (InvalidTag, ValueError):
        return None


def _info(report_id: bytes) -> bytes:
    return REPORT_INFO + report_id
