"""What the device must remember: one SQLite file, written before anything is sent.

Every value that says something of messages, keys or reports is sealed (vault.py), where it stands:

    INSERT INTO meta VALUES (?1, sealed(?2, 'meta.value', ?1))
    SELECT opened(value, 'meta.value', name) FROM meta

Durable means: in the write-ahead log and synced (synchronous = FULL) when the transaction ends. One process
writes at a time, from its first change until it closes the store: another one would go on with a ratchet, and
with keys of peers, as they were. The log also holds what rows said before, so it is cut off when the device
comes to rest (`settle`), and after `UNSETTLED_MOST` transactions.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from blindmatch_protocol.contract import epoch_scope, is_epoch_scope
from blindmatch_protocol.failpoint import armed, reach

from blindmatch_client.errors import StoreError
from blindmatch_client.store import store_file
from blindmatch_client.store.store_file import connect, make
from blindmatch_client.store.vault import KeyFile, KeySource, Lock, Value, Vault

CLAIM_NAME: Final = "writing.lock"
IN_USE: Final = "another process, such as `device run`, has this device open: end that first"

UNSETTLED_MOST: Final = 64
"""Transactions whose pages the write-ahead log keeps, at most, unless somebody else reads the store."""


class Store:
    """The file; one writer at a time, from any thread of one process."""

    def __init__(
        self,
        folder: Path,
        create: bool,
        key: KeySource | None = None,
        initial: Mapping[str, bytes] | None = None,
    ) -> None:
        """Open the store in `folder`, or make it with what `initial` has; `key` locks it (None: the file
        `KEY_NAME` beside it, which protects nothing by itself). `WrongKeyError` if it is locked with another
        key, `StoreError` if there is none, one already, one of another version, or a file cannot be used."""
        path = folder / store_file.FILE_NAME
        source = key or KeyFile(folder / store_file.KEY_NAME)
        if create == path.exists():
            raise StoreError(f"{folder}: {'holds a device already' if create else 'holds no device'}")
        self._lock = threading.RLock()
        self.undone = 0
        """Transactions that were undone: what was read or kept in one may be true no more."""
        self._later: list[tuple[str, tuple[Value, ...]]] = []
        self._synced = True
        self._unsettled = 1  # whoever had the store before may have been killed
        self._vault: Vault | None = None
        self._claims = folder / CLAIM_NAME
        self._claim = -1
        try:
            if create:
                make(path, source, initial or {})
            self._db = connect(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: cannot be opened: {error}") from error
        self._unlock(path, source)

    def close(self) -> None:
        """Write what was to be written later, unless the disk fails (`later`), and close the file."""
        with self._lock:
            try:
                self.settle()
            finally:
                self._db.close()
                self._unclaim()

    def _take_claim(self) -> None:
        """Be the one process that writes, until the store is closed; raises as `transaction`."""
        if self._claim >= 0:
            return
        folder = self._claims.parent
        try:
            self._claim = os.open(self._claims, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._unclaim()
            busy = isinstance(error, BlockingIOError)
            raise StoreError(f"{folder}: {IN_USE if busy else error.strerror}") from None
        if self._db.execute("PRAGMA data_version").fetchone() != self._version:
            self._unclaim()
            raise StoreError(f"{folder}: another process has changed this device: open it again")

    def _unclaim(self) -> None:
        if self._claim >= 0:
            os.close(self._claim)
            self._claim = -1

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Yield True if no other process writes while the context lasts."""
        before = self._claim
        try:
            self._take_claim()
        except StoreError:
            yield False
            return
        try:
            yield True
        finally:
            if before < 0:
                self._unclaim()

    def settle(self) -> None:
        """Bring everything into the file and cut the write-ahead log off; while somebody else reads the
        store, or the disk fails, that is left to the next call."""
        with self._lock, suppress(StoreError):
            self._write_later()
            if self._unsettled and not self._db.in_transaction:
                with _named():
                    busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._unsettled = self._unsettled if busy else 0

    @contextmanager
    def transaction(self, synced: bool = True) -> Iterator[None]:
        """All changes inside become durable together when it ends, or none if it raises. With `synced` False
        a loss of power may undo them, though not the process's end; inside another transaction that one's
        rule holds. `StoreError` if they cannot be written, such as on a full disk, or if another process
        writes here, or has since this one opened the store."""
        with self._lock, _named():
            if self._db.in_transaction:
                yield
                return
            self._take_claim()
            if synced is not self._synced:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
                self._synced = synced
            yield from self._committed()
            self._unsettled += 1
            if self._unsettled % UNSETTLED_MOST == 0:
                self.settle()

    def _committed(self) -> Iterator[None]:
        later = len(self._later)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in self._later:
                self._db.execute(statement, values)
            yield
            if armed:
                reach("device.commit.before")
            self._db.execute("COMMIT")
            del self._later[:later]
            if armed:
                reach("device.commit.after")
        except BaseException:
            self.undone += 1
            if self._db.in_transaction:  # SQLite has done so itself after some errors, such as a full disk
                self._db.execute("ROLLBACK")
            raise

    def _write_later(self) -> None:
        if self._later and not self._db.in_transaction:
            with self.transaction(synced=False):
                pass

    def run(self, statement: str, *values: Value) -> int:
        return self._execute(statement, values).rowcount

    def sealed(self, value: bytes, place: str, row: Value) -> bytes | None:
        """Seal a value as ``sealed`` in a statement does; cheaper, for statements that run for every text."""
        assert self._vault is not None
        return self._vault.seal(value, place, row)

    def run_each(self, statement: str, rows: Sequence[tuple[Value, ...]]) -> None:
        """Run one statement for each of `rows`, in one transaction."""
        if rows:
            with self.transaction():
                self._db.executemany(statement, rows)

    def later(self, statement: str, *values: Value) -> None:
        """Run one statement with the next transaction, or before anything is read: it may be lost with the
        process, which only spares doing a harmless thing again."""
        with self._lock:
            self._later.append((statement, values))

    def insert(self, statement: str, *values: Value) -> int:
        """Run an INSERT; the row's number."""
        return self._execute(statement, values).lastrowid or 0

    def _execute(self, statement: str, values: tuple[Value, ...]) -> sqlite3.Cursor:
        """Run it in the current transaction, with that one's errors, or in one of its own."""
        with self._lock:
            if self._db.in_transaction:
                return self._db.execute(statement, values)
            with self.transaction():
                return self._db.execute(statement, values)

    def one(self, query: str, *values: Value) -> tuple[Any, ...] | None:
        with self._lock, _named():
            self._write_later()
            row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
        return row

    def all(self, query: str, *values: Value) -> Sequence[tuple[Any, ...]]:
        with self._lock, _named():
            self._write_later()
            return self._db.execute(query, values).fetchall()

    def get(self, name: str) -> bytes | None:
        row = self.one("SELECT opened(value, 'meta.value', name) FROM meta WHERE name = ?", name)
        return None if row is None else bytes(row[0])

    def put(self, name: str, value: bytes) -> None:
        self.run(
            "INSERT INTO meta VALUES (?1, sealed(?2, 'meta.value', ?1))"
            " ON CONFLICT DO UPDATE SET value = excluded.value",  # in its place: their order tells nothing
            *(name, value),
        )

    def forget(self, name: str) -> None:
        self.run("DELETE FROM meta WHERE name = ?", name)

    def _schema_version(self) -> int:
        found = self.one("PRAGMA user_version")
        assert found is not None
        return int(found[0])

    def _migrate(self) -> None:
        """Bring an older store to this program's version: whole or, if anything fails, not at all."""
        with self.transaction():
            for version in range(self._schema_version(), store_file.SCHEMA_VERSION):
                store_file.MIGRATIONS[version](self._db)
            self._db.execute(f"PRAGMA user_version = {store_file.SCHEMA_VERSION}")
        self._unclaim()

    def _unlock(self, path: Path, source: KeySource) -> None:
        try:
            version = self._schema_version()
            if version != store_file.SCHEMA_VERSION and version not in store_file.MIGRATIONS:
                raise StoreError(
                    f"{path}: is of version {version}, this program's is {store_file.SCHEMA_VERSION}, and "
                    f"only version {min(store_file.MIGRATIONS)} and later ones are converted: "
                    "register a new device"
                )
            row = self.one("SELECT kind, salt, operations, memory, wrapped FROM lock")
            if row is None:
                raise StoreError(f"{path}: has no lock")
            self._vault = Vault.open(Lock(*row), source)
            store_file.add_functions(self._db, self._vault)
            self._version = self._db.execute("PRAGMA data_version").fetchone()
            if version != store_file.SCHEMA_VERSION:
                self._migrate()
        except BaseException:
            self.close()
            raise


