"""Memory maps: read-only ones of files that do not change, and what is resident of a map."""

from __future__ import annotations

import mmap
import os
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from blindmatch_protocol.codec.errors import BlindmatchError

_REMEDY = "copy it again, or make it anew"


def drop_pages(mapped: mmap.mmap) -> None:
    """Drop a file map's pages from this process; they stay in the system's cache and on disk."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


class MappingError(BlindmatchError):
    """A file cannot be mapped, or is no longer what it was."""


class MappedFile:
    """A file mapped read-only; other processes that map it share its pages.

    Replacing the file by a rename leaves the map as it is. Truncating it in place takes pages away, and
    touching one of those ends the process: `check_intact` finds that out without touching any.

    Args:
        size: the length it must have.

    Attributes:
        content: its bytes.

    Raises:
        MappingError: if it cannot be read or has another length.
    """

    __slots__ = ("_file", "_name", "_stamp", "content")

    def __init__(self, path: Path, size: int) -> None:
        self._name = path.name
        try:
            self._file = path.open("rb")
            self._stamp = self._look()
            if self._stamp[0] != size:
                self._file.close()
                raise MappingError(f"{path.name}: {self._stamp[0]} bytes, {size} expected: {_REMEDY}")
            self.content = _map(self._file.fileno(), size)
        except OSError as error:
            raise MappingError(f"{path.name}: {error.strerror or error}") from error

    def relax(self) -> None:
        """Drop its pages from this process."""
        if isinstance(self.content.obj, mmap.mmap):
            drop_pages(self.content.obj)

    def check_intact(self) -> None:
        """Make sure that the file was neither truncated nor written to since it was mapped.

        Raises:
            MappingError: if it was.
        """
        if self._look() != self._stamp:
            raise MappingError(f"{self._name}: truncated or overwritten while in use")

    def check_digest(self, digest: str) -> None:
        """Make sure that the content has this SHA-256, in hex.

        Raises:
            MappingError: if it has not.
        """
        if not compare_digest(sha256(self.content).hexdigest(), digest):
            raise MappingError(f"{self._name}: altered: it does not have its digest: {_REMEDY}")

    def _look(self) -> tuple[int, int]:
        """Length and time of the last write of the file that is mapped, whatever its name is now."""
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns


def _map(descriptor: int, size: int) -> memoryview:
    if size == 0:
        return memoryview(b"")
    return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ))
