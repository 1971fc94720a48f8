"""The centre's own copy of the list's labels, and its second hash of those entries whose picture it has.

One read-only SQLite file, written anew and put in place in one step, so that a running centre sees the old
list or the new one and nothing in between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import EntryBatch, EntrySource, Progress, no_progress
from msgspec import Struct

from blindmatch_server.storage.database import signed
from blindmatch_server.storage.errors import StateError

VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE entries (
    entry_id INTEGER PRIMARY KEY,
    entry_hash BLOB NOT NULL,
    salt BLOB NOT NULL,
    second_hash BLOB
) STRICT
"""
_AT_ONCE: Final = 10_000


class Reference(Redacted, Struct, frozen=True):
    """An entry as the centre knows it; `second_hash` is None if the centre has no picture of it."""

    entry_hash: bytes
    salt: bytes
    second_hash: bytes | None


class References:
    """Looks entries up; each look-up opens the file that is in place then. Good for any thread."""

    def __init__(self, path: Path) -> None:
        """Use the file at `path`.

        Raises:
            StateError: if it is missing or of another version.
        """
        self._path = path
        with closing(self._open()) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise StateError(f"{path.name}: version {version}, {VERSION} expected")

    def lookup(self, entry_id: int) -> Reference | None:
        """The entry with this id, if the list has it. Raises `StateError` if the file is gone."""
        with closing(self._open()) as connection:
            row = connection.execute(
                "SELECT entry_hash, salt, second_hash FROM entries WHERE entry_id = ?", (signed(entry_id),)
            ).fetchone()
        return None if row is None else Reference(*row)

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            raise StateError(f"{self._path.name}: cannot be opened as the centre's references") from error
        return connection


def write_references(
    path: Path,
    entries: EntrySource,
    second_hashes: Mapping[int, bytes] | None = None,
    progress: Progress = no_progress,
) -> None:
    """Write the references of a list to `path`, in place of older ones.

    Args:
        second_hashes: by entry id, of those entries whose picture the centre has.
        progress: called with (done, total) entries.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(f"{_SCHEMA}; PRAGMA user_version = {VERSION}; BEGIN;")
        done = 0
        for batch in entries.batches(_AT_ONCE):
            connection.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?)", _rows(batch, second_hashes or {})
            )
            done += len(batch)
            progress(done, len(entries))
        connection.execute("COMMIT")
    temporary.chmod(0o600)
    temporary.replace(path)


def _rows(batch: EntryBatch, second: Mapping[int, bytes]) -> Iterable[tuple[int, bytes, bytes, bytes | None]]:
    ids: list[int] = batch.ids.tolist()

    def rows() -> Iterator[tuple[int, bytes, bytes, bytes | None]]:
        for place, entry_id in enumerate(ids):
            yield (
                signed(entry_id),
                batch.hashes[place].tobytes(),
                batch.salts[place].tobytes(),
                second.get(entry_id),
            )

    return rows()
