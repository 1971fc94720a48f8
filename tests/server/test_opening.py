"""Openings at the centre: receipts do not wait for them, and what they cost is bounded, over restarts too."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import accumulate, pairwise, repeat, takewhile
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from blindmatch_protocol.contract import Label, Opener, Party, Visible
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.centre import store
from blindmatch_server.centre.growth import GROWTH, next_attempt
from blindmatch_server.centre.keys import Deployed
from blindmatch_server.centre.opening import OpeningLimits, begun, record_attempt, rows_of
from blindmatch_server.centre.opening import Pile as Named
from blindmatch_server.centre.retention import BY_AGE, Scope, erase
from blindmatch_server.centre.service import CentreConfig, CentreLimits, open_centre
from blindmatch_server.centre.vouchers import OpenerFiles, Vouchers, add_to_pile
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.hosting.limits import under_way
from blindmatch_server.storage.database import Database
from msgspec.structs import replace
from support.dying import is_running
from support.mortal import Arm
from support.mortal_servers import living, noting_life

from .deployment import ALICE, BOB, OPERATOR, SECONDS, Client, Deployment, until
from .designs_for_tests import DOOMED, LABEL, Dummy, Pile, Slip, opened_elsewhere
from .scene import Scene
from .test_centre import submission, voucher
from .test_kills import asked, plan_of

MOST = 1_000
WITHOUT_PLACES_AGAIN = 12.4
IN_ALL = 36.0
"""Attempts at `most_tried` vouchers that the work for a pile may come to; derived in `centre/opening.py`."""


def schedule(most: int) -> list[int]:
    """The counts at which a pile is tried that grows by one at a time, up to `most`."""
    steps = accumulate(repeat(most), lambda at, most: next_attempt(at, min(at, most), most), initial=1)
    return list(takewhile(lambda at: at <= most, steps))


def work(tried: Iterable[int], most: int) -> float:
    """The cost of attempts on so many vouchers, in attempts on `most`, if it goes by the cube."""
    return sum(rows**3 for rows in tried) / most**3


class Places(Pile):
    """Opens nothing, and notes on how many vouchers and places it was tried. A slip of 1 has the place that
    its number says, one of 2 the place 0."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[int] = []

    def take(self, account: str, device: str, period: bytes, voucher: Any) -> Any:
        number = Label.decode(voucher.label).entry_id if voucher.opens == 1 else 0
        place = number.to_bytes(8, "big")
        return Visible(place, place)

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, Label]:
        self.tried.append(len(rows))
        self.places.append(len(set(rows)))
        return {}


def slips(numbers: Iterable[int], opens: int = 1) -> list[bytes]:
    return [Slip(opens, replace(LABEL, entry_id=number).encode()).encode() for number in numbers]


async def hand_in(folder: Path, pile: Pile, most: int, bodies: Iterable[bytes]) -> None:
    """A centre's life: hand vouchers in, and wait after each one until nothing is due."""
    design = Dummy()
    design.pile = pile
    database = Database(folder / "centre.sqlite", store.SCHEMA, store.VERSION, store.UPGRADES)
    files = {"dummy": OpenerFiles(5, {"setup": b"setup of 5"})}
    log = EventLog("centre", sink=lambda line: None)
    vouchers = Vouchers(database, {"dummy": design}, files, 10 * most, OpeningLimits(most), log)
    head = wire.Envelope(design="dummy", version=3, epoch=5)
    async with under_way(vouchers.openings.run()):
        await vouchers.openings.finished(SECONDS)
        for body in bodies:
            await vouchers.take("alice", "alice", head, body, 1)
            await vouchers.openings.finished(SECONDS)
    await vouchers.openings.close()
    await database.close()


