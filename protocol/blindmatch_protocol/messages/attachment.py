"""Attachments: padded by Padmé, sealed under a key of their own, named by their digest.

The key seals one attachment and travels inside a message. Since the cipher commits to its key
(symmetric.py), a blob has one content, for the recipient and for whoever a report goes to.

Everything works piece by piece, so that an attachment is never whole in memory; `open_attachment` does the
same for one that is.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from typing import Final

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.crypto.symmetric import KEY_LENGTH, TAG_LENGTH, Opening, Sealing
from blindmatch_protocol.messages.content import (
    AttachmentRef,
    AttachmentUnpadding,
    attachment_padding,
    padded_attachment_length,
)
from blindmatch_protocol.messages.parts import pieces

ATTACHMENT_TAG: Final = b"blindmatch/messenger/attachment/v1"
"""Associated data of a sealed attachment."""

BLOB_ID_LENGTH: Final = 16


class AttachmentError(ProtocolError):
    """An attachment is not the one that the message names."""

    def __init__(self) -> None:
        super().__init__("attachment", "is not the one that the message names")


class AttachmentSealing:
    """Seals one attachment: iterate over `blob`, then ask for `ref`."""

    __slots__ = ("_blob_id", "_digest", "_key", "_length")

    def __init__(self, randomness: Randomness, key: bytes | None = None) -> None:
        """`randomness` gives 48 bytes: the key, and a blob id in place of the one the relay will assign.

        `key` is for making a blob once more, of the same data.
        """
        fresh = randomness.take(KEY_LENGTH)
        self._key = key or fresh
        self._blob_id = randomness.take(BLOB_ID_LENGTH)
        self._digest = hashlib.sha256()
        self._length = 0

    def blob(self, data: Iterable[bytes]) -> Iterator[bytes]:
        """The blob for the relay, piece by piece. To be called once."""
        sealing = Sealing(self._key, ATTACHMENT_TAG)
        for piece in data:
            self._digest.update(piece)
            self._length += len(piece)
            yield sealing.update(piece)
        for piece in attachment_padding(self._length):
            yield sealing.update(piece)
        yield sealing.finish()

    def ref(self, media_type: str) -> AttachmentRef:
        """The reference for the message, once `blob` has come to its end.

        Args:
            media_type: e.g. ``"image/jpeg"``, up to 127 bytes.
        """
        return AttachmentRef(
            blob_id=self._blob_id,
            key=self._key,
            digest=self._digest.digest(),
            padded_size=padded_attachment_length(self._length),
            media_type=media_type,
        )


class AttachmentOpening:
    """Opens one blob piece by piece. What `update` gives is *not* authentic before `finish` has returned."""

    __slots__ = ("_digest", "_left", "_opening", "_ref", "_tag", "_unpadding")

    def __init__(self, ref: AttachmentRef) -> None:
        self._ref = ref
        self._opening = Opening(ref.key, ATTACHMENT_TAG)
        self._unpadding = AttachmentUnpadding()
        self._digest = hashlib.sha256()
        self._left = ref.padded_size
        self._tag = b""

    def update(self, piece: bytes) -> Iterator[bytes]:
        """What of the attachment follows from `piece`; to be iterated to its end before the next call."""
        sealed, tag = piece[: self._left], piece[self._left :]
        self._left -= len(sealed)
        self._tag += tag
        if len(self._tag) > TAG_LENGTH:
            raise AttachmentError
        for data in self._unpadding.update(self._opening.update(sealed)):
            self._digest.update(data)
            yield data

    def finish(self) -> None:
        """Check everything that went through `update`.

        Raises:
            AttachmentError: if size, seal, padding or digest are not what the reference says.
        """
        try:
            self._opening.finish(self._tag)
            self._unpadding.finish(self._ref.padded_size)
        except ProtocolError as error:
            raise AttachmentError from error
        if self._left or not hmac.compare_digest(self._digest.digest(), self._ref.digest):
            raise AttachmentError


def opened(blob: Iterable[bytes], ref: AttachmentRef) -> Iterator[bytes]:
    """The attachment, piece by piece; not authentic before the iteration has come to its end.

    Raises:
        AttachmentError: at the end, or when the blob turns out to be too long.
    """
    opening = AttachmentOpening(ref)
    for piece in blob:
        yield from opening.update(piece)
    opening.finish()


def verified(blob: Iterable[bytes], ref: AttachmentRef) -> Iterator[bytes]:
    """`blob` itself, passed on; raises as `opened` does, at the latest at its end."""
    opening = AttachmentOpening(ref)
    for piece in blob:
        for _ in opening.update(piece):
            pass
        yield piece
    opening.finish()


def open_attachment(blob: bytes, ref: AttachmentRef) -> bytes:
    """The attachment whose sealed form `blob` is.

    Raises:
        AttachmentError: if size, seal, padding or digest are not what `ref` says.
    """
    return b"".join(opened(pieces(blob), ref))
