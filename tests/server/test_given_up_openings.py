"""Openers that never return: other accounts are opened, and the account's pile says why it was given up."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.contract import Opener, Party, Visible
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.centre import store
from blindmatch_server.centre.keys import Deployed
from blindmatch_server.centre.opening import (
    ENDED,
    FAILED,
    OVER_BUDGET,
    WAITED,
    OpeningLimits,
    Pile,
    first_due,
    try_pile,
)
from blindmatch_server.centre.service import CentreConfig, CentreLimits, open_centre
from blindmatch_server.centre.vouchers import OpenerFiles, add_to_pile
from blindmatch_server.hosting import bounded_process
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.hosting.bounded_process import find_waiting
from blindmatch_server.storage.database import open_connection
from msgspec.structs import replace
from support.dying import end_by_themselves, is_running
from support.mortal_servers import living, unbounded_life

from .deployment import BOB, OPERATOR, SECONDS, Client, Deployment, until
from .designs_for_tests import DOOMED, SPINS, WAITS, Dummy, Elsewhere, opened_elsewhere
from .scene import Scene
from .test_centre import voucher
from .test_kills import asked, plan_of

FEW_U = 20_000
"""A second or two of work."""


def config_of(scene: Scene, most_opener_u: int = FEW_U, most_opener_waits: int = 5) -> CentreConfig:
    """A centre whose opener notes its attempts in the file `tried`."""
    in_worker = partial(opened_elsewhere, scene.directory / "tried")
    opener = OpenerFiles(5, {"setup": b"setup of 5"}, in_worker=in_worker)
    limits = CentreLimits(
        list_wait_seconds=SECONDS, most_opener_u=most_opener_u, most_opener_waits=most_opener_waits
    )
    deployed = Deployed(Dummy(), lambda: {5})
    folder = scene.directory
    return CentreConfig(folder / "state", folder / "keys", deployed, None, {"dummy": opener}, limits)


def attempts(folder: Path) -> list[tuple[int, str]]:
    """Process and account of each attempt so far."""
    path = folder / "tried"
    lines = path.read_text().split("\n") if path.exists() else [""]
    return [(int(line.split()[0]), line.split()[1]) for line in lines[:-1]]


def device(name: str) -> Identity:
    return Identity(Kind.DEVICE, name)


async def opened_by_account(operator: Client) -> dict[str, int]:
    held = await operator.one("Centre/List", wire.ListRequest())
    return {one.account: one.opened for one in held.vouchers}


async def problems(operator: Client) -> dict[str, str]:
    held = await operator.one("Centre/ReadVouchers", wire.VouchersRequest())
    return {one.account: one.problem for one in held.piles}


@pytest.mark.parametrize(("account", "problem"), [(SPINS, OVER_BUDGET), (WAITS, WAITED), (DOOMED, ENDED)])
async def test_an_account_whose_opener_never_returns_is_given_up_and_others_are_opened(
    scene: Scene, account: str, problem: str
) -> None:
    deployment = Deployment()
    services = partial(open_centre, config_of(scene))
    callers = (device(account), BOB, OPERATOR)
    async with deployment.serving(Party.CENTRE, services, *callers) as (stuck, bob, operator):
        await stuck.one("Centre/SubmitVoucher", [voucher(1)])
        await until(lambda: bool(attempts(scene.directory)))
        for opens in (1, 2):
            await bob.one("Centre/SubmitVoucher", [voucher(opens)])
        assert await opened_by_account(operator) == {"bob": 2, account: 0}
        assert await problems(operator) == {"bob": "", account: problem}
        (event,) = deployment.events("opening")
        assert event["reason"] == problem
        tried = attempts(scene.directory)
    assert not any(is_running(pid) for pid, _ in tried)


async def test_a_pile_that_was_given_up_is_tried_again_once_it_has_grown_and_not_before(scene: Scene) -> None:
    deployment = Deployment()
    services = partial(open_centre, config_of(scene))
    async with deployment.serving(Party.CENTRE, services, device(SPINS), OPERATOR) as (stuck, operator):
        for grown in (1, 2):
            await stuck.one("Centre/SubmitVoucher", [voucher(grown)])
            for _ in range(2):
                assert await opened_by_account(operator) == {SPINS: 0}
            assert [account for _, account in attempts(scene.directory)] == [SPINS] * grown


def test_piles_that_were_given_up_come_behind_all_others(tmp_path: Path) -> None:
    with closing(open_connection(tmp_path / "centre.sqlite", store.SCHEMA, store.VERSION)) as connection:
        piles = [Pile(name, "dummy", b"p") for name in ("small", "large", "given up")]
        for pile, count in zip(piles, (2, 9, 1), strict=True):
            for number in range(count):
                add_to_pile(connection, pile, bytes([number]), Visible(b"row", b""), 1, 100)
        connection.execute("UPDATE piles SET problem = 'it spun' WHERE account = 'given up'")
        order = [first_due(connection, {"dummy": b"p"}, 100, piles[:tried]) for tried in range(4)]
        assert order == [*piles, None]


async def test_a_centre_that_starts_tries_what_was_given_up_once_more_and_a_mended_opener_opens_it(
    scene: Scene,
) -> None:
    deployment = Deployment()
    config = config_of(scene)
    callers = (device(SPINS), OPERATOR)
    async with deployment.serving(Party.CENTRE, partial(open_centre, config), *callers) as (stuck, operator):
        for opens in (1, 2):
            await stuck.one("Centre/SubmitVoucher", [voucher(opens)])
        assert await opened_by_account(operator) == {SPINS: 0}
    before = len(attempts(scene.directory))
    async with deployment.serving(Party.CENTRE, partial(open_centre, config), OPERATOR) as (operator,):
        assert await opened_by_account(operator) == {SPINS: 0}
        assert await opened_by_account(operator) == {SPINS: 0}
        assert len(attempts(scene.directory)) == before + 1
    mended = scene.centre(deployment, Dummy())
    async with mended as (_, _, operator, _):
        assert await opened_by_account(operator) == {SPINS: 2}
        assert await problems(operator) == {SPINS: ""}


@pytest.mark.parametrize("account", [SPINS, WAITS])
async def test_a_centre_ends_while_its_opener_does_not_return_and_the_attempt_is_made_when_it_starts(
    scene: Scene, account: str
) -> None:
    deployment = Deployment()
    services = partial(open_centre, config_of(scene, 1 << 40, 1 << 40))
    async with deployment.serving(Party.CENTRE, services, device(account)) as (stuck,):
        await stuck.one("Centre/SubmitVoucher", [voucher(1)])
        await until(lambda: bool(attempts(scene.directory)))
    ((worker, _),) = attempts(scene.directory)
    assert not is_running(worker)
    again = partial(open_centre, config_of(scene))
    async with deployment.serving(Party.CENTRE, again, OPERATOR) as (operator,):
        assert await opened_by_account(operator) == {account: 0}
        assert len(attempts(scene.directory)) == 2
        assert (await problems(operator))[account] in (OVER_BUDGET, WAITED)


@pytest.mark.slow
@pytest.mark.parametrize("account", [SPINS, WAITS])
def test_a_kill_while_an_opener_does_not_return_loses_nothing(scene: Scene, account: str) -> None:
    deployment = Deployment()
    for life in range(2):
        with living(unbounded_life, plan_of(scene, deployment), has_children=True) as port:
            asked(deployment, device(account), Party.CENTRE, port, "Centre/SubmitVoucher", [voucher(1)])
            while len(attempts(scene.directory)) == life:
                time.sleep(0.01)
            asked(deployment, BOB, Party.CENTRE, port, "Centre/SubmitVoucher", [voucher(life + 1)])
        assert end_by_themselves([pid for pid, _ in attempts(scene.directory)])
    path = scene.directory / "state/centre.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT account, held, next_try <= wanted, problem FROM piles").fetchall()
    assert sorted(found) == sorted([(account, 1, 1, ""), ("bob", 2, 1, "")])


def test_the_budget_of_an_attempt_grows_with_its_vouchers() -> None:
    limits = OpeningLimits(1_000)
    assert (limits.budget(0), limits.budget(1_000)) == (1_000_000, 15_000_000)


class _Looks:
    """A system that says of a process what it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *said: bool | None) -> None:
        self.left = list(said)
        monkeypatch.setattr(bounded_process, "_LOOK_SECONDS", 0.02)
        monkeypatch.setattr(bounded_process, "find_waiting", self.look)

    def look(self, pid: int) -> bool | None:
        return self.left.pop(0) if self.left else True


