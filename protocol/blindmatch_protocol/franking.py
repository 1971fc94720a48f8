"""The commitment in every message that binds who said what to whom.

::

    sender                                   relay                 recipient                centre
      C = HMAC(Kf, tag || statement)
      C outside, Kf inside the ciphertext -> sees C only --------> C, Kf, statement
                                                                   recomputes C
                                                                   reports C, Kf, statement -> recomputes C

This is the committing part of message franking (Facebook 2016, "Messenger Secret Conversations", section
"Franking"; Grubbs, Lu and Ristenpart 2017, "Message Franking via Committing Authenticated Encryption",
section 3). It *hides*: under a random key that is used once the relay learns nothing from C. It *binds*:
two openings of one C are a collision of HMAC-SHA-256 under keys of one fixed length. The other part, the
relay's own stamp on C that says when and from whom it came, needs nothing more in a message than this.
"""

from __future__ import annotations

import hmac
from typing import Annotated, ClassVar, Final

from blindmatch_protocol.codec import Fixed, Message, Nested, Sequence, Text, UInt, message
from blindmatch_protocol.content import (
    ATTACHMENTS_MOST,
    FRANKING_KEY_LENGTH,
    ID_LENGTH,
    MEDIA_TYPE_MOST,
    NAME_MOST,
    TEXT_MOST,
    Content,
)

COMMITMENT_TAG: Final = b"blindmatch/franking/commitment/v1"
COMMITMENT_LENGTH: Final = 32


@message
class AttachmentDigest(Message):
    """An attachment as a commitment sees it."""

    TAG: ClassVar[int] = 0x62
    NAME: ClassVar[str] = "franking/attachment"
    digest: Annotated[bytes, Fixed(32)]
    """SHA-256 of the attachment itself."""
    media_type: Annotated[str, Text(MEDIA_TYPE_MOST)]


@message
class Statement(Message):
    """What a commitment binds."""

    TAG: ClassVar[int] = 0x63
    NAME: ClassVar[str] = "franking/statement"
    sender: Annotated[str, Text(NAME_MOST)]
    recipient: Annotated[str, Text(NAME_MOST)]
    id: Annotated[bytes, Fixed(ID_LENGTH)]
    sent_at: Annotated[int, UInt(64)]
    text: Annotated[str, Text(TEXT_MOST)]
    attachments: Annotated[tuple[AttachmentDigest, ...], Sequence(Nested(AttachmentDigest), ATTACHMENTS_MOST)]


@message
class CommitmentOpening(Message):
    """A statement and the key that shows which commitment it stands in; a report carries it."""

    TAG: ClassVar[int] = 0x64
    NAME: ClassVar[str] = "franking/opening"
    statement: Annotated[Statement, Nested(Statement)]
    key: Annotated[bytes, Fixed(FRANKING_KEY_LENGTH)]


def opening_of(content: Content, sender: str, recipient: str) -> CommitmentOpening:
    """The opening of the commitment in the message that carried `content`."""
    digests = tuple(AttachmentDigest(a.digest, a.media_type) for a in content.attachments)
    statement = Statement(sender, recipient, content.id, content.sent_at, content.text, digests)
    return CommitmentOpening(statement, content.franking_key)


def commit(opening: CommitmentOpening) -> bytes:
    """The commitment, 32 bytes.

    Raises:
        ProtocolError: if a field of `opening` breaks its rule; a key of another length is such a case, and
            must be, since HMAC fills short keys with zeros.
    """
    key, statement = opening.key, opening.statement
    CommitmentOpening(statement, key).encode()
    return hmac.digest(key, COMMITMENT_TAG + statement.encode(), "sha256")
