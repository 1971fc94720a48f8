"""The operators' half of the `Centre` service: decisions, notices, complaints, statistics.

operator -- Move(report, state, reason) --> centre    state, journal and notice in one transaction
device ---- Complain(report) -------------> centre    for its own account
operator -- Complaints, Settle -----------> centre    an upheld one reverses a confirmation
operator -- DueNotices, NoticeSent -------> centre    the messenger takes texts that are due
operator -- ReadStatistics ---------------> centre    counts, nothing about anybody
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from sqlite3 import Connection
from typing import Any, Final, TypeAlias

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from blindmatch_server.centre import complaints, following, notices, store, triage
from blindmatch_server.centre.replies import notice_of, report_row
from blindmatch_server.centre.states import State
from blindmatch_server.centre.statistics import measure
from blindmatch_server.hosting.authority import Identity, IdentityError, Kind
from blindmatch_server.hosting.endpoint import OPERATORS, Call, Handler, Method
from blindmatch_server.hosting.rate import TokenBuckets
from blindmatch_server.storage.clock import Clock, milliseconds
from blindmatch_server.storage.database import Database

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
            "Complaints": lambda c, asked, call: wire.ComplaintList(complaints=complaints.all_of(c)),
            "ReadStatistics": lambda c, asked, call: measure(c, asked.from_ms, asked.until_ms),
            "Withdrawals": lambda c, asked, call: wire.WithdrawalList(withdrawals=following.withdrawals(c)),
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
        return report_row(triage.decide(c, request.report_id, decision))

    def hold_notice(self, c: Connection, request: wire.HoldNoticeRequest, call: Call) -> wire.Notice:
        """Put the user's notice off as long as the law allows. Raises what `notices.hold` raises."""
        reason, now = triage.words_of(request.reason, _HOLD, "reason"), milliseconds(self._clock)
        row = store.find(c, request.report_id)
        entry = store.Entry(now, call.account, "notice held", row.state, reason)
        return notice_of(notices.hold(c, request.report_id, entry), row)

    def complain(self, c: Connection, request: wire.ComplainRequest, call: Call) -> wire.Complaint:
        """Take a complaint down.

        Raises:
            ProtocolError: if a field breaks a rule.
            NotFoundError, ConflictError, QuotaError: see `complaints.take`.
        """
        if len(request.complaint_id) != ID_BYTES:
            raise ProtocolError(_COMPLAIN, f"must be {ID_BYTES} bytes", "complaint_id")
        new = wire.Complaint(
            complaint_id=request.complaint_id,
            report_id=request.report_id,
            account=_complainant(request.account, call),
            received_at_ms=milliseconds(self._clock),
            text=triage.words_of(request.text, _COMPLAIN, "text"),
        )
        return complaints.take(c, new, call.account)

    def settle(self, c: Connection, request: wire.SettleRequest, call: Call) -> wire.Complaint:
        """Decide a complaint.

        Raises:
            ProtocolError: without a reason.
            NotFoundError, PreconditionError: see `complaints.settle`.
        """
        decision = complaints.Settlement.UPHELD if request.upheld else complaints.Settlement.REJECTED
        reason, now = triage.words_of(request.reason, "centre/settle", "reason"), milliseconds(self._clock)
        return complaints.settle(c, request.complaint_id, decision, reason, now, call.account)

    def due_notices(self, c: Connection, request: wire.DueNoticesRequest, call: Call) -> wire.NoticeList:
        """Notices that are due and not sent, oldest first."""
        held = notices.due(c, milliseconds(self._clock))
        return wire.NoticeList(notices=[notice_of(one, store.find(c, one.report_id)) for one in held])

    def notice_sent(self, c: Connection, request: wire.NoticeSentRequest, call: Call) -> wire.Notice:
        """The messenger took a notice. Raises what `notices.mark_sent` raises."""
        sent = notices.mark_sent(c, request.notice_id, milliseconds(self._clock), call.account)
        return notice_of(sent, store.find(c, sent.report_id))

    def note(self, c: Connection, request: wire.NoteRequest, call: Call) -> wire.ReportRow:
        """Write down what authority or provider answered. Raises what `following.note` raises."""
        reason, now = triage.words_of(request.reason, "centre/note", "reason"), milliseconds(self._clock)
        return report_row(following.note(c, request.report_id, request.event, reason, now, call.account))


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