async def test_no_receipt_waits_for_decoders_that_never_return(scene: Scene) -> None:
    """More accounts have their piles tried than there are threads for the centre's other work."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    design = Dummy()
    report = scene.report()
    design.pile.pause.clear()
    deployment = Deployment()
    names = [Identity(Kind.DEVICE, name) for name in ("eve", "fay", "gus", "hal")]
    try:
        async with scene.centre(deployment, design, list_wait_seconds=0.1) as (alice, bob, operator, port):
            for one in names:
                async with deployment.client(one, Party.CENTRE, port) as client:
                    for opens in (1, 2, 3):
                        await client.one("Centre/SubmitVoucher", [voucher(opens)])
            await until(lambda: bool(design.pile.tried))
            for opens in (0, 1, 2):
                await bob.one("Centre/SubmitVoucher", [voucher(opens)])
            await alice.one("Centre/Submit", submission(report.report_id, scene.seal(report)))
            rows = (await operator.one("Centre/List", wire.ListRequest())).reports
            assert [row.reporter for row in rows] == ["alice"]
            assert len(design.pile.tried) == 1, "one attempt at a time"
            design.pile.pause.set()
            while sum(v.opened for v in await counts_of(operator)) < 4 * 3 + 2:
                pass
    finally:
        design.pile.pause.set()


async def counts_of(operator: Client) -> list[wire.VoucherRow]:
    return list((await operator.one("Centre/List", wire.ListRequest())).vouchers)


async def test_a_thousand_fabricated_vouchers_cost_less_than_thirteen_attempts_on_all_of_them(
    tmp_path: Path,
) -> None:
    pile = Places()
    await hand_in(tmp_path, pile, MOST, slips(range(MOST)))
    assert pile.tried == schedule(MOST)
    assert len(pile.tried) < 170 and work(pile.tried, MOST) < WITHOUT_PLACES_AGAIN
    # what comes beyond them is tried no more
    await hand_in(tmp_path, pile, MOST, slips(range(MOST, MOST + 50)))
    assert pile.tried == schedule(MOST)


@pytest.mark.parametrize("first", [1, 30, 70, 99])
async def test_vouchers_of_places_that_were_there_cost_less_than_36_attempts_in_any_order(
    first: int, tmp_path: Path
) -> None:
    """`first` places, then the place 0 until there are 100 vouchers, then further places."""
    most = 100
    pile = Places()
    again = slips(range(most - first), 2)
    bodies = [*slips(range(first)), *again, *slips(range(first, most + 20))]
    await hand_in(tmp_path, pile, most, bodies)
    assert max(pile.tried) == most
    # the count goes up to 2 * most, and is tried again at the latest after a 32nd of that
    assert most - pile.places[-1] < 2 * most / GROWTH
    assert work(pile.tried, most) < IN_ALL


@pytest.mark.parametrize("before", [1, 7, 31, 32, 33, 34, 64, 65, 107, 500, 998, 999, 1000, 1999])
def test_an_account_is_tried_at_the_latest_when_its_vouchers_have_grown_by_a_32nd(before: int) -> None:
    """Whatever the count it was last tried at, when it crosses its threshold with the next one."""
    crossing = before + 1
    for tried in range(before + 1):
        later = next_attempt(tried, min(tried, MOST), MOST) - crossing
        assert later <= max(0, -(-before // GROWTH) - 1)
    assert before > GROWTH or next_attempt(before, before, MOST) == crossing, (
        "up to 33 every single one is tried"
    )


def test_the_last_voucher_that_is_tried_at_all_is_tried() -> None:
    for most in range(1, 300):
        assert schedule(most)[-1] == most
        assert work(schedule(most), most) < WITHOUT_PLACES_AGAIN


async def test_attempts_are_not_made_again_by_a_centre_that_starts_anew(tmp_path: Path) -> None:
    pile = Places()
    most = 120
    for number in range(most):
        await hand_in(tmp_path, pile, most, slips([number]))
    assert pile.tried == schedule(most)


@pytest.mark.slow
@pytest.mark.parametrize("arm", [None, Arm("centre.commit.before", 12), Arm("centre.commit.after", 12)])
def test_a_kill_repeats_at_most_the_attempt_that_was_under_way(scene: Scene, arm: Arm | None) -> None:
    deployment = Deployment()
    tried = scene.directory / "tried"

    def hand_in(port: int | None, opens: Iterable[int]) -> None:
        for number in opens:
            asked(deployment, ALICE, Party.CENTRE, port, "Centre/SubmitVoucher", [voucher(number)])
            asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/List", wire.ListRequest())

    with living(noting_life, plan_of(scene, deployment, arm)) as port:
        hand_in(port, range(1, 4))
    with living(noting_life, plan_of(scene, deployment)) as port:
        hand_in(port, range(1, 6))
    with living(noting_life, plan_of(scene, deployment)) as port:
        hand_in(port, range(1, 6))
    found = list(map(int, tried.read_text().split()))
    assert found == sorted(found) and set(found) == {1, 2, 3, 4, 5}
    assert len(found) <= 5 + (arm is not None)


class _Centre:
    """A centre whose opener is in a worker; it says in labels in which process it was, or dies."""

    def __init__(self, scene: Scene, most_tried: int = MOST) -> None:
        opener = OpenerFiles(5, {"setup": b"setup of 5"}, in_worker=opened_elsewhere)
        deployed = Deployed(Dummy(), lambda: {5})
        limits = CentreLimits(list_wait_seconds=SECONDS, most_tried=most_tried)
        folder = scene.directory
        self.config = CentreConfig(
            folder / "state", folder / "keys", deployed, None, {"dummy": opener}, limits
        )


async def test_vouchers_are_opened_in_a_process_of_their_own_that_stands_behind_and_ends_with_the_centre(
    scene: Scene,
) -> None:
    deployment = Deployment()
    services = partial(open_centre, _Centre(scene).config)
    async with deployment.serving(Party.CENTRE, services, ALICE, OPERATOR) as (alice, operator):
        for opens in (1, 2):
            await alice.one("Centre/SubmitVoucher", [voucher(opens)])
        (counts,) = await counts_of(operator)
        assert (counts.held, counts.opened) == (2, 2)
        with closing(sqlite3.connect(scene.directory / "state/centre.sqlite")) as connection:
            ((label,), _) = connection.execute("SELECT label FROM vouchers ORDER BY number").fetchall()
        worker, niceness = divmod(Label.decode(label).entry_id, 100)
        assert worker != os.getpid() and is_running(worker)
        assert niceness == min(19, os.nice(0) + 10)
    assert not is_running(worker)


async def test_a_pile_over_which_the_worker_ends_counts_as_tried_and_takes_nothing_else_with_it(
    scene: Scene,
) -> None:
    deployment = Deployment()
    services = partial(open_centre, _Centre(scene).config)
    eve = Identity(Kind.DEVICE, DOOMED)
    async with deployment.serving(Party.CENTRE, services, eve, BOB, OPERATOR) as (doomed, bob, operator):
        await doomed.one("Centre/SubmitVoucher", [voucher(1)])
        for opens in (1, 2):
            await bob.one("Centre/SubmitVoucher", [voucher(opens)])
        assert [(v.account, v.opened) for v in await counts_of(operator)] == [("bob", 2), (DOOMED, 0)]
        assert [one["error"] for one in deployment.events("opening")] == ["DesignFailedError"]


async def erase_all_but_the_last(folder: Path, most: int) -> None:
    def age_and_erase(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE vouchers SET received_at_ms = 1 + (number = (SELECT MAX(number) FROM vouchers))"
        )
        erase(connection, Scope(before_ms=2), 3, BY_AGE, "held 1 days", most)

    database = Database(folder / "centre.sqlite", store.SCHEMA, store.VERSION, store.UPGRADES)
    await database.run(age_and_erase)
    await database.close()


@pytest.mark.parametrize("lived", [1, 6])
async def test_the_few_that_are_left_of_a_large_pile_are_tried_as_any_few(tmp_path: Path, lived: int) -> None:
    """A full pile is erased but for one voucher, `lived` times; then a few more come."""
    pile = Places()
    most = 70
    given = 0
    for _ in range(lived):
        await hand_in(tmp_path, pile, most, slips(range(given, given + most)))
        given += most
        await erase_all_but_the_last(tmp_path, most)
    pile.tried.clear()
    await hand_in(tmp_path, pile, most, slips(range(given, given + 5)))
    assert pile.tried[-5:] == [2, 3, 4, 5, 6]


class Tried(NamedTuple):
    """An attempt: the pile's first voucher, its count, and on how many rows it was made."""

    born: int
    counted: int
    rows: int