def waits() -> None:
    while True:
        os.read(os.pipe()[0], 1)


@pytest.mark.parametrize("before", [False, None])
def test_a_process_that_gets_no_processor_is_not_taken_for_one_that_waits(
    monkeypatch: pytest.MonkeyPatch, before: bool | None
) -> None:
    """As on a busy machine, where it stands ready to run at look after look."""
    looks = _Looks(monkeypatch, True, *[before] * 50, True)
    process = bounded_process.BoundedProcess(3)
    with pytest.raises(bounded_process.WaitedError):
        process.run(waits)
    assert looks.left == [], "a look at which it was ready counted"


def test_a_system_that_does_not_say_what_threads_do_has_a_hundred_looks_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = _Looks(monkeypatch, *[None] * 150)
    with pytest.raises(bounded_process.WaitedError):
        bounded_process.BoundedProcess(1).run(waits)
    assert len(looks.left) == 50


def starts_another(file: Path, units: float) -> None:
    with bounded_process.work_budget(units):
        started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        file.write_text(str(started.pid))
        while units < FEW_U:
            pass
        waits()


@pytest.mark.parametrize(
    ("units", "error"), [(FEW_U - 1, bounded_process.OverBudgetError), (1e12, bounded_process.WaitedError)]
)
def test_what_a_process_has_started_ends_with_it(
    tmp_path: Path, units: float, error: type[Exception]
) -> None:
    with pytest.raises(error):
        bounded_process.BoundedProcess(5).run(starts_another, tmp_path / "pid", units)
    assert end_by_themselves([int((tmp_path / "pid").read_text())])


