"""From what the centre stores to what it tells operators."""

from __future__ import annotations

from collections.abc import Sequence

from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec.structs import asdict

from blindmatch_server.centre import notices, store


def report_row(row: store.Row) -> wire.ReportRow:
    """A report in one line."""
    submission, facts = row.submission, row.facts
    return wire.ReportRow(
        report_id=submission.report_id,
        state=row.state,
        reason=row.reason,
        received_at_ms=submission.received_at_ms,
        reporter=submission.submitter,
        design=facts.design,
        entry_id=facts.entry_id,
        score=facts.score,
        pdq_distance=facts.pdq_distance or 0,
        second_distance=facts.second_distance or 0,
        picture_bytes=facts.picture_bytes,
        checks=row.outcome or "",
        checks_reason=row.outcome_reason,
        decision=row.decision or "",
        decided_at_ms=row.decided_at_ms,
    )


def report_detail(
    row: store.Row,
    verdicts: Sequence[str],
    journal: Sequence[store.Entry],
    held: Sequence[wire.Complaint],
    told: Sequence[notices.Notice],
) -> wire.ReportDetail:
    """A report with its checks, journal, complaints and notices."""
    facts = row.facts
    return wire.ReportDetail(
        row=report_row(row),
        sender=facts.sender,
        recipient=facts.recipient,
        sent_at_ms=facts.sent_at_ms,
        stamped_at_ms=facts.stamped_at_ms,
        media_type=facts.media_type,
        width=facts.width,
        height=facts.height,
        checks=verdicts,
        journal=[wire.JournalEntry(**asdict(entry)) for entry in journal],
        complaints=held,
        notices=[notice_of(one, row) for one in told],
    )


def notice_of(held: notices.Notice, row: store.Row) -> wire.Notice:
    """A notice with its text."""
    told = asdict(held)
    del told["words"]
    return wire.Notice(**told, text=notices.text_of(held, row))
