"""What the centre stores of reports, and every transaction on it; sealed ones are files (blobs.py).

received --checks--> checked --operator--> confirmed --> forwarded <--> removal asked --> closed
                        \\-----operator--> unfounded ------------------------------------^
an upheld complaint takes a report that was confirmed to unfounded, wherever it is by then
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from sqlite3 import Connection
from typing import Any, ClassVar, Final

from blindmatch_proofs.verdict import Failed
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct
from msgspec.structs import asdict, astuple

from blindmatch_server.centre.assessment import Assessment, Check, Facts, NotAvailable, Outcome, describe
from blindmatch_server.storage.database import signed, unsigned
from blindmatch_server.storage.errors import ConflictError, NotFoundError, PreconditionError, QuotaError


class State(StrEnum):
    RECEIVED = "received"
    CHECKED = "checked"
    CONFIRMED = "confirmed"
    UNFOUNDED = "unfounded"
    FORWARDED = "forwarded"
    REMOVAL_ASKED = "removal asked"
    CLOSED = "closed"


class Cause(StrEnum):
    CHECKS = "the machine checks"
    OPERATOR = "an operator"
    COMPLAINT = "an upheld complaint"


LEGAL: Final[Mapping[tuple[State, State], Cause]] = {
    (State.RECEIVED, State.CHECKED): Cause.CHECKS,
    (State.CHECKED, State.CONFIRMED): Cause.OPERATOR,
    (State.CHECKED, State.UNFOUNDED): Cause.OPERATOR,
    (State.CONFIRMED, State.FORWARDED): Cause.OPERATOR,
    (State.CONFIRMED, State.REMOVAL_ASKED): Cause.OPERATOR,
    (State.CONFIRMED, State.CLOSED): Cause.OPERATOR,
    (State.FORWARDED, State.REMOVAL_ASKED): Cause.OPERATOR,
    (State.FORWARDED, State.CLOSED): Cause.OPERATOR,
    (State.REMOVAL_ASKED, State.FORWARDED): Cause.OPERATOR,
    (State.REMOVAL_ASKED, State.CLOSED): Cause.OPERATOR,
    (State.UNFOUNDED, State.CLOSED): Cause.OPERATOR,
    (State.CONFIRMED, State.UNFOUNDED): Cause.COMPLAINT,
    (State.FORWARDED, State.UNFOUNDED): Cause.COMPLAINT,
    (State.REMOVAL_ASKED, State.UNFOUNDED): Cause.COMPLAINT,
    (State.CLOSED, State.UNFOUNDED): Cause.COMPLAINT,
}
"""Every legal transition, and the one cause that may bring it about; all else is refused."""


def check_transition(before: State, after: State, cause: Cause) -> None:
    """Raise `PreconditionError`, which names both states, unless `cause` may move `before` to `after`."""
    allowed = LEGAL.get((before, after))
    if allowed is None:
        raise PreconditionError("centre/move", f"a report that is {before} cannot become {after}", "state")
    if allowed is not cause:
        rule = f"a report that is {before} becomes {after} through {allowed} alone"
        raise PreconditionError("centre/move", rule, "state")


class Submission(Redacted, Struct, frozen=True):
    """A sealed report whose file is on disk."""

    SHOWN: ClassVar = ("report_id", "blob_id", "submitter", "received_at_ms")

    report_id: bytes
    digest: bytes
    blob_id: bytes
    submitter: str
    received_at_ms: int


class Row(Struct, frozen=True):
    """A report as it is stored.

    Attributes:
        outcome: what the machine checks came to; None before them.
        decision: what a person decided, `State.CONFIRMED` or `State.UNFOUNDED`; None before.
        decided_at_ms: when a person first decided; 0 before.
    """

    submission: Submission
    state: State
    reason: str
    outcome: Outcome | None
    outcome_reason: str
    decision: State | None
    decided_at_ms: int
    facts: Facts


class Entry(Struct, frozen=True):
    """A line of a report's journal."""

    at_ms: int
    actor: str
    event: str
    state: str
    reason: str


_FACTS: Final = Facts.__struct_fields__
_WIDE: Final = frozenset({"version", "epoch", "entry_id", "matched_at_ms", "sent_at_ms", "stamped_at_ms"})
_COLUMNS: Final = (
    "report_id, digest, blob_id, submitter, received_at_ms, state, reason, outcome, outcome_reason, "
    "decision, decided_at_ms, " + ", ".join(_FACTS)
)
CHECKS: Final = "checks"
"""Who the journal says did what the machine did."""


