"""What the device must remember: one SQLite file, written before anything is sent.

It holds the messenger's keys, message texts, the keys of attachments, and reports. Every value that says
something of them is sealed (vault.py); in the clear are how many rows there are, their numbers, times, stages
and design names (docs/messenger.md). Statements seal and open values where they stand:

    INSERT INTO meta VALUES (?1, sealed(?2, 'meta.value', ?1))
    SELECT opened(value, 'meta.value', name) FROM meta

Durable means: in the write-ahead log and synced (synchronous = FULL) when the transaction ends. What may be
lost with the power, since it only spares doing a harmless thing again, is written to the log without waiting
for the disk: it survives the process, and is on the disk with the next transaction that is synced. A new
store is made aside, with all that belongs in it from the beginning, and renamed.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from blindmatch_protocol.failpoint import reach
from nacl.exceptions import CryptoError

from blindmatch_client.errors import StoreError
from blindmatch_client.files import sync_folder
from blindmatch_client.schema import SCHEMA, SCHEMA_VERSION
from blindmatch_client.vault import KeyFile, KeySource, Lock, Vault

FILE_NAME: Final = "device.sqlite"
KEY_NAME: Final = "store.key"
NEW_SUFFIX: Final = ".new"
CACHE_KIB: Final = 512

Value: TypeAlias = str | bytes | int | None

_ALTERED: Final = "the device's store was altered: a sealed value does not open where it stands"


class Store:
    """The file; one writer at a time, from any thread."""

    def __init__(
        self,
        folder: Path,
        create: bool,
        key: KeySource | None = None,
        initial: Mapping[str, bytes] | None = None,
    ) -> None:
        """Open the store in `folder`, or make it.

        Args:
            folder: holds the store.
            create: whether to make a new one.
            key: what locks it; None: the file `KEY_NAME` beside it, which protects nothing by itself.
            initial: what a new one keeps from the beginning.

        Raises:
            WrongKeyError: if it is locked with another key.
            StoreError: if there is none, one already, or one of another version, or a file cannot be used.
        """
        path, source = folder / FILE_NAME, key or KeyFile(folder / KEY_NAME)
        if create == path.exists():
            raise StoreError(f"{folder}: {'holds a device already' if create else 'holds no device'}")
        self._lock = threading.RLock()
        self._vault: Vault | None = None
        try:
            if create:
                make(path, source, initial or {})
            self._db = connect(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: cannot be opened: {error}") from error
        self._unlock(path, source)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self, synced: bool = True) -> Iterator[None]:
        """All changes inside become durable together when it ends, or none if it raises.

        Args:
            synced: False where it may be undone by a loss of power, though not by the end of the process.
                Inside another transaction that one's rule holds.

        Raises:
            StoreError: if they cannot be written, such as on a full disk.
        """
        with self._lock, _named():
            if self._db.in_transaction:
                yield
                return
            if synced:
                yield from self._committed()
                return
            self._db.execute("PRAGMA synchronous = NORMAL")
            try:
                yield from self._committed()
            finally:
                self._db.execute("PRAGMA synchronous = FULL")

    def _committed(self) -> Iterator[None]:
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

    def run_each(self, statement: str, rows: Sequence[tuple[Value, ...]]) -> None:
        """Run one statement for each of `rows`, in one transaction."""
        if rows:
            with self.transaction():
                self._db.executemany(statement, rows)

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
        row = self.one("SELECT opened(value, 'meta.value', name) FROM meta WHERE name = ?", name)
        return None if row is None else bytes(row[0])

    def put(self, name: str, value: bytes) -> None:
        """Keep `value` under `name`."""
        self.run("INSERT OR REPLACE INTO meta VALUES (?1, sealed(?2, 'meta.value', ?1))", name, value)

    def forget(self, name: str) -> None:
        """Keep nothing under `name` any more."""
        self.run("DELETE FROM meta WHERE name = ?", name)

    def relock(self, key: KeySource) -> None:
        """Lock the store with `key` from now on; what is sealed stays as it is. `StoreError` as `key`.

        The lock before is overwritten on its page (secure_delete), and the write-ahead log that has it is cut
        off, unless somebody else reads the store just now.
        """
        assert self._vault is not None
        lock = self._vault.relocked(key)
        with self.transaction():
            insert_lock(self._db, lock)
        with suppress(StoreError):
            self.one("PRAGMA wal_checkpoint(TRUNCATE)")

    def _unlock(self, path: Path, source: KeySource) -> None:
        try:
            found = self.one("PRAGMA user_version")
            if found != (SCHEMA_VERSION,):
                version = None if found is None else found[0]
                raise StoreError(
                    f"{path}: is of version {version}, this program's is {SCHEMA_VERSION}, and none is "
                    "converted: register a new device"
                )
            row = self.one("SELECT kind, salt, operations, memory, wrapped FROM lock")
            if row is None:
                raise StoreError(f"{path}: has no lock")
            self._vault = Vault.open(Lock(*row), source)
            add_functions(self._db, self._vault)
        except BaseException:
            self.close()
            raise


class DesignState:
    """The account's device state of one design and epoch: the detector's `StateKeeper`."""

    def __init__(self, store: Store, design: str, version: int, epoch: int) -> None:
        self._store = store
        self._key = (design, version, epoch)
        self._row = f"{design}/{version}/{epoch}"

    def load(self) -> bytes | None:
        """The encoded state, or None."""
        query = (
            "SELECT opened(state, 'device_state.state', ?) FROM device_state"
            " WHERE (design, version, epoch) = (?, ?, ?)"
        )
        row = self._store.one(query, self._row, *self._key)
        return None if row is None else bytes(row[0])

    def save(self, state: bytes, /) -> None:
        """Replace the state; durable on return."""
        self._store.run(
            "INSERT INTO device_state VALUES (?, ?, ?, sealed(?, 'device_state.state', ?))"
            " ON CONFLICT DO UPDATE SET state = excluded.state",
            *self._key,
            state,
            self._row,
        )


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


@contextmanager
def _named() -> Iterator[None]:
    """What SQLite raises, as an error of the device; its texts quote no values."""
    try:
        yield
    except sqlite3.Error as error:
        if "user-defined function raised exception" in str(error):
            raise StoreError(_ALTERED) from None
        raise StoreError(f"the device's store failed: {error}") from error


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
            raise StoreError(_ALTERED) from error

    db.create_function("sealed", 3, vault.seal)
    db.create_function("opened", 3, opened)


def insert_lock(db: sqlite3.Connection, lock: Lock) -> None:
    """Store `lock` in place of the one there was."""
    row = (lock.kind, lock.salt, lock.operations, lock.memory, lock.wrapped)
    db.execute("DELETE FROM lock")
    db.execute("INSERT INTO lock VALUES (?, ?, ?, ?, ?)", row)
