"""What the centre publishes about itself: counts and times, nothing about anybody (statute.json).

A = flagged automatically    reports that came in, and vouchers that were opened
C = reviewed                 a person decided
B = not confirmed            a person found it unfounded, at once or after a complaint
"""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Final, TypeAlias

from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

Period: TypeAlias = tuple[int, int]
"""Unix time in milliseconds: from, and before."""
_OPEN_END: Final = (1 << 63) - 1


def durations(values: Sequence[int]) -> wire.Durations:
    """Of times in milliseconds, in any order; percentiles are those of the nearest rank. All 0 if none."""
    if not values:
        return wire.Durations()
    ordered = sorted(values)
    ranks = {"median_ms": 50, "p90_ms": 90, "p99_ms": 99}
    at = {name: ordered[-(-percent * len(ordered) // 100) - 1] for name, percent in ranks.items()}
    return wire.Durations(count=len(ordered), mean_ms=round(sum(ordered) / len(ordered)), **at)


def measure(connection: Connection, from_ms: int = 0, until_ms: int = 0) -> wire.Statistics:
    """Counts of the reports received in a period, as they stand now; 0 is no bound."""
    # what SQLite can hold; nothing was received later
    period = min(from_ms, _OPEN_END), min(until_ms or _OPEN_END, _OPEN_END)
    counts = _counts(connection, period)
    return wire.Statistics(
        flagged=counts["reports"] + counts["vouchers_opened"],
        **counts,
        to_decision=_times(connection, _TO_DECISION, period),
        to_settlement=_times(connection, _TO_SETTLEMENT, period),
    )


_REPORTS: Final = """
SELECT
    COUNT(*) AS reports,
    COUNT(score) AS flags,
    COUNT(*) FILTER (WHERE decision <> '') AS reviewed,
    COUNT(*) FILTER (WHERE decision = 'unfounded') AS unconfirmed,
    COUNT(*) FILTER (WHERE media_type LIKE 'image/%') AS images,
    COUNT(*) FILTER (WHERE media_type LIKE 'video/%') AS videos,
    COUNT(*) FILTER (WHERE media_type NOT LIKE 'image/%' AND media_type NOT LIKE 'video/%') AS other_files,
    COUNT(*) FILTER (WHERE outcome = 'passed') AS checks_passed,
    COUNT(*) FILTER (WHERE outcome = 'failed') AS checks_failed,
    COUNT(*) FILTER (WHERE outcome = 'unavailable') AS checks_unavailable,
    COUNT(*) FILTER (WHERE state = 'closed') AS closed,
    COUNT(*) FILTER (WHERE EXISTS (
        SELECT 1 FROM journal AS j WHERE j.report_id = r.report_id AND j.state = 'forwarded'
    )) AS forwarded,
    COUNT(*) FILTER (WHERE EXISTS (
        SELECT 1 FROM journal AS j WHERE j.report_id = r.report_id AND j.state = 'removal asked'
    )) AS removal_asked,
    -- accounts count only where all checks passed; what those do not show: unproven.py
    COUNT(DISTINCT CASE WHEN outcome = 'passed' THEN NULLIF(sender, '') END) AS accounts_sent,
    COUNT(DISTINCT CASE WHEN outcome = 'passed' THEN NULLIF(recipient, '') END) AS accounts_received
FROM reports AS r WHERE received_at_ms >= ? AND received_at_ms < ?
"""
_COMPLAINTS: Final = """
SELECT
    COUNT(*) AS complaints,
    COUNT(*) FILTER (WHERE decision <> '') AS complaints_settled,
    COUNT(*) FILTER (WHERE decision = 'upheld') AS complaints_upheld
FROM complaints WHERE received_at_ms >= ? AND received_at_ms < ?
"""
_OPENED: Final = """
SELECT COUNT(label) AS vouchers_opened FROM vouchers WHERE received_at_ms >= ? AND received_at_ms < ?
"""
_TO_DECISION: Final = """
SELECT MAX(0, decided_at_ms - received_at_ms) FROM reports
WHERE decided_at_ms > 0 AND received_at_ms >= ? AND received_at_ms < ?
"""
_TO_SETTLEMENT: Final = """
SELECT MAX(0, decided_at_ms - received_at_ms) FROM complaints
WHERE decided_at_ms > 0 AND received_at_ms >= ? AND received_at_ms < ?
"""


def _counts(connection: Connection, period: Period) -> dict[str, int]:
    counts: dict[str, int] = {}
    for query in (_REPORTS, _COMPLAINTS, _OPENED):
        cursor = connection.execute(query, period)
        names = [column[0] for column in cursor.description]
        counts.update(zip(names, cursor.fetchone(), strict=True))
    return counts


def _times(connection: Connection, query: str, period: Period) -> wire.Durations:
    return durations([value for (value,) in connection.execute(query, period)])