def receive(connection: Connection, submission: Submission, most_a_day: int) -> tuple[int, bool]:
    """Store a report, once for each id; when it was received (the first time), and whether it is new;
    `ConflictError` if other bytes or another party are stored under this id, `QuotaError` if the submitter
    handed in `most_a_day` within the last day already."""
    before = connection.execute(
        "SELECT digest, submitter, received_at_ms FROM reports WHERE report_id = ?", (submission.report_id,)
    ).fetchone()
    if before is not None:
        if before[:2] != (submission.digest, submission.submitter):
            raise ConflictError("centre/submit", "another report has this id", "report_id")
        return int(before[2]), False
    since = submission.received_at_ms - 24 * 60 * 60 * 1000
    (count,) = connection.execute(
        "SELECT COUNT(*) FROM reports WHERE submitter = ? AND received_at_ms > ?",
        (submission.submitter, since),
    ).fetchone()
    if count >= most_a_day:
        raise QuotaError("centre/submit", f"at most {most_a_day} reports a day")
    connection.execute(
        "INSERT INTO reports (report_id, digest, blob_id, submitter, received_at_ms, state) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (*astuple(submission), State.RECEIVED),
    )
    entry = Entry(submission.received_at_ms, submission.submitter, "received", State.RECEIVED, "")
    write_journal(connection, submission.report_id, entry)
    return submission.received_at_ms, True


def next_received(connection: Connection) -> Submission | None:
    row = connection.execute(
        "SELECT report_id, digest, blob_id, submitter, received_at_ms FROM reports "
        "WHERE state = ? ORDER BY received_at_ms LIMIT 1",
        (State.RECEIVED,),
    ).fetchone()
    return None if row is None else Submission(*row)


def record_checks(connection: Connection, report_id: bytes, assessment: Assessment, at_ms: int) -> Row:
    """Store what the checks found; the report is checked then. Raises `NotFoundError` if there is no such
    report, and `PreconditionError` if it was checked already."""
    check_transition(find(connection, report_id).state, State.CHECKED, Cause.CHECKS)
    _write_checks(connection, report_id, assessment)
    outcome, reason = assessment.outcome
    move(connection, report_id, Entry(at_ms, CHECKS, str(outcome), State.CHECKED, reason))
    return find(connection, report_id)


def _write_checks(connection: Connection, report_id: bytes, assessment: Assessment) -> None:
    outcome, reason = assessment.outcome
    facts = asdict(assessment.facts).items()
    values = [signed(value) if name in _WIDE else value for name, value in facts]
    assignments = ", ".join(f"{name} = ?" for name in _FACTS)
    connection.execute(
        f"UPDATE reports SET outcome = ?, outcome_reason = ?, {assignments} WHERE report_id = ?",  # noqa: S608
        (outcome, reason, *values, report_id),
    )
    connection.executemany(
        "INSERT INTO checks VALUES (?, ?, ?)",
        [(report_id, n, describe(c, v)) for n, (c, v) in enumerate(assessment.verdicts.items())],
    )


UNKNOWN_LABEL: Final = "not a label of the list"
NO_LIST: Final = "the centre has no copy of the list"
UNREADABLE_LIST: Final = "the centre cannot read its copy of the list"
"""What the check of a label says where the centre may only lack the list of the report's epoch."""


def failed_for_want_of_list(connection: Connection) -> list[tuple[Submission, int]]:
    """Return the reports, with the id of their entry, that nobody has decided on and whose label the centre
    does not know, while no other check failed."""
    label = Check.LABEL
    others = [check for check in Check if check is not Check.LABEL]
    rows = connection.execute(
        "SELECT report_id, digest, blob_id, submitter, received_at_ms, entry_id FROM reports AS r "
        "WHERE state = ? AND EXISTS (SELECT 1 FROM checks AS c WHERE c.report_id = r.report_id "
        "AND c.verdict IN (?, ?, ?)) ORDER BY received_at_ms, rowid",
        (
            State.CHECKED,
            describe(label, Failed(UNKNOWN_LABEL)),
            describe(label, NotAvailable(NO_LIST)),
            describe(label, NotAvailable(UNREADABLE_LIST)),
        ),
    )
    failures = tuple(describe(check, Failed("")) for check in others)
    return [
        (Submission(*row[:5]), unsigned(row[5]))
        for row in rows.fetchall()
        if not any(one.startswith(failures) for one in verdicts(connection, row[0]))
    ]


