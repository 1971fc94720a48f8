"""Sealed attachments as files beside the store: written aside, synced, renamed; a crash leaves no half one.

What lies here is ciphertext as the relay has it, under the key that is in the message; the store, which is
itself sealed, holds that key. So an attachment is never in the clear on the disk, and never whole in memory.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Final

from blindmatch_protocol.failpoint import armed, reach
from blindmatch_protocol.messages.parts import PART_BYTES

from blindmatch_client.errors import StoreError

_PART: Final = ".part"


class Files:
    """Files of one device, under random names."""

    def __init__(self, folder: Path) -> None:
        """Open or make `folder`; `StoreError` if that fails."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"{folder}: cannot be made: {error.strerror}") from error

    def path(self, name: str) -> Path:
        """Where the file called `name` lies."""
        return self._folder / name

    def write(self, chunks: Iterable[bytes]) -> str:
        """Write a new file; its name, once it is durable. If `chunks` raises, nothing is left.

        Raises:
            StoreError: if it cannot be written.
        """
        name = token_hex(16)
        part = self.path(name + _PART)
        try:
            _written(part, chunks)
            if armed:
                reach("device.file.rename.before")
            part.rename(self.path(name))
            if armed:
                reach("device.file.rename.after")
            sync_folder(self._folder)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StoreError(f"an attachment cannot be kept: {error.strerror}") from error
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return name

    def chunks(self, name: str) -> Iterator[bytes]:
        """The file's bytes; `StoreError` if it cannot be read."""
        return read_chunks(self.path(name))

    def remove(self, name: str) -> None:
        """Delete a file; one that is gone is passed over."""
        self.path(name).unlink(missing_ok=True)

    def touch(self) -> None:
        """Give the folder the time of now: a report's file went at another time than a picture's."""
        with suppress(OSError):
            os.utime(self._folder)

    def keep_only(self, names: Collection[str]) -> None:
        """Delete what no row names: a crash came between the two."""
        for path in self._folder.iterdir():
            if path.name not in names:
                path.unlink(missing_ok=True)


def read_chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes in chunks; `StoreError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            while chunk := file.read(PART_BYTES):
                yield chunk
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _written(path: Path, chunks: Iterable[bytes]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