def never_opened() -> Opener:
    while True:
        pass


async def test_an_opener_that_cannot_be_opened_within_its_budget_is_given_up_too(scene: Scene) -> None:
    opener = OpenerFiles(5, {"setup": b"setup of 5"}, in_worker=never_opened)
    config = replace(config_of(scene), openers={"dummy": opener})
    deployment = Deployment()
    services = partial(open_centre, config)
    async with deployment.serving(Party.CENTRE, services, BOB, OPERATOR) as (bob, operator):
        await bob.one("Centre/SubmitVoucher", [voucher(1)])
        assert await opened_by_account(operator) == {"bob": 0}
        assert await problems(operator) == {"bob": OVER_BUDGET}


def test_a_process_that_computes_is_not_found_waiting_and_one_that_waits_is() -> None:
    computing = [find_waiting(os.getpid()) for _ in range(20)]
    assert not any(computing)
    assert find_waiting(1 << 30) is None


AS_VERSION_12 = "ALTER TABLE piles DROP COLUMN problem; PRAGMA user_version = 12"


def test_a_store_of_version_12_is_converted_and_nothing_in_it_was_given_up(tmp_path: Path) -> None:
    def opened() -> Any:
        return open_connection(tmp_path / "centre.sqlite", store.SCHEMA, store.VERSION, store.UPGRADES)

    with closing(opened()) as connection:
        connection.execute(
            "INSERT INTO piles (account, design, period, held, born, first_at_ms, last_at_ms) "
            "VALUES ('alice', 'dummy', x'00', 1, 1, 1, 1)"
        )
        connection.executescript(AS_VERSION_12)
    with closing(opened()) as connection:
        assert connection.execute("SELECT account, problem FROM piles").fetchall() == [("alice", "")]
        assert connection.execute("PRAGMA user_version").fetchone() == (store.VERSION,)


