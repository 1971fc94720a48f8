"""A lock file for one process at a time. SQLite's lock works on every system and ends with the process."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from blindmatch_protocol.errors import BlindmatchError


class HeldError(BlindmatchError):
    """Another process, or another part of this one, holds the lock."""


def hold(path: Path) -> closing[sqlite3.Connection]:
    """Take the lock, without waiting; it is held until the context that this returns is left.

    Raises:
        HeldError: if it is held.
        sqlite3.Error: if the file cannot be made or written.
    """
    lock = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise HeldError(f"{path.name} is held: {error}") from error
        raise
    return closing(lock)