def played(seed: int, most: int, erasing: float) -> list[Tried]:
    """Hand in vouchers of new and known places in runs of both, and erase older ones now and then; try the
    pile whenever it is due. It is never further from its next attempt than by a 16th of what it holds."""
    rng = Random(seed)
    pile = Named("alice", "dummy", b"period")
    tried = list[Tried]()
    newer = 0.5
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(store.SCHEMA)
        for at in range(1, 10 * most):
            if not at % (most // 3):
                newer = rng.choice([0.0, 0.5, 0.97, 1.0])
            place = at if rng.random() < newer else rng.randrange(at)
            is_due = add_to_pile(db, pile, b"%d" % at, Visible(b"row", b"%d" % place), at, most)
            if rng.random() < erasing:
                erase(db, Scope(before_ms=rng.randrange(1, at + 2)), at, BY_AGE, "held 1 days", most)
                is_due = bool(db.execute("SELECT 1 FROM piles WHERE next_try <= wanted").fetchone())
            if is_due:
                attempt = begun(db, pile, most)
                assert attempt.rows == len(rows_of(db, pile, most))
                tried.append(Tried(attempt.born, attempt.count, attempt.rows))
                record_attempt(db, pile, attempt, {}, most)
            for left, held in db.execute("SELECT next_try - wanted, MIN(visible, ?) FROM piles", (most,)):
                assert left <= max(1, -(-held // (GROWTH // 2)))
    return tried


@pytest.mark.parametrize("seed", range(8))
def test_no_order_of_new_and_known_places_costs_more_than_is_stated(seed: int) -> None:
    most = 96
    tried = played(seed, most, erasing=0.0)
    assert len(tried) > 60 and work((one.rows for one in tried), most) < IN_ALL


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("erasing", [0.002, 0.02, 0.2])
def test_after_an_erasure_an_attempt_comes_once_the_count_has_grown_by_a_33rd_of_its_rows(
    seed: int, erasing: float
) -> None:
    most = 96
    tried = played(seed, most, erasing)
    for one, after in pairwise(tried):
        if one.born == after.born and after.counted != most:
            assert after.counted - one.counted >= after.rows / (GROWTH + 1)


async def test_a_worker_that_is_killed_between_and_during_attempts_costs_no_opening(scene: Scene) -> None:
    deployment = Deployment()
    services = partial(open_centre, _Centre(scene).config)
    async with deployment.serving(Party.CENTRE, services, ALICE, OPERATOR) as (alice, operator):
        killed = set[int]()
        for opens in range(1, 6):
            await alice.one("Centre/SubmitVoucher", [voucher(opens)])
            (counts,) = await counts_of(operator)
            assert counts.opened == (opens if opens > 1 else 0)
            with closing(sqlite3.connect(scene.directory / "state/centre.sqlite")) as connection:
                found = connection.execute("SELECT label FROM vouchers WHERE label IS NOT NULL").fetchall()
            for (label,) in found:
                worker = Label.decode(label).entry_id // 100
                if is_running(worker):
                    os.kill(worker, signal.SIGKILL)
                    killed.add(worker)
        assert len(killed) > 1


def opened_nowhere() -> Opener:
    raise FileNotFoundError


async def test_a_design_whose_opener_is_out_of_reach_keeps_no_other_design_closed(tmp_path: Path) -> None:
    """Its files are gone, say: its piles stay due, and those of the other design are tried all the same."""
    lost = Dummy()
    other = Dummy()
    lost.pile = Places()
    other.pile = Places()
    database = Database(tmp_path / "centre.sqlite", store.SCHEMA, store.VERSION)
    files = {"lost": OpenerFiles(5, {"setup": b"setup of 5"}, in_worker=opened_nowhere)}
    files |= {"other": OpenerFiles(5, {"setup": b"setup of 5"})}
    lines: list[Any] = []
    log = EventLog("centre", sink=lines.append)
    vouchers = Vouchers(database, {"lost": lost, "other": other}, files, 10, OpeningLimits(10), log)
    async with under_way(vouchers.openings.run()):
        for design, numbers in (("lost", [1]), ("other", [1, 2])):
            head = wire.Envelope(design=design, version=3, epoch=5)
            for body in slips(numbers):
                await vouchers.take("alice", "alice", head, body, 1)
        await until(lambda: other.pile.tried[-1:] == [2])
        due = "SELECT design FROM piles WHERE next_try <= wanted"
        assert ("lost",) in await database.run(lambda c: c.execute(due).fetchall())
    await vouchers.openings.close()
    await database.close()


AS_VERSION_11 = """
BEGIN;
CREATE TABLE old (
    account TEXT NOT NULL,
    design TEXT NOT NULL,
    period BLOB NOT NULL,
    held INTEGER NOT NULL,
    visible INTEGER NOT NULL DEFAULT 0,
    places INTEGER NOT NULL DEFAULT 0,
    wanted INTEGER NOT NULL DEFAULT 0,
    tried INTEGER NOT NULL DEFAULT 0,
    opened INTEGER NOT NULL DEFAULT 0,
    first_at_ms INTEGER NOT NULL,
    last_at_ms INTEGER NOT NULL,
    PRIMARY KEY (account, design, period)
) STRICT, WITHOUT ROWID;
INSERT INTO old SELECT
    account, design, period, held, visible, places, wanted, next_try - 1, opened, first_at_ms, last_at_ms
    FROM piles;
DROP TABLE piles;
ALTER TABLE old RENAME TO piles;
CREATE INDEX piles_due ON piles (design, period) WHERE tried < wanted;
PRAGMA user_version = 11;
COMMIT;
"""
"""Makes the piles what they were in version 11: a pile was due while `tried` was less than `wanted`."""


async def test_a_store_of_version_11_is_converted_and_its_piles_are_tried_on(tmp_path: Path) -> None:
    path = tmp_path / "centre.sqlite"
    pile = Places()
    await hand_in(tmp_path, pile, 10, slips([1, 2, 3]))
    with closing(sqlite3.connect(path)) as connection:
        before = connection.execute("SELECT account, held, visible, wanted, born FROM piles").fetchall()
        vouchers = connection.execute("SELECT * FROM vouchers").fetchall()
        connection.executescript(AS_VERSION_11)
    await hand_in(tmp_path, pile, 10, [])
    assert pile.tried == [1, 2, 3], "what was tried is not due again"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (store.VERSION,)
        assert (
            connection.execute("SELECT account, held, visible, wanted, born FROM piles").fetchall() == before
        )
        assert connection.execute("SELECT * FROM vouchers").fetchall() == vouchers
        connection.executescript(AS_VERSION_11)
        connection.execute("UPDATE piles SET tried = 1")
        connection.commit()
    await hand_in(tmp_path, pile, 10, [])
    assert pile.tried == [1, 2, 3, 3], "a pile that was due still is"
    await hand_in(tmp_path, pile, 10, slips([4]))
    assert pile.tried[-1] == 4
