"""SIGKILL around every acknowledgement of the centre and of the matcher's ledger.

What was acknowledged is there after a restart, once; what was not is there once or not at all, and handing it
in again makes it once.
"""

from __future__ import annotations

import secrets
import sqlite3
import struct
import time
import zlib
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.report import SLOT_SIZES, fragment, fragments_of, seal_slot
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.authority import Identity
from blindmatch_server.matching.ledger import CentreAddress
from support.mortal import Arm
from support.mortal_servers import Plan, centre_life, living, matcher_life, opening_life

from .deployment import ALICE, OPERATOR, SECONDS, Client, Deployment, run, until
from .designs_for_tests import Ask
from .scene import LISTED, Scene
from .test_centre import submission, voucher

pytestmark = pytest.mark.slow
SIDES = ("before", "after")
AT_SUBMIT = [
    *[Arm(f"blob.rename.{side}") for side in SIDES],
    # the commits: 1 to 3 at the start, 4 takes the report in, 6 records the checks
    *[Arm(f"centre.commit.{side}", hit) for side in SIDES for hit in (3, 4, 5, 6)],
    Arm("Centre.Submit.reply"),
]
AT_VOUCHER = [
    # 1 to 4 at the start; 6 keeps the first voucher, 8 that it was tried; the second one follows
    *[Arm("centre.commit.before", hit) for hit in (6, 8)],
    *[Arm("centre.commit.after", hit) for hit in (6, 8)],
    Arm("Centre.SubmitVoucher.reply"),
]
AT_MOVE = [*[Arm(f"centre.commit.{side}", 4) for side in SIDES], Arm("Centre.Move.reply")]
# 1 to 3 at the start, 4 and 5 look for report and keys
AT_EXPORT = [*[Arm(f"centre.commit.{side}", 6) for side in SIDES], Arm("Centre.Export.reply")]
SAME = "the same slot again"
OTHER_SLOT = "another slot"
# 1 at the start; of the last of three fragments: 8 keeps it, then it is acknowledged; 10 finds the report
# whole, 11 forgets its fragments; the report is stored between the last two
AT_SLOT = [
    (Arm("slots.commit.before", 8), OTHER_SLOT),
    (Arm("slots.commit.after", 8), SAME),
    (Arm("slots.commit.after", 10), OTHER_SLOT),
    (Arm("blob.rename.after"), SAME),
    (Arm("centre.commit.after", 4), OTHER_SLOT),
    (Arm("slots.commit.before", 11), SAME),
    (Arm("Centre.Submit.reply", 3), SAME),
    (Arm("Centre.Submit.reply", 3), OTHER_SLOT),
]
AT_EXCHANGE = [
    # 1 at the start, 2 records the verdict and what is owed, 4 that the centre has it
    *[Arm(f"ledger.commit.{side}", hit) for side in SIDES for hit in (2, 3, 4)],
    Arm("Matching.Exchange.reply"),
]
ASK = wire.Envelope(
    design="dummy",
    version=3,
    epoch=5,
    role="matcher",
    body=Ask(b"hit").encode(),
    request_id=b"r" * 16,
)


def named(arm: Arm) -> str:
    return f"{arm.point}-{arm.hit}"


async def answer(client: Client, method: str, request: Any) -> Any:
    """The reply, or None if the server died of it."""
    try:
        return await client.one(method, request)
    except grpc.aio.AioRpcError as error:
        assert error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}, error.details()
        return None


def died(directory: Path, arm: Arm) -> bool:
    """Whether the lives in `directory` came to where one was to die."""
    return (directory / "points").read_text().split().count(arm.point) >= arm.hit


def dies(scene: Scene, deployment: Deployment, arm: Arm, port: int | None) -> None:
    """What the centre does after an acknowledgement is killed too: ask for its list until it is dead."""
    until_s = time.monotonic() + SECONDS
    while not died(scene.directory, arm):
        assert time.monotonic() < until_s, f"the centre never came to {named(arm)}"
        asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/List", wire.ListRequest())


def asked(
    deployment: Deployment, caller: Identity, party: Party, port: int | None, method: str, request: Any
) -> Any:
    """One call; None if the server is dead, or dies of it."""

    async def call() -> Any:
        async with deployment.client(caller, party, port or 0) as client:
            return await answer(client, method, request)

    return None if port is None else run(call())


def plan_of(scene: Scene, deployment: Deployment, arm: Arm | None = None) -> Plan:
    return Plan(scene.directory, deployment.credentials(Identity.of(Party.CENTRE)), arm)


