"""Attachments: padded by Padmé, sealed under a key of their own, named by their digest.

The key seals one attachment and travels inside a message. Since the cipher commits to its key
(committing_aead.py), a blob has one content, for the recipient and for whoever a report goes to.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from blindmatch_protocol.committing_aead import KEY_LENGTH, TAG_LENGTH, seal, unseal
from blindmatch_protocol.content import AttachmentRef
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.padding import pad_attachment, unpad_attachment
from blindmatch_protocol.randomness import Randomness

from blindmatch_client.messenger.errors import AttachmentError

ATTACHMENT_TAG: Final = b"blindmatch/messenger/attachment/v1"
BLOB_ID_LENGTH: Final = 16


def seal_attachment(data: bytes, media_type: str, randomness: Randomness) -> tuple[bytes, AttachmentRef]:
    """The blob for the relay and the reference for the message.

    Args:
        data: the attachment.
        media_type: e.g. ``"image/jpeg"``, up to 127 bytes.
        randomness: gives 48 bytes. The blob id is random; if the relay assigns another, put it in with
            `dataclasses.replace(ref, blob_id=...)`.
    """
    key = randomness.take(KEY_LENGTH)
    padded = pad_attachment(data)
    ref = AttachmentRef(
        blob_id=randomness.take(BLOB_ID_LENGTH),
        key=key,
        digest=hashlib.sha256(data).digest(),
        padded_size=len(padded),
        media_type=media_type,
    )
    return seal(key, padded, ATTACHMENT_TAG), ref


def open_attachment(blob: bytes, ref: AttachmentRef) -> bytes:
    """The attachment that `seal_attachment` was given.

    Raises:
        AttachmentError: if size, seal, padding or digest are not what `ref` says.
    """
    if len(blob) != ref.padded_size + TAG_LENGTH:
        raise AttachmentError
    try:
        data = unpad_attachment(unseal(ref.key, blob, ATTACHMENT_TAG))
    except ProtocolError as error:
        raise AttachmentError from error
    if not hmac.compare_digest(hashlib.sha256(data).digest(), ref.digest):
        raise AttachmentError
    return data
