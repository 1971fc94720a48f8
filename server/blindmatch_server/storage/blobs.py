"""Sealed attachments and reports as files: written aside, synced, renamed; a crash leaves no half one."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final

from blindmatch_protocol.failpoint import reach

from blindmatch_server.storage.workspace import sync_folder

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
        """A new file under a random id; it is deleted if the context is left by an error.

        If it is left by cancellation once the file has its name, the file stays: the row that names it may
        be committed all the same. `keep_only` removes it if it was not.
        """
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
        """A file; `OSError` if it is gone."""
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
    """A file that is being written."""

    def __init__(self, blob_id: bytes, temporary: Path, final: Path) -> None:
        self.blob_id = blob_id
        self._temporary = temporary
        self._final = final
        self.committed = False
        self._file = temporary.open("xb")

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self._file.write(data)

    def commit(self) -> None:
        """Sync the file and give it its name."""
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
        """Close and delete it, whether it has its name already or not."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)
        self._final.unlink(missing_ok=True)
