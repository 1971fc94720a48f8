"""Store what the device must remember in one SQLite file, before it sends anything.

Every value that tells something of messages, keys or reports is sealed in its place (vault.py):

    INSERT INTO meta VALUES (?1, sealed(?2, 'meta.value', ?1))
    SELECT opened(value, 'meta.value', name) FROM meta

Durable means: in the write-ahead log and synced (synchronous = FULL) when the transaction ends. One process
writes at a time, from its first change until it closes the store: a second one would continue with an old
ratchet and old keys of peers. The log also holds earlier contents of rows, so it is truncated when the device
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
"""Transactions whose pages the write-ahead log keeps, at most, unless another process reads the store."""


class Store:
    """The file; one writer at a time, from any thread of one process."""

    def __init__(
        self,
        folder: Path,
        create: bool,
        key: KeySource | None = None,
        initial: Mapping[str, bytes] | None = None,
    ) -> None:
        """Open the store in `folder`, or create it.

        Args:
            key: The source of the key that locks it; None: the file `KEY_NAME` beside it, which protects
                nothing by itself.
            initial: Values that a new store holds, by name.

        Raises:
            WrongKeyError: It is locked with another key.
            StoreError: There is none, there is one already, it is of another version, or a file cannot be
                used.
        """
        path = folder / store_file.FILE_NAME
        source = key or KeyFile(folder / store_file.KEY_NAME)
        if create == path.exists():
            raise StoreError(f"{folder}: {'holds a device already' if create else 'holds no device'}")
        self._lock = threading.RLock()
        self.undone = 0
        """Number of transactions that were undone. What was read or stored in one may no longer hold."""
        self._later: list[tuple[str, tuple[Value, ...]]] = []
        self._synced = True
        self._unsettled = 1  # the process that had the store before may have been killed
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
        """Run the statements of `later`, unless the disk fails, and close the file."""
        with self._lock:
            try:
                self.settle()
            finally:
                self._db.close()
                self._unclaim()

    def _take_claim(self) -> None:
        """Become the one process that writes, until the store is closed. Raises as `transaction`."""
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
        """Move the write-ahead log into the file and truncate it.

        While another process reads the store, or if the disk fails, that is left to the next call.
        """
        with self._lock, suppress(StoreError):
            self._write_later()
            if self._unsettled and not self._db.in_transaction:
                with _naming_errors():
                    busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._unsettled = self._unsettled if busy else 0

    @contextmanager
    def transaction(self, synced: bool = True) -> Iterator[None]:
        """Make all changes inside durable together when the context ends, or none of them if it raises.

        Inside another transaction it does nothing: that one's end and its `synced` hold.

        Args:
            synced: If False, a loss of power may undo the changes, though not the end of the process.

        Raises:
            StoreError: The changes cannot be written, for example to a full disk; or another process writes
                to the store, or has written since this one opened it.
        """
        with self._lock, _naming_errors():
            if self._db.in_transaction:
                yield
                return
            self._take_claim()
            if synced is not self._synced:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
                self._synced = synced
            yield from self._commit()
            self._unsettled += 1
            if self._unsettled % UNSETTLED_MOST == 0:
                self.settle()

    def _commit(self) -> Iterator[None]:
        """Run the statements of `later`, yield for the changes, and commit; undo all if anything raises."""
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
            if self._db.in_transaction:  # SQLite rolls back by itself after some errors, such as a full disk
                self._db.execute("ROLLBACK")
            raise

    def _write_later(self) -> None:
        if self._later and not self._db.in_transaction:
            with self.transaction(synced=False):
                pass

    def run(self, statement: str, *values: Value) -> int:
        """Run a statement, in a transaction of its own if there is none; return the number of rows."""
        return self._execute(statement, values).rowcount

    def sealed(self, value: bytes, place: str, row: Value) -> bytes | None:
        """Seal a value as ``sealed`` in a statement does; cheaper, for statements run for each message."""
        assert self._vault is not None
        return self._vault.seal(value, place, row)

    def run_each(self, statement: str, rows: Sequence[tuple[Value, ...]]) -> None:
        """Run one statement for each of `rows`, in one transaction."""
        if rows:
            with self.transaction():
                self._db.executemany(statement, rows)

    def later(self, statement: str, *values: Value) -> None:
        """Run a statement with the next transaction, or before the next reading.

        It may be lost with the process. So it must only spare repeating something harmless.
        """
        with self._lock:
            self._later.append((statement, values))

    def insert(self, statement: str, *values: Value) -> int:
        """Run an INSERT, and return the row's number."""
        return self._execute(statement, values).lastrowid or 0

    def _execute(self, statement: str, values: tuple[Value, ...]) -> sqlite3.Cursor:
        """Run a statement in the current transaction, which turns its errors into ours, or in a new one."""
        with self._lock:
            if self._db.in_transaction:
                return self._db.execute(statement, values)
            with self.transaction():
                return self._db.execute(statement, values)

    def one(self, query: str, *values: Value) -> tuple[Any, ...] | None:
        """Return the first row of a query; None if it has none."""
        with self._lock, _naming_errors():
            self._write_later()
            row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
        return row

    def all(self, query: str, *values: Value) -> Sequence[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._lock, _naming_errors():
            self._write_later()
            return self._db.execute(query, values).fetchall()

    def get(self, name: str) -> bytes | None:
        """Return the value of this name; None if there is none."""
        row = self.one("SELECT opened(value, 'meta.value', name) FROM meta WHERE name = ?", name)
        return None if row is None else bytes(row[0])

    def put(self, name: str, value: bytes) -> None:
        """Store a value under a name; durable on return, outside a transaction."""
        self.run(
            "INSERT INTO meta VALUES (?1, sealed(?2, 'meta.value', ?1))"
            # updated in place, so that the order of rows does not tell which value changed last
            " ON CONFLICT DO UPDATE SET value = excluded.value",
            *(name, value),
        )

    def forget(self, name: str) -> None:
        self.run("DELETE FROM meta WHERE name = ?", name)

    def _read_schema_version(self) -> int:
        row = self.one("PRAGMA user_version")
        assert row is not None
        return int(row[0])

    def _migrate(self) -> None:
        """Convert an older store to this program's version, in one transaction."""
        with self.transaction():
            for version in range(self._read_schema_version(), store_file.SCHEMA_VERSION):
                store_file.MIGRATIONS[version](self._db)
            self._db.execute(f"PRAGMA user_version = {store_file.SCHEMA_VERSION}")
        self._unclaim()

    def _unlock(self, path: Path, source: KeySource) -> None:
        """Open the vault and convert an older store; close the file if that fails."""
        try:
            version = self._read_schema_version()
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
    """Tell if there is a state of the design that belongs to a single epoch."""
    query = "SELECT scope FROM device_state WHERE (design, version) = (?, ?)"
    return any(is_epoch_scope(bytes(scope)) for (scope,) in store.all(query, design, version))


@contextmanager
def _naming_errors() -> Iterator[None]:
    """Turn SQLite's errors inside into errors of the device, whose texts quote no values."""
    try:
        yield
    except sqlite3.Error as error:
        if "user-defined function raised exception" in str(error):
            if store_file.interrupted.is_set():
                store_file.interrupted.clear()
                raise KeyboardInterrupt from None
            raise StoreError(store_file.ALTERED) from None
        raise StoreError(f"the device's store failed: {error}") from error
