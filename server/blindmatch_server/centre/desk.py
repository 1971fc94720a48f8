"""The operators' half of the `Centre` service: decisions, notices, complaints, statistics.

operator -- Move(report, state, reason) --> centre    state, journal and notice in one transaction
device ---- Complain(report) -------------> centre    for its own account
operator -- Complaints, Settle -----------> centre    an upheld one reverses a confirmation
operator -- DueNotices, NoticeSent -------> centre    the messenger takes texts that are due
operator -- ReadStatistics ---------------> centre    counts, nothing about anybody
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from google.protobuf import json_format

from blindmatch_server.authority import Identity, IdentityError, Kind
from blindmatch_server.centre import complaints, notices, replies, statistics, store, triage
from blindmatch_server.centre.states import State
from blindmatch_server.clock import Clock, milliseconds
from blindmatch_server.database import Database
from blindmatch_server.endpoint import OPERATORS, Call, Method
from blindmatch_server.rate import TokenBuckets

ID_BYTES: Final = 16
MOST_AUTHORITY: Final = 200
_COMPLAINANTS: Final = frozenset({Kind.DEVICE, Kind.OPERATOR})
_MOVE: Final = "centre/move"
_COMPLAIN: Final = "centre/complain"
_HOLD: Final = "centre/hold-notice"


class OperatorsDesk:
    """What operators do at the centre, and complaints."""

    def __init__(self, database: Database, clock: Clock, rate: TokenBuckets) -> None:
        self._database = database
        self._clock = clock
        self._rate = rate

    def methods(self) -> Mapping[str, Method]:
        """See `endpoint.Service`; a part of the centre's."""
        return {
            "Move": Method(self.move, OPERATORS),
            "HoldNotice": Method(self.hold_notice, OPERATORS),
            "Complain": Method(self.complain, _COMPLAINANTS, self._rate),
            "Complaints": Method(self.list_complaints, OPERATORS),
            "Settle": Method(self.settle, OPERATORS),
            "DueNotices": Method(self.due_notices, OPERATORS),
            "NoticeSent": Method(self.notice_sent, OPERATORS),
            "ReadStatistics": Method(self.read_statistics, OPERATORS),
        }

    async def move(self, request: wire.MoveRequest, call: Call) -> wire.ReportRow:
        """Move a report as a person decided.

        Raises:
            ProtocolError: if a field breaks a rule.
            NotFoundError, TransitionError, PreconditionError: see `triage.decide`.
        """
        decision = triage.Decision(
            _state(request.state),
            triage.words_of(request.reason, _MOVE, "reason"),
            call.account,
            milliseconds(self._clock),
            request.authority and triage.words_of(request.authority, _MOVE, "authority", MOST_AUTHORITY),
            request.delay_notice,
        )
        row = await self._database.run(lambda c: triage.decide(c, request.report_id, decision))
        return replies.report_row(row)

    async def hold_notice(self, request: wire.HoldNoticeRequest, call: Call) -> wire.Notice:
        """Put the user's notice off as long as the law allows. Raises what `notices.hold` raises."""
        reason, now = triage.words_of(request.reason, _HOLD, "reason"), milliseconds(self._clock)
        report_id = request.report_id
        row = await self._database.run(lambda c: store.find(c, report_id))
        entry = store.Entry(now, call.account, "notice held", row.state, reason)
        held = await self._database.run(lambda c: notices.hold(c, report_id, entry))
        return replies.notice(held, row)

    async def complain(self, request: wire.ComplainRequest, call: Call) -> wire.Complaint:
        """Take a complaint down.

        Raises:
            ProtocolError: if a field breaks a rule.
            NotFoundError, ConflictError, QuotaError: see `complaints.take`.
        """
        if len(request.complaint_id) != ID_BYTES:
            raise ProtocolError(_COMPLAIN, f"must be {ID_BYTES} bytes", "complaint_id")
        new = complaints.Complaint(
            request.complaint_id,
            request.report_id,
            _complainant(request.account, call),
            milliseconds(self._clock),
            triage.words_of(request.text, _COMPLAIN, "text"),
        )
        return replies.complaint(await self._database.run(lambda c: complaints.take(c, new, call.account)))

    async def list_complaints(self, request: wire.ComplaintsRequest, call: Call) -> wire.ComplaintList:
        """All complaints, oldest first."""
        held = await self._database.run(complaints.all_of)
        return wire.ComplaintList(complaints=map(replies.complaint, held))

    async def settle(self, request: wire.SettleRequest, call: Call) -> wire.Complaint:
        """Decide a complaint.

        Raises:
            ProtocolError: without a reason.
            NotFoundError, PreconditionError: see `complaints.settle`.
        """
        decision = complaints.Settlement.UPHELD if request.upheld else complaints.Settlement.REJECTED
        reason = triage.words_of(request.reason, "centre/settle", "reason")
        now, complaint_id = milliseconds(self._clock), request.complaint_id
        held = await self._database.run(
            lambda c: complaints.settle(c, complaint_id, decision, reason, now, call.account)
        )
        return replies.complaint(held)

    async def due_notices(self, request: wire.DueNoticesRequest, call: Call) -> wire.NoticeList:
        """Notices that are due and not sent, oldest first."""
        now = milliseconds(self._clock)
        held = await self._database.run(
            lambda c: [(one, store.find(c, one.report_id)) for one in notices.due(c, now)]
        )
        return wire.NoticeList(notices=[replies.notice(one, row) for one, row in held])

    async def notice_sent(self, request: wire.NoticeSentRequest, call: Call) -> wire.Notice:
        """The messenger took a notice. Raises what `notices.mark_sent` raises."""
        now, notice_id = milliseconds(self._clock), request.notice_id
        sent = await self._database.run(lambda c: notices.mark_sent(c, notice_id, now, call.account))
        row = await self._database.run(lambda c: store.find(c, sent.report_id))
        return replies.notice(sent, row)

    async def read_statistics(self, request: wire.StatisticsRequest, call: Call) -> wire.Statistics:
        """Counts and times of a period."""
        found = await self._database.run(lambda c: statistics.measure(c, request.from_ms, request.until_ms))
        return json_format.ParseDict(asdict(found), wire.Statistics())


def _state(name: str) -> State:
    if name not in set(State):
        raise ProtocolError(_MOVE, f"must be one of {', '.join(State)}", "state")
    return State(name)


def _complainant(named: str, call: Call) -> str:
    """Whose complaint it is: a device's own; an operator names the account."""
    is_operator = call.caller is not None and call.caller.kind is Kind.OPERATOR
    if is_operator is not bool(named):
        raise ProtocolError(_COMPLAIN, "is for operators, who must give it", "account")
    try:
        return Identity(Kind.DEVICE, named).account if named else call.account
    except IdentityError as error:
        raise ProtocolError(_COMPLAIN, "must be the name of an account", "account") from error