@pytest.mark.parametrize("arm", AT_SUBMIT, ids=named)
def test_a_report_is_at_the_centre_once_wherever_the_centre_is_killed(scene: Scene, arm: Arm) -> None:
    deployment = Deployment()
    report = scene.report()
    parts = submission(report.report_id, scene.seal(report))

    def submitted(port: int | None) -> Any:
        return asked(deployment, ALICE, Party.CENTRE, port, "Centre/Submit", parts)

    with living(centre_life, plan_of(scene, deployment, arm)) as port:
        first = submitted(port)
        dies(scene, deployment, arm, port)
    with living(centre_life, plan_of(scene, deployment)) as port:
        listed = asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/List", wire.ListRequest())
        before = [row.report_id for row in listed.reports]
        assert before == [report.report_id] if first is not None else len(before) <= 1
        again = submitted(port)
        assert first in (None, again)
        (row,) = asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/List", wire.ListRequest()).reports
        assert (row.report_id, row.state, row.checks) == (report.report_id, "checked", "passed")
        show = wire.ShowRequest(report_id=report.report_id)
        detail = asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/Show", show)
        assert [entry.event for entry in detail.journal] == ["received", "passed"]
        assert [notice.kind for notice in detail.notices] == ["reported"]
    assert len(list((scene.directory / "state/reports").glob("??/*"))) == 1


@pytest.mark.parametrize("arm", AT_VOUCHER, ids=named)
def test_vouchers_are_held_once_and_opened_wherever_the_centre_is_killed(scene: Scene, arm: Arm) -> None:
    deployment = Deployment()

    def submitted(port: int | None) -> list[Any]:
        vouchers = ([voucher(1)], [voucher(2)])
        return [asked(deployment, ALICE, Party.CENTRE, port, "Centre/SubmitVoucher", one) for one in vouchers]

    def listed(port: int | None) -> tuple[int, int]:
        rows = asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/List", wire.ListRequest()).vouchers
        return (rows[0].held, rows[0].opened) if rows else (0, 0)

    with living(opening_life, plan_of(scene, deployment, arm)) as port:
        first = submitted(port)
        dies(scene, deployment, arm, port)
    with living(opening_life, plan_of(scene, deployment)) as port:
        held, opened = listed(port)
        assert held >= sum(receipt is not None for receipt in first)
        # two visible ones open both, and what was taken before the kill is opened without another call
        assert opened == (2 if held == 2 else 0)
        again = submitted(port)
        assert all(before in (None, now) for before, now in zip(first, again, strict=True))
        assert listed(port) == (2, 2)


