"""What a message says: the plaintext that only the two ends of a conversation see.

An attachment is sealed under a key of its own and stored at the relay as a blob; its key, digest and
padded size travel inside the message.

Padding that hides lengths: texts to multiples of 256 bytes, attachments by Padmé.

Both append one byte 0x80 and then zeros (ISO/IEC 7816-4), up to a length that the plaintext's length
alone decides, so a plaintext has one padded form and `unpad_*` takes no other.

Padmé (Nikitin, Barman, Lueks, Underwood, Hubaux and Ford 2019, "Reducing Metadata Leakage from Encrypted
Files and Communication with PURBs", section 4) keeps as many leading bits of a length as its exponent has:
at most 12 % more bytes, and O(log log L) bits of the length L leak.

A message without end-to-end encryption: its content as it is, for whoever carries it.

Only a deployment whose design declares that there is none (`Info.end_to_end`) sends and takes this. It is
another message than `sealed_message.SealedMessage`, in another field of the wire interface, so that neither
is taken for the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Message, Nested, Sequence, Text, UInt, Variable
from blindmatch_protocol.codec.errors import DesignError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract.declaration import Info

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
    """A new message, with an id and a franking key of 48 bytes of `randomness`."""
    return Content(
        id=randomness.take(ID_LENGTH),
        sent_at=sent_at,
        text=text,
        attachments=attachments,
        franking_key=randomness.take(FRANKING_KEY_LENGTH),
        checkpoint=checkpoint,
    )


TEXT_BLOCK: Final = 256
"""Texts are padded to multiples of so many bytes."""

ATTACHMENT_LEAST: Final = 1024
"""Attachments shorter than this are padded to it."""

_MARK: Final = b"\x80"
_STEP: Final = "padding"
_PIECE: Final = 256 << 10


def padme(length: int) -> int:
    """The least Padmé length that holds `length` bytes."""
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def padded_text_length(length: int) -> int:
    """Bytes of the padded form of `length` bytes of text; always at least one byte more."""
    return (length // TEXT_BLOCK + 1) * TEXT_BLOCK


def padded_attachment_length(length: int) -> int:
    """Bytes of the padded form of `length` bytes of an attachment; always at least one byte more."""
    return max(ATTACHMENT_LEAST, padme(length + 1))


def pad_text(data: bytes) -> bytes:
    """`data` padded to the next multiple of 256 bytes."""
    return (data + _MARK).ljust(padded_text_length(len(data)), b"\x00")


def pad_attachment(data: bytes) -> bytes:
    """`data` padded to its Padmé length."""
    return (data + _MARK).ljust(padded_attachment_length(len(data)), b"\x00")


def unpad_text(padded: bytes) -> bytes:
    """What `pad_text` was given; `ProtocolError` if `padded` is not the padded form of anything."""
    data = _unmark(padded)
    if padded_text_length(len(data)) != len(padded):
        raise ProtocolError(_STEP, f"a text is padded to the next multiple of {TEXT_BLOCK} bytes", "length")
    return data


def unpad_attachment(padded: bytes) -> bytes:
    """What `pad_attachment` was given; `ProtocolError` if `padded` is not the padded form of anything."""
    data = _unmark(padded)
    if padded_attachment_length(len(data)) != len(padded):
        raise ProtocolError(_STEP, "an attachment is padded to the least Padmé length", "length")
    return data


class AttachmentUnpadding:
    """`unpad_attachment` piece by piece: what may be padding is held back, as a count of zeros."""

    __slots__ = ("_length", "_zeros")

    def __init__(self) -> None:
        self._length = 0
        self._zeros: int | None = None

    def update(self, chunk: bytes) -> Iterator[bytes]:
        """What is known to be data now; to be iterated to its end before the next call."""
        body = chunk.rstrip(b"\x00")
        if not body and self._zeros is not None:
            self._zeros += len(chunk)
            return
        zeros = len(chunk) - len(body)
        held = self._zeros
        marked = body.endswith(_MARK)
        self._zeros = zeros if marked else None
        tail = (body[:-1],) if marked else (body, bytes(zeros))
        for piece in chain(padding_of(held), tail):
            self._length += len(piece)
            if piece:
                yield piece

    def finish(self, padded_length: int) -> None:
        """Check the end, which was held back; `ProtocolError` if what went through `update` is not the padded
        form of anything."""
        if self._zeros is None:
            raise ProtocolError(_STEP, "must end in 0x80 and zeros", "padding")
        if padded_attachment_length(self._length) != padded_length:
            raise ProtocolError(_STEP, "an attachment is padded to the least Padmé length", "length")


def padding_of(zeros: int | None) -> Iterator[bytes]:
    """The mark and so many zeros, in pieces; nothing for None."""
    if zeros is not None:
        yield _MARK + bytes(min(_PIECE, zeros))
        for at in range(_PIECE, zeros, _PIECE):
            yield bytes(min(_PIECE, zeros - at))


def _unmark(padded: bytes) -> bytes:
    stripped = padded.rstrip(b"\x00")
    if not stripped.endswith(_MARK):
        raise ProtocolError(_STEP, "must end in 0x80 and zeros", "padding")
    return stripped[:-1]


class ClearMessage(Message, tag=0x6B, name="messenger/clear-message"):
    """What the provider of a design without end-to-end encryption reads, stores and hands out."""

    content: Annotated[Content, Nested(Content)]


def clear_message(content: Content, info: Info) -> bytes:
    """The encoding of a message in the clear; `DesignError` if the design declares end-to-end encryption."""
    if info.end_to_end:
        raise DesignError(f"design {info.name}: end-to-end encrypted, so no message is sent in the clear")
    return ClearMessage(content).encode()
