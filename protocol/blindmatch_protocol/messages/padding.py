"""Padding that hides lengths: texts to multiples of 256 bytes, attachments by Padmé.

Both append one byte 0x80 and then zeros (ISO/IEC 7816-4), up to a length that the plaintext's length
alone decides, so a plaintext has one padded form and `unpad_*` takes no other.

Padmé (Nikitin, Barman, Lueks, Underwood, Hubaux and Ford 2019, "Reducing Metadata Leakage from Encrypted
Files and Communication with PURBs", section 4) keeps as many leading bits of a length as its exponent has:
at most 12 % more bytes, and O(log log L) bits of the length L leak.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from blindmatch_protocol.codec.errors import ProtocolError

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
    """What `pad_text` was given.

    Raises:
        ProtocolError: if `padded` is not the padded form of anything.
    """
    data = _unmark(padded)
    if padded_text_length(len(data)) != len(padded):
        raise ProtocolError(_STEP, f"a text is padded to the next multiple of {TEXT_BLOCK} bytes", "length")
    return data


def unpad_attachment(padded: bytes) -> bytes:
    """What `pad_attachment` was given.

    Raises:
        ProtocolError: if `padded` is not the padded form of anything.
    """
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
        zeros, held = len(chunk) - len(body), self._zeros
        marked = body.endswith(_MARK)
        self._zeros = zeros if marked else None
        tail = (body[:-1],) if marked else (body, bytes(zeros))
        for piece in chain(_padding_of(held), tail):
            self._length += len(piece)
            if piece:
                yield piece

    def finish(self, padded_length: int) -> None:
        """Check the end, which was held back.

        Raises:
            ProtocolError: if what went through `update` is not the padded form of anything.
        """
        if self._zeros is None:
            raise ProtocolError(_STEP, "must end in 0x80 and zeros", "padding")
        if padded_attachment_length(self._length) != padded_length:
            raise ProtocolError(_STEP, "an attachment is padded to the least Padmé length", "length")


def attachment_padding(length: int) -> Iterator[bytes]:
    """What follows `length` bytes of an attachment in its padded form, in pieces."""
    return _padding_of(padded_attachment_length(length) - length - 1)


def _padding_of(zeros: int | None) -> Iterator[bytes]:
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
