"""Bodies that come in parts: aside on disk until they are whole, then in memory, so many bytes at a time.

What is on its way is one file without a name each, in a folder of the server's own, and gone with its call or
with the process. A caller may take as long as `LeastPace` lets it; memory does not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile

from blindmatch_server.storage.errors import QuotaError


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
        """A body, once it has come; it counts while the context lasts, and should be forgotten then.

        Raises:
            QuotaError: if all that are on their way are as large as they may be.
        """
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
