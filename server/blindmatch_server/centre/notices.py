"""What users are told, and when; texts wait here until the messenger takes them (decision record 4).

report checked -------> notice of the report, due after the proposal's delay
found unfounded ------> the same notice becomes one of that, due at once (or stays with the delay)
authority says hold --> due at the latest day that the proposal allows
complaint settled ----> a notice of its own, due at once
"""

from __future__ import annotations

import hashlib
from calendar import month_name, monthrange
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from importlib.resources import files
from sqlite3 import Connection
from typing import Final

import msgspec
from msgspec import Struct

from blindmatch_server.centre import store
from blindmatch_server.centre.assessment import Outcome
from blindmatch_server.hosting.authority import IdentityError, Kind, identity_of
from blindmatch_server.storage.errors import NotFoundError, PreconditionError


class NoticePeriods(msgspec.Struct, frozen=True):
    """When a user is told of a report, in months after it was received: COM(2022) 209, Articles 12 and 48(7),
    which is a proposal and not law.

    Attributes:
        delay_months: unless an authority asks for more.
        most_months: even then.
        source: where it says so.
    """

    delay_months: int
    most_months: int
    source: str


class StatisticsForm(msgspec.Struct, frozen=True):
    """How error was to be published: Regulation (EU) 2021/1232, which has lapsed, and Implementing Regulation
    (EU) 2024/2916.

    Attributes:
        error_rate: the definition of the published rate, and of A, B and C.
        caution: what must stand beside it.
        source: where it says so.
        provenance: how the source was read.
    """

    error_rate: str
    caution: str
    source: str
    provenance: str


class Law(msgspec.Struct, frozen=True):
    """The Union's rules on voluntary detection, as they were last read.

    Attributes:
        lapsed, lapsed_on: the regulation whose form the statistics have, and the day on which it ended.
        successor, successor_of: the one that followed, and its date.
        in_force: from when to when.
        end_to_end: what it reportedly says of end-to-end encrypted communications.
        check: that primary texts were not seen.
    """

    lapsed: str
    lapsed_on: str
    successor: str
    successor_of: str
    in_force: str
    end_to_end: str
    provenance: str
    check: str

    @property
    def words(self) -> str:
        """One sentence that stands wherever somebody meets the law."""
        return (
            f"{self.lapsed} lapsed on {_day(self.lapsed_on)}. Its successor is {self.successor} of "
            f"{_day(self.successor_of)}, in force {self.in_force}: {self.end_to_end}. This was {self.check}."
        )


def _day(iso: str) -> str:
    """Return a date as a reader of the law writes it, such as 3 April 2026."""
    day = date.fromisoformat(iso)
    return f"{day.day} {month_name[day.month]} {day.year}"


class Statute(msgspec.Struct, frozen=True):
    """The file, as far as the centre goes by it."""

    law: Law
    notice_to_user: NoticePeriods
    statistics_form: StatisticsForm


@cache
def statute() -> Statute:
    raw = files("blindmatch_server.centre").joinpath("statute.json").read_bytes()
    return msgspec.json.decode(raw, type=Statute)


def months_after(at_ms: int, months: int) -> int:
    """The same day and time of day (UTC) so many calendar months later, or the month's last day."""
    start = datetime.fromtimestamp(at_ms / 1000, UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, monthrange(year, month + 1)[1])
    moved = start.replace(year=year, month=month + 1, day=day)
    return at_ms + round((moved - start).total_seconds() * 1000)


BY_DEVICE: Final = (
    "that the recipient received the message, or could open it: the relay's stamp says that it took it then, "
    "for that account; where no recipient is named, that it went to several, as the device says; and that "
    "relay and centre, who share the stamp's key, did not make the stamp together"
)
BY_SERVICE: Final = (
    "who sent the picture, when, or whether anybody did: a service that sees pictures in the clear says so, "
    "and nothing binds it to that"
)
IN_STATISTICS: Final = (
    "recipients: the checks do not show that a recipient whom a sender's device names received "
    "anything, and recipients of what a service reports are not known"
)


