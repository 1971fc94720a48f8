"""What a device is told to be, and what it tells of what it did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from blindmatch_protocol.contract import AnyDesign, Flag, Match, NoMatch, Undisclosed, Voucher

from blindmatch_client.complaints import Complaint
from blindmatch_client.consequence import Consequence, check_consequence
from blindmatch_client.cover import CoverSchedule
from blindmatch_client.evidence import Adopted, Evidence
from blindmatch_client.failure import FailureMode
from blindmatch_client.outbox import Matching, Outgoing, decode_outcome
from blindmatch_client.reporting import ReportStanding
from blindmatch_client.transport import ROUND_DEADLINE_S
from blindmatch_client.vault import KeySource


class Unreadable(StrEnum):
    """What is done with an attachment that is no picture this device can decode."""

    REFUSE = "refuse"
    SEND = "send"
    """It is sent unmatched: a way around detection, open to every user, that says nothing to anybody."""


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


@dataclass(frozen=True, slots=True)
class CentreIdentity:
    """The centre's public keys, which come with the app: what else claims to be the centre is refused.

    Attributes:
        sealing: what reports are sealed to, X25519, 32 bytes.
        notices: identity key of the account whose messages are the centre's notices, Curve25519, 32 bytes.
        account: the name of that account.
    """

    sealing: bytes
    notices: bytes
    account: str = "centre-notices"


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """What kind of device this is.

    Attributes:
        account: the name in the device's certificate.
        design: the design pictures are matched with.
        curator: the public key that signs its epochs, Ed25519, 32 bytes; it comes with the app.
        mode: what is done with a picture that cannot be matched now.
        consequence: what follows from a match or a flag.
        unreadable: what is done with an attachment that is no picture.
        round_deadline_s: for one role's answer.
        key: what the store is locked with; None: a key file beside it, which protects nothing by itself.
        cover: when and how large reports leave, with cover in between; None: at once, which shows when.
        centre: its keys; None: nothing can be reported, and its notices are like anybody's messages.

    Raises:
        DesignError: if the consequence does not go with the design or the mode.
    """

    account: str
    design: AnyDesign
    curator: bytes
    mode: FailureMode = FailureMode.HOLD
    unreadable: Unreadable = Unreadable.REFUSE
    round_deadline_s: float = ROUND_DEADLINE_S
    key: KeySource | None = None
    cover: CoverSchedule | None = None
    centre: CentreIdentity | None = None
    consequence: Consequence = Consequence.REPORT

    def __post_init__(self) -> None:
        check_consequence(self.consequence, self.mode is FailureMode.HOLD, self.design.info)


@dataclass(frozen=True, slots=True)
class Sent:
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


@dataclass(frozen=True, slots=True)
class Standing:
    """How a device stands.

    Attributes:
        distrust: how a matching role cheated, if one did.
        adopted: the highest epoch that was adopted; None before there is one.
        evidence: sets that were refused or failed, oldest first.
        messages: how many wait.
        reports: all it ever made, oldest first.
        complaints: all its user ever made, oldest first.
    """

    distrust: str | None
    adopted: Adopted | None
    evidence: tuple[Evidence, ...]
    messages: int
    reports: tuple[ReportStanding, ...]
    complaints: tuple[Complaint, ...]


@dataclass(frozen=True, slots=True)
class Flushed:
    """What `flush` did.

    Attributes:
        messages: those it worked on.
        problems: errors in words.
        waiting: messages, reports, vouchers and complaints that still wait.
    """

    messages: tuple[Sent, ...]
    problems: tuple[str, ...]
    waiting: int


def outcome_kind(design: AnyDesign, row: Outgoing) -> OutcomeKind:
    """What came of the picture of `row`, which was matched with `design` if it was."""
    if row.matching is not Matching.DECIDED or row.outcome is None:
        return {
            Matching.NONE: OutcomeKind.NO_PICTURE,
            Matching.DUE: OutcomeKind.DUE,
        }.get(row.matching, OutcomeKind.SKIPPED)
    match decode_outcome(design, row.outcome):
        case NoMatch():
            return OutcomeKind.NO_MATCH
        case Match(label):
            return OutcomeKind.UNCONFIRMED if label.unconfirmed else OutcomeKind.MATCH
        case Flag():
            return OutcomeKind.FLAG
        case Voucher():
            return OutcomeKind.VOUCHER
        case Undisclosed():
            return OutcomeKind.UNDISCLOSED
