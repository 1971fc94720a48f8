"""One report about one thing: the first that did not fail has it, for good; a later one is its repetition.

a device's report     is about the message that its commitment binds; a changed device can make several of one
a service's report    is about a picture that an account sent

A report that failed a check has none: else whoever sees a commitment pass by could take it from its sender.
"""

from __future__ import annotations

import hashlib
from sqlite3 import Connection
from typing import Final

from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.messages.report import Report
from msgspec.structs import replace

from blindmatch_server.centre.assessment import Assessment, Check, NotAvailable, Outcome, Verdict

_MESSAGE_TAG: Final = b"blindmatch/centre/subject/message/1"
_PICTURE_TAG: Final = b"blindmatch/centre/subject/picture/1"


def subject_of(report: Report) -> bytes:
    """Names what a report is about, 32 bytes."""
    if report.opening:
        return hashlib.sha256(_MESSAGE_TAG + report.opening[0].commitment).digest()
    digest = report.shown.attachment.digest
    return hashlib.sha256(_PICTURE_TAG + digest + report.sender.encode()).digest()


def settle_once(connection: Connection, report_id: bytes, assessment: Assessment) -> Assessment:
    """`assessment` with the verdict `once`; the report gets its subject if nothing failed and it is free."""
    verdict = _once(connection, report_id, assessment)
    return replace(assessment, verdicts={**assessment.verdicts, Check.ONCE: verdict})


def _once(connection: Connection, report_id: bytes, assessment: Assessment) -> Verdict:
    may_report = isinstance(assessment.verdicts.get(Check.REPORTER), Passed)
    if assessment.outcome[0] is Outcome.FAILED or not may_report:
        return NotAvailable("a report that is not in order takes nothing from another", needed=False)
    connection.execute("INSERT OR IGNORE INTO subjects VALUES (?, ?)", (assessment.subject, report_id))
    (first,) = connection.execute(
        "SELECT report_id FROM subjects WHERE subject = ?", (assessment.subject,)
    ).fetchone()
    return Passed() if first == report_id else Failed(f"the same was reported before, as {first.hex()}")
