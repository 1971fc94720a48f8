"""Complaints of users about reports: taken once, settled once, with a reversal where they are upheld.

complain --> open --settle--> rejected                    the decision stands
                      \\-----> upheld    confirmed, wherever the report is by then --> unfounded
"""

from __future__ import annotations

from enum import StrEnum
from sqlite3 import Connection
from typing import Final

from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from blindmatch_server.centre import notices, store
from blindmatch_server.centre.store import Cause, State, check_transition
from blindmatch_server.storage.errors import ConflictError, NotFoundError, PreconditionError, QuotaError

MOST_OPEN: Final = 8
"""Open complaints of one account about one report."""
_STEP: Final = "centre/complain"
_COLUMNS: Final = "complaint_id, report_id, account, received_at_ms, text, decision, reason, decided_at_ms"


class Settlement(StrEnum):
    """What came of a complaint."""

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
    _check_open(connection, new)
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
        _reverse(connection, row, reason, at_ms, actor)
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
    """All complaints, or those about one report, oldest first."""
    if report_id is None:
        return _select(connection, "TRUE ORDER BY number")
    return _select(connection, "report_id = ? ORDER BY number", report_id)


def _reverse(connection: Connection, row: store.Row, reason: str, at_ms: int, actor: str) -> None:
    if row.decision is not State.CONFIRMED:
        return
    report_id = row.submission.report_id
    check_transition(row.state, State.UNFOUNDED, Cause.COMPLAINT)
    connection.execute("UPDATE reports SET decision = ? WHERE report_id = ?", (State.UNFOUNDED, report_id))
    store.move(connection, report_id, store.Entry(at_ms, actor, "reversed", State.UNFOUNDED, reason))


def _concerning(connection: Connection, report_id: bytes, account: str) -> store.Row:
    """The report, if it names the account, or the account handed it in."""
    row = store.find(connection, report_id)
    if account not in (
        notices.concerned(row),
        row.facts.sender,
        row.facts.recipient,
        row.submission.submitter,
    ):
        raise store.no_such_report()
    return row


def _check_open(connection: Connection, new: wire.Complaint) -> None:
    same = _select(connection, "report_id = ? AND account = ? AND decision = ''", new.report_id, new.account)
    if len(same) >= MOST_OPEN:
        raise QuotaError(_STEP, f"an account may have {MOST_OPEN} open complaints about a report")


def _select(connection: Connection, where: str, *values: object) -> list[wire.Complaint]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM complaints WHERE {where}", values)  # noqa: S608
    names = [name.strip() for name in _COLUMNS.split(",")]
    return [wire.Complaint(**dict(zip(names, row, strict=True))) for row in rows]
