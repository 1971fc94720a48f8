"""What the device must remember: one SQLite file, written before anything is sent.

It holds the messenger's keys, message texts, pictures that wait, and reports. It is *not encrypted yet*:
the file is readable by its owner alone (0600), and whoever takes the device reads it. Values are opaque
byte strings here, so that sealing them is a change of this module alone.

Durable means: in the write-ahead log and synced (synchronous = FULL) when the transaction ends.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from blindmatch_protocol.failpoint import reach

from blindmatch_client.errors import StoreError

SCHEMA_VERSION: Final = 1
FILE_NAME: Final = "device.sqlite"

Value: TypeAlias = str | bytes | int | None

_SCHEMA: Final = """
CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT;
CREATE TABLE device_state (
  design TEXT NOT NULL,
  version INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  state BLOB NOT NULL,
  PRIMARY KEY (design, version, epoch)
) STRICT;
CREATE TABLE outgoing (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  message_id BLOB NOT NULL UNIQUE,
  recipient TEXT NOT NULL,
  text TEXT NOT NULL,
  queued_at_ms INTEGER NOT NULL,
  stage TEXT NOT NULL,
  matching TEXT NOT NULL,
  item INTEGER,
  media_type TEXT NOT NULL DEFAULT '',
  picture BLOB,
  outcome BLOB,
  epoch INTEGER,
  matched_at_ms INTEGER,
  attachment BLOB,
  content BLOB,
  sealed BLOB,
  problem TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE submission (
  report_id BLOB PRIMARY KEY,
  kind TEXT NOT NULL,
  design TEXT NOT NULL,
  version INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  item INTEGER NOT NULL,
  body BLOB NOT NULL,
  made_at_ms INTEGER NOT NULL,
  received_at_ms INTEGER
) STRICT;
CREATE TABLE incoming (
  sequence INTEGER PRIMARY KEY,
  sender TEXT NOT NULL,
  content BLOB,
  accepted_at_ms INTEGER NOT NULL,
  acknowledged INTEGER NOT NULL DEFAULT 0,
  shown INTEGER NOT NULL DEFAULT 0,
  problem TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE attachment (
  sequence INTEGER NOT NULL REFERENCES incoming (sequence),
  position INTEGER NOT NULL,
  data BLOB,
  problem TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (sequence, position)
) STRICT;
"""


class Store:
    """The file; one writer at a time, from any thread."""

    def __init__(self, folder: Path, create: bool) -> None:
        """Open the store in `folder`, or make it.

        Raises:
            StoreError: if there is none, one already, or one of another version, or the file cannot be
                opened.
        """
        path = folder / FILE_NAME
        if create == path.exists():
            raise StoreError(f"{folder}: {'holds a device already' if create else 'holds no device'}")
        self._lock = threading.RLock()
        try:
            self._db = _connect(path, create)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: cannot be opened: {error}") from error
        found = self.one("PRAGMA user_version")
        if found != (SCHEMA_VERSION,):
            self.close()
            raise StoreError(f"{path}: must be of version {SCHEMA_VERSION}, not {found}")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside become durable together when it ends, or none if it raises.

        Raises:
            StoreError: if they cannot be written, such as on a full disk.
        """
        with self._lock, _named():
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                reach("device.commit.before")
                self._db.execute("COMMIT")
                reach("device.commit.after")
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        """SQLite has done so itself after some errors, such as a full disk."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def run(self, statement: str, *values: Value) -> int:
        """Run one statement; the number of rows it changed."""
        with self.transaction():
            return self._db.execute(statement, values).rowcount

    def insert(self, statement: str, *values: Value) -> int:
        """Run an INSERT; the row's number."""
        with self.transaction():
            return self._db.execute(statement, values).lastrowid or 0

    def one(self, query: str, *values: Value) -> tuple[Any, ...] | None:
        """The first row, or None."""
        with self._lock, _named():
            row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
        return row

    def all(self, query: str, *values: Value) -> Sequence[tuple[Any, ...]]:
        """All rows."""
        with self._lock, _named():
            return self._db.execute(query, values).fetchall()

    def get(self, name: str) -> bytes | None:
        """A value kept under `name`."""
        row = self.one("SELECT value FROM meta WHERE name = ?", name)
        return None if row is None else bytes(row[0])

    def put(self, name: str, value: bytes) -> None:
        """Keep `value` under `name`."""
        self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, value)

    def forget(self, name: str) -> None:
        """Keep nothing under `name` any more."""
        self.run("DELETE FROM meta WHERE name = ?", name)


class DesignState:
    """The account's device state of one design and epoch: the detector's `StateKeeper`."""

    def __init__(self, store: Store, design: str, version: int, epoch: int) -> None:
        self._store = store
        self._key = (design, version, epoch)

    def load(self) -> bytes | None:
        """The encoded state, or None."""
        query = "SELECT state FROM device_state WHERE (design, version, epoch) = (?, ?, ?)"
        row = self._store.one(query, *self._key)
        return None if row is None else bytes(row[0])

    def save(self, state: bytes, /) -> None:
        """Replace the state; durable on return."""
        self._store.run(
            "INSERT INTO device_state VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state",
            *self._key,
            state,
        )


@contextmanager
def _named() -> Iterator[None]:
    """What SQLite raises, as an error of the device; its texts quote no values."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"the device's store failed: {error}") from error


def _connect(path: Path, create: bool) -> sqlite3.Connection:
    if create:
        path.touch(mode=0o600, exist_ok=False)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA secure_delete = ON")
    if create:
        db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    return db
