"""A database that version 1 wrote (frozen in vectors/centre-v1.sql) is served by this version."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.centre.schema import MIGRATIONS, SCHEMA, VERSION
from blindmatch_server.database import open_connection
from blindmatch_server.errors import StateError

from .scene import Scene

FROZEN = Path(__file__).parent.parent / "vectors/centre-v1.sql"
FIRST, FALSE, UNKNOWN = (n.to_bytes(16, "big") for n in (1, 2, 3))


def frozen(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FROZEN.read_text())
    return path


def shape(path: Path) -> dict[str, list[str]]:
    """Tables with their columns, triggers and indices."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name, type FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
        return {
            name: sorted(row[1] for row in connection.execute(f"PRAGMA table_info({name})"))
            for name, _ in names
        }


def test_a_migrated_database_has_the_shape_of_a_new_one(tmp_path: Path) -> None:
    old, new = frozen(tmp_path / "old.sqlite"), tmp_path / "new.sqlite"
    for path in (old, new):
        open_connection(path, SCHEMA, VERSION, MIGRATIONS).close()
    assert shape(old) == shape(new)


def test_a_migration_that_fails_leaves_the_old_database(tmp_path: Path) -> None:
    path = frozen(tmp_path / "old.sqlite")
    before = shape(path)

    def fails(connection: sqlite3.Connection) -> None:
        MIGRATIONS[1](connection)
        raise sqlite3.OperationalError

    with pytest.raises(StateError):
        open_connection(path, SCHEMA, VERSION, {1: fails})
    assert shape(path) == before
    with pytest.raises(StateError, match="version 1"):
        open_connection(path, SCHEMA, VERSION)


def test_what_version_1_called_decisions_are_checks_that_a_person_still_has_to_look_at(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    frozen(tmp_path / "state/centre.sqlite")

    async def test() -> None:
        async with scene.centre() as (_, _, operator, _):
            found = await operator.one("Centre/List", wire.ListRequest())
            rows = {row.report_id: row for row in found.reports}
            assert {i: (r.state, r.checks) for i, r in rows.items()} == {
                FIRST: ("checked", "passed"),
                FALSE: ("checked", "failed"),
                UNKNOWN: ("checked", "unavailable"),
                b"junk" * 4: ("checked", "failed"),
                # received and never checked; its file is not part of the frozen database
                b"w" * 16: ("checked", "unavailable"),
            }
            assert rows[FALSE].checks_reason.startswith("franking: ")
            assert [(v.account, v.held) for v in found.vouchers] == [("alice", 1)]
            shown = await operator.one("Centre/Show", wire.ShowRequest(report_id=FIRST))
            assert [(e.actor, e.event, e.state) for e in shown.journal] == [
                ("", "moved", "received"),
                ("", "moved", "confirmed"),
                ("migration", "migrated", "checked"),
            ]
            assert [(n.account, n.kind) for n in shown.notices] == [("alice", "reported")]
            move = wire.MoveRequest(report_id=FIRST, state="confirmed", reason="looked at")
            assert (await operator.one("Centre/Move", move)).state == "confirmed"

    run(test())


def run(test: Any) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def test_notices_are_planned_once_however_often_the_centre_starts(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    frozen(tmp_path / "state/centre.sqlite")

    async def start() -> int:
        async with scene.centre() as (_, _, operator, _):
            await operator.one("Centre/List", wire.ListRequest())
        with closing(sqlite3.connect(tmp_path / "state/centre.sqlite")) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM notices").fetchone()[0])

    assert asyncio.run(start()) == asyncio.run(start()) == 5
