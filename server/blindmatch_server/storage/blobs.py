"""Sealed attachments, reports and bodies as files: whole or not there.

A blob is written aside, synced and renamed. A body that comes in parts is a file without a name, gone with
its call or with the process, until it is whole; then it is in memory, so many bytes at a time. A caller may
take as long as `LeastPace` lets it; memory does not wait for it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Final

from blindmatch_protocol.failpoint import reach

from blindmatch_server.storage.errors import QuotaError
from blindmatch_server.storage.files import sync_folder

ID_BYTES: Final = 16
_INCOMING: Final = "incoming"


class Blobs:
    """Files below one directory; the database says which of them count."""

    def __init__(self, directory: Path) -> None:
        """Open or create the directory, and throw away what a crash left half written."""
        self._directory = directory
        self._incoming = directory / _INCOMING
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._incoming.iterdir():
            left.unlink()

    @asynccontextmanager
    async def incoming(self) -> AsyncIterator[Incoming]:
        """A new file under a random id; it is deleted if the context is left by an error, but not by
        cancellation once it has its name: the row that names it may be committed all the same. `keep_only`
        removes it if it was not."""
        blob_id = secrets.token_bytes(ID_BYTES)
        incoming = await asyncio.to_thread(
            Incoming, blob_id, self._incoming / blob_id.hex(), self._path(blob_id)
        )
        try:
            yield incoming
        except asyncio.CancelledError:
            if not incoming.committed:
                incoming.discard()
            raise
        except BaseException:
            incoming.discard()
            raise

    def open(self, blob_id: bytes) -> BinaryIO:
        return self._path(blob_id).open("rb")

    def remove(self, blob_ids: Iterable[bytes]) -> None:
        """Delete files; those already gone are passed over."""
        for blob_id in blob_ids:
            self._path(blob_id).unlink(missing_ok=True)

    def keep_only(self, known: set[bytes]) -> None:
        """Delete files no row of the database knows: a crash came between the two."""
        names = {blob_id.hex() for blob_id in known}
        for path in self._directory.glob("??/*"):
            if path.name not in names:
                path.unlink()

    def _path(self, blob_id: bytes) -> Path:
        name = blob_id.hex()
        return self._directory / name[:2] / name


class Incoming:
    def __init__(self, blob_id: bytes, temporary: Path, final: Path) -> None:
        self.blob_id = blob_id
        self._temporary = temporary
        self._final = final
        self.committed = False
        self._file = temporary.open("xb")

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def commit(self) -> None:
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        self.committed = True
        self._final.parent.mkdir(exist_ok=True, mode=0o700)
        reach("blob.rename.before")
        self._temporary.rename(self._final)
        reach("blob.rename.after")
        sync_folder(self._final.parent)

    def discard(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)
        self._final.unlink(missing_ok=True)


class Bodies:
    """The bodies of one server; belongs to one event loop.

    Args:
        directory: where they lie until they are whole; made if it is not there.
        most_coming: bytes of bodies there, of all callers.
        most_whole: bytes of whole ones in memory; further ones wait their turn.
    """

    def __init__(self, directory: Path, most_coming: int = 4 << 30, most_whole: int = 320 << 20) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._most_coming = most_coming
        self._coming = 0
        self._room = most_whole
        self._most_whole = most_whole
        self._turns = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def whole(self, data: AsyncIterator[bytes], step: str) -> AsyncIterator[bytes]:
        """A body, once it has come; it counts while the context lasts, and should be forgotten then. Raises
        `QuotaError` if all that are on their way are as large as they may be."""
        size = 0
        try:
            with TemporaryFile(dir=self._directory) as file:
                async for piece in data:
                    if self._coming + len(piece) > self._most_coming:
                        rule = f"bodies on their way have {self._most_coming} bytes, as many as are taken"
                        raise QuotaError(step, rule)
                    self._coming += len(piece)
                    size += len(piece)
                    await asyncio.to_thread(file.write, piece)
                await self._enter(size)
                try:
                    file.seek(0)
                    yield await asyncio.to_thread(file.read)
                finally:
                    self._room += min(size, self._most_whole)
                    self._freed.set()
        finally:
            self._coming -= size

    async def _enter(self, size: int) -> None:
        """Wait, first come, first served, until there is room; a body larger than all of it has it alone."""
        needed = min(size, self._most_whole)
        async with self._turns:
            while self._room < needed:
                self._freed.clear()
                await self._freed.wait()
            self._room -= needed
