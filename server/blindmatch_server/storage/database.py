"""The embedded store: SQLite with a write-ahead log, synced before anything is acknowledged.

One thread owns the connection. Transactions that wait for it are committed together (`batching`): each has
a savepoint of its own unless it is alone, so that one that fails takes nothing of the others with it, and no
one is answered before the commit is on disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from blindmatch_protocol.failpoint import reach

from blindmatch_server.storage.batching import Batcher
from blindmatch_server.storage.errors import StateError

T = TypeVar("T")
Transaction: TypeAlias = Callable[[sqlite3.Connection], Any]
_MOST_TOGETHER = 128
WAIT_SECONDS = 10
"""For another process that holds the database."""


def open_connection(
    path: Path, schema: str, version: int, upgrades: Mapping[int, str] | None = None
) -> sqlite3.Connection:
    """Open or create a database with `schema`, which is of `version`. `upgrades` has, by an older version,
    the statements that make the next one of it; any other is not converted.
    Raises `StateError` if it cannot be opened, is no database, or is of another version."""
    connection: sqlite3.Connection | None = None
    try:
        # made before SQLite does, so that it and its log are the owner's alone from the first byte on
        path.touch(mode=0o600)
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=WAIT_SECONDS
        )
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {schema}; PRAGMA user_version={version}; COMMIT;")
        while found in (upgrades or {}) and found < version:
            upgrade = (upgrades or {})[found]
            connection.executescript(f"BEGIN IMMEDIATE; {upgrade}; PRAGMA user_version={found + 1}; COMMIT;")
            found += 1
        if found not in (0, version):
            raise StateError(f"version {found} of the database, {version} expected, and none is converted")
    except (sqlite3.Error, OSError, StateError) as error:
        if connection is not None:
            connection.close()
        rule = str(error) if isinstance(error, StateError) else "cannot be opened as a database"
        raise StateError(f"{path.name}: {rule}") from error
    return connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees one state of the database at `path` and changes nothing; for another thread or
    process than the one that writes. Raises `sqlite3.Error` if there is no such database."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    with closing(
        sqlite3.connect(address, uri=True, isolation_level=None, timeout=WAIT_SECONDS)
    ) as connection:
        connection.execute("BEGIN")
        yield connection


class Database:
    """Runs transactions on its own thread; belongs to one event loop.

    Attributes:
        path: of its file, which others may read (`reading`).
    """

    def __init__(
        self, path: Path, schema: str, version: int = 1, upgrades: Mapping[int, str] | None = None
    ) -> None:
        self.path = path
        self._connection = open_connection(path, schema, version, upgrades)
        self._name = path.stem
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{path.stem}")
        self._batcher: Batcher[Transaction, Any] = Batcher(self._commit, self._thread, _MOST_TOGETHER)

    async def run(self, transaction: Callable[[sqlite3.Connection], T]) -> T:
        """Run `transaction`; when this returns, what it wrote is on disk. Raises what it raised
        (nothing of it is kept then), or `sqlite3.Error` of the commit."""
        result: T = await self._batcher.submit(transaction)
        return result

    async def close(self) -> None:
        await self._batcher.close()
        self._thread.shutdown()
        self._connection.close()

    async def truncate(self) -> bool:
        """Empty the write-ahead log, in which the pages of erased rows may still stand; False if another
        process reads them, which is not waited for."""

        def checkpoint() -> bool:
            self._connection.execute("PRAGMA busy_timeout = 0")
            try:
                (busy, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {WAIT_SECONDS * 1000}")
            return not busy

        return await asyncio.get_running_loop().run_in_executor(self._thread, checkpoint)

    def _commit(self, transactions: Sequence[Transaction]) -> list[Any]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if len(transactions) == 1:
                results = [transactions[0](self._connection)]
            else:
                results = [self._savepoint(transaction) for transaction in transactions]
            reach(f"{self._name}.commit.before")
            self._connection.execute("COMMIT")
            reach(f"{self._name}.commit.after")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return results

    def _savepoint(self, transaction: Transaction) -> Any:
        self._connection.execute("SAVEPOINT one")
        try:
            result = transaction(self._connection)
        except Exception as error:
            self._connection.execute("ROLLBACK TO one")
            result = error
        self._connection.execute("RELEASE one")
        return result


def signed(value: int) -> int:
    """An unsigned integer of 64 bits as the signed one SQLite can hold; `unsigned` undoes it."""
    return value - (1 << 64) if value >= 1 << 63 else value


def unsigned(value: int) -> int:
    return value + (1 << 64) if value < 0 else value
