"""The centre's database: its tables, and how those of older versions are brought up to date.

version 1: the machine checks alone decided a report
version 2: checks and decision apart; who did what in the journal; complaints and notices
version 3: what each report is about, so that nothing is reported twice
version 4: of a voucher a digest, and a row if it is visible, in place of its body
"""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Connection
from typing import Final

from blindmatch_server.database import Migration

VERSION: Final = 4
_JOURNAL: Final = """
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
CREATE TRIGGER journal_stays BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'append-only'); END
"""
_REDRESS: Final = """
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
CREATE INDEX notices_due ON notices (due_at_ms) WHERE sent_at_ms = 0
"""
_SUBJECTS: Final = """
CREATE TABLE subjects (
    subject BLOB PRIMARY KEY,
    report_id BLOB NOT NULL REFERENCES reports (report_id)
) STRICT, WITHOUT ROWID
"""
_VOUCHERS: Final = """
CREATE TABLE piles (
    account TEXT NOT NULL,
    design TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    held INTEGER NOT NULL,
    visible INTEGER NOT NULL DEFAULT 0,
    tried INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, design, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX piles_due ON piles (design, epoch) WHERE tried < visible;
CREATE TABLE vouchers (
    number INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    design TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    digest BLOB NOT NULL,
    row BLOB,
    received_at_ms INTEGER NOT NULL,
    label BLOB,
    UNIQUE (account, design, epoch, digest)
) STRICT;
CREATE INDEX vouchers_visible ON vouchers (account, design, epoch, number) WHERE row IS NOT NULL
"""
SCHEMA: Final = f"""
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
    decided_at_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX reports_by_state ON reports (state, received_at_ms);
CREATE INDEX reports_by_submitter ON reports (submitter, received_at_ms);
CREATE TABLE checks (
    report_id BLOB NOT NULL REFERENCES reports (report_id),
    position INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    PRIMARY KEY (report_id, position)
) STRICT, WITHOUT ROWID;
{_VOUCHERS};
{_JOURNAL};
{_REDRESS};
{_SUBJECTS}
"""

_TO_2: Final = (
    "ALTER TABLE reports ADD COLUMN outcome TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE reports ADD COLUMN outcome_reason TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE reports ADD COLUMN decision TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE reports ADD COLUMN decided_at_ms INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE journal ADD COLUMN actor TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE journal ADD COLUMN event TEXT NOT NULL DEFAULT 'moved'",
    *_REDRESS.split(";"),
    # what version 1 called decisions came from the checks; no person had looked
    """INSERT INTO journal (report_id, at_ms, state, reason, actor, event)
    SELECT report_id, (SELECT MAX(at_ms) FROM journal AS j WHERE j.report_id = r.report_id), 'checked',
        'version 1 called it ' || state, 'migration', 'migrated'
    FROM reports AS r WHERE state <> 'received'""",
    """UPDATE reports SET state = 'checked', outcome_reason = reason, outcome = CASE state
        WHEN 'confirmed' THEN 'passed' WHEN 'unfounded' THEN 'failed' ELSE 'unavailable' END
    WHERE state <> 'received'""",
)


def _to_2(connection: Connection) -> None:
    for statement in _TO_2:
        connection.execute(statement)


def _to_3(connection: Connection) -> None:
    """Reports from before have no subject: the centre would have to open each again."""
    connection.execute(_SUBJECTS)


def _to_4(connection: Connection) -> None:
    """Vouchers from before count and keep their labels; those that were not opened yet stay closed."""
    connection.execute("ALTER TABLE vouchers RENAME TO old_vouchers")
    for statement in _VOUCHERS.split(";"):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO vouchers SELECT number, account, design, epoch, digest, NULL, received_at_ms, label "
        "FROM old_vouchers"
    )
    connection.execute(
        "INSERT INTO piles (account, design, epoch, held) "
        "SELECT account, design, epoch, COUNT(*) FROM old_vouchers GROUP BY account, design, epoch"
    )
    connection.execute("DROP TABLE old_vouchers")


MIGRATIONS: Final[Mapping[int, Migration]] = {1: _to_2, 2: _to_3, 3: _to_4}
"""By the version they start from. Reports of version 1 get their notices when the centre opens."""
