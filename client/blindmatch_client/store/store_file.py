"""The files of a device: its store, how it is made, locked and opened, and sealed attachments beside it.

Each is written aside, synced and renamed, so that a crash leaves no half one. An attachment's file is
ciphertext as the relay has it, under the key that is in the message; the store, which is itself sealed, holds
that key. So an attachment is never in the clear on the disk, and never whole in memory.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from secrets import token_hex
from typing import Final

from blindmatch_protocol.contract import epoch_scope
from blindmatch_protocol.failpoint import armed, reach
from blindmatch_protocol.messages.parts import PART_BYTES
from msgspec.structs import astuple
from nacl.exceptions import CryptoError

from blindmatch_client.errors import StoreError
from blindmatch_client.store.vault import KeySource, Value, Vault, write_new

SCHEMA_VERSION: Final = 17

_DEVICE_STATE: Final = """CREATE TABLE device_state (
  design TEXT NOT NULL,
  version INTEGER NOT NULL,
  scope BLOB NOT NULL, -- the period or the epoch that it belongs to: contract.state_scope
  state BLOB NOT NULL, -- sealed
  PRIMARY KEY (design, version, scope)
) STRICT;
"""

SCHEMA: Final = f"""
-- columns called sealed hold what vault.py makes
CREATE TABLE lock (
  kind TEXT NOT NULL,
  salt BLOB NOT NULL,
  operations INTEGER NOT NULL,
  memory INTEGER NOT NULL,
  wrapped BLOB NOT NULL
) STRICT;
CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL -- sealed
) STRICT;
{_DEVICE_STATE}
CREATE TABLE attached ( -- a row goes with the last message that needs it; its number is not used again
  item INTEGER PRIMARY KEY AUTOINCREMENT,
  body BLOB NOT NULL -- sealed
) STRICT;
CREATE TABLE outgoing (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  message_id BLOB NOT NULL UNIQUE,
  queued_at_ms INTEGER NOT NULL,
  stage TEXT NOT NULL,
  item INTEGER REFERENCES attached (item),
  body BLOB NOT NULL -- sealed
) STRICT;
CREATE INDEX outgoing_by_item ON outgoing (item) WHERE item IS NOT NULL;
CREATE TABLE voucher ( -- those that wait; reports and complaints are values of meta, of one length
  name BLOB PRIMARY KEY,
  body BLOB NOT NULL -- sealed
) STRICT;
CREATE TABLE handed_over ( -- messages that are sent again if their recipient cannot open them
  number INTEGER PRIMARY KEY,
  message_id BLOB NOT NULL UNIQUE,
  queued_at_ms INTEGER NOT NULL,
  body BLOB NOT NULL -- sealed
) STRICT;
CREATE TABLE incoming (
  sequence INTEGER PRIMARY KEY,
  accepted_at_ms INTEGER NOT NULL,
  acknowledged INTEGER NOT NULL DEFAULT 0,
  shown INTEGER NOT NULL DEFAULT 0,
  content_id BLOB,
  asked INTEGER, -- 0: to be asked for again
  body BLOB NOT NULL -- sealed
) STRICT;
CREATE INDEX incoming_unacknowledged ON incoming (sequence) WHERE acknowledged = 0;
CREATE INDEX incoming_by_content ON incoming (content_id) WHERE content_id IS NOT NULL;
CREATE INDEX incoming_unasked ON incoming (sequence) WHERE asked = 0;
CREATE INDEX incoming_unshown ON incoming (sequence) WHERE shown = 0;
CREATE TABLE attachment (
  sequence INTEGER NOT NULL REFERENCES incoming (sequence),
  position INTEGER NOT NULL,
  file TEXT,
  problem BLOB, -- sealed
  PRIMARY KEY (sequence, position)
) STRICT;
CREATE INDEX attachment_missing ON attachment (sequence) WHERE file IS NULL AND problem IS NULL;
CREATE TABLE peer ( -- what the messenger knows of each peer
  number INTEGER PRIMARY KEY,
  state BLOB NOT NULL -- sealed
) STRICT;
-- epochs that were adopted, and what was refused (adoption.py)
CREATE TABLE adopted (
  design TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  manifest BLOB NOT NULL, -- sealed
  fault BLOB, -- sealed
  examined INTEGER NOT NULL,
  PRIMARY KEY (design, epoch)
) STRICT;
CREATE TABLE evidence (
  name BLOB PRIMARY KEY,
  design TEXT NOT NULL,
  kind TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  found_at_ms INTEGER NOT NULL,
  words BLOB NOT NULL, -- sealed
  shown_manifest BLOB NOT NULL, -- sealed
  held_manifest BLOB NOT NULL -- sealed
) STRICT;
"""


def _name_states_by_scope(db: sqlite3.Connection) -> None:
    """Take a store from version 16, which named device states by epoch, to 17.

    Which period an epoch is of does not stand in the store, so every state keeps its epoch as its scope;
    `DesignState.take_over` gives the current epoch's to its period. A state is sealed to the row it stands
    in, so each is sealed anew.
    """
    rows = db.execute(
        "SELECT design, version, epoch,"
        " opened(state, 'device_state.state', design || '/' || version || '/' || epoch) FROM device_state"
    ).fetchall()
    db.execute("DROP TABLE device_state")
    db.execute(_DEVICE_STATE)
    for design, version, epoch, state in rows:
        scope = epoch_scope(epoch)
        place = state_row(design, version, scope)
        db.execute(
            "INSERT INTO device_state VALUES (?, ?, ?, sealed(?, 'device_state.state', ?))",
            (design, version, scope, state, place),
        )


MIGRATIONS: Final[Mapping[int, Callable[[sqlite3.Connection], None]]] = {16: _name_states_by_scope}
"""By the version that a store has, what makes it one of the next version, inside a transaction."""


def state_row(design: str, version: int, scope: bytes) -> str:
    """Return what the state of a design and scope is sealed to."""
    return f"{design}/{version}/{scope.hex()}"


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
        return self._folder / name

    def write(self, chunks: Iterable[bytes]) -> str:
        """Write a new file; its name, once it is durable. If `chunks` raises, nothing is left; `StoreError`
        if it cannot be written."""
        name = token_hex(16)
        part = self.path(name + _PART)
        try:
            write_new(part, chunks)
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
        """Set the folder's time to now: else it tells when a report's file went, later than a picture's."""
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
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


