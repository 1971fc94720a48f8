"""Fingerprints of a user's own pictures, computed once and kept in one SQLite file that names no picture."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

from blindmatch_server.storage.errors import StateError

NAME: Final = "fingerprints.sqlite"
VERSION: Final = 1
_KEY_BYTES: Final = 16


class Print(NamedTuple):
    """PDQ, a second hash that is no PDQ (`server.keyed_hash`), 32 bytes each, and PDQ's quality."""

    hash: bytes
    second: bytes
    quality: int


class FileSeen(NamedTuple):
    """A file of the folder: its path below it, size in bytes and time of change in nanoseconds."""

    name: str
    size: int
    changed_ns: int


class Cache:
    """The open file; one program at a time has it; `StateError` if it is of another version, damaged, or in
    use.

    Attributes:
        added: fingerprints kept since it was opened.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / NAME
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(self._path, timeout=1.0)
        self._salt = self._opened()
        self.added = 0

    def get(self, files: Sequence[FileSeen]) -> dict[bytes, Print | None]:
        """What is known of these files, by key; None for one that is no acceptable picture."""
        keys = [self.key(one) for one in files]
        marks = ",".join("?" * len(keys))
        rows = self._do(f"SELECT key, hash, second, quality FROM prints WHERE key IN ({marks})", keys)  # noqa: S608
        return {key: None if found is None else Print(found, *rest) for key, found, *rest in rows}

    def put(self, prints: Iterable[tuple[bytes, Print | None]]) -> None:
        """Keep them; on disk when this returns."""
        rows = [(key, *(one or (None, None, 0))) for key, one in prints]
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO prints VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self.added += len(rows)

    def key(self, file: FileSeen) -> bytes:
        told = b"\0".join((os.fsencode(file.name), b"%d" % file.size, b"%d" % file.changed_ns))
        return blake2b(told, key=self._salt, digest_size=_KEY_BYTES).digest()

    def close(self) -> None:
        self._db.close()

    def _opened(self) -> bytes:
        self._do("PRAGMA locking_mode = EXCLUSIVE")
        self._do("PRAGMA synchronous = FULL")
        self._do("BEGIN EXCLUSIVE")
        version = self._do("PRAGMA user_version")[0][0]
        if version not in (0, VERSION):
            self.close()
            raise StateError(f"{self._path}: version {version}; this program reads {VERSION}")
        self._do("CREATE TABLE IF NOT EXISTS salt (salt BLOB)")
        self._do(
            "CREATE TABLE IF NOT EXISTS prints "
            "(key BLOB PRIMARY KEY, hash BLOB, second BLOB, quality INTEGER) WITHOUT ROWID"
        )
        if not version:
            self._do("INSERT INTO salt VALUES (?)", [os.urandom(32)])
            self._do(f"PRAGMA user_version = {VERSION}")
        salt: bytes = self._do("SELECT salt FROM salt")[0][0]
        self._do("COMMIT")
        return salt

    def _do(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> StateError:
        """What it means for whoever runs this; what was kept before stays as it is."""
        busy = "in use by another run" if "locked" in str(error) else str(error)
        return StateError(f"{self._path}: {busy}")
