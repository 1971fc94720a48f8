"""Word what the user is told of a message: what came of its picture, and what follows.

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


def classify_outcome(row: Outgoing) -> OutcomeKind:
    """Return what came of the picture of an outgoing message so far."""
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


def describe_progress(progress: Progress, kind: OutcomeKind, is_received: bool, config: DeviceConfig) -> str:
    """Describe to the user what became of a message that was worked on; empty if there is nothing to tell.

    Args:
        is_received: True if the centre has the report that was made of it.
    """
    predicate = _word_match(kind, config)
    words = _describe_outcome(progress.row, kind, predicate, config)
    return words or _describe_steps(progress, predicate, is_received, config)


def describe_ended(ended: Ended, is_received: bool, config: DeviceConfig) -> str:
    """Describe to the user what became of a message that has ended; empty if there is nothing to tell.

    Args:
        is_received: True if the centre has the report that was made of it.
    """
    to = ended.recipient
    kind = OutcomeKind(ended.outcome)
    predicate = _word_match(kind, config)
    if ended.state is EndState.EXPIRED:
        return describe_expired(to, ended.queued_at_ms)
    if ended.state is EndState.FAILED:
        if ended.words == REFUSED:
            return describe_refused(to, predicate)
        return describe_failed(to, ended.words)
    if kind is OutcomeKind.UNCONFIRMED:
        return describe_unconfirmed(to)
    if ended.report_id:
        on_schedule = config.cover is not None
        return describe_reported(to, ended.named, predicate, ended.report_id, is_received, on_schedule)
    if kind in (OutcomeKind.MATCH, OutcomeKind.FLAG):
        return describe_warned(to, predicate)
    return ended.words


def describe_skipped(row: Outgoing, failure: Undecided | None) -> str:
    """Describe an attachment that was sent without being matched; empty for any other message."""
    if row.matching is not MatchState.SKIPPED or row.attached is None:
        return ""
    if row.attached.ref is not None and row.attached.ref.media_type == UNREADABLE_TYPE:
        return describe_unreadable(row.recipient)
    if failure is not None:
        return describe_undecided(row.recipient, FailureMode.SEND_UNMATCHED, failure)
    return f"The picture for {row.recipient} could not be checked. It was sent all the same."


def _word_match(kind: OutcomeKind, config: DeviceConfig) -> str:
    """Return the predicate of a sentence that begins with the picture."""
    if kind is OutcomeKind.FLAG:
        return f"is taken by this device for one of the category {config.design.info.relation.words}"
    return "matches an entry of the list of known abuse material"


def _describe_outcome(row: Outgoing, kind: OutcomeKind, predicate: str, config: DeviceConfig) -> str:
    """Describe an outcome of which no report is made; empty for any other."""
    to = row.recipient
    consequence = config.consequence
    match kind:
        case OutcomeKind.UNCONFIRMED:
            return describe_unconfirmed(to)
        case OutcomeKind.MATCH | OutcomeKind.FLAG if consequence is Consequence.REFUSE:
            return describe_refused(to, predicate)
        case OutcomeKind.MATCH | OutcomeKind.FLAG if (
            consequence is Consequence.WARN and row.state is SendState.DONE
        ):
            return describe_warned(to, predicate)
        case _:
            return ""


def _describe_steps(progress: Progress, predicate: str, is_received: bool, config: DeviceConfig) -> str:
    """Describe a report, a failure to match, or why the message waits; empty if none of these."""
    row = progress.row
    problem = progress.problem
    if progress.report_id is not None:
        on_schedule = config.cover is not None
        return describe_reported(
            row.recipient, row.named, predicate, progress.report_id, is_received, on_schedule
        )
    if progress.failure is not None:
        # the message was handed over before its picture could be matched: nothing is held any more
        was_sent = config.mode is FailureMode.HOLD and row.state is SendState.SENT
        mode = FailureMode.SEND_AND_MATCH_LATER if was_sent else config.mode
        return describe_undecided(row.recipient, mode, progress.failure)
    if problem is None or row.state is SendState.FAILED:
        return str(problem or "")
    words = f"The message to {row.recipient} waits on this device: {problem}."
    return f"{words} It is sent as soon as that is possible."


def describe_unconfirmed(to: str) -> str:
    return (
        f"The picture you sent to {to} matches by a filter alone, which cannot confirm it. "
        "It is not reported."
    )


def describe_refused(to: str, predicate: str) -> str:
    return (
        f"The picture for {to} was not sent: it {predicate}, and this device is set to refuse what does. "
        "It is not reported. Who watches both your messages and what is asked about them can tell."
    )


def describe_warned(to: str, predicate: str) -> str:
    return (
        f"The picture you sent to {to} {predicate}. "
        "This device is set to warn you and to tell nobody else: it is not reported."
    )


def describe_failed(to: str, problem: str) -> str:
    return f"The message to {to} was not delivered: {problem}."


def describe_expired(to: str, at_ms: int) -> str:
    """Describe a message that was handed over at `at_ms` and not fetched in time."""
    when = f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    return (
        f"The message to {to}, which the relay took on {when}, was not delivered: {to} did not fetch it in "
        "the time for which the relay keeps messages. The relay says that it has deleted it, with what was "
        "attached."
    )


def describe_reported(
    to: str, named: bool, predicate: str, report_id: bytes, is_received: bool, on_schedule: bool
) -> str:
    """Describe a picture that was, or will be, reported.

    Args:
        named: True if the report names the recipient.
        is_received: True if the centre has the report.
        on_schedule: True if reports leave in the slots of a cover schedule.
    """
    how = "This device has reported it to the centre"
    if not is_received:
        when = (
            "piece by piece in the next slots of its cover schedule, while it stays connected"
            if on_schedule
            else "as soon as the centre can be reached"
        )
        how = f"This device will report it to the centre {when}"
    visible = (
        " A complaint leaves at once: whoever watches this device's traffic can see it. The relay sees when"
        " the centre writes to you about it."
        if on_schedule
        else ""
    )
    names = "your name, the recipient's and the time" if named else "your name alone and the time"
    return (
        f"The picture you sent to {to} {predicate}. {how}, "
        f"with {names}; nothing else of the message is in the report. "
        "People there check every report before anything follows from it. "
        f"You can complain at the centre under report number {report_id.hex()}.{visible}"
    )


def describe_undecided(recipient: str, mode: FailureMode, failure: Undecided) -> str:
    """Describe why a picture could not be matched, and what happens to it."""
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
    reason = str(failure.error).rstrip(".")  # an error that is a whole sentence ends in a full stop
    return f"The picture for {recipient} {why} ({reason}). {what}"


def describe_unreadable(recipient: str) -> str:
    """Describe an attachment that is no picture this device can decode."""
    return f"The attachment for {recipient} is no picture this device can read. It is sent without a check."