def repeat_checks(connection: Connection, report_id: bytes, assessment: Assessment, at_ms: int) -> Row | None:
    """Store what the checks of a checked report came to when they were made again, in place of the first.

    None, and nothing is stored, if somebody has decided on the report since, or they came to the same.
    """
    row = find(connection, report_id)
    outcome, reason = assessment.outcome
    if row.state is not State.CHECKED or (row.outcome, row.outcome_reason) == (outcome, reason):
        return None
    connection.execute("DELETE FROM checks WHERE report_id = ?", (report_id,))
    _write_checks(connection, report_id, assessment)
    move(connection, report_id, Entry(at_ms, CHECKS, f"checked again: {outcome}", State.CHECKED, reason))
    return find(connection, report_id)


def move(connection: Connection, report_id: bytes, entry: Entry) -> None:
    """Put a report into the entry's state and write the entry; whether it may is for the caller to check."""
    connection.execute(
        "UPDATE reports SET state = ?, reason = ? WHERE report_id = ?", (entry.state, entry.reason, report_id)
    )
    write_journal(connection, report_id, entry)


def write_journal(connection: Connection, report_id: bytes, entry: Entry) -> None:
    """Append to the journal; nothing in it can be changed."""
    connection.execute(
        "INSERT INTO journal (report_id, at_ms, actor, event, state, reason) VALUES (?, ?, ?, ?, ?, ?)",
        (report_id, *astuple(entry)),
    )


def journal(connection: Connection, report_id: bytes) -> list[Entry]:
    rows = connection.execute(
        "SELECT at_ms, actor, event, state, reason FROM journal WHERE report_id = ? ORDER BY number",
        (report_id,),
    )
    return [Entry(at, actor, event, state, reason) for at, actor, event, state, reason in rows]


def find(connection: Connection, report_id: bytes) -> Row:
    """A report; `NotFoundError` if there is none with this id."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM reports WHERE report_id = ?",  # noqa: S608 - constants
        (report_id,),
    ).fetchone()
    if row is None:
        raise no_such_report()
    return _row(row)


def no_such_report() -> NotFoundError:
    """The one answer to whoever asks for a report that is not there, or not for them."""
    return NotFoundError("centre/report", "no such report", "report_id")


def reports(connection: Connection) -> list[Row]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM reports ORDER BY received_at_ms, rowid")  # noqa: S608
    return [_row(row) for row in rows]


def verdicts(connection: Connection, report_id: bytes) -> list[str]:
    """The checks of a report in their order, each in one line."""
    rows = connection.execute(
        "SELECT verdict FROM checks WHERE report_id = ? ORDER BY position", (report_id,)
    )
    return [verdict for (verdict,) in rows]


def blob_ids(connection: Connection) -> set[bytes]:
    return {blob_id for (blob_id,) in connection.execute("SELECT blob_id FROM reports")}


def _row(row: Sequence[Any]) -> Row:
    state, reason, outcome, outcome_reason, decision, decided_at_ms = row[5:11]
    facts: dict[str, Any] = {
        name: unsigned(value) if name in _WIDE else value
        for name, value in zip(_FACTS, row[11:], strict=True)
    }
    return Row(
        Submission(*row[:5]),
        State(state),
        reason,
        Outcome(outcome) if outcome else None,
        outcome_reason,
        State(decision) if decision else None,
        decided_at_ms,
        Facts(**facts),
    )


VERSION: Final = 13
UPGRADES: Final = {
    11: """
