"""The operators' half of the `Centre` service: decisions, notices, complaints, statistics.

A = flagged automatically    reports that came in, and vouchers that were opened
C = reviewed                 a person decided
B = not confirmed            a person found it unfounded, at once or after a complaint
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from sqlite3 import Connection
from typing import Any, Final, TypeAlias

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from google.protobuf.message import Message
from msgspec.structs import asdict

from blindmatch_server.centre import decisions, notices, store
from blindmatch_server.centre.store import State
from blindmatch_server.hosting.authority import Identity, IdentityError, Kind
from blindmatch_server.hosting.endpoint import OPERATORS, Call, Handler, Method
from blindmatch_server.hosting.event_log import Clock, milliseconds
from blindmatch_server.hosting.limits import TokenBuckets
from blindmatch_server.storage.database import Database


def report_row(row: store.Row) -> wire.ReportRow:
    return wire.ReportRow(
        report_id=row.submission.report_id,
        state=row.state,
        reason=row.reason,
        received_at_ms=row.submission.received_at_ms,
        reporter=row.submission.submitter,
        checks=row.outcome or "",
        checks_reason=row.outcome_reason,
        decision=row.decision or "",
        decided_at_ms=row.decided_at_ms,
        **_facts_in(wire.ReportRow, row),
    )


def _facts_in(kind: type[Message], row: store.Row) -> dict[str, Any]:
    known = kind.DESCRIPTOR.fields_by_name
    return {name: one for name, one in asdict(row.facts).items() if name in known and one is not None}


def report_detail(
    row: store.Row,
    verdicts: Sequence[str],
    journal: Sequence[store.Entry],
    held: Sequence[wire.Complaint],
    told: Sequence[notices.Notice],
) -> wire.ReportDetail:
    """A report with its checks, journal, complaints and notices."""
    return wire.ReportDetail(
        row=report_row(row),
        checks=verdicts,
        journal=[wire.JournalEntry(**asdict(entry)) for entry in journal],
        complaints=held,
        notices=[notice_of(one, row) for one in told],
        **_facts_in(wire.ReportDetail, row),
    )


def notice_of(held: notices.Notice, row: store.Row) -> wire.Notice:
    told = asdict(held)
    del told["words"]
    return wire.Notice(**told, text=notices.text_of(held, row))


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
    counts: dict[str, int] = {}
    for query in (_REPORTS, _COMPLAINTS, _OPENED):
        cursor = connection.execute(query, period)
        names = [column[0] for column in cursor.description]
        counts.update(zip(names, cursor.fetchone(), strict=True))
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
    -- accounts count only where all checks passed; what those do not show: notices.py
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
SELECT COALESCE(SUM(opened), 0) AS vouchers_opened FROM openings WHERE day_ms >= ? AND day_ms < ?
"""
_TO_DECISION: Final = """
SELECT MAX(0, decided_at_ms - received_at_ms) FROM reports
WHERE decided_at_ms > 0 AND received_at_ms >= ? AND received_at_ms < ?
"""
_TO_SETTLEMENT: Final = """
SELECT MAX(0, decided_at_ms - received_at_ms) FROM complaints
WHERE decided_at_ms > 0 AND received_at_ms >= ? AND received_at_ms < ?
"""


def _times(connection: Connection, query: str, period: Period) -> wire.Durations:
    return durations([value for (value,) in connection.execute(query, period)])


ID_BYTES: Final = 16
MOST_AUTHORITY: Final = 200
_COMPLAINANTS: Final = frozenset({Kind.DEVICE, Kind.OPERATOR})
_MOVE: Final = "centre/move"
_COMPLAIN: Final = "centre/complain"
_HOLD: Final = "centre/hold-notice"

Answer: TypeAlias = Callable[[Connection, Any, Call], Any]
"""A method as a transaction: from a request to its reply."""