FILE_NAME: Final = "device.sqlite"
KEY_NAME: Final = "store.key"
NEW_SUFFIX: Final = ".new"
CACHE_KIB: Final = 512
ALTERED: Final = "the device's store was altered: a sealed value does not open where it stands"


def make(path: Path, source: KeySource, initial: Mapping[str, bytes]) -> None:
    """Make a store aside and rename it to `path`; raises what SQLite, the system and `source` raise."""
    vault, lock = Vault.create(source)
    new = path.with_name(path.name + NEW_SUFFIX)
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    # no write-ahead log here: it would have to be renamed too
    with closing(sqlite3.connect(new, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        add_functions(db, vault)
        db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION};")
        db.execute("INSERT INTO lock VALUES (?, ?, ?, ?, ?)", astuple(lock))
        for name, value in initial.items():
            db.execute("INSERT INTO meta VALUES (?1, sealed(?2, 'meta.value', ?1))", (name, value))
        db.execute("COMMIT")
    reach("device.store.rename.before")
    new.rename(path)
    reach("device.store.rename.after")
    sync_folder(path.parent)


def connect(path: Path) -> sqlite3.Connection:
    """The database in `path`, which must be there."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA secure_delete = ON")
    # pages in memory; a message needs a few, and the system keeps the file's pages anyway
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return db


def add_functions(db: sqlite3.Connection, vault: Vault) -> None:
    """Let statements say ``sealed(value, place, row)`` and ``opened(value, place, row)``."""

    def sealed(value: Value, place: str, row: Value) -> bytes | None:
        try:
            return vault.seal(value, place, row)
        except KeyboardInterrupt:
            interrupted.set()
            raise

    def opened(value: bytes | None, place: str, row: Value) -> Value:
        try:
            return vault.unseal(value, place, row)
        except (CryptoError, ValueError) as error:
            raise StoreError(ALTERED) from error
        except KeyboardInterrupt:
            interrupted.set()
            raise

    db.create_function("sealed", 3, sealed)
    db.create_function("opened", 3, opened)


interrupted: Final = threading.Event()
"""An interrupt came up in one of the functions; SQLite says only that a function failed."""
