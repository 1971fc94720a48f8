"""Who holds a listed picture and its label cannot have a report about somebody else pass, nor one twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from blindmatch_protocol.contract import Content, Party
from blindmatch_protocol.messages.report import Report
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.authority import Identity, Kind
from msgspec.structs import replace
from support.mortal import Arm
from support.mortal_servers import Plan, centre_life, living

from .deployment import ALICE, OPERATOR, Client, Deployment, refused
from .designs_for_tests import Dummy
from .scene import Scene, message
from .test_centre import submission
from .test_kills import asked, dies

MALLORY = Identity(Kind.DEVICE, "mallory")
MATCHER = Identity.of(Party.MATCHER)
RELAY = Identity.of(Party.PROVIDER)


@dataclass
class Desk:
    """A running centre, and what anybody hands in."""

    scene: Scene
    deployment: Deployment
    operator: Client
    port: int

    async def submit(self, by: Identity, report: Report) -> None:
        async with self.deployment.client(by, Party.CENTRE, self.port) as client:
            await client.one("Centre/Submit", submission(report.report_id, self.scene.seal(report)))

    async def rows(self) -> dict[int, Any]:
        found = (await self.operator.one("Centre/List", wire.ListRequest())).reports
        return {int.from_bytes(row.report_id, "big"): row for row in found}

    async def notified(self) -> set[str]:
        found = set()
        for number in await self.rows():
            show = wire.ShowRequest(report_id=number.to_bytes(16, "big"))
            detail = await self.operator.one("Centre/Show", show)
            found |= {notice.account for notice in detail.notices}
        return found


@asynccontextmanager
async def desk(directory: Path, design: Dummy | None = None) -> AsyncIterator[Desk]:
    deployment = Deployment()
    scene = Scene(directory)
    async with scene.centre(deployment, design) as (_, _, operator, port):
        yield Desk(scene, deployment, operator, port)


def clear(design: Dummy) -> Dummy:
    """The same, with pictures in the clear for its matcher."""
    design.info = replace(design.info, sends_content=Content.CLEAR)  # type: ignore[misc]
    return design


def forged(scene: Scene, **changes: Any) -> Report:
    """A report with everything right but who it is about: commitment and opening of an invented message."""
    sender = changes.get("sender", "alice")
    recipient = changes.get("recipient", "bob")
    opening = message(9, sender=sender, recipient=recipient).opening
    return scene.report(9, **{"opening": (opening,), **changes})


FRAMINGS: dict[str, tuple[Identity, dict[str, Any], str]] = {
    "a recipient about who is said to have sent it": (MALLORY, {"recipient": "mallory"}, "reporter: "),
    "a device of the matcher's about two others": (MALLORY, {}, "reporter: "),
    "a device in the sender's name": (MALLORY, {"reporter": "alice"}, "reporter: another party"),
    "the matcher": (MATCHER, {}, "reporter: in dummy the matcher sees no picture"),
    "the relay": (RELAY, {}, "reporter: in dummy the relay sees no picture"),
    "the relay, in a design where it would see pictures": (
        RELAY,
        {"design": "provider-scan", "version": 1, "opening": (), "recipient": ""},
        "design: what is deployed here is dummy",
    ),
    "the relay, without an opening": (RELAY, {"opening": (), "recipient": ""}, "reporter: "),
    "the matcher, without an opening": (MATCHER, {"opening": (), "recipient": ""}, "reporter: "),
    "a device, without an opening": (MALLORY, {"opening": (), "sender": "mallory"}, "franking: "),
    "a device, in an epoch that is not there": (
        MALLORY,
        {"sender": "mallory", "epoch": 4},
        "design: no such",
    ),
}


@pytest.mark.parametrize("name", FRAMINGS)
async def test_a_report_about_others_fails_whoever_makes_it_up(tmp_path: Path, name: str) -> None:
    by, changes, reason = FRAMINGS[name]
    async with desk(tmp_path) as d:
        await d.submit(by, forged(d.scene, **{"reporter": by.account, **changes}))
        row = (await d.rows())[9]
        assert (row.checks, row.checks_reason.startswith(reason)) == ("failed", True), row.checks_reason
        # what failed accuses nobody, so the centre writes to nobody but the device that sent it
        assert await d.notified() <= {"mallory"}


async def test_a_device_can_accuse_itself_alone_and_the_centre_says_what_that_does_not_show(
    tmp_path: Path,
) -> None:
    """Its own word on a recipient passes: that is what `unproven` is there for."""
    async with desk(tmp_path) as d:
        await d.submit(MALLORY, forged(d.scene, sender="mallory", reporter="mallory"))
        assert (await d.rows())[9].checks == "passed"
        assert await d.notified() == {"mallory"}
        detail = await d.operator.one("Centre/Show", wire.ShowRequest(report_id=(9).to_bytes(16, "big")))
        (notice,) = detail.notices
        assert "the checks do not show that anybody received it" in notice.text


async def test_where_the_matcher_sees_pictures_its_word_counts_and_the_notice_says_that_it_is_its_word(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, clear(Dummy())) as d:
        filed = d.scene.report(1, opening=(), recipient="", reporter="matcher")
        await d.submit(MATCHER, filed)
        await d.submit(MATCHER, replace(filed, report_id=bytes(16)))
        rows = await d.rows()
        assert (rows[1].checks, rows[0].checks) == ("passed", "failed")
        detail = await d.operator.one("Centre/Show", wire.ShowRequest(report_id=filed.report_id))
        assert [notice.account for notice in detail.notices] == ["alice"]
        assert "the checks do not show who did" in detail.notices[0].text


async def test_a_message_is_reported_once_however_many_reports_come_at_a_time(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        first = d.scene.report(1)
        same = [replace(first, report_id=n.to_bytes(16, "big")) for n in range(1, 4)]
        another = d.scene.report(9)  # the same message under another key, as a changed device can make it
        await asyncio.gather(*(d.submit(ALICE, report) for report in (*same, another)))
        rows = await d.rows()
        passed = [number for number, row in rows.items() if row.checks == "passed"]
        assert len(rows) == 4 and len(passed) == 2 and 9 in passed
        one = next(number for number in passed if number != 9).to_bytes(16, "big").hex()
        reasons = {row.checks_reason for row in rows.values() if row.checks == "failed"}
        assert reasons == {f"once: the same was reported before, as {one}"}


async def test_a_report_that_fails_does_not_take_the_message_from_its_sender(tmp_path: Path) -> None:
    """The relay sees every commitment; a report about it by a device of its own comes first, and fails."""
    async with desk(tmp_path) as d:
        true = d.scene.report(1)
        await d.submit(MALLORY, replace(true, report_id=bytes(16), reporter="mallory"))
        await d.rows()
        await d.submit(ALICE, true)
        rows = await d.rows()
        assert (rows[0].checks, rows[1].checks) == ("failed", "passed")


@pytest.mark.slow
def test_a_message_is_reported_once_although_the_centre_is_killed_between(tmp_path: Path) -> None:
    deployment = Deployment()
    scene = Scene(tmp_path)
    first = scene.report(1)
    second = replace(first, report_id=(2).to_bytes(16, "big"))
    credentials = deployment.credentials(Identity.of(Party.CENTRE))

    def handed_in(port: int | None, report: Report) -> None:
        parts = submission(report.report_id, scene.seal(report))
        asked(deployment, ALICE, Party.CENTRE, port, "Centre/Submit", parts)

    # the commits: 1 to 3 at the start, 4 takes the report in, 6 records the checks
    arm = Arm("centre.commit.after", 6)
    with living(centre_life, Plan(scene.directory, credentials, arm)) as port:
        handed_in(port, first)
        dies(scene, deployment, arm, port)
    with living(centre_life, Plan(scene.directory, credentials)) as port:
        handed_in(port, second)
        listed = asked(deployment, OPERATOR, Party.CENTRE, port, "Centre/List", wire.ListRequest())
    found = {row.report_id: (row.checks, row.checks_reason) for row in listed.reports}
    assert found[first.report_id] == ("passed", "")
    assert found[second.report_id][1].startswith("once: ")


@pytest.mark.parametrize("server", ["log", "witness_1", "party_z"])
async def test_a_server_without_a_part_in_the_design_hands_no_report_in(tmp_path: Path, server: str) -> None:
    who = Identity.of(Party(server))
    async with desk(tmp_path) as d:
        call = d.submit(who, forged(d.scene, reporter=who.account))
        code, text, _ = await refused(call)
        assert (code, f"not for a {server}" in text) == (grpc.StatusCode.PERMISSION_DENIED, True)
        assert await d.rows() == {}
