"""What a device tells of what it did."""

from __future__ import annotations

from enum import StrEnum

from blindmatch_protocol.contract import Flag, Match, Undisclosed, Voucher
from msgspec import Struct

from blindmatch_client.epochs.evidence import Adopted, Evidence
from blindmatch_client.reports.complaints import Complaint
from blindmatch_client.reports.reporting import ReportStanding
from blindmatch_client.store.outgoing import MatchState, Outgoing


class OutcomeKind(StrEnum):
    """What came of a message's picture on this device."""

    NO_PICTURE = "no picture"
    NO_MATCH = "no match"
    MATCH = "match"
    UNCONFIRMED = "match, unconfirmed"
    FLAG = "flag"
    VOUCHER = "voucher"
    UNDISCLOSED = "undisclosed"
    DUE = "to be matched"
    SKIPPED = "not matched"


class Sent(Struct, frozen=True):
    """What became of a message.

    Attributes:
        number: its number on this device.
        message_id: the id the relay knows it by.
        item: the picture's number in traces and records, or None.
        delivered: True once the relay has acknowledged it.
        outcome: of matching.
        report_id: of the report that was made just now, or None.
        reported: True if the centre has acknowledged that report.
        notice: what the user must be told; empty if nothing.
    """

    number: int
    message_id: bytes
    item: int | None
    delivered: bool
    outcome: OutcomeKind
    report_id: bytes | None
    reported: bool
    notice: str


class Standing(Struct, frozen=True):
    """How a device stands.

    Attributes:
        distrust: how a matching role cheated, if one did.
        log_distrust: how the log did.
        adopted: the highest epoch that was adopted; None before there is one.
        evidence: sets that were refused or failed, oldest first.
        messages: how many wait.
        reports: all it ever made, oldest first.
        complaints: all its user ever made, oldest first.
    """

    distrust: str | None
    log_distrust: str | None
    adopted: Adopted | None
    evidence: tuple[Evidence, ...]
    messages: int
    reports: tuple[ReportStanding, ...]
    complaints: tuple[Complaint, ...]


class Flushed(Struct, frozen=True):
    """What `flush` did.

    Attributes:
        messages: those it worked on.
        problems: errors in words.
        waiting: messages, reports, vouchers and complaints that still wait.
    """

    messages: tuple[Sent, ...]
    problems: tuple[str, ...]
    waiting: int


def outcome_kind(row: Outgoing) -> OutcomeKind:
    """What came of the picture of a message."""
    if row.matching is not MatchState.DECIDED or row.attached is None:
        return {
            MatchState.NONE: OutcomeKind.NO_PICTURE,
            MatchState.DUE: OutcomeKind.DUE,
        }.get(row.matching, OutcomeKind.SKIPPED)
    match row.attached.outcome:
        case Match(label):
            return OutcomeKind.UNCONFIRMED if label.unconfirmed else OutcomeKind.MATCH
        case Flag():
            return OutcomeKind.FLAG
        case Voucher():
            return OutcomeKind.VOUCHER
        case Undisclosed():
            return OutcomeKind.UNDISCLOSED
        case _:
            return OutcomeKind.NO_MATCH
