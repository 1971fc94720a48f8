"""What the centre stores, and every transaction on it; sealed reports lie beside it as files (blobs.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields
from sqlite3 import Connection
from typing import Any, Final

from blindmatch_protocol.contract import Label

from blindmatch_server.centre.states import State, check_transition
from blindmatch_server.centre.verify import Assessment, Facts, describe
from blindmatch_server.database import signed, unsigned
from blindmatch_server.errors import ConflictError, NotFoundError, QuotaError

VERSION: Final = 1
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
    picture_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX reports_by_state ON reports (state, received_at_ms);
CREATE INDEX reports_by_submitter ON reports (submitter, received_at_ms);
CREATE TABLE checks (
    report_id BLOB NOT NULL REFERENCES reports (report_id),
    position INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    PRIMARY KEY (report_id, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE journal (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    report_id BLOB NOT NULL REFERENCES reports (report_id),
    at_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE TRIGGER journal_keeps BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER journal_stays BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TABLE vouchers (
    number INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    design TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    digest BLOB NOT NULL,
    body BLOB NOT NULL,
    received_at_ms INTEGER NOT NULL,
    label BLOB,
    UNIQUE (account, design, epoch, digest)
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Submission:
    """A sealed report whose file is on disk."""

    report_id: bytes
    digest: bytes = field(repr=False)
    blob_id: bytes
    submitter: str
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class Row:
    """A report as it is stored."""

    submission: Submission
    state: State
    reason: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class StoredVoucher:
    """A voucher as it is stored; `label` once it was opened."""

    digest: bytes = field(repr=False)
    body: bytes = field(repr=False)
    received_at_ms: int
    label: bytes | None = field(repr=False)


_FACTS: Final = tuple(f.name for f in fields(Facts))
_WIDE: Final = frozenset({"version", "epoch", "entry_id", "matched_at_ms", "sent_at_ms"})
_COLUMNS: Final = "report_id, digest, blob_id, submitter, received_at_ms, state, reason, " + ", ".join(_FACTS)


def receive(connection: Connection, submission: Submission, most_a_day: int) -> tuple[int, bool]:
    """Store a report, once for each id.

    Returns:
        When it was received (the first time), and whether it is new.

    Raises:
        ConflictError: if other bytes or another party are stored under this id.
        QuotaError: if the submitter handed in `most_a_day` within the last day already.
    """
    before = connection.execute(
        "SELECT digest, submitter, received_at_ms FROM reports WHERE report_id = ?", (submission.report_id,)
    ).fetchone()
    if before is not None:
        if before[:2] != (submission.digest, submission.submitter):
            raise ConflictError("centre/submit", "another report has this id", "report_id")
        return int(before[2]), False
    _check_quota(connection, submission, most_a_day)
    connection.execute(
        "INSERT INTO reports (report_id, digest, blob_id, submitter, received_at_ms, state) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (*astuple(submission), State.RECEIVED),
    )
    _journal(connection, submission.report_id, submission.received_at_ms, State.RECEIVED, "")
    return submission.received_at_ms, True


def next_received(connection: Connection) -> Submission | None:
    """The report that has waited longest to be checked."""
    row = connection.execute(
        "SELECT report_id, digest, blob_id, submitter, received_at_ms FROM reports "
        "WHERE state = ? ORDER BY received_at_ms LIMIT 1",
        (State.RECEIVED,),
    ).fetchone()
    return None if row is None else Submission(*row)


def decide(connection: Connection, report_id: bytes, assessment: Assessment, at_ms: int) -> None:
    """Store what the checks found, and move the report to its new state.

    Raises:
        NotFoundError: if there is no such report.
        TransitionError: if it was decided already.
    """
    state, reason = assessment.outcome
    check_transition(find(connection, report_id).state, state)
    values = [_stored(name, getattr(assessment.facts, name)) for name in _FACTS]
    assignments = ", ".join(f"{name} = ?" for name in _FACTS)
    connection.execute(
        f"UPDATE reports SET state = ?, reason = ?, {assignments} WHERE report_id = ?",  # noqa: S608
        (state, reason, *values, report_id),
    )
    connection.executemany(
        "INSERT INTO checks VALUES (?, ?, ?)",
        [(report_id, n, describe(c, v)) for n, (c, v) in enumerate(assessment.verdicts.items())],
    )
    _journal(connection, report_id, at_ms, state, reason)


def find(connection: Connection, report_id: bytes) -> Row:
    """A report.

    Raises:
        NotFoundError: if there is none with this id.
    """
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM reports WHERE report_id = ?",  # noqa: S608 - constants
        (report_id,),
    ).fetchone()
    if row is None:
        raise NotFoundError("centre/show", "no such report", "report_id")
    return _row(row)


def reports(connection: Connection) -> list[Row]:
    """All reports, oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM reports ORDER BY received_at_ms, rowid")  # noqa: S608
    return [_row(row) for row in rows]