DROP INDEX piles_due;
ALTER TABLE piles ADD COLUMN next_try INTEGER NOT NULL DEFAULT 1;
ALTER TABLE piles ADD COLUMN born INTEGER NOT NULL DEFAULT 0;
-- a pile was due while it was tried less often than wanted: the same piles are due, and tried at once
UPDATE piles SET next_try = tried + 1, born = COALESCE((
    SELECT MIN(number) FROM vouchers AS v
    WHERE (v.account, v.design, v.period) = (piles.account, piles.design, piles.period)
), 0);
ALTER TABLE piles DROP COLUMN tried;
CREATE INDEX piles_due ON piles (design, period) WHERE next_try <= wanted
""",
    12: "ALTER TABLE piles ADD COLUMN problem TEXT NOT NULL DEFAULT ''",
}
"""By an older version, what makes the next one of it: reports and vouchers that were acknowledged stay."""
SCHEMA: Final = """
CREATE TABLE reports (
    report_id BLOB PRIMARY KEY,
    digest BLOB NOT NULL,
    blob_id BLOB NOT NULL UNIQUE,
    submitter TEXT NOT NULL,
    received_at_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    design TEXT NOT NULL DEFAULT '',
    version INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0,
    entry_id INTEGER NOT NULL DEFAULT 0,
    pdq_distance INTEGER,
    second_distance INTEGER,
    sender TEXT NOT NULL DEFAULT '',
    recipient TEXT NOT NULL DEFAULT '',
    matched_at_ms INTEGER NOT NULL DEFAULT 0,
    sent_at_ms INTEGER NOT NULL DEFAULT 0,
    media_type TEXT NOT NULL DEFAULT '',
    width INTEGER NOT NULL DEFAULT 0,
    height INTEGER NOT NULL DEFAULT 0,
    picture_bytes INTEGER NOT NULL DEFAULT 0,
    outcome TEXT NOT NULL DEFAULT '',
    outcome_reason TEXT NOT NULL DEFAULT '',
    decision TEXT NOT NULL DEFAULT '',
    decided_at_ms INTEGER NOT NULL DEFAULT 0,
    score REAL,
    stamped_at_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX reports_by_state ON reports (state, received_at_ms);
CREATE INDEX reports_by_submitter ON reports (submitter, received_at_ms);
CREATE TABLE checks (
    report_id BLOB NOT NULL REFERENCES reports (report_id),
    position INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    PRIMARY KEY (report_id, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE piles (
    account TEXT NOT NULL,
    design TEXT NOT NULL,
    period BLOB NOT NULL,
    held INTEGER NOT NULL,
    visible INTEGER NOT NULL DEFAULT 0,
    places INTEGER NOT NULL DEFAULT 0,
    wanted INTEGER NOT NULL DEFAULT 0,
    next_try INTEGER NOT NULL DEFAULT 1,
    born INTEGER NOT NULL,
    opened INTEGER NOT NULL DEFAULT 0,
    first_at_ms INTEGER NOT NULL,
    last_at_ms INTEGER NOT NULL,
    problem TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (account, design, period)
) STRICT, WITHOUT ROWID;
CREATE INDEX piles_due ON piles (design, period) WHERE next_try <= wanted;
CREATE TABLE vouchers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    design TEXT NOT NULL,
    period BLOB NOT NULL,
    digest BLOB NOT NULL,
    row BLOB,
    place BLOB,
    turn INTEGER NOT NULL DEFAULT 0,
    received_at_ms INTEGER NOT NULL,
    label BLOB,
    UNIQUE (account, design, period, digest)
) STRICT;
CREATE INDEX vouchers_visible ON vouchers (account, design, period, turn, number) WHERE row IS NOT NULL;
CREATE INDEX vouchers_by_place ON vouchers (account, design, period, place, turn) WHERE place IS NOT NULL;
CREATE INDEX vouchers_by_age ON vouchers (received_at_ms);
CREATE TABLE openings (
    day_ms INTEGER PRIMARY KEY,
    opened INTEGER NOT NULL
) STRICT;
CREATE TABLE erasures (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    account TEXT NOT NULL,
    period BLOB NOT NULL,
    before_ms INTEGER NOT NULL,
    erased INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE TRIGGER erasures_keep BEFORE UPDATE ON erasures BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER erasures_stay BEFORE DELETE ON erasures BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TABLE journal (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    report_id BLOB NOT NULL REFERENCES reports (report_id),
    at_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL DEFAULT '',
    event TEXT NOT NULL DEFAULT 'moved'
) STRICT;
CREATE TRIGGER journal_keeps BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER journal_stays BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TABLE complaints (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    complaint_id BLOB NOT NULL UNIQUE,
    report_id BLOB NOT NULL REFERENCES reports (report_id),
    account TEXT NOT NULL,
    received_at_ms INTEGER NOT NULL,
    text TEXT NOT NULL,
    decision TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    decided_at_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX complaints_by_report ON complaints (report_id);
CREATE TABLE notices (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    notice_id BLOB NOT NULL UNIQUE,
    report_id BLOB NOT NULL REFERENCES reports (report_id),
    account TEXT NOT NULL,
    kind TEXT NOT NULL,
    words TEXT NOT NULL DEFAULT '',
    due_at_ms INTEGER NOT NULL,
    sent_at_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX notices_by_report ON notices (report_id);
CREATE INDEX notices_due ON notices (due_at_ms) WHERE sent_at_ms = 0;
CREATE TABLE signers (
    account TEXT PRIMARY KEY,
    identity_key BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE subjects (
    subject BLOB PRIMARY KEY,
    report_id BLOB NOT NULL REFERENCES reports (report_id)
) STRICT, WITHOUT ROWID
"""
