"""What people decide about a report that was checked, and how it is written down.

Each decision is one transaction: the state, the journal's entry with who, when and why, and the notice that
the user gets because of it. Answers count once for each time that a report was forwarded or removal was
asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from sqlite3 import Connection
from typing import Final

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct

from blindmatch_server.centre import notices, store
from blindmatch_server.centre.assessment import Outcome
from blindmatch_server.centre.store import Cause, State, check_transition
from blindmatch_server.storage.database import unsigned
from blindmatch_server.storage.errors import ConflictError, NotFoundError, PreconditionError, QuotaError

MOST_WORDS: Final = 2000
"""Characters of a reason or a complaint."""
_MOVE: Final = "centre/move"
_BY_PEOPLE: Final = frozenset(State) - {State.RECEIVED, State.CHECKED}
_DECISIONS: Final = frozenset({State.CONFIRMED, State.UNFOUNDED})


class Decision(Struct, frozen=True):
    """What an operator wants done with a report.

    Attributes:
        authority: who it is forwarded to; empty otherwise.
        delay_notice: tell the user of an unfounded report after the delay of a proposal, not at once.
    """

    state: State
    reason: str
    actor: str
    at_ms: int
    authority: str = ""
    delay_notice: bool = False

    def __post_init__(self) -> None:
        """Raise `ProtocolError` unless the fields go together."""
        if self.state not in _BY_PEOPLE:
            raise ProtocolError(_MOVE, f"no person moves a report to {self.state}", "state")
        if (self.state is State.FORWARDED) is not bool(self.authority):
            raise ProtocolError(_MOVE, "must be named when a report is forwarded, and only then", "authority")
        if self.delay_notice and self.state is not State.UNFOUNDED:
            raise ProtocolError(_MOVE, "is for an unfounded report", "delay_notice")


def decide(connection: Connection, report_id: bytes, decision: Decision) -> store.Row:
    """Move a report as an operator decided; `NotFoundError` if there is no such report, `PreconditionError`
    if the state does not follow the report's, or a report that failed a check is to be confirmed: the check
    has shown that what it claims is not so."""
    row = store.find(connection, report_id)
    check_transition(row.state, decision.state, Cause.OPERATOR)
    if decision.state is State.CONFIRMED and row.outcome is Outcome.FAILED:
        raise PreconditionError(_MOVE, f"cannot be confirmed: {row.outcome_reason}", "state")
    if decision.state in _DECISIONS:
        connection.execute(
            "UPDATE reports SET decision = ?, decided_at_ms = ? WHERE report_id = ?",
            (decision.state, decision.at_ms, report_id),
        )
    event = f"to {decision.authority}" if decision.authority else "decided"
    entry = store.Entry(decision.at_ms, decision.actor, event, decision.state, decision.reason)
    store.move(connection, report_id, entry)
    if decision.state is State.UNFOUNDED:
        notices.tell_unfounded(connection, row, decision.at_ms, decision.delay_notice)
    return store.find(connection, report_id)


def words_of(value: str, step: str, field: str, most: int = MOST_WORDS) -> str:
    """Free text that a person must give: not empty, not too long, no control characters; `ProtocolError`
    otherwise."""
    text = value.strip()
    if not 1 <= len(text) <= most:
        raise ProtocolError(step, f"must be 1 to {most} characters", field)
    if not text.isprintable():
        raise ProtocolError(step, "must be plain text in one line", field)
    return text


_NOTE: Final = "centre/note"
AFTER: Final[Mapping[str, State]] = {
    "acknowledged": State.FORWARDED,
    "removed": State.REMOVAL_ASKED,
    "removal refused": State.REMOVAL_ASKED,
}
"""What may happen, and the state that a report must have come to before."""
EXPORTED: Final = "exported"


def exported(connection: Connection, report_id: bytes, reason: str, at_ms: int, actor: str) -> None:
    """Write down that a report is about to leave; `NotFoundError` if there is none."""
    state = store.find(connection, report_id).state
    store.write_journal(connection, report_id, store.Entry(at_ms, actor, EXPORTED, state, reason))


def note(
    connection: Connection, report_id: bytes, event: str, reason: str, at_ms: int, actor: str
) -> store.Row:
    """Write down what happened to a report; its state stays; `ProtocolError` if it is none of `AFTER`,
    `NotFoundError` if there is no such report, `PreconditionError` if the report was not brought there, or it
    is written down already."""
    if event not in AFTER:
        raise ProtocolError(_NOTE, f"must be one of {', '.join(AFTER)}", "event")
    row = store.find(connection, report_id)
    state = AFTER[event]
    lines = store.journal(connection, report_id)
    moves = [at for at, line in enumerate(lines) if line.state == state and line.event not in _ASIDE]
    if not moves:
        raise PreconditionError(_NOTE, f"the report never was {state}", "event")
    if any(AFTER.get(line.event) is state for line in lines[moves[-1] :]):
        raise PreconditionError(_NOTE, "is written down already", "event")
    store.write_journal(connection, report_id, store.Entry(at_ms, actor, event, row.state, reason))
    return store.find(connection, report_id)


_ASIDE: Final = frozenset(
    {*AFTER, EXPORTED, "complaint", "complaint upheld", "complaint rejected", "notice sent", "notice held"}
)
"""Lines that moved nothing."""


def withdrawals(connection: Connection) -> list[wire.Withdrawal]:
    """The entries whose matches upheld complaints have reversed, in the order of that, each once with the
    first report of it."""
    rows = connection.execute(
        "SELECT r.report_id, r.entry_id, r.epoch, MIN(j.at_ms) AS at FROM journal AS j "
        "JOIN reports AS r USING (report_id) "
        "WHERE j.event = 'reversed' AND r.decision = 'unfounded' AND r.score IS NULL "
        "GROUP BY r.entry_id ORDER BY at"
    )
    return [
        wire.Withdrawal(report_id=name, entry_id=unsigned(entry), epoch=unsigned(epoch), upheld_at_ms=at)
        for name, entry, epoch, at in rows
    ]


MOST_OPEN: Final = 8
"""Open complaints of one account about one report."""
_STEP: Final = "centre/complain"
_COLUMNS: Final = "complaint_id, report_id, account, received_at_ms, text, decision, reason, decided_at_ms"


class Settlement(StrEnum):
    UPHELD = "upheld"
    REJECTED = "rejected"


def take(connection: Connection, new: wire.Complaint, actor: str) -> wire.Complaint:
    """Store a complaint, once for each id; `NotFoundError` if there is no such report, or it does not concern
    the account: a stranger does not learn which; `ConflictError` if another complaint has this id;
    `QuotaError` if the account has too many open ones about this report."""
    before = _select(connection, "complaint_id = ?", new.complaint_id)
    if before:
        same = (before[0].report_id, before[0].account, before[0].text)
        if same != (new.report_id, new.account, new.text):
            raise ConflictError(_STEP, "another complaint has this id", "complaint_id")
        return before[0]
    row = _concerning(connection, new.report_id, new.account)
    waiting = "report_id = ? AND account = ? AND decision = ''"
    if len(_select(connection, waiting, new.report_id, new.account)) >= MOST_OPEN:
        raise QuotaError(_STEP, f"an account may have {MOST_OPEN} open complaints about a report")
    connection.execute(
        f"INSERT INTO complaints ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, '', '', 0)",  # noqa: S608 - constants
        (new.complaint_id, new.report_id, new.account, new.received_at_ms, new.text),
    )
    entry = store.Entry(new.received_at_ms, actor, "complaint", row.state, new.complaint_id.hex())
    store.write_journal(connection, new.report_id, entry)
    return new


def settle(
    connection: Connection, complaint_id: bytes, decision: Settlement, reason: str, at_ms: int, actor: str
) -> wire.Complaint:
    """Decide a complaint and notify its author; an upheld one reverses a confirmation; `NotFoundError` if
    there is no such complaint, `PreconditionError` if it is settled already, or nobody has decided about the
    report yet."""
    held = find(connection, complaint_id)
    if held.decision:
        raise PreconditionError(_STEP, f"the complaint is {held.decision} already", "complaint_id")
    row = store.find(connection, held.report_id)
    if row.decision is None:
        raise PreconditionError(_STEP, f"the report is {row.state}: decide about it first", "complaint_id")
    connection.execute(
        "UPDATE complaints SET decision = ?, reason = ?, decided_at_ms = ? WHERE complaint_id = ?",
        (decision, reason, at_ms, complaint_id),
    )
    entry = store.Entry(at_ms, actor, f"complaint {decision}", row.state, reason)
    store.write_journal(connection, held.report_id, entry)
    if decision is Settlement.UPHELD:
        if row.decision is State.CONFIRMED:
            check_transition(row.state, State.UNFOUNDED, Cause.COMPLAINT)
            reverse = "UPDATE reports SET decision = ? WHERE report_id = ?"
            connection.execute(reverse, (State.UNFOUNDED, held.report_id))
            entry = store.Entry(at_ms, actor, "reversed", State.UNFOUNDED, reason)
            store.move(connection, held.report_id, entry)
        notices.tell_upheld(connection, row, held.account, reason, at_ms)
    else:
        kind = notices.NoticeKind.REJECTED
        notices.add(connection, held.report_id, held.account, kind, reason, at_ms)
    return find(connection, complaint_id)


def find(connection: Connection, complaint_id: bytes) -> wire.Complaint:
    """A complaint; `NotFoundError` if there is none with this id."""
    found = _select(connection, "complaint_id = ?", complaint_id)
    if not found:
        raise NotFoundError(_STEP, "no such complaint", "complaint_id")
    return found[0]


def all_of(connection: Connection, report_id: bytes | None = None) -> list[wire.Complaint]:
    if report_id is None:
        return _select(connection, "TRUE ORDER BY number")
    return _select(connection, "report_id = ? ORDER BY number", report_id)


def _concerning(connection: Connection, report_id: bytes, account: str) -> store.Row:
    """The report, if it names the account, or the account handed it in."""
    row = store.find(connection, report_id)
    facts = row.facts
    if account not in (notices.concerned(row), facts.sender, facts.recipient, row.submission.submitter):
        raise store.no_such_report()
    return row


def _select(connection: Connection, where: str, *values: object) -> list[wire.Complaint]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM complaints WHERE {where}", values)  # noqa: S608
    names = [name.strip() for name in _COLUMNS.split(",")]
    return [wire.Complaint(**dict(zip(names, row, strict=True))) for row in rows]
