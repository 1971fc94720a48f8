"""Slots of cover schedules at the centre: cover is dropped, fragments become a report."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from pathlib import Path

import grpc
import pytest
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.messages.report import (
    KEPT_MS,
    SLOT_SIZES,
    Slot,
    cover,
    fragment,
    fragments_of,
    seal_slot,
)
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.centre import slots
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.storage.database import Database
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from .deployment import refused
from .scene import Scene

SIZE = SLOT_SIZES[0]
RNG = system_randomness()


def submission(scene: Scene, slot: Slot, slot_id: bytes | None = None) -> list[wire.SubmitPart]:
    name = slot_id or secrets.token_bytes(16)
    sealed = seal_slot(slot, name, scene.keys.public_key)
    return [wire.SubmitPart(report_id=name, part=wire.Part(size=len(sealed), data=sealed))]


def stored(directory: Path) -> list[tuple[int, int]]:
    connection = sqlite3.connect(directory / "state" / "slots.sqlite")
    rows = connection.execute("SELECT position, count FROM slots").fetchall()
    connection.close()
    return rows


async def test_cover_is_acknowledged_as_anything_else_and_dropped(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.centre() as (alice, _, operator, _):
        parts = submission(scene, cover(RNG, SIZE))
        receipt = await alice.one("Centre/Submit", parts)
        assert receipt.report_id == parts[0].report_id and receipt.received_at_ms
        listed = await operator.one("Centre/List", wire.ListRequest())
        assert list(listed.reports) == []
    assert stored(tmp_path) == []


async def test_fragments_in_any_order_and_doubled_become_one_report(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    report = scene.report()
    sealed = scene.seal(report)
    count = fragments_of(len(sealed), SIZE)
    assert count > 2
    order = [*range(count - 1, -1, -1), 0]
    async with scene.centre() as (alice, _, operator, _):
        for position in order:
            slot = fragment(sealed, report.report_id, position, SIZE)
            await alice.one("Centre/Submit", submission(scene, slot))
            await alice.one("Centre/Submit", submission(scene, cover(RNG, SIZE)))
        (row,) = (await operator.one("Centre/List", wire.ListRequest())).reports
        assert row.report_id == report.report_id


async def test_fragments_survive_a_restart_of_the_centre(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    report = scene.report()
    sealed = scene.seal(report)
    count = fragments_of(len(sealed), SIZE)
    for positions in (range(1), range(1, count)):
        async with scene.centre() as (alice, _, operator, _):
            for position in positions:
                slot = fragment(sealed, report.report_id, position, SIZE)
                await alice.one("Centre/Submit", submission(scene, slot))
            found = (await operator.one("Centre/List", wire.ListRequest())).reports
    assert [row.report_id for row in found] == [report.report_id]


async def test_a_slot_handed_in_twice_is_kept_once_and_belongs_to_who_handed_it_in(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    report = scene.report()
    slot = fragment(scene.seal(report), report.report_id, 0, SIZE)
    async with scene.centre() as (alice, bob, _, _):
        parts = submission(scene, slot, b"i" * 16)
        first = await alice.one("Centre/Submit", parts)
        assert await alice.one("Centre/Submit", parts) == first
        code, _, _ = await refused(bob.one("Centre/Submit", parts))
        assert code is grpc.StatusCode.ALREADY_EXISTS
    assert len(stored(tmp_path)) == 1


async def test_what_is_not_a_slot_of_this_centre_is_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.centre() as (alice, _, _, _):
        part = wire.Part(size=SIZE, data=secrets.token_bytes(SIZE))
        code, text, _ = await refused(
            alice.one("Centre/Submit", [wire.SubmitPart(report_id=b"i" * 16, part=part)])
        )
        assert code is grpc.StatusCode.INVALID_ARGUMENT and "cover/slot" in text


async def test_fragments_that_wait_for_ever_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "MOST_KEPT_BYTES", 2 * SIZE)
    scene = Scene(tmp_path)
    async with scene.centre() as (alice, bob, _, _):
        sealed = secrets.token_bytes(10 * SIZE)
        for position in range(2):
            slot = fragment(sealed, b"s" * 16, position, SIZE)
            await alice.one("Centre/Submit", submission(scene, slot))
        slot = fragment(sealed, b"s" * 16, 2, SIZE)
        code, _, _ = await refused(alice.one("Centre/Submit", submission(scene, slot)))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        await bob.one("Centre/Submit", submission(scene, slot))


def test_a_report_may_take_longer_than_fragments_wait_for_the_next() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(slots.SCHEMA)
    sealed = secrets.token_bytes(5 * SIZE)
    count = fragments_of(5 * SIZE, SIZE)
    now = 1_700_000_000_000
    for position in range(count):
        now += KEPT_MS
        slot = fragment(sealed, b"s" * 16, position, SIZE)
        slots._keep(connection, secrets.token_bytes(16), slot, "alice", now)
        slots._drop(connection, now - KEPT_MS)
    assert slots._complete(connection, "alice") == [(b"s" * 16, sealed)]
    slots._keep(connection, b"c" * 16, cover(RNG, SIZE), "alice", now)
    slots._drop(connection, now + 1)
    assert connection.execute("SELECT COUNT(*) FROM slots").fetchone() == (0,)


async def test_a_slot_is_acknowledged_before_anything_is_done_about_it(tmp_path: Path) -> None:
    """Else the last fragment of a report would take longer, and whoever sees the traffic would know."""
    key = X25519PrivateKey.generate()
    taken = list[bytes]()
    may_store = asyncio.Event()

    async def slow(report_id: bytes, sealed: bytes, account: str) -> None:
        await may_store.wait()
        taken.append(sealed)

    public = key.public_key().public_bytes_raw()
    database = Database(tmp_path / "slots.sqlite", slots.SCHEMA, slots.VERSION)
    held = slots.Slots(database, key, EventLog("centre"))
    sealed = secrets.token_bytes(2 * SIZE)
    for position in range(3):
        name = secrets.token_bytes(16)
        slot = fragment(sealed, b"s" * 16, position, SIZE)
        await held.take(name, seal_slot(slot, name, public), "alice", 1, slow)
    assert taken == []
    may_store.set()
    await held.idle()
    assert taken == [sealed]
    await database.close()


def test_of_cover_and_fragments_as_many_bytes_are_kept() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(slots.SCHEMA)
    sealed = secrets.token_bytes(SIZE)
    for slot in (cover(RNG, SIZE), *(fragment(sealed, b"s" * 16, position, SIZE) for position in range(2))):
        slots._keep(connection, secrets.token_bytes(16), slot, "alice", 1)
    kept = connection.execute("SELECT DISTINCT LENGTH(data) FROM slots").fetchall()
    assert len(kept) == 1 and slots._complete(connection, "alice") == [(b"s" * 16, sealed)]
