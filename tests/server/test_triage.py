"""What people decide about a report, over gRPC: states, journal, notices, complaints."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.centre import notices
from blindmatch_server.centre.notices import months_after
from blindmatch_server.hosting.authority import Identity, Kind

from .deployment import Client, Deployment, refused
from .scene import Scene
from .test_centre import submission

STATUS = grpc.StatusCode


@dataclass
class Desk:
    """A centre and who talks to it."""

    scene: Scene
    alice: Client
    bob: Client
    operator: Client
    eve: Client

    async def submitted(self, number: int = 1, **changes: Any) -> bytes:
        report = self.scene.report(number, **changes)
        await self.alice.one("Centre/Submit", submission(report.report_id, self.scene.seal(report)))
        await self.operator.one("Centre/List", wire.ListRequest())
        return report.report_id

    async def move(self, report_id: bytes, state: str, **more: Any) -> Any:
        more = {"reason": f"because {state}", **more}
        if state == "forwarded":
            more.setdefault("authority", "police of X")
        return await self.operator.one(
            "Centre/Move", wire.MoveRequest(report_id=report_id, state=state, **more)
        )

    async def show(self, report_id: bytes) -> Any:
        return await self.operator.one("Centre/Show", wire.ShowRequest(report_id=report_id))

    async def due(self) -> list[Any]:
        return list((await self.operator.one("Centre/DueNotices", wire.DueNoticesRequest())).notices)

    async def complain(self, report_id: bytes, by: Client | None = None, number: int = 1) -> Any:
        request = wire.ComplainRequest(
            complaint_id=number.to_bytes(16, "big"), report_id=report_id, text="that was a holiday picture"
        )
        return await (by or self.alice).one("Centre/Complain", request)

    async def settle(self, complaint_id: bytes, upheld: bool) -> Any:
        request = wire.SettleRequest(complaint_id=complaint_id, upheld=upheld, reason="looked at again")
        return await self.operator.one("Centre/Settle", request)


@asynccontextmanager
async def desk(directory: Path) -> AsyncIterator[Desk]:
    deployment = Deployment()
    scene = Scene(directory)
    async with (
        scene.centre(deployment) as (alice, bob, operator, port),
        deployment.client(Identity(Kind.DEVICE, "eve"), Party.CENTRE, port) as eve,
    ):
        yield Desk(scene, alice, bob, operator, eve)


async def test_a_report_goes_from_the_checks_through_people_to_its_end_and_every_step_is_in_the_journal(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        for state in ("confirmed", "forwarded", "removal asked", "closed"):
            row = await d.move(report_id, state)
            assert (row.state, row.reason, row.decision) == (state, f"because {state}", "confirmed")
            assert (row.checks, row.checks_reason) == ("passed", "")
        journal = (await d.show(report_id)).journal
        assert [(e.actor, e.event, e.state, e.reason) for e in journal] == [
            ("alice", "received", "received", ""),
            ("checks", "passed", "checked", ""),
            ("operator/op", "decided", "confirmed", "because confirmed"),
            ("operator/op", "to police of X", "forwarded", "because forwarded"),
            ("operator/op", "decided", "removal asked", "because removal asked"),
            ("operator/op", "decided", "closed", "because closed"),
        ]
        assert [e.at_ms for e in journal] == sorted(e.at_ms for e in journal)


async def test_an_illegal_transition_is_refused_with_both_states_named_and_changes_nothing(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        before = await d.show(report_id)
        for state in ("closed", "forwarded", "removal asked"):
            code, text, _ = await refused(d.move(report_id, state))
            assert code is STATUS.FAILED_PRECONDITION
            assert f"a report that is checked cannot become {state}" in text
        assert await d.show(report_id) == before
        await d.move(report_id, "confirmed")
        code, text, _ = await refused(d.move(report_id, "unfounded"))
        assert (code, "through an upheld complaint alone" in text) == (STATUS.FAILED_PRECONDITION, True)


@pytest.mark.parametrize(
    ("state", "more", "field"),
    [
        ("checked", {}, "state"),
        ("received", {}, "state"),
        ("lost", {}, "state"),
        ("confirmed", {"reason": ""}, "reason"),
        ("confirmed", {"reason": "  "}, "reason"),
        ("confirmed", {"reason": "a\nb"}, "reason"),
        ("confirmed", {"reason": "x" * 2001}, "reason"),
        ("confirmed", {"authority": "x"}, "authority"),
        ("forwarded", {"authority": ""}, "authority"),
        ("confirmed", {"delay_notice": True}, "delay_notice"),
    ],
)
async def test_a_decision_that_breaks_a_rule_names_the_field(
    tmp_path: Path, state: str, more: dict[str, Any], field: str
) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        code, text, _ = await refused(d.move(report_id, state, **more))
        assert (code, f"field {field}" in text) == (STATUS.INVALID_ARGUMENT, True)
        assert (await d.show(report_id)).row.state == "checked"


async def test_a_report_that_failed_a_check_cannot_be_confirmed_and_one_that_could_not_be_checked_can(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as d:
        failed = await d.submitted(1, recipient="carol")
        code, text, _ = await refused(d.move(failed, "confirmed"))
        assert (code, "franking: " in text) == (STATUS.FAILED_PRECONDITION, True)
        row = await d.move(failed, "unfounded")
        assert (row.state, row.checks, row.decision) == ("unfounded", "failed", "unfounded")
        d.scene.write(second=None)
        unknown = await d.submitted(2)
        row = await d.move(unknown, "confirmed")
        assert (row.state, row.checks) == ("confirmed", "unavailable")


async def test_devices_decide_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        for method, request in {
            "Move": wire.MoveRequest(report_id=report_id, state="unfounded", reason="x"),
            "HoldNotice": wire.HoldNoticeRequest(report_id=report_id, reason="x"),
            "Complaints": wire.ComplaintsRequest(),
            "Settle": wire.SettleRequest(complaint_id=b"c" * 16, upheld=True, reason="x"),
            "DueNotices": wire.DueNoticesRequest(),
            "NoticeSent": wire.NoticeSentRequest(notice_id=b"n" * 16),
            "ReadStatistics": wire.StatisticsRequest(),
        }.items():
            code, _, _ = await refused(d.alice.one(f"Centre/{method}", request))
            assert code is STATUS.PERMISSION_DENIED


async def test_an_unfounded_report_is_told_at_once_and_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        assert await d.due() == []
        await d.move(report_id, "unfounded")
        (notice,) = await d.due()
        assert (notice.account, notice.kind, notice.sent_at_ms) == ("alice", "unfounded", 0)
        assert report_id.hex() in notice.text
        request = wire.NoticeSentRequest(notice_id=notice.notice_id)
        first = await d.operator.one("Centre/NoticeSent", request)
        assert first == await d.operator.one("Centre/NoticeSent", request)
        assert await d.due() == []
        detail = await d.show(report_id)
        assert [e.event for e in detail.journal].count("notice sent") == 1
        assert len(detail.notices) == 1


async def test_the_user_of_any_other_report_is_told_after_three_months(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        row = await d.move(report_id, "confirmed")
        (planned,) = (await d.show(report_id)).notices
        assert (planned.kind, planned.due_at_ms) == ("reported", months_after(row.received_at_ms, 3))
        assert await d.due() == []
        early = d.operator.one("Centre/NoticeSent", wire.NoticeSentRequest(notice_id=planned.notice_id))
        assert (await refused(early))[0] is STATUS.FAILED_PRECONDITION
    with closing(sqlite3.connect(tmp_path / "state/centre.sqlite")) as connection:
        assert notices.due(connection, planned.due_at_ms - 1) == []
        assert [one.account for one in notices.due(connection, planned.due_at_ms)] == ["alice"]


async def test_an_authority_s_hold_lasts_eighteen_months_at_most(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        row = await d.move(report_id, "confirmed")
        hold = wire.HoldNoticeRequest(report_id=report_id, reason="asked by the police of X")
        held = await d.operator.one("Centre/HoldNotice", hold)
        assert held.due_at_ms == months_after(row.received_at_ms, 18)
        assert (await d.operator.one("Centre/HoldNotice", hold)).due_at_ms == held.due_at_ms
        other = await d.submitted(2)
        await d.move(other, "unfounded")
        hold.report_id = other
        assert (await refused(d.operator.one("Centre/HoldNotice", hold)))[0] is STATUS.FAILED_PRECONDITION


async def test_an_unfounded_report_can_be_told_after_the_delay_instead(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        row = await d.move(report_id, "unfounded", delay_notice=True)
        assert await d.due() == []
        (planned,) = (await d.show(report_id)).notices
        assert (planned.kind, planned.due_at_ms) == ("unfounded", months_after(row.received_at_ms, 3))


async def test_a_report_that_names_a_stranger_sends_the_stranger_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted(1, sender="carol", recipient="alice")
        await d.move(report_id, "unfounded")
        assert [notice.account for notice in await d.due()] == ["alice"]


@pytest.mark.parametrize("end", ["confirmed", "forwarded", "removal asked", "closed"])
async def test_an_upheld_complaint_reverses_a_confirmation_wherever_the_report_is(
    tmp_path: Path, end: str
) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        for state in dict.fromkeys(["confirmed", end]):
            await d.move(report_id, state)
        complaint = await d.complain(report_id)
        assert (complaint.account, complaint.decision) == ("alice", "")
        settled = await d.settle(complaint.complaint_id, upheld=True)
        assert (settled.decision, settled.reason) == ("upheld", "looked at again")
        detail = await d.show(report_id)
        assert (detail.row.state, detail.row.decision) == ("unfounded", "unfounded")
        assert [(e.event, e.state) for e in detail.journal][-3:] == [
            ("complaint", end),
            ("complaint upheld", end),
            ("reversed", "unfounded"),
        ]
        (notice,) = await d.due()
        assert (notice.kind, notice.account) == ("reversed", "alice")
        assert "looked at again" in notice.text
        assert len(detail.notices) == 1


async def test_a_rejected_complaint_changes_nothing_but_is_answered(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        await d.move(report_id, "confirmed")
        complaint = await d.complain(report_id)
        await d.settle(complaint.complaint_id, upheld=False)
        assert (await d.show(report_id)).row.state == "confirmed"
        assert [notice.kind for notice in await d.due()] == ["rejected"]
        code, text, _ = await refused(d.settle(complaint.complaint_id, upheld=True))
        assert (code, "rejected already" in text) == (STATUS.FAILED_PRECONDITION, True)


async def test_the_recipient_s_upheld_complaint_is_told_to_both(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        await d.move(report_id, "confirmed")
        complaint = await d.complain(report_id, d.bob)
        await d.settle(complaint.complaint_id, upheld=True)
        assert sorted((notice.account, notice.kind) for notice in await d.due()) == [
            ("alice", "unfounded"),
            ("bob", "reversed"),
        ]


async def test_a_stranger_learns_nothing_by_complaining(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        real = await refused(d.complain(report_id, d.eve))
        none = await refused(d.complain(b"?" * 16, d.eve))
        assert real[:2] == none[:2]
        assert real[0] is STATUS.NOT_FOUND


async def test_a_complaint_counts_once_and_waits_for_a_decision(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        complaint = await d.complain(report_id)
        assert await d.complain(report_id) == complaint
        assert (await refused(d.complain(report_id, d.bob)))[0] is STATUS.ALREADY_EXISTS
        listed = await d.operator.one("Centre/Complaints", wire.ComplaintsRequest())
        assert list(listed.complaints) == [complaint]
        code, text, _ = await refused(d.settle(complaint.complaint_id, upheld=True))
        assert (code, "checked: decide" in text) == (STATUS.FAILED_PRECONDITION, True)
        for number in range(2, 9):
            await d.complain(report_id, number=number)
        assert (await refused(d.complain(report_id, number=9)))[0] is STATUS.RESOURCE_EXHAUSTED


async def test_operators_take_complaints_down_for_an_account_and_devices_for_themselves(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        request = wire.ComplainRequest(complaint_id=b"c" * 16, report_id=report_id, text="by letter")
        assert (await refused(d.operator.one("Centre/Complain", request)))[0] is STATUS.INVALID_ARGUMENT
        request.account = "alice"
        assert (await refused(d.alice.one("Centre/Complain", request)))[0] is STATUS.INVALID_ARGUMENT
        taken = await d.operator.one("Centre/Complain", request)
        assert taken.account == "alice"
        assert [e.actor for e in (await d.show(report_id)).journal][-1] == "operator/op"
