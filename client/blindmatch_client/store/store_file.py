"""The file of a device's store: how it is made, locked and connected to.

A new one is made aside, with all that belongs in it from the beginning, and renamed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from blindmatch_protocol.failpoint import reach
from nacl.exceptions import CryptoError

from blindmatch_client.errors import StoreError
from blindmatch_client.store.files import sync_folder
from blindmatch_client.store.schema import SCHEMA, SCHEMA_VERSION
from blindmatch_client.store.vault import KeySource, Lock, Vault

FILE_NAME: Final = "device.sqlite"
KEY_NAME: Final = "store.key"
NEW_SUFFIX: Final = ".new"
CACHE_KIB: Final = 512
ALTERED: Final = "the device's store was altered: a sealed value does not open where it stands"

Value: TypeAlias = str | bytes | int | None


def lock_kind(folder: Path) -> str:
    """What kind of key the store in `folder` is locked with; `StoreError` if it cannot be read."""
    path = folder / FILE_NAME
    if not path.exists():
        raise StoreError(f"{folder}: holds no device")
    try:
        with closing(connect(path)) as db:
            row = db.execute("SELECT kind FROM lock").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be opened: {error}") from error
    if row is None:
        raise StoreError(f"{path}: has no lock")
    return str(row[0])


def make(path: Path, source: KeySource, initial: Mapping[str, bytes]) -> None:
    """Make a store aside and rename it to `path`; raises what SQLite, the system and `source` raise."""
    vault, lock = Vault.create(source)
    with made_aside(path) as db:
        add_functions(db, vault)
        db.execute("BEGIN")
        insert_lock(db, lock)
        for name, value in initial.items():
            db.execute("INSERT INTO meta VALUES (?1, sealed(?2, 'meta.value', ?1))", (name, value))
        db.execute("COMMIT")


@contextmanager
def made_aside(path: Path) -> Iterator[sqlite3.Connection]:
    """A new database with the schema, which takes the place of `path` when it is closed."""
    new = path.with_name(path.name + NEW_SUFFIX)
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    # no write-ahead log here: it would have to be renamed too
    with closing(sqlite3.connect(new, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        yield db
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

    def opened(value: bytes | None, place: str, row: Value) -> Value:
        try:
            return vault.unseal(value, place, row)
        except (CryptoError, ValueError) as error:
            raise StoreError(ALTERED) from error

    db.create_function("sealed", 3, vault.seal)
    db.create_function("opened", 3, opened)


def insert_lock(db: sqlite3.Connection, lock: Lock) -> None:
    """Store `lock` in place of the one there was."""
    row = (lock.kind, lock.salt, lock.operations, lock.memory, lock.wrapped)
    db.execute("DELETE FROM lock")
    db.execute("INSERT INTO lock VALUES (?, ?, ?, ?, ?)", row)