class DesignState:
    """The account's device state of one design and scope: the detector's `StateKeeper`.

    Args:
        design: name of the design.
        version: of the design.
        scope: what the state belongs to, `contract.state_scope`.
    """

    def __init__(self, store: Store, design: str, version: int, scope: bytes) -> None:
        self._store = store
        self._key = (design, version, scope)
        self._row = store_file.state_row(design, version, scope)

    def load(self) -> bytes | None:
        query = (
            "SELECT opened(state, 'device_state.state', ?) FROM device_state"
            " WHERE (design, version, scope) = (?, ?, ?)"
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

    def take_over(self, epoch: int) -> None:
        """Make the state that an older program kept for `epoch` this scope's, if the scope has none.

        Several epochs of one period may each have left a state. The current epoch's goes on: it is the one
        whose vouchers are the newest, and whatever of it is used up was used in this epoch, so what was saved
        last is all that was ever drawn from it. Shares of two states never add up, so the others are of no
        use to anybody but whoever steals them: `erase_others` removes them.
        """
        design, version, scope = self._key
        before = DesignState(self._store, design, version, epoch_scope(epoch))
        if scope == before._key[2] or self.load() is not None:
            return
        state = before.load()
        if state is not None:
            self.save(state)

    def erase_others(self) -> None:
        """Erase the design's states of other scopes and versions: no epoch of theirs is used again.

        A device never goes back to an older epoch. Whoever got the state of a past period could read all
        that the period's vouchers hold.
        """
        design, version, scope = self._key
        others = "FROM device_state WHERE design = ? AND (version, scope) != (?, ?)"
        if self._store.one(f"SELECT 1 {others}", design, version, scope) is not None:
            self._store.run(f"DELETE {others}", design, version, scope)


def has_state_of_epoch(store: Store, design: str, version: int) -> bool:
    """Is there a state of the design that belongs to an epoch alone?"""
    query = "SELECT scope FROM device_state WHERE (design, version) = (?, ?)"
    return any(is_epoch_scope(bytes(scope)) for (scope,) in store.all(query, design, version))


@contextmanager
def _named() -> Iterator[None]:
    """Turns SQLite's errors into errors of the device, whose texts quote no values."""
    try:
        yield
    except sqlite3.Error as error:
        if "user-defined function raised exception" in str(error):
            if store_file.interrupted.is_set():
                store_file.interrupted.clear()
                raise KeyboardInterrupt from None
            raise StoreError(store_file.ALTERED) from None
        raise StoreError(f"the device's store failed: {error}") from error