def verdicts(connection: Connection, report_id: bytes) -> list[str]:
    """The checks of a report in their order, each in one line."""
    rows = connection.execute(
        "SELECT verdict FROM checks WHERE report_id = ? ORDER BY position", (report_id,)
    )
    return [verdict for (verdict,) in rows]


def account_vouchers(connection: Connection, account: str, design: str, epoch: int) -> list[StoredVoucher]:
    """An account's vouchers of one design and epoch, in the order they came."""
    rows = connection.execute(
        "SELECT digest, body, received_at_ms, label FROM vouchers "
        "WHERE account = ? AND design = ? AND epoch = ? ORDER BY number",
        (account, design, signed(epoch)),
    )
    return [StoredVoucher(*row) for row in rows]


def add_voucher(
    connection: Connection,
    account: str,
    design: str,
    epoch: int,
    voucher: StoredVoucher,
    opened: Sequence[tuple[bytes, Label]],
) -> None:
    """Store a voucher, and the labels by digest that the account's vouchers now open to."""
    key = (account, design, signed(epoch))
    connection.execute(
        "INSERT INTO vouchers (account, design, epoch, digest, body, received_at_ms) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (*key, voucher.digest, voucher.body, voucher.received_at_ms),
    )
    connection.executemany(
        "UPDATE vouchers SET label = ? WHERE account = ? AND design = ? AND epoch = ? AND digest = ?",
        [(label.encode(), *key, digest) for digest, label in opened],
    )


def voucher_counts(connection: Connection) -> list[tuple[str, int, int]]:
    """For each account with vouchers: how many it handed in, and how many were opened."""
    return connection.execute(
        "SELECT account, COUNT(*), COUNT(label) FROM vouchers GROUP BY account ORDER BY account"
    ).fetchall()


def blob_ids(connection: Connection) -> set[bytes]:
    """Files that belong to a report."""
    return {blob_id for (blob_id,) in connection.execute("SELECT blob_id FROM reports")}


def _check_quota(connection: Connection, submission: Submission, most_a_day: int) -> None:
    since = submission.received_at_ms - 24 * 60 * 60 * 1000
    (count,) = connection.execute(
        "SELECT COUNT(*) FROM reports WHERE submitter = ? AND received_at_ms > ?",
        (submission.submitter, since),
    ).fetchone()
    if count >= most_a_day:
        raise QuotaError("centre/submit", f"at most {most_a_day} reports a day")


def _journal(connection: Connection, report_id: bytes, at_ms: int, state: State, reason: str) -> None:
    connection.execute(
        "INSERT INTO journal (report_id, at_ms, state, reason) VALUES (?, ?, ?, ?)",
        (report_id, at_ms, state, reason),
    )


def _row(row: Sequence[Any]) -> Row:
    facts: dict[str, Any] = {
        name: unsigned(value) if name in _WIDE else value for name, value in zip(_FACTS, row[7:], strict=True)
    }
    return Row(Submission(*row[:5]), State(row[5]), row[6], Facts(**facts))


def _stored(name: str, value: object) -> object:
    return signed(value) if name in _WIDE and isinstance(value, int) else value
