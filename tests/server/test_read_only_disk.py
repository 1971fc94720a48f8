"""A disk that becomes read-only under relay, matcher and centre: refused, not acknowledged, and on they go.

What is written fails as SQLite and the system say it then; what is only read goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from blindmatch_protocol import failpoint
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.authority import Identity
from blindmatch_server.matching.ledger import CentreAddress, MatcherStore
from blindmatch_server.matching.service import MatchingConfig, open_matching
from blindmatch_server.storage import database
from blindmatch_server.storage.blobs import Incoming
from support.held_source import HeldSource

from .deployment import ALICE, Deployment, refused, until
from .designs_for_tests import ROLE, Dummy
from .scene import Scene
from .test_centre import submission
from .test_matching import envelope, matcher
from .test_relay import message, pieces, relay

STATUS = grpc.StatusCode
KEPT_NOTHING = (STATUS.UNAVAILABLE, "storage failed: nothing was kept")


class Disk:
    """All that servers write to. A file system that became read-only lets SQLite begin a transaction and fail
    to write it down; the log, which is shared memory until then, is read as before."""

    def __init__(self) -> None:
        self.is_read_only = False
        self.wrote: dict[str, bool] = {}
        """Whether the last transaction of a database changed anything."""
        self._connections: dict[str, sqlite3.Connection] = {}
        self._changes: dict[str, int] = {}

    def holds(self, name: str, connection: sqlite3.Connection) -> None:
        self._connections[name] = connection
        self._changes[name] = connection.total_changes

    def reached(self, point: str) -> None:
        name, _, rest = point.partition(".")
        if rest != "commit.before" or name not in self._connections:
            return
        before = self._changes[name]
        now = self._connections[name].total_changes
        self._changes[name] = now
        self.wrote[name] = now > before
        if self.is_read_only and now > before:
            raise sqlite3.OperationalError("disk I/O error")

    def check(self) -> None:
        if self.is_read_only:
            raise OSError(errno.EROFS, "Read-only file system")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk()
    connect = database.open_connection
    incoming = Incoming.__init__

    def opened(path: Path, *arguments: Any) -> sqlite3.Connection:
        connection = connect(path, *arguments)
        made.holds(path.stem, connection)
        return connection

    def begun(self: Incoming, *arguments: Any) -> None:
        made.check()
        incoming(self, *arguments)

    monkeypatch.setattr(database, "open_connection", opened)
    monkeypatch.setattr(Incoming, "__init__", begun)
    failpoint.arm(made.reached)
    yield made
    failpoint.disarm()


async def status_of(call: Any) -> tuple[STATUS, str]:
    code, text, _ = await refused(call)
    return code, text.partition(" (request")[0]


async def test_a_relay_refuses_what_it_cannot_keep_hands_out_what_it_has_and_goes_on(
    disk: Disk, tmp_path: Path
) -> None:
    async with relay(tmp_path) as (alice, bob):
        await alice.one("Relay/Send", message(number=1))
        disk.is_read_only = True
        assert await status_of(alice.one("Relay/Send", message(number=2))) == KEPT_NOTHING
        assert await status_of(alice.one("Relay/Upload", pieces(b"x" * 3000))) == KEPT_NOTHING
        bundle = wire.BundleRequest(account="bob")
        assert await status_of(alice.one("Relay/FetchBundle", bundle)) == KEPT_NOTHING
        (held,) = await bob.all("Relay/Receive", wire.ReceiveRequest())
        acknowledge = wire.AcknowledgeRequest(sequences=[held.sequence])
        assert await status_of(bob.one("Relay/Acknowledge", acknowledge)) == KEPT_NOTHING
        disk.is_read_only = False
        await alice.one("Relay/Send", message(number=2))
        assert len((await alice.one("Relay/FetchBundle", bundle)).one_time_pre_keys) == 1
        assert len((await alice.one("Relay/Upload", pieces(b"x" * 3000))).blob_id) == 16
        assert len(await bob.all("Relay/Receive", wire.ReceiveRequest())) == 2
        assert (await bob.one("Relay/Acknowledge", acknowledge)).removed == 1
    assert len(list((tmp_path / "blobs").glob("??/*"))) == 1


async def test_a_commit_that_fails_is_acknowledged_to_nobody_of_its_batch(disk: Disk, tmp_path: Path) -> None:
    async with relay(tmp_path) as (alice, bob):
        disk.is_read_only = True
        sent = [status_of(alice.one("Relay/Send", message(number=number))) for number in range(20)]
        assert set(await asyncio.gather(*sent)) == {KEPT_NOTHING}
        disk.is_read_only = False
        assert await bob.all("Relay/Receive", wire.ReceiveRequest()) == []
        for number in range(20):
            await alice.one("Relay/Send", message(number=number))
        assert len(await bob.all("Relay/Receive", wire.ReceiveRequest())) == 20


async def test_a_matcher_answers_nothing_that_it_cannot_note_and_goes_on(disk: Disk, tmp_path: Path) -> None:
    async with matcher(tmp_path) as (alice, _):
        disk.is_read_only = True
        assert await status_of(alice.one("Matching/Exchange", envelope(b"hit"))) == KEPT_NOTHING
        description = await alice.one("Matching/Describe", wire.DescribeRequest())
        assert description.epoch == 5
        disk.is_read_only = False
        await alice.one("Matching/Exchange", envelope(b"hit"))
    ledger = MatcherStore(tmp_path / "ledger.sqlite")
    assert [matched for _, _, matched in await ledger.verdicts()] == [True]
    await ledger.close()


@pytest.mark.parametrize("method", ["next_filing", "filed"])
async def test_a_matcher_whose_ledger_failed_files_its_report_when_it_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    works: Callable[..., Any] = getattr(MatcherStore, method)
    failures = [sqlite3.OperationalError("disk I/O error")] * 3

    async def failing(self: MatcherStore, *arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return await works(self, *arguments)

    monkeypatch.setattr(MatcherStore, method, failing)
    scene = Scene(tmp_path)
    deployment = Deployment()
    dummy = Dummy()
    identity = Identity.of(Party.MATCHER)
    async with scene.centre(deployment) as (_, _, operator, port):
        held = deployment.credentials(identity)
        address = CentreAddress(f"127.0.0.1:{port}", scene.keys.public_key, identity, held, 0.01, 0.05)
        source = HeldSource(dummy, 5, {"setup": b"x"}, {ROLE: {"key": b"key of 5"}})
        config = MatchingConfig(dummy, source, tmp_path / "matcher", address)
        services = partial(open_matching, config)
        async with (
            deployment.server(Party.MATCHER, services) as matcher_port,
            deployment.client(ALICE, Party.MATCHER, matcher_port) as alice,
        ):
            await alice.one("Matching/Exchange", envelope(b"hit"))
            await until(lambda: not failures and not owed(tmp_path))
        listed = await operator.one("Centre/List", wire.ListRequest())
        assert len(listed.reports) == 1


def owed(directory: Path) -> int:
    connection = sqlite3.connect(directory / "matcher/ledger.sqlite")
    (count,) = connection.execute("SELECT COUNT(*) FROM filings").fetchone()
    connection.close()
    return int(count)


async def test_a_centre_refuses_what_it_cannot_keep_shows_what_it_has_and_goes_on(
    disk: Disk, tmp_path: Path
) -> None:
    scene = Scene(tmp_path)
    first = scene.report(1)
    second = scene.report(2)
    async with scene.centre() as (alice, _, operator, _):
        parts = [submission(one.report_id, scene.seal(one)) for one in (first, second)]
        await alice.one("Centre/Submit", parts[0])
        await operator.one("Centre/List", wire.ListRequest())
        disk.is_read_only = True
        assert await status_of(alice.one("Centre/Submit", parts[1])) == KEPT_NOTHING
        move = wire.MoveRequest(report_id=first.report_id, state="confirmed", reason="looked")
        assert await status_of(operator.one("Centre/Move", move)) == KEPT_NOTHING
        complain = wire.ComplainRequest(complaint_id=b"c" * 16, report_id=first.report_id, text="no")
        assert await status_of(alice.one("Centre/Complain", complain)) == KEPT_NOTHING
        (row,) = (await operator.one("Centre/List", wire.ListRequest())).reports
        assert (row.report_id, row.state) == (first.report_id, "checked")
        disk.is_read_only = False
        await alice.one("Centre/Submit", parts[1])
        assert (await operator.one("Centre/Move", move)).state == "confirmed"
        await alice.one("Centre/Complain", complain)
        rows = (await operator.one("Centre/List", wire.ListRequest())).reports
        assert [(row.report_id, row.checks) for row in rows] == [
            (first.report_id, "passed"),
            (second.report_id, "passed"),
        ]
    assert len(list((tmp_path / "state/reports").glob("??/*"))) == 2


async def test_checks_that_could_not_be_noted_are_made_again(disk: Disk, tmp_path: Path) -> None:
    def taken(name: str) -> None:
        # the first commit that writes takes the report in, the next ones are those of the checks
        disk.is_read_only = disk.is_read_only or (name == "centre.commit.after" and disk.wrote["centre"])

    async def the_report(operator: Any) -> Any:
        # a list that shares its commit with a check is refused with it
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                (row,) = (await operator.one("Centre/List", wire.ListRequest())).reports
                return row
            await asyncio.sleep(0.02)

    scene = Scene(tmp_path)
    deployment = Deployment()
    report = scene.report()
    async with scene.centre(deployment, list_wait_seconds=0.0) as (alice, _, operator, _):
        failpoint.arm(taken)
        await alice.one("Centre/Submit", submission(report.report_id, scene.seal(report)))
        await until(lambda: bool(deployment.events("checking")))
        row = await the_report(operator)
        assert row.state == "received"
        failpoint.disarm()
        while row.state == "received":
            await asyncio.sleep(0.05)
            (row,) = (await operator.one("Centre/List", wire.ListRequest())).reports
        assert (row.state, row.checks) == ("checked", "passed")
