"""The centre's database: its tables, version 9; another version is refused."""

from __future__ import annotations

from typing import Final

VERSION: Final = 9
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
    tried INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, design, period)
) STRICT, WITHOUT ROWID;
CREATE INDEX piles_due ON piles (design, period) WHERE tried < visible;
CREATE TABLE vouchers (
    number INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    design TEXT NOT NULL,
    period BLOB NOT NULL,
    digest BLOB NOT NULL,
    row BLOB,
    received_at_ms INTEGER NOT NULL,
    label BLOB,
    UNIQUE (account, design, period, digest)
) STRICT;
CREATE INDEX vouchers_visible ON vouchers (account, design, period, number) WHERE row IS NOT NULL;
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
