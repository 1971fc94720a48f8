"""What the user is told of a message: what came of its picture, and what follows.

Notices name the other person and the report, never a hash.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from blindmatch_protocol.contract import Flag, Match, Undisclosed, Voucher

from blindmatch_client.matching.detector import Cause, Undecided
from blindmatch_client.settings import Consequence, DeviceConfig, FailureMode
from blindmatch_client.store.ended import Ended, EndState
from blindmatch_client.store.outbox import MatchState, Outgoing, SendState

if TYPE_CHECKING:
    from blindmatch_client.messages.sending import Progress

UNREADABLE_TYPE: Final = "application/octet-stream"
REFUSED: Final = "the picture matches, and this device does not send what does"


class OutcomeKind(StrEnum):
    """What came of a message's picture on this device, or of the message if nobody fetched it."""

    NO_PICTURE = "no picture"
    NO_MATCH = "no match"
    MATCH = "match"
    UNCONFIRMED = "match, unconfirmed"
    FLAG = "flag"
    VOUCHER = "voucher"
    UNDISCLOSED = "undisclosed"
    DUE = "to be matched"
    SKIPPED = "not matched"
    EXPIRED = "not delivered: expired"


def outcome_kind(row: Outgoing) -> OutcomeKind:
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


def sent_notice(progress: Progress, kind: OutcomeKind, received: bool, config: DeviceConfig) -> str:
    """Return what the user must be told after a message was worked on, of which the centre may have
    `received` a report; empty if nothing."""
    found = _found(kind, config)
    return _of_outcome(progress.row, kind, found, config) or _of_progress(progress, found, received, config)


def ended_notice(ended: Ended, received: bool, config: DeviceConfig) -> str:
    """Return what the user must be told of a message that has ended, of which the centre may have `received`
    a report; empty if nothing."""
    to = ended.recipient
    kind = OutcomeKind(ended.outcome)
    found = _found(kind, config)
    if ended.state is EndState.EXPIRED:
        return expired(to, ended.queued_at_ms)
    if ended.state is EndState.FAILED:
        return refused(to, found) if ended.words == REFUSED else failed(to, ended.words)
    if kind is OutcomeKind.UNCONFIRMED:
        return unconfirmed(to)
    if ended.report_id:
        return reported(to, ended.named, found, ended.report_id, received, config.cover is not None)
    if kind in (OutcomeKind.MATCH, OutcomeKind.FLAG):
        return warned(to, found)
    return ended.words


def skipped_words(row: Outgoing, failure: Undecided | None) -> str:
    """Return what the user is told of an attachment that was sent without being matched; empty for others."""
    if row.matching is not MatchState.SKIPPED or row.attached is None:
        return ""
    if row.attached.ref is not None and row.attached.ref.media_type == UNREADABLE_TYPE:
        return unreadable(row.recipient)
    if failure is not None:
        return undecided(row.recipient, FailureMode.SEND_UNMATCHED, failure)
    return f"The picture for {row.recipient} could not be checked. It was sent all the same."


def _found(kind: OutcomeKind, config: DeviceConfig) -> str:
    if kind is OutcomeKind.FLAG:
        return f"is taken by this device for one of the category {config.design.info.relation.words}"
    return "matches an entry of the list of known abuse material"


def _of_outcome(row: Outgoing, kind: OutcomeKind, found: str, config: DeviceConfig) -> str:
    """What the user is told of the outcome itself, where no report is made of it."""
    to = row.recipient
    consequence = config.consequence
    match kind:
        case OutcomeKind.UNCONFIRMED:
            return unconfirmed(to)
        case OutcomeKind.MATCH | OutcomeKind.FLAG if consequence is Consequence.REFUSE:
            return refused(to, found)
        case OutcomeKind.MATCH | OutcomeKind.FLAG if (
            consequence is Consequence.WARN and row.state is SendState.DONE
        ):
            return warned(to, found)
        case _:
            return ""


def _of_progress(progress: Progress, found: str, received: bool, config: DeviceConfig) -> str:
    row = progress.row
    problem = progress.problem
    if progress.report_id is not None:
        on_schedule = config.cover is not None
        return reported(row.recipient, row.named, found, progress.report_id, received, on_schedule)
    if progress.failure is not None:
        late = config.mode is FailureMode.HOLD and row.state is SendState.SENT
        mode = FailureMode.SEND_AND_MATCH_LATER if late else config.mode
        return undecided(row.recipient, mode, progress.failure)
    if problem is None or row.state is SendState.FAILED:
        return str(problem or "")
    words = f"The message to {row.recipient} waits on this device: {problem}."
    return f"{words} It is sent as soon as that is possible."


def unconfirmed(to: str) -> str:
    return (
        f"The picture you sent to {to} matches by a filter alone, which cannot confirm it. "
        "It is not reported."
    )


def refused(to: str, found: str) -> str:
    return (
        f"The picture for {to} was not sent: it {found}, and this device is set to refuse what does. "
        "It is not reported. Who watches both your messages and what is asked about them can tell."
    )


def warned(to: str, found: str) -> str:
    return (
        f"The picture you sent to {to} {found}. "
        "This device is set to warn you and to tell nobody else: it is not reported."
    )


def failed(to: str, problem: str) -> str:
    return f"The message to {to} was not delivered: {problem}."


def expired(to: str, at_ms: int) -> str:
    """A message was handed over at `at_ms`, and its recipient did not fetch it in time."""
    when = f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    return (
        f"The message to {to}, which the relay took on {when}, was not delivered: {to} did not fetch it in "
        "the time for which the relay keeps messages. The relay says that it has deleted it, with what was "
        "attached."
    )


def reported(to: str, named: bool, found: str, report_id: bytes, received: bool, on_schedule: bool) -> str:
    """A picture was, or will be, reported; `named` if the report names the recipient, `on_schedule` in the
    slots of a cover schedule."""
    how = "This device has reported it to the centre"
    if not received:
        when = (
            "piece by piece in the next slots of its cover schedule, while it stays connected"
            if on_schedule
            else "as soon as the centre can be reached"
        )
        how = f"This device will report it to the centre {when}"
    seen = (
        " A complaint leaves at once: whoever watches this device's traffic can see it. The relay sees when"
        " the centre writes to you about it."
        if on_schedule
        else ""
    )
    names = "your name, the recipient's and the time" if named else "your name alone and the time"
    return (
        f"The picture you sent to {to} {found}. {how}, "
        f"with {names}; nothing else of the message is in the report. "
        "People there check every report before anything follows from it. "
        f"You can complain at the centre under report number {report_id.hex()}.{seen}"
    )


def undecided(recipient: str, mode: FailureMode, failure: Undecided) -> str:
    """A picture could not be matched, and what happens to it."""
    why = {
        Cause.UNAVAILABLE: "could not be checked for now",
        Cause.CHEATED: "could not be checked: an answer broke the rules, so who gave it is not asked again",
        Cause.BROKEN: "could not be checked: the matching on this device failed",
    }[failure.cause]
    what = {
        FailureMode.HOLD: "It waits on this device and is sent once it was checked.",
        FailureMode.SEND_AND_MATCH_LATER: "It is sent all the same and checked as soon as that is possible.",
        FailureMode.SEND_UNMATCHED: "It is sent all the same and will not be checked.",
    }[mode]
    reason = str(failure.error).rstrip(".")  # a sentence of its own may end in a full stop
    return f"The picture for {recipient} {why} ({reason}). {what}"


def unreadable(recipient: str) -> str:
    """An attachment is no picture that can be decoded."""
    return f"The attachment for {recipient} is no picture this device can read. It is sent without a check."
