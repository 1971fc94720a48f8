"""A lock file for one process at a time. SQLite's lock works on every system and ends with the process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from blindmatch_protocol.codec.errors import BlindmatchError


@contextmanager
def hold(path: Path, busy: BlindmatchError, failed: type[BlindmatchError]) -> Iterator[None]:
    """Hold the lock while the context lasts; it is not waited for.

    Raises:
        BlindmatchError: `busy` if another process, or another part of this one, holds it; one of `failed`,
            which names the folder, if the file cannot be made or written.
    """
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(closing(sqlite3.connect(path, timeout=0, isolation_level=None)))
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise busy from error
            raise failed(
                f"cannot write into {path.parent}: {error}; is it there, and this user's?"
            ) from error
        yield
