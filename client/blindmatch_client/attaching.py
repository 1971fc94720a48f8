"""What the user attaches: looked at, and sealed onto the disk before anything is queued."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blindmatch_protocol.attachment import AttachmentSealing
from blindmatch_protocol.errors import PictureError
from blindmatch_protocol.parts import pieces
from blindmatch_protocol.picture import container
from blindmatch_protocol.picture.decode import DEFAULT_LIMITS
from blindmatch_protocol.picture.item import Picture

from blindmatch_client.base import Base
from blindmatch_client.config import Unreadable
from blindmatch_client.files import Files, read_chunks
from blindmatch_client.notices import unreadable
from blindmatch_client.outgoing import MatchState, Queued

UNREADABLE_TYPE: Final = "application/octet-stream"
MOST_ATTACHMENT_BYTES: Final = 100 << 20


@dataclass(frozen=True, slots=True, repr=False)
class Taken:
    """What the user attaches: sealed on the disk; the picture, if it is one; what the user must be told."""

    queued: Queued
    picture: Picture | None
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Attaching:
    """Takes attachments of one account."""

    base: Base
    files: Files

    def picture(self, to: str, data: bytes) -> Taken:
        """A picture for the accounts in `to`.

        Raises:
            PictureError: if it cannot be decoded and the policy is to refuse.
        """
        picture = Picture.from_bytes(data)
        try:
            _ = picture.pixels
        except PictureError:
            if self.base.config.unreadable is Unreadable.REFUSE:
                raise
            return Taken(
                self._sealed(pieces(data), UNREADABLE_TYPE, MatchState.SKIPPED), picture, unreadable(to)
            )
        media_type = f"image/{container.sniff(data).lower()}"
        return Taken(self._sealed(pieces(data), media_type, MatchState.DUE), picture)

    def file(self, to: str, path: Path) -> Taken:
        """The same of a file; one that is too large for a picture is never whole in memory.

        Raises:
            PictureError: if it cannot be decoded and the policy is to refuse, or is too large.
            StoreError: if it cannot be read.
        """
        chunks, size = read_chunks(path), path.stat().st_size if path.is_file() else 0
        if size <= DEFAULT_LIMITS.most_bytes:
            return self.picture(to, b"".join(chunks))
        if self.base.config.unreadable is Unreadable.REFUSE or size > MOST_ATTACHMENT_BYTES:
            raise PictureError(f"a file of {size} bytes is too large")
        return Taken(self._sealed(chunks, UNREADABLE_TYPE, MatchState.SKIPPED), None, unreadable(to))

    def _sealed(self, data: Iterable[bytes], media_type: str, matching: MatchState) -> Queued:
        sealing = AttachmentSealing(self.base.rng)
        file = self.files.write(sealing.blob(data))
        return Queued(file, sealing.ref(media_type), matching)
