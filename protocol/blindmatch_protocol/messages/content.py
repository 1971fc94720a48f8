"""What a message says: the plaintext that only the two ends of a conversation see.

An attachment is sealed under a key of its own and stored at the relay as a blob; its key, digest and
padded size travel inside the message.
"""

from __future__ import annotations

from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Message, Nested, Sequence, Text, UInt, Variable
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness

NAME_MOST: Final = 64
"""Bytes of an account's name, at most."""

TEXT_MOST: Final = 1 << 16
"""Bytes of a message's text, at most."""

ATTACHMENTS_MOST: Final = 32
"""Attachments of a message, at most."""

MEDIA_TYPE_MOST: Final = 127
"""Bytes of a media type, at most (RFC 6838, section 4.2)."""

ID_LENGTH: Final = 16
FRANKING_KEY_LENGTH: Final = 32

CHECKPOINT_MOST: Final = 1 << 15
"""Bytes of a checkpoint with the signatures of a log and a quorum of witnesses, at most."""


class AttachmentRef(Message, tag=0x61, name="messenger/attachment"):
    """Where an attachment's blob lies, the key that opens it, and what must come out."""

    blob_id: Annotated[bytes, Variable(32, least=16)]
    """As the relay gave it."""
    key: Annotated[bytes, Fixed(32)]
    """Seals this attachment alone."""
    digest: Annotated[bytes, Fixed(32)]
    """SHA-256 of the attachment itself, unpadded."""
    padded_size: Annotated[int, UInt(64)]
    """Bytes of the padded attachment; the blob is 32 bytes longer."""
    media_type: Annotated[str, Text(MEDIA_TYPE_MOST)]


class Content(Message, tag=0x60, name="messenger/content"):
    """A message before encryption and after decryption."""

    id: Annotated[bytes, Fixed(ID_LENGTH)]
    """Random."""
    sent_at: Annotated[int, UInt(64)]
    """Milliseconds since 1970, by the sender's clock."""
    text: Annotated[str, Text(TEXT_MOST)]
    attachments: Annotated[tuple[AttachmentRef, ...], Sequence(Nested(AttachmentRef), ATTACHMENTS_MOST)]
    """No two with one `blob_id`."""
    franking_key: Annotated[bytes, Fixed(FRANKING_KEY_LENGTH)]
    """Random; opens the message's commitment (franking.py)."""
    checkpoint: Annotated[bytes, Variable(CHECKPOINT_MOST)] = b""
    """Of the log of epochs, cosigned, as the sender was shown it; empty: none. Not committed to."""

    def check(self) -> None:
        """Two attachments of a message cannot be the same blob."""
        if len({a.blob_id for a in self.attachments}) != len(self.attachments):
            raise ProtocolError(self.NAME, "two attachments name one blob", "attachments")


def compose(
    text: str,
    attachments: tuple[AttachmentRef, ...],
    sent_at: int,
    randomness: Randomness,
    checkpoint: bytes = b"",
) -> Content:
    """A new message, with a random id and a random franking key.

    Args:
        text: up to 65,536 bytes of UTF-8; may be empty.
        attachments: up to 32, each sealed before.
        sent_at: milliseconds since 1970.
        randomness: gives 48 bytes.
        checkpoint: of the log, for the recipient to compare.
    """
    return Content(
        id=randomness.take(ID_LENGTH),
        sent_at=sent_at,
        text=text,
        attachments=attachments,
        franking_key=randomness.take(FRANKING_KEY_LENGTH),
        checkpoint=checkpoint,
    )
