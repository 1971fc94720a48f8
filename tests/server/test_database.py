from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from blindmatch_server.storage.database import Database
from blindmatch_server.storage.errors import StateError


async def test_transactions_committed_together_fail_alone(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.sqlite", "CREATE TABLE t (x INTEGER PRIMARY KEY)")

    def insert(x: int, fail: bool = False) -> object:
        def transaction(connection: sqlite3.Connection) -> int:
            connection.execute("INSERT INTO t VALUES (?)", (x,))
            if fail:
                raise ValueError
            return x

        return database.run(transaction)

    calls = [insert(1), insert(2, fail=True), insert(3), insert(3), insert(4)]
    results = await asyncio.gather(*calls, return_exceptions=True)  # type: ignore[call-overload]
    assert [type(r) for r in results] == [int, ValueError, int, sqlite3.IntegrityError, int]
    rows = await database.run(lambda c: c.execute("SELECT x FROM t").fetchall())
    assert rows == [(1,), (3,), (4,)]
    await database.close()


async def test_a_database_of_another_version_or_none_at_all_is_refused(tmp_path: Path) -> None:
    schema = "CREATE TABLE t (x INTEGER)"
    await Database(tmp_path / "x.sqlite", schema, 1).close()
    with pytest.raises(StateError, match="version 1"):
        Database(tmp_path / "x.sqlite", schema, 2)
    (tmp_path / "y.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StateError, match=r"y\.sqlite"):
        Database(tmp_path / "y.sqlite", schema, 1)
