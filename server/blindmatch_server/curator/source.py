"""A source that is read once, front to back, and watched for changes meanwhile."""

from __future__ import annotations

import hashlib
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from blindmatch_protocol.codec.errors import BlindmatchError


class ListError(BlindmatchError):
    """A plaintext list cannot be imported, opened, changed or written."""


class FormatError(ListError):
    """A source as a whole is not what its format says; single bad records are rejected instead."""


class ListFileError(ListError):
    """A list file is truncated, altered, of another version or no list file at all."""


Origin: TypeAlias = Path | BinaryIO

PEEK_BYTES: Final = 64 << 10
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_FOREIGN: Final = {
    b"\xff\xfe": "is UTF-16, not UTF-8: save it as UTF-8",
    b"\xfe\xff": "is UTF-16, not UTF-8: save it as UTF-8",
    b"\x1f\x8b": "is compressed (gzip): unpack it first",
    b"PK\x03\x04": "is a zip archive: unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed (zstandard): unpack it first",
}


class Source(AbstractContextManager["Source"]):
    """Bytes of a file or a binary stream; a UTF-8 byte order mark at the start is passed over.

    Attributes:
        size: bytes in all; 0 if a stream does not say.
        head: the first bytes after the byte order mark, not consumed by looking at them.
        offset: offset in the file of the next byte that `read` gives.
    """

    def __init__(self, origin: Origin) -> None:
        """Open `origin`; a stream is left open for the caller to close. Raises `ListError` if a file cannot
        be opened, and `FormatError` if it is of an encoding or compression that no format uses."""
        self._path = origin if isinstance(origin, Path) else None
        self._file = _open(origin)
        self._state = _state(self._file)
        self.name = origin.name if isinstance(origin, Path) else str(getattr(origin, "name", "stream"))
        self.size = self._state[1] if self._path else 0
        self._digest = hashlib.sha256()
        self.offset = 0
        head = self._fetch(PEEK_BYTES)
        for magic, says in _FOREIGN.items():
            if head.startswith(magic):
                self.close()
                raise FormatError(f"{self.name} {says}")
        if head.startswith(BYTE_ORDER_MARK):
            self.offset = len(BYTE_ORDER_MARK)
        self.head = self._held = head[self.offset :]

    def _fetch(self, count: int) -> bytes:
        parts = []
        while count and (part := self._file.read(count)):
            parts.append(part)
            count -= len(part)
        data = b"".join(parts)
        self._digest.update(data)
        return data

    def read(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end of the source."""
        held = self._held[:count]
        self._held = self._held[count:]
        data = held + self._fetch(count - len(held)) if len(held) < count else held
        self.offset += len(data)
        return data

    def push_back(self, data: bytes) -> None:
        """Let `read` give `data`, which it gave last, once more."""
        self._held = data + self._held
        self.offset -= len(data)

    def finish(self) -> str:
        """SHA-256 of all that was read, in hex; `ListError` if the file was changed or replaced since it was
        opened."""
        digest = self._digest.hexdigest()
        if self._path is not None and not self._unchanged(digest):
            raise ListError(f"{self.name} changed while it was being imported: import it again")
        return digest

    def _unchanged(self, digest: str) -> bool:
        assert self._path is not None
        try:
            with self._path.open("rb") as again:
                if _state(again) != self._state or _state(self._file) != self._state:
                    return False
                return hashlib.file_digest(again, "sha256").hexdigest() == digest
        except OSError:
            return False

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._path is not None:
            self._file.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(origin: Origin) -> BinaryIO:
    if not isinstance(origin, Path):
        return origin
    try:
        return origin.open("rb")
    except OSError as error:
        raise ListError(f"cannot read {origin.name}: {error.strerror}") from error


def _state(file: BinaryIO) -> tuple[int, ...]:
    """What changes when a file is written to or replaced; nothing for a stream without a file."""
    try:
        status = os.fstat(file.fileno())
    except (OSError, AttributeError):
        return (0, 0)
    return (status.st_ino, status.st_size, status.st_dev, status.st_mtime_ns)