class OperatorMethods:
    """What operators do at the centre, and complaints; each method is one transaction."""

    def __init__(self, database: Database, clock: Clock, rate: TokenBuckets) -> None:
        self._database = database
        self._clock = clock
        self._rate = rate

    def methods(self) -> Mapping[str, Method]:
        """Those of the centre's methods that are an operator's."""
        decided: Mapping[str, Answer] = {
            "Move": self.move,
            "HoldNotice": self.hold_notice,
            "Settle": self.settle,
            "DueNotices": self.due_notices,
            "NoticeSent": self.notice_sent,
            "Note": self.note,
            "Complaints": lambda c, asked, call: wire.ComplaintList(complaints=decisions.all_of(c)),
            "ReadStatistics": lambda c, asked, call: measure(c, asked.from_ms, asked.until_ms),
            "Withdrawals": lambda c, asked, call: wire.WithdrawalList(withdrawals=decisions.withdrawals(c)),
        }
        complained = Method(self._in_one(self.complain), _COMPLAINANTS, self._rate)
        return {"Complain": complained} | {
            name: Method(self._in_one(answer), OPERATORS) for name, answer in decided.items()
        }

    def _in_one(self, answer: Answer) -> Handler:
        async def handler(request: Any, call: Call) -> Any:
            return await self._database.run(lambda c: answer(c, request, call))

        return handler

    def move(self, c: Connection, request: wire.MoveRequest, call: Call) -> wire.ReportRow:
        """Move a report as a person decided. Raises what `decisions.decide` raises, and for wrong fields."""
        if request.state not in set(State):
            raise ProtocolError(_MOVE, f"must be one of {', '.join(State)}", "state")
        decision = decisions.Decision(
            State(request.state),
            decisions.words_of(request.reason, _MOVE, "reason"),
            call.account,
            milliseconds(self._clock),
            request.authority and decisions.words_of(request.authority, _MOVE, "authority", MOST_AUTHORITY),
            request.delay_notice,
        )
        return report_row(decisions.decide(c, request.report_id, decision))

    def hold_notice(self, c: Connection, request: wire.HoldNoticeRequest, call: Call) -> wire.Notice:
        """Put the user's notice off as long as the proposal allows. Raises what `notices.hold` raises."""
        reason = decisions.words_of(request.reason, _HOLD, "reason")
        now = milliseconds(self._clock)
        row = store.find(c, request.report_id)
        entry = store.Entry(now, call.account, "notice held", row.state, reason)
        return notice_of(notices.hold(c, request.report_id, entry), row)

    def complain(self, c: Connection, request: wire.ComplainRequest, call: Call) -> wire.Complaint:
        """Take a complaint down. Raises what `decisions.take` raises, and for wrong fields."""
        if len(request.complaint_id) != ID_BYTES:
            raise ProtocolError(_COMPLAIN, f"must be {ID_BYTES} bytes", "complaint_id")
        new = wire.Complaint(
            complaint_id=request.complaint_id,
            report_id=request.report_id,
            account=_complainant(request.account, call),
            received_at_ms=milliseconds(self._clock),
            text=decisions.words_of(request.text, _COMPLAIN, "text"),
        )
        return decisions.take(c, new, call.account)

    def settle(self, c: Connection, request: wire.SettleRequest, call: Call) -> wire.Complaint:
        """Decide a complaint. Raises what `decisions.settle` raises, and without a reason."""
        decision = decisions.Settlement.UPHELD if request.upheld else decisions.Settlement.REJECTED
        reason = decisions.words_of(request.reason, "centre/settle", "reason")
        now = milliseconds(self._clock)
        return decisions.settle(c, request.complaint_id, decision, reason, now, call.account)

    def due_notices(self, c: Connection, request: wire.DueNoticesRequest, call: Call) -> wire.NoticeList:
        held = notices.due(c, milliseconds(self._clock))
        return wire.NoticeList(notices=[notice_of(one, store.find(c, one.report_id)) for one in held])

    def notice_sent(self, c: Connection, request: wire.NoticeSentRequest, call: Call) -> wire.Notice:
        """The messenger took a notice. Raises what `notices.mark_sent` raises."""
        sent = notices.mark_sent(c, request.notice_id, milliseconds(self._clock), call.account)
        return notice_of(sent, store.find(c, sent.report_id))

    def note(self, c: Connection, request: wire.NoteRequest, call: Call) -> wire.ReportRow:
        """Write down what authority or provider answered. Raises what `decisions.note` raises."""
        reason = decisions.words_of(request.reason, "centre/note", "reason")
        now = milliseconds(self._clock)
        return report_row(decisions.note(c, request.report_id, request.event, reason, now, call.account))


def _complainant(named: str, call: Call) -> str:
    is_operator = call.caller is not None and call.caller.kind is Kind.OPERATOR
    if is_operator is not bool(named):
        raise ProtocolError(_COMPLAIN, "is for operators, who must give it", "account")
    try:
        return Identity(Kind.DEVICE, named).account if named else call.account
    except IdentityError as error:
        raise ProtocolError(_COMPLAIN, "must be the name of an account", "account") from error
