"""What the centre publishes about itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.centre import notices, store
from blindmatch_server.centre.operating import durations, measure
from blindmatch_server.centre.store import SCHEMA
from google.protobuf.json_format import MessageToJson

from .test_centre import voucher
from .test_triage import desk


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (0, 0, 0, 0, 0)),
        ([7], (1, 7, 7, 7, 7)),
        ([3, 1, 2], (3, 2, 2, 3, 3)),
        (list(range(1, 101)), (100, 50, 50, 90, 99)),
    ],
)
def test_percentiles_are_those_of_the_nearest_rank(values: list[int], expected: tuple[int, ...]) -> None:
    found = durations(values)
    assert (found.count, found.mean_ms, found.median_ms, found.p90_ms, found.p99_ms) == expected


def test_flags_are_reports_and_are_counted_apart_and_the_notice_says_so() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        for number, score in enumerate((0.75, None, 0.5)):
            name = bytes([number] * 16)
            connection.execute(
                "INSERT INTO reports (report_id, digest, blob_id, submitter, received_at_ms, state, score)"
                " VALUES (?, ?, ?, 'alice', 1, 'received', ?)",
                (name, name, name, score),
            )
        found = measure(connection)
        assert (found.reports, found.flags) == (3, 2)
        flagged, matched = store.reports(connection)[:2]
        notice = notices.Notice(bytes(16), bytes(16), "alice", notices.NoticeKind.REPORTED, "", 0)
        assert "because a classifier flagged it; no entry of a list matched" in notices.text_of(
            notice, flagged
        )
        assert "classifier" not in notices.text_of(notice, matched)


async def test_a_b_and_c_are_counted_and_nobody_is_named(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        ids = [await d.submitted(n) for n in range(1, 5)] + [await d.submitted(5, recipient="carol")]
        await d.alice.one("Centre/SubmitVoucher", [voucher(0)])
        await d.alice.one("Centre/SubmitVoucher", [voucher(1)])
        for report_id in ids[:2]:
            await d.move(report_id, "confirmed")
        await d.move(ids[0], "forwarded")
        await d.move(ids[4], "unfounded")
        complaint = await d.complain(ids[1])
        await d.settle(complaint.complaint_id, upheld=True)
        found = await d.operator.one("Centre/ReadStatistics", wire.StatisticsRequest())
        counted = (found.flagged, found.reviewed, found.unconfirmed, found.reports)
        assert counted == (5 + found.vouchers_opened, 3, 2, 5)
        assert (found.checks_passed, found.checks_failed, found.images) == (4, 1, 5)
        assert (found.accounts_sent, found.accounts_received) == (1, 1)
        assert (found.forwarded, found.complaints, found.complaints_upheld) == (1, 1, 1)
        assert (found.to_decision.count, found.to_settlement.count) == (3, 1)
        told = MessageToJson(found)
        for secret in ("alice", "bob", "carol", "op", *(i.hex() for i in ids)):
            assert f'"{secret}"' not in told
        # counts and times alone: no field could hold a name
        kinds = {f.type for f in found.DESCRIPTOR.fields} | {
            f.type for f in found.to_decision.DESCRIPTOR.fields
        }
        assert kinds == {
            wire.Statistics.DESCRIPTOR.fields[0].TYPE_UINT64,
            wire.Statistics.DESCRIPTOR.fields[0].TYPE_MESSAGE,
        }
        later = wire.StatisticsRequest(from_ms=1 << 50)
        assert await d.operator.one("Centre/ReadStatistics", later) == wire.Statistics(
            to_decision=wire.Durations(), to_settlement=wire.Durations()
        )
        for latest in ((1 << 63) - 1, 1 << 63, (1 << 64) - 1):
            until = wire.StatisticsRequest(until_ms=latest)
            assert await d.operator.one("Centre/ReadStatistics", until) == found
            never = wire.StatisticsRequest(from_ms=latest, until_ms=latest)
            assert (await d.operator.one("Centre/ReadStatistics", never)).reports == 0