def not_shown(submitter: str) -> str:
    """What the checks do not show of a report that the account `submitter` handed in."""
    return BY_DEVICE if is_device(submitter) else BY_SERVICE


def is_device(submitter: str) -> bool:
    try:
        return identity_of(submitter).kind is Kind.DEVICE
    except IdentityError:
        return False


_STEP: Final = "centre/notice"
_COLUMNS: Final = "notice_id, report_id, account, kind, words, due_at_ms, sent_at_ms"


class NoticeKind(StrEnum):
    REPORTED = "reported"
    UNFOUNDED = "unfounded"
    REVERSED = "reversed"
    REJECTED = "rejected"


class Notice(Struct, frozen=True):
    """A notice to a user.

    Attributes:
        words: a reason that was written for them; may be empty.
        due_at_ms: not before.
        sent_at_ms: when the messenger took it; 0 before.
    """

    notice_id: bytes
    report_id: bytes
    account: str
    kind: NoticeKind
    words: str
    due_at_ms: int
    sent_at_ms: int = 0


def concerned(row: store.Row) -> str:
    """The account that is told of a report; empty if none can be."""
    submitter = row.submission.submitter
    if is_device(submitter):
        return submitter
    return "" if row.outcome is Outcome.FAILED else row.facts.sender


def plan(connection: Connection, row: store.Row) -> None:
    """Note that the user is to be told of a report that was checked, after the proposal's delay."""
    account = concerned(row)
    if account:
        due = months_after(row.submission.received_at_ms, statute().notice_to_user.delay_months)
        add(connection, row.submission.report_id, account, NoticeKind.REPORTED, "", due)


def tell_unfounded(connection: Connection, row: store.Row, at_ms: int, delayed: bool) -> None:
    """The report is unfounded: its notice says so, at once unless `delayed`. One that is sent stays."""
    open_one = _open_notice(connection, row.submission.report_id)
    if open_one is not None:
        due = open_one.due_at_ms if delayed else at_ms
        connection.execute(
            "UPDATE notices SET kind = ?, due_at_ms = ? WHERE notice_id = ?",
            (NoticeKind.UNFOUNDED, due, open_one.notice_id),
        )
    elif account := concerned(row):
        add(connection, row.submission.report_id, account, NoticeKind.UNFOUNDED, "", at_ms)


def tell_upheld(connection: Connection, row: store.Row, account: str, words: str, at_ms: int) -> None:
    """A complaint of `account` was upheld; whoever else was to be told of the report is told so too."""
    report_id = row.submission.report_id
    open_one = _open_notice(connection, report_id)
    if open_one is not None and open_one.account == account:
        connection.execute(
            "UPDATE notices SET kind = ?, words = ?, due_at_ms = ? WHERE notice_id = ?",
            (NoticeKind.REVERSED, words, at_ms, open_one.notice_id),
        )
        return
    add(connection, report_id, account, NoticeKind.REVERSED, words, at_ms)
    if account != concerned(row):
        tell_unfounded(connection, row, at_ms, delayed=False)


def hold(connection: Connection, report_id: bytes, entry: store.Entry) -> Notice:
    """An authority asked that the user is not told yet: put the notice off as long as the proposal
    allows;
    `NotFoundError` if there is no such report, `PreconditionError` if there is no notice to hold: sent, never
    due, or the report is unfounded."""
    row = store.find(connection, report_id)
    held = _open_notice(connection, report_id)
    if held is None or held.kind is not NoticeKind.REPORTED:
        raise PreconditionError(_STEP, "the report has no open notice that may be held", "report_id")
    due = months_after(row.submission.received_at_ms, statute().notice_to_user.most_months)
    connection.execute("UPDATE notices SET due_at_ms = ? WHERE notice_id = ?", (due, held.notice_id))
    store.write_journal(connection, report_id, entry)
    return find(connection, held.notice_id)