@pytest.mark.parametrize(
    ("arm", "again"), AT_SLOT, ids=lambda one: one if one in (SAME, OTHER_SLOT) else named(one)
)
def test_a_report_in_slots_is_at_the_centre_once_wherever_the_centre_is_killed(
    scene: Scene, arm: Arm, again: str
) -> None:
    deployment = Deployment()
    report = scene.report(content=noisy_picture())
    sealed = scene.seal(report)
    assert fragments_of(len(sealed), SLOT_SIZES[1]) == 3

    def slot(position: int) -> list[wire.SubmitPart]:
        """A fragment in a slot of its own."""
        name = secrets.token_bytes(16)
        data = fragment(sealed, report.report_id, position, SLOT_SIZES[1])
        return submission(name, seal_slot(data, name, scene.keys.public_key))

    slots = [slot(position) for position in range(3)]
    taken = []
    with living(centre_life, plan_of(scene, deployment, arm)) as port:
        taken += [asked(deployment, ALICE, Party.CENTRE, port, "Centre/Submit", parts) for parts in slots]
        dies(scene, deployment, arm, port)
    with living(centre_life, plan_of(scene, deployment)) as port:
        for position, receipt in enumerate(taken):
            if receipt is None:
                parts = slots[position] if again == SAME else slot(position)
                assert asked(deployment, ALICE, Party.CENTRE, port, "Centre/Submit", parts) is not None
        (row,) = asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/List", wire.ListRequest()).reports
        assert (row.report_id, row.state, row.checks) == (report.report_id, "checked", "passed")
        show = wire.ShowRequest(report_id=report.report_id)
        detail = asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/Show", show)
        assert [entry.event for entry in detail.journal] == ["received", "passed"]
    # one that came again after its report was stored is of no use, and is dropped some day
    with closing(sqlite3.connect(scene.directory / "state/slots.sqlite")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM slots").fetchone() <= (1,)


def test_a_report_whose_slots_had_all_come_is_stored_when_the_centre_starts_again(scene: Scene) -> None:
    deployment = Deployment()
    report = scene.report(content=noisy_picture())
    sealed = scene.seal(report)
    with living(centre_life, plan_of(scene, deployment, Arm("slots.commit.after", 8))) as port:
        for position in range(3):
            name = secrets.token_bytes(16)
            data = fragment(sealed, report.report_id, position, SLOT_SIZES[1])
            parts = submission(name, seal_slot(data, name, scene.keys.public_key))
            asked(deployment, ALICE, Party.CENTRE, port, "Centre/Submit", parts)
    with living(centre_life, plan_of(scene, deployment)) as port:
        (row,) = asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/List", wire.ListRequest()).reports
        assert row.report_id == report.report_id


def noisy_picture() -> bytes:
    """The listed picture, with padding that PNG readers pass over, so that its report takes three slots."""
    at = LISTED.index(b"IDAT") - 4
    data = secrets.token_bytes(150_000 - len(LISTED))
    chunk = b"prVt" + data
    return (
        LISTED[:at]
        + struct.pack(">I", len(data))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + LISTED[at:]
    )


@pytest.mark.parametrize("arm", AT_MOVE, ids=named)
def test_a_decision_is_whole_or_not_there_wherever_the_centre_is_killed(scene: Scene, arm: Arm) -> None:
    deployment = Deployment()
    report = scene.report()
    parts = submission(report.report_id, scene.seal(report))
    move = wire.MoveRequest(report_id=report.report_id, state="unfounded", reason="looked")
    with living(centre_life, plan_of(scene, deployment)) as port:
        assert asked(deployment, ALICE, Party.CENTRE, port, "Centre/Submit", parts) is not None
        asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/List", wire.ListRequest())
    (scene.directory / "points").unlink()
    with living(centre_life, plan_of(scene, deployment, arm)) as port:
        moved = asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/Move", move)
    assert died(scene.directory, arm)
    with living(centre_life, plan_of(scene, deployment)) as port:
        show = wire.ShowRequest(report_id=report.report_id)
        detail = asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/Show", show)
        events = [entry.event for entry in detail.journal]
        (notice,) = detail.notices
        found = (detail.row.state, detail.row.decision, notice.kind, events[2:])
        whole = ("unfounded", "unfounded", "unfounded", ["decided"])
        assert found == whole if moved is not None else found in (whole, ("checked", "", "reported", []))


@pytest.mark.parametrize("arm", AT_EXPORT, ids=named)
def test_no_report_leaves_before_the_journal_says_so_wherever_the_centre_is_killed(
    scene: Scene, arm: Arm
) -> None:
    deployment = Deployment()
    report = scene.report()
    parts = submission(report.report_id, scene.seal(report))
    request = wire.ExportRequest(report_id=report.report_id, reason="to court X")
    with living(centre_life, plan_of(scene, deployment)) as port:
        assert asked(deployment, ALICE, Party.CENTRE, port, "Centre/Submit", parts) is not None
        asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/List", wire.ListRequest())
    (scene.directory / "points").unlink()

    async def exported(port: int) -> bytes:
        left = b""
        async with deployment.client(OPERATOR, Party.CENTRE, port) as client:
            with suppress(grpc.aio.AioRpcError):
                async for part in client.many("Centre/Export", request):
                    left += part.data
        return left

    with living(centre_life, plan_of(scene, deployment, arm)) as port:
        assert port is not None
        left = run(exported(port))
    assert died(scene.directory, arm)
    with living(centre_life, plan_of(scene, deployment)) as port:
        show = wire.ShowRequest(report_id=report.report_id)
        detail = asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/Show", show)
        lines = [(entry.event, entry.reason, entry.actor) for entry in detail.journal[2:]]
        said = [("exported", "to court X", OPERATOR.account)]
        assert lines == ([] if arm == AT_EXPORT[0] else said)
        assert left == b"" or lines == said


@pytest.mark.parametrize("arm", AT_EXCHANGE, ids=named)
def test_what_a_matcher_owes_the_centre_gets_there_once_wherever_the_matcher_is_killed(
    scene: Scene, arm: Arm
) -> None:
    deployment = Deployment()
    identity = Identity.of(Party.MATCHER)
    held = deployment.credentials(identity)

    async def test() -> None:
        async with scene.centre(deployment) as (_, _, operator, port):
            address = CentreAddress(f"127.0.0.1:{port}", scene.keys.public_key, identity, held, 0.05, 0.2)
            replied = await exchanged(Plan(scene.directory, held, arm, address))
            assert died(scene.directory, arm)
            plan = Plan(scene.directory, held, None, address)
            assert len(await settled(plan, operator)) == verdicts(scene.directory) <= 1
            if replied:
                assert verdicts(scene.directory) == 1
            # a device that got no answer asks again, and so does one that was killed before it noted it
            assert await exchanged(plan)
            rows = await settled(plan, operator)
            assert len(rows) == verdicts(scene.directory) == 1
            for row in rows:
                shown = await operator.one("Centre/Show", wire.ShowRequest(report_id=row.report_id))
                assert [entry.event for entry in shown.journal].count("received") == 1

    async def exchanged(plan: Plan) -> bool:
        with living(matcher_life, plan) as port:
            if port is None:
                return False
            async with deployment.client(ALICE, Party.MATCHER, port) as alice:
                replied = await answer(alice, "Matching/Exchange", ASK) is not None
            if plan.arm is not None:  # the points after the answer are those of the filing
                await until(partial(died, scene.directory, plan.arm))
            return replied

    async def settled(plan: Plan, operator: Client) -> list[Any]:
        """Reports at the centre once an unharmed matcher owes nothing any more."""
        with living(matcher_life, plan):
            await until(lambda: not owed(scene.directory))
        return list((await operator.one("Centre/List", wire.ListRequest())).reports)

    run(test())


def owed(directory: Path) -> int:
    with closing(sqlite3.connect(directory / "matcher/ledger.sqlite")) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM filings").fetchone()[0])


def verdicts(directory: Path) -> int:
    with closing(sqlite3.connect(directory / "matcher/ledger.sqlite")) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM verdicts WHERE matched").fetchone()[0])