def test_a_design_that_raises_is_named_with_the_class_of_its_error(scene: Scene) -> None:
    class Raising(Dummy):
        def open(self, *_: Any) -> Any:
            raise LookupError("a secret")

    path = scene.directory / "centre.sqlite"
    open_connection(path, store.SCHEMA, store.VERSION).close()
    attempt = try_pile(Raising(), path, Pile("alice", "dummy", b""), 10)  # type: ignore[arg-type]
    assert attempt.problem == f"{FAILED}LookupError"


class Endless(dict[int, Any]):
    """What opened, as an opener's own class; it notes whether its parts are looked at within the bound."""

    def __init__(self, is_bounded: list[bool]) -> None:
        super().__init__({0: None})
        self._is_bounded = is_bounded

    def items(self) -> Any:
        raise LookupError if self._is_bounded[-1] else RuntimeError


def test_what_an_opener_returns_is_looked_at_within_the_bound_of_its_work(tmp_path: Path) -> None:
    """A mapping of its own, whose `items` did not return, held up every account."""
    path = tmp_path / "centre.sqlite"
    pile = Pile("alice", "dummy", b"p")
    with closing(open_connection(path, store.SCHEMA, store.VERSION)) as connection:
        add_to_pile(connection, pile, b"1", Visible(b"row", b""), 1, 100)
        connection.commit()
    is_bounded = [False]

    @contextmanager
    def within(rows: int) -> Iterator[None]:
        is_bounded.append(True)
        try:
            yield
        finally:
            is_bounded.append(False)

    class Lazy:
        def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Any:
            return Endless(is_bounded)

    assert try_pile(Lazy(), path, pile, 100, within).problem == f"{FAILED}LookupError"  # type: ignore[arg-type]


async def test_an_opener_that_gives_no_label_is_a_problem_of_the_pile(scene: Scene) -> None:
    """Such a pile stayed due for ever, and was tried again each second."""
    config = config_of(scene)
    opener = replace(config.openers["dummy"], in_worker=gives_no_label)
    services = partial(open_centre, replace(config, openers={"dummy": opener}))
    async with Deployment().serving(Party.CENTRE, services, BOB, OPERATOR) as (bob, operator):
        await bob.one("Centre/SubmitVoucher", [voucher(1)])
        assert await opened_by_account(operator) == {"bob": 0}
        assert await problems(operator) == {"bob": f"{FAILED}ProtocolError"}


class NoLabel:
    """Encodes as no label does."""

    def encode(self) -> bytes:
        return b"none"


class GivesNoLabel(Elsewhere):
    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Any:
        return dict.fromkeys(range(len(rows)), NoLabel())


def gives_no_label() -> Opener:
    return GivesNoLabel()


async def test_a_process_that_cannot_be_started_is_no_problem_of_a_pile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the machine had no process to give, an account was given up until it grew."""
    refusals = ["one", "two", "three"]
    start = bounded_process.SPAWN.Process.start

    def refuse(process: Any) -> None:
        if refusals:
            refusals.pop()
            raise BlockingIOError(11, "no process is left")
        start(process)

    monkeypatch.setattr(bounded_process.SPAWN.Process, "start", refuse)
    services = partial(open_centre, config_of(scene))
    async with Deployment().serving(Party.CENTRE, services, BOB, OPERATOR) as (bob, operator):
        for opens in (1, 2):
            await bob.one("Centre/SubmitVoucher", [voucher(opens)])
            assert sum((await opened_by_account(operator)).values()) in (0, 2)
            assert await problems(operator) == {"bob": ""}
        assert await opened_by_account(operator) == {"bob": 2}
    assert not refusals


async def test_vouchers_that_come_while_an_attempt_is_given_up_are_tried(scene: Scene) -> None:
    """They were counted as tried, since the pile was counted after the attempt."""
    deployment = Deployment()
    services = partial(open_centre, config_of(scene))
    async with deployment.serving(Party.CENTRE, services, device(SPINS), OPERATOR) as (stuck, operator):
        await stuck.one("Centre/SubmitVoucher", [voucher(1)])
        await until(lambda: bool(attempts(scene.directory)))
        await stuck.one("Centre/SubmitVoucher", [voucher(2)])
        assert await opened_by_account(operator) == {SPINS: 0}
        assert len(attempts(scene.directory)) == 2
