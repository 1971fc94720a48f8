"""Messages that came, as they are shown."""

from __future__ import annotations

from pathlib import Path

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.messages.attachment import opened
from blindmatch_protocol.messages.content import AttachmentRef
from blindmatch_protocol.messages.stamp import Stamp
from msgspec import Struct

from blindmatch_client.errors import StoreError
from blindmatch_client.store.files import read_chunks


class ReceivedFile(Redacted, Struct, frozen=True):
    """An attachment that came; it lies sealed on the device and is opened when it is read."""

    path: Path
    ref: AttachmentRef

    @property
    def media_type(self) -> str:
        """As the sender says."""
        return self.ref.media_type

    def read(self) -> bytes:
        """All of it, in memory.

        Raises:
            AttachmentError: if the file was altered on the device.
            StoreError: if it cannot be read.
        """
        return b"".join(opened(read_chunks(self.path), self.ref))

    def save(self, path: Path) -> None:
        """Write it to `path`, piece by piece; nothing stands there unless all of it is authentic.

        Raises:
            AttachmentError: if the file was altered on the device.
            StoreError: if one cannot be read or written.
        """
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                for piece in opened(read_chunks(self.path), self.ref):
                    file.write(piece)
            part.replace(path)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)


class Received(Redacted, Struct, frozen=True):
    """A message that came.

    Attributes:
        sequence: the relay's number of it.
        sender: who sent it, as the relay says and the session proves.
        text: its text; empty if it could not be opened.
        attachments: in order; one that could not be had is left out.
        sent_at_ms: by the sender's clock; 0 if it could not be opened.
        problem: what was wrong with it; empty if nothing.
        stamp: the relay's, for the centre, should the recipient ever complain; None if it gave none.
        from_centre: it was opened under the key that the centre's notices come from.
    """

    sequence: int
    sender: str
    text: str
    attachments: tuple[ReceivedFile, ...]
    sent_at_ms: int
    problem: str
    stamp: Stamp | None = None
    from_centre: bool = False

    @property
    def pictures(self) -> tuple[bytes, ...]:
        """The attachments' content, whole; raises what `ReceivedFile.read` raises."""
        return tuple(file.read() for file in self.attachments)
