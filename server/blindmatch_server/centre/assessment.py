"""What the checks of a report came to: a verdict for each, and what they come to together.

any failed                 -> failed(the first one's reason)
a needed one not available -> unavailable(its reason)
else                       -> passed

One report about one thing: the first that did not fail has it, for good; a later one is its repetition. A
report that failed a check has none: else whoever sees a commitment pass by could take it from its sender.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from sqlite3 import Connection
from typing import Final, TypeAlias

from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.messages.report import Report
from msgspec import Struct
from msgspec.structs import replace


class NotAvailable(Struct, frozen=True):
    """The check could not be made; if it is `needed`, the report cannot be confirmed without it."""

    reason: str
    needed: bool = True


Verdict: TypeAlias = Passed | Failed | NotAvailable


class Check(StrEnum):
    SEALED = "sealed"
    DESIGN = "design"
    REPORTER = "reporter"
    LABEL = "label"
    PICTURE = "picture"
    RELATION = "relation"
    FRANKING = "franking"
    STAMP = "stamp"
    SENDER = "sender"
    SECOND = "second"
    ONCE = "once"


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"


class Facts(Struct, frozen=True):
    """What a report says, as far as it could be opened; one of a flag has a score and no entry."""

    design: str = ""
    version: int = 0
    epoch: int = 0
    entry_id: int = 0
    score: float | None = None
    pdq_distance: int | None = None
    second_distance: int | None = None
    sender: str = ""
    recipient: str = ""
    matched_at_ms: int = 0
    sent_at_ms: int = 0
    media_type: str = ""
    width: int = 0
    height: int = 0
    picture_bytes: int = 0
    stamped_at_ms: int = 0


class Assessment(Struct, frozen=True):
    """All verdicts, and what they come to; `subject`, 32 bytes, names what was reported (`subject_of`), or is
    empty if the report did not open."""

    verdicts: Mapping[Check, Verdict]
    facts: Facts
    subject: bytes = b""

    @property
    def outcome(self) -> tuple[Outcome, str]:
        """What they come to and, unless all passed, the reason."""
        for check, verdict in self.verdicts.items():
            if isinstance(verdict, Failed):
                return Outcome.FAILED, f"{check}: {verdict.reason}"
        for check, verdict in self.verdicts.items():
            if isinstance(verdict, NotAvailable) and verdict.needed:
                return Outcome.UNAVAILABLE, f"{check}: {verdict.reason}"
        return Outcome.PASSED, ""


def describe(check: Check, verdict: Verdict) -> str:
    match verdict:
        case Passed():
            return f"{check}: passed"
        case Failed(reason):
            return f"{check}: failed: {reason}"
        case NotAvailable(reason):
            return f"{check}: not available: {reason}"


_MESSAGE_TAG: Final = b"blindmatch/centre/subject/message/1"
_PICTURE_TAG: Final = b"blindmatch/centre/subject/picture/1"


def subject_of(report: Report) -> bytes:
    """Names what a report is about, 32 bytes."""
    if report.opening:
        return hashlib.sha256(_MESSAGE_TAG + report.opening[0].commitment).digest()
    digest = hashlib.sha256(report.picture).digest()
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
