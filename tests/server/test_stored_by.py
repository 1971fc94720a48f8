"""What an account's attachments come to is kept as one number: cheap to read, and right whatever happens."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from blindmatch_protocol.contract import Party
from blindmatch_server.hosting.authority import Identity
from blindmatch_server.relay import store
from blindmatch_server.relay.store import RelayLimits
from blindmatch_server.storage.errors import QuotaError
from support.mortal import Arm
from support.mortal_servers import Plan, living, relay_life

from .deployment import ALICE, Deployment
from .test_relay import keys, pieces

LIMITS = RelayLimits(most_stored_bytes=2000)
MONTH_MS = int(LIMITS.retention_seconds * 1000)


def stored(database: Path) -> list[tuple[str, int]]:
    """The kept numbers, which must be those of the attachments."""
    with closing(sqlite3.connect(database)) as connection:
        kept = connection.execute("SELECT owner, bytes FROM stored_by ORDER BY owner").fetchall()
        real = connection.execute("SELECT owner, SUM(size) FROM blobs GROUP BY owner ORDER BY owner")
        assert kept == real.fetchall()
    return kept


def files(directory: Path) -> int:
    return sum(path.is_file() for path in (directory / "blobs").rglob("*"))


def opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(f"{store.SCHEMA}; PRAGMA user_version = {store.VERSION};")
    return connection


def test_neither_the_check_nor_an_upload_reads_other_attachments(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "relay.sqlite")) as connection:
        asked: list[str] = []
        connection.set_trace_callback(asked.append)
        store.check_blob_quota(connection, "alice", 10, LIMITS)
        store.add_blob(connection, b"1" * 16, "alice", 10, 0, LIMITS)
        connection.set_trace_callback(None)
        plans = [row[3] for one in asked for row in connection.execute(f"EXPLAIN QUERY PLAN {one}")]
    assert any("SEARCH stored_by USING PRIMARY KEY" in plan for plan in plans)
    assert not any("SCAN" in plan or "blobs USING" in plan for plan in plans)


def test_the_number_follows_uploads_refusals_and_expiry(tmp_path: Path) -> None:
    path = tmp_path / "relay.sqlite"
    with closing(opened(path)) as connection:
        for number, (owner, size) in enumerate([("alice", 900), ("bob", 5), ("alice", 1100), ("bob", 7)]):
            store.add_blob(connection, bytes([number]) * 16, owner, size, number, LIMITS)
        with pytest.raises(QuotaError, match="at most 2000 bytes"):
            store.add_blob(connection, b"9" * 16, "alice", 1, 9, LIMITS)
        assert stored(path) == [("alice", 2000), ("bob", 12)]
        assert store.expire(connection, MONTH_MS + 2, LIMITS) == [bytes([0]) * 16, bytes([1]) * 16]
        assert stored(path) == [("alice", 1100), ("bob", 7)]
        store.add_blob(connection, b"9" * 16, "alice", 900, 9, LIMITS)
        assert len(store.expire(connection, MONTH_MS + 100, LIMITS)) == 3
    assert stored(path) == []


async def uploads(port: int | None, *sizes: int) -> list[bool]:
    """Which of some uploads of Alice's were acknowledged."""
    async with DEPLOYMENT.client(ALICE, Party.PROVIDER, port or 0) as alice:
        done = []
        for method, request in [("Register", keys()), *(("Upload", pieces(bytes(one))) for one in sizes)]:
            done.append(await _taken(alice, f"Relay/{method}", request))
    return done[1:]


async def _taken(client: Any, method: str, request: Any) -> bool:
    try:
        await client.one(method, request)
    except grpc.aio.AioRpcError:
        return False
    return True


DEPLOYMENT = Deployment()
AT = [Arm(f"relay.commit.{side}", hit) for side in ("before", "after") for hit in (4, 5, 6, 7)]
AT += [Arm(f"blob.rename.{side}", hit) for side in ("before", "after") for hit in (1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("arm", AT, ids=[f"{arm.point}-{arm.hit}" for arm in AT])
def test_the_number_is_right_after_a_kill(tmp_path: Path, arm: Arm) -> None:
    plan = Plan(tmp_path, DEPLOYMENT.credentials(Identity.of(Party.PROVIDER)), arm)
    with living(relay_life, plan) as port:
        first = asyncio.run(uploads(port, 900, 600))
    assert not all(first), "the relay was to die before it acknowledged both"
    with living(relay_life, Plan(tmp_path, plan.credentials)) as port:
        before = dict(stored(tmp_path / "relay" / "relay.sqlite")).get("alice", 0)
        assert before >= sum(size for size, taken in zip((900, 600), first, strict=True) if taken)
        assert asyncio.run(uploads(port, 2001 - before, 2000 - before)) == [False, True]
    assert sum(size for _, size in stored(tmp_path / "relay" / "relay.sqlite")) == 2000
    with closing(sqlite3.connect(tmp_path / "relay" / "relay.sqlite")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM blobs").fetchone()[0] == files(tmp_path / "relay")