def add(
    connection: Connection, report_id: bytes, account: str, kind: NoticeKind, words: str, due_at_ms: int
) -> None:
    """Add a notice; its id follows from the report and from how many there are before it."""
    (before,) = connection.execute(
        "SELECT COUNT(*) FROM notices WHERE report_id = ?", (report_id,)
    ).fetchone()
    notice_id = hashlib.sha256(b"blindmatch/notice/1" + report_id + before.to_bytes(4, "big")).digest()[:16]
    connection.execute(
        f"INSERT INTO notices ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, 0)",  # noqa: S608 - constants
        (notice_id, report_id, account, kind, words, due_at_ms),
    )


def due(connection: Connection, at_ms: int) -> list[Notice]:
    """Notices that are due and not sent, oldest first."""
    return _select(connection, "sent_at_ms = 0 AND due_at_ms <= ? ORDER BY due_at_ms, number", at_ms)


def of_report(connection: Connection, report_id: bytes) -> list[Notice]:
    """All notices about a report, in the order they were made."""
    return _select(connection, "report_id = ? ORDER BY number", report_id)


def find(connection: Connection, notice_id: bytes) -> Notice:
    found = _select(connection, "notice_id = ?", notice_id)
    if not found:
        raise NotFoundError(_STEP, "no such notice", "notice_id")
    return found[0]


def mark_sent(connection: Connection, notice_id: bytes, at_ms: int, actor: str) -> Notice:
    """The messenger has taken a notice; saying so again changes nothing. Raises `NotFoundError` if there is
    none with this id, and `PreconditionError` if it is not due yet."""
    held = find(connection, notice_id)
    if held.sent_at_ms:
        return held
    if held.due_at_ms > at_ms:
        raise PreconditionError(_STEP, "the notice is not due yet", "notice_id")
    connection.execute("UPDATE notices SET sent_at_ms = ? WHERE notice_id = ?", (at_ms, notice_id))
    row = store.find(connection, held.report_id)
    entry = store.Entry(at_ms, actor, "notice sent", row.state, str(held.kind))
    store.write_journal(connection, held.report_id, entry)
    return find(connection, notice_id)


def text_of(notice: Notice, row: store.Row) -> str:
    """What the user reads; the notice's number lets a repeated one be known."""
    submission = row.submission
    day = datetime.fromtimestamp(submission.received_at_ms / 1000, UTC).date().isoformat()
    number = f"report {notice.report_id.hex()}"
    flagged = ", because a classifier flagged it; no entry of a list matched"
    who = f"The {submission.submitter} reported it and says that you sent it; the checks do not show who did."
    if is_device(submission.submitter):
        who = "Your own device reported it; the checks do not show that anybody received it."
    said = {
        NoticeKind.REPORTED: f"A picture in a message of yours was reported to the centre on {day} as "
        f"{number}{'' if row.facts.score is None else flagged}. {who}",
        NoticeKind.UNFOUNDED: f"People at the centre looked at {number} of {day}, about a picture in a "
        "message of yours, and found it unfounded. Nothing follows from it.",
        NoticeKind.REVERSED: f"Your complaint about {number} was upheld: the decision is reversed, and the "
        "report counts as unfounded.",
        NoticeKind.REJECTED: f"Your complaint about {number} was looked at; the decision stands.",
    }[notice.kind]
    reason = f" Reason: {notice.words}" if notice.words else ""
    right = " You can complain at the centre under the report's number."
    end = right if notice.kind in (NoticeKind.REPORTED, NoticeKind.REJECTED) else ""
    return f"{said}{reason}{end} (Notice {notice.notice_id.hex()[:8]})"


def _open_notice(connection: Connection, report_id: bytes) -> Notice | None:
    kinds = (NoticeKind.REPORTED, NoticeKind.UNFOUNDED)
    found = _select(connection, "report_id = ? AND sent_at_ms = 0 AND kind IN (?, ?)", report_id, *kinds)
    return found[0] if found else None


def _select(connection: Connection, where: str, *values: object) -> list[Notice]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM notices WHERE {where}", values)  # noqa: S608
    return [
        Notice(name, report_id, account, NoticeKind(kind), words, due_at_ms, sent_at_ms)
        for name, report_id, account, kind, words, due_at_ms, sent_at_ms in rows
    ]
