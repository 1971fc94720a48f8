"""Reports that failed for want of the list are checked again once the centre has learnt it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.contract import Label, batches_of
from blindmatch_protocol.messages.report import Report
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.centre import verify
from blindmatch_server.centre.keys import References, write_references
from blindmatch_server.centre.verify import Checking
from blindmatch_server.storage.errors import StateError

from .deployment import SECONDS, Client, refused
from .scene import ENTRY, HASH, LISTED, OTHER, Scene
from .test_centre import submission

UNKNOWN = "label: not a label of the list"


def learn(scene: Scene, *labels: Label, second: dict[int, bytes] | None = None) -> None:
    hashes, salts = (
        np.array([np.frombuffer(raw, np.uint8) for raw in column]).reshape(len(labels), -1)
        for column in ([one.entry_hash for one in labels], [one.salt for one in labels])
    )
    ids = np.array([one.entry_id for one in labels], np.uint64)
    write_references(scene.references, batches_of(hashes, ids, salts), second)


OLD = Label(bytes(32), 1, b"o" * 16)


async def submit(client: Client, scene: Scene, *reports: Report) -> None:
    for one in reports:
        await client.one("Centre/Submit", submission(one.report_id, scene.seal(one)))


async def rows_of(operator: Client) -> Sequence[Any]:
    rows: Sequence[Any] = (await operator.one("Centre/List", wire.ListRequest())).reports
    return rows


async def checks_of(operator: Client) -> list[tuple[str, str]]:
    return [(one.checks, one.checks_reason) for one in await rows_of(operator)]


async def test_a_true_report_passes_once_the_running_centre_has_learnt_the_list(scene: Scene) -> None:
    learn(scene, OLD)
    report = scene.report()
    async with scene.centre() as (alice, _, operator, _):
        await submit(alice, scene, report)
        assert await checks_of(operator) == [("failed", UNKNOWN)]
        scene.write(LISTED)
        assert await checks_of(operator) == [("passed", "")]
        shown = await operator.one("Centre/Show", wire.ShowRequest(report_id=report.report_id))
    assert [one.event for one in shown.journal] == ["received", "failed", "checked again: passed"]
    assert len(shown.notices) == 1 and "label: passed" in shown.checks and len(shown.checks) == 11


async def test_it_is_looked_for_without_anybody_asking(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_LOOK_SECONDS", 0.01)
    learn(scene, OLD)
    repeated = asyncio.Event()
    repeat = Checking._repeat

    async def noted(checking: Checking, *given: Any) -> None:
        await repeat(checking, *given)
        repeated.set()

    monkeypatch.setattr(Checking, "_repeat", noted)
    async with scene.centre() as (alice, _, operator, _):
        await submit(alice, scene, scene.report())
        await rows_of(operator)
        scene.write(LISTED)
        await repeated.wait()


async def test_a_centre_that_ends_among_repetitions_makes_the_others_when_it_starts(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(scene, OLD)
    async with scene.centre() as (alice, _, operator, _):
        await submit(alice, scene, *(scene.report(number) for number in (1, 2, 3)))
        assert await checks_of(operator) == [("failed", UNKNOWN)] * 3
    scene.write(LISTED)
    repeat = Checking._repeat
    done = list[bytes]()

    async def first_alone(checking: Checking, submission: Any) -> None:
        if done:
            await asyncio.Event().wait()
        await repeat(checking, submission)
        done.append(submission.report_id)

    with monkeypatch.context() as patched:
        patched.setattr(Checking, "_repeat", first_alone)
        async with scene.centre(list_wait_seconds=0.2) as (_, _, operator, _):
            while not done:
                await rows_of(operator)
            assert await checks_of(operator) == [("passed", ""), ("failed", UNKNOWN), ("failed", UNKNOWN)]
    async with scene.centre() as (_, _, operator, _):
        assert await checks_of(operator) == [("passed", "")] * 3
        shown = await operator.one("Centre/Show", wire.ShowRequest(report_id=done[0]))
        assert len(shown.journal) == 3, "one that passed is not checked again"


async def test_what_failed_for_another_reason_too_or_was_decided_stays_as_it_is(scene: Scene) -> None:
    learn(scene, OLD)
    decided = scene.report(1)
    other = scene.report(2, picture=OTHER)
    forged = scene.report(3, label=Label(HASH, ENTRY.entry_id, b"t" * 16))
    async with scene.centre() as (alice, _, operator, _):
        await submit(alice, scene, decided, other, forged)
        await rows_of(operator)
        move = wire.MoveRequest(report_id=decided.report_id, state="unfounded", reason="not listed")
        await operator.one("Centre/Move", move)
        scene.write(LISTED)
        rows = await rows_of(operator)
        assert [one.checks for one in rows] == ["failed"] * 3
        assert [one.state for one in rows] == ["unfounded", "checked", "checked"]
        for one in (other, forged):
            shown = await operator.one("Centre/Show", wire.ShowRequest(report_id=one.report_id))
            assert [line.event for line in shown.journal] == ["received", "failed"]


async def test_a_repetition_takes_nothing_from_who_reported_the_same_first(scene: Scene) -> None:
    learn(scene, OLD)
    first = scene.report(1)
    again = scene.report(1, report_id=b"again".ljust(16, b"."))
    async with scene.centre() as (alice, _, operator, _):
        await submit(alice, scene, again)
        assert await checks_of(operator) == [("failed", UNKNOWN)]
        scene.write(LISTED)
        await submit(alice, scene, first)
        found = await checks_of(operator)
    assert sorted(outcome for outcome, _ in found) == ["failed", "passed"]
    assert any(reason.startswith("once: the same was reported before") for _, reason in found)


async def test_a_report_that_passed_keeps_its_verdict_when_its_entry_is_removed(scene: Scene) -> None:
    async with scene.centre() as (alice, _, operator, _):
        await submit(alice, scene, scene.report())
        assert await checks_of(operator) == [("passed", "")]
        learn(scene, OLD)
        assert await checks_of(operator) == [("passed", "")]


def test_learning_keeps_the_second_hashes_of_hashes_that_stay_listed(scene: Scene) -> None:
    kept = scene.keys.hasher.hash(Picture.from_bytes(LISTED).luminance)
    moved = Label(HASH, 99, b"n" * 16)
    learn(scene, OLD, moved)
    references = References(scene.references)
    old = references.lookup(OLD.entry_id)
    found = references.lookup(moved.entry_id)
    assert found is not None and found.second_hash == kept, "it goes by the hash, not by the id"
    assert old is not None and old.second_hash is None
    assert references.lookup(ENTRY.entry_id) is None
    learn(scene, Label(b"x" * 32, 99, b"n" * 16))
    other = references.lookup(99)
    assert other is not None and other.second_hash is None, "an id that another entry has now brings nothing"


def test_a_new_picture_goes_before_what_was_kept_and_a_damaged_file_is_replaced(scene: Scene) -> None:
    learn(scene, ENTRY, second={ENTRY.entry_id: b"n" * 32})
    found = References(scene.references).lookup(ENTRY.entry_id)
    assert found is not None and found.second_hash == b"n" * 32
    scene.references.write_bytes(b"no database, but longer than nothing" * 100)
    learn(scene, ENTRY)
    assert References(scene.references).counts() == (1, 0)
    with closing(sqlite3.connect(scene.references)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(StateError, match="version 2, 1 expected"):
        learn(scene, ENTRY)


async def test_a_report_cannot_be_confirmed_before_the_list_is_learnt_and_can_after(scene: Scene) -> None:
    learn(scene, OLD)
    report = scene.report()
    move = wire.MoveRequest(report_id=report.report_id, state="confirmed", reason="seen")
    async with scene.centre() as (alice, _, operator, _):
        await submit(alice, scene, report)
        await rows_of(operator)
        await refused(operator.one("Centre/Move", move))
        scene.write(LISTED)
        await rows_of(operator)
        assert (await operator.one("Centre/Move", move)).state == "confirmed"


async def test_a_report_that_came_while_the_list_was_unreadable_passes_once_it_is_learnt(
    scene: Scene,
) -> None:
    async with scene.centre() as (alice, _, operator, _):
        scene.references.write_bytes(b"half of a copy, which is no database yet" * 100)
        await submit(alice, scene, scene.report())
        assert (await checks_of(operator))[0][0] != "passed"
        scene.write(LISTED)
        assert await checks_of(operator) == [("passed", "")]


async def test_nobody_waits_for_repetitions_that_a_damaged_list_prevents(scene: Scene) -> None:
    """`List` waited its whole limit each time, as long as reports were to be checked again."""
    learn(scene, OLD)
    async with scene.centre() as (alice, _, operator, _):
        await submit(alice, scene, scene.report())
        assert await checks_of(operator) == [("failed", UNKNOWN)]
        scene.references.write_bytes(b"half of a copy, which is no database yet" * 100)
        for _ in range(2):
            assert await checks_of(operator) == [("failed", UNKNOWN)]
        scene.write(LISTED)
        assert await checks_of(operator) == [("passed", "")]


async def test_whoever_lists_waits_while_it_is_looked_for_reports_to_check_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy machine: a list is learnt, and which reports failed for want of it is not known yet."""
    learn(scene, OLD)
    async with scene.centre() as (alice, _, operator, _):
        await submit(alice, scene, scene.report())
        assert await checks_of(operator) == [("failed", UNKNOWN)]
    scene.write(LISTED)
    read = Checking._read_failed
    is_left = Checking._is_left
    may_read = threading.Event()
    is_asked = asyncio.Event()

    def read_late(checking: Checking) -> Any:
        may_read.wait(SECONDS)
        return read(checking)

    async def noted(checking: Checking) -> bool:
        found = await is_left(checking)
        is_asked.set()
        return found

    monkeypatch.setattr(Checking, "_read_failed", read_late)
    monkeypatch.setattr(Checking, "_is_left", noted)
    try:
        async with scene.centre() as (_, _, operator, _):
            listing = asyncio.create_task(checks_of(operator))
            await is_asked.wait()
            may_read.set()
            assert await listing == [("passed", "")]
    finally:
        may_read.set()


async def test_reports_that_could_not_be_looked_for_are_looked_for_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(scene, OLD)
    async with scene.centre() as (alice, _, operator, _):
        await submit(alice, scene, scene.report())
        assert await checks_of(operator) == [("failed", UNKNOWN)]
        read = Checking._read_failed
        failures = [sqlite3.OperationalError("database is locked")]

        def read_once_more(checking: Checking) -> Any:
            if failures:
                raise failures.pop()
            return read(checking)

        monkeypatch.setattr(Checking, "_read_failed", read_once_more)
        scene.write(LISTED)
        while await checks_of(operator) != [("passed", "")]:
            assert not failures
            await asyncio.sleep(0.01)


async def test_an_entry_removed_before_the_centre_learnt_it_stays_failed_until_a_list_with_it(
    scene: Scene,
) -> None:
    learn(scene, OLD)
    async with scene.centre() as (alice, _, operator, _):
        await submit(alice, scene, scene.report())
        for _ in range(2):
            learn(scene, OLD)
            assert await checks_of(operator) == [("failed", UNKNOWN)]
        scene.write(LISTED)
        assert await checks_of(operator) == [("passed", "")]
