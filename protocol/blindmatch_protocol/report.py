"""Reports to the centre: what a confirmed match is turned into, and how it is sealed.

    device ---- HPKE(centre's key, padded Report) ----> centre
                info = tag || report id

Sealing is HPKE in base mode (RFC 9180, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM). The
library's interface takes no associated data, so the report id is bound through `info`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from blindmatch_protocol.codec import Fixed, Message, Nested, Text, UInt, Variable, message
from blindmatch_protocol.contract.outcome import Label
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.padding import pad_attachment, unpad_attachment

REPORT_INFO = b"blindmatch/report/1"
NAME_BYTES = 64
MOST_PICTURE_BYTES = 32 << 20
MOST_OPENING_BYTES = 256 << 10
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@message
class Report(Message):
    """A confirmed match as the centre gets it.

    `commitment` is the one that travelled with the message that bore the picture, `opening` the canonical
    encoding of its `franking.CommitmentOpening`, which shows the text and every attachment's digest but no
    attachment's key; both are empty if the reporter is a provider that reads messages itself. `picture` is
    the attachment with number `attachment`.
    """

    TAG: ClassVar[int] = 0x10
    NAME: ClassVar[str] = "report"

    report_id: Annotated[bytes, Fixed(16)]
    design: Annotated[str, Text(NAME_BYTES)]
    version: Annotated[int, UInt(32)]
    epoch: Annotated[int, UInt(64)]
    label: Annotated[Label, Nested(Label)]
    reporter: Annotated[str, Text(NAME_BYTES)]
    sender: Annotated[str, Text(NAME_BYTES)]
    recipient: Annotated[str, Text(NAME_BYTES)]
    matched_at_ms: Annotated[int, UInt(64)]
    commitment: Annotated[bytes, Variable(32)]
    opening: Annotated[bytes, Variable(MOST_OPENING_BYTES)]
    attachment: Annotated[int, UInt(16)]
    media_type: Annotated[str, Text(NAME_BYTES)]
    picture: Annotated[bytes, Variable(MOST_PICTURE_BYTES)]


def seal_report(report: Report, centre_key: bytes) -> bytes:
    """Seal `report` to the centre's X25519 public key (32 bytes).

    The length of the result depends on the padded length of the report alone (`padding`, Padmé).
    """
    public = X25519PublicKey.from_public_bytes(centre_key)
    return _SUITE.encrypt(pad_attachment(report.encode()), public, _info(report.report_id))


def open_report(sealed: bytes, report_id: bytes, private_key: X25519PrivateKey) -> Report:
    """Open a sealed report at the centre.

    Raises:
        ProtocolError: if it is not sealed to this key under this id, or is not a canonical report.
    """
    try:
        padded = _SUITE.decrypt(sealed, private_key, _info(report_id))
    except (InvalidTag, ValueError) as error:
        raise ProtocolError("report", "must be sealed to this centre under its report id") from error
    report = Report.decode(unpad_attachment(padded))
    if report.report_id != report_id:
        raise ProtocolError("report", "must be the id it was submitted under", "report_id")
    return report


def _info(report_id: bytes) -> bytes:
    return REPORT_INFO + report_id
