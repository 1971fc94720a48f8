"""What authority and provider answered is written down once, and only where they were asked."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.centre import decisions
from blindmatch_server.storage.errors import StateError

from .deployment import refused
from .test_triage import Desk, desk


async def note(d: Desk, report_id: bytes, event: str) -> None:
    request = wire.NoteRequest(report_id=report_id, event=event, reason="they said so")
    await d.operator.one("Centre/Note", request)


@pytest.mark.parametrize(
    ("state", "event"),
    [("forwarded", "acknowledged"), ("removal asked", "removed"), ("removal asked", "removal refused")],
)
async def test_an_answer_is_written_down_once_each_time_it_was_asked_for(
    tmp_path: Path, state: str, event: str
) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        code, text, _ = await refused(note(d, report_id, event))
        assert (code, "never was" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        await d.move(report_id, "confirmed")
        await d.move(report_id, state)
        await note(d, report_id, event)
        code, text, _ = await refused(note(d, report_id, event))
        assert (code, "already" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        other = "removal asked" if state == "forwarded" else "forwarded"
        await d.move(report_id, other)
        await d.move(report_id, state)
        await note(d, report_id, event)
        detail = await d.show(report_id)
        assert [line.event for line in detail.journal].count(event) == 2
        assert detail.row.state == state, "an answer moves nothing"


async def test_what_is_no_answer_is_refused(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        for request in (
            wire.NoteRequest(report_id=report_id, event="closed", reason="x"),
            wire.NoteRequest(report_id=report_id, event="acknowledged", reason=""),
        ):
            code, _, _ = await refused(d.operator.one("Centre/Note", request))
            assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_entry_is_withdrawn_by_an_upheld_complaint_and_by_nothing_else(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        report_id = await d.submitted(1)
        other = await d.submitted(2)
        await d.move(other, "unfounded")
        await d.move(report_id, "confirmed")
        asked = wire.WithdrawalsRequest()
        assert not (await d.operator.one("Centre/Withdrawals", asked)).withdrawals
        complaint = await d.complain(report_id)
        settle = wire.SettleRequest(complaint_id=complaint.complaint_id, upheld=True, reason="looked again")
        await d.operator.one("Centre/Settle", settle)
        (one,) = (await d.operator.one("Centre/Withdrawals", asked)).withdrawals
        row = (await d.show(report_id)).row
        assert (one.report_id, one.entry_id) == (report_id, row.entry_id)


async def test_nothing_of_a_report_leaves_whose_export_cannot_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StateError("the journal cannot be written")

    async with desk(tmp_path) as d:
        report_id = await d.submitted()
        left = list[bytes]()

        async def export() -> None:
            request = wire.ExportRequest(report_id=report_id, reason="to court X")
            async for part in d.operator.many("Centre/Export", request):
                left.append(part.data)

        monkeypatch.setattr(decisions, "exported", full)
        await refused(export())
        assert left == []
        monkeypatch.undo()
        await export()
        assert left and [line.event for line in (await d.show(report_id)).journal][-1] == "exported"
