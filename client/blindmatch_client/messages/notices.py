"""What the user is told, in plain words. Texts name the other person and the report, never a hash."""

from __future__ import annotations

from blindmatch_client.matching.detector import Cause, Undecided
from blindmatch_client.messages.results import OutcomeKind
from blindmatch_client.messages.sending import Progress
from blindmatch_client.settings.config import DeviceConfig
from blindmatch_client.settings.consequence import Consequence
from blindmatch_client.settings.failure import FailureMode
from blindmatch_client.store.outgoing import Outgoing, SendState


def sent_notice(progress: Progress, kind: OutcomeKind, received: bool, config: DeviceConfig) -> str:
    """What the user must be told after a message was worked on; empty if nothing.

    Args:
        kind: what came of its picture.
        received: whether the centre has the report that was made of it.
    """
    return _of_outcome(progress.row, kind, config) or _of_progress(progress, kind, received, config)


def _of_outcome(row: Outgoing, kind: OutcomeKind, config: DeviceConfig) -> str:
    """What the user is told of the outcome itself, where no report is made of it."""
    to, consequence = row.recipient, config.consequence
    match kind:
        case OutcomeKind.UNCONFIRMED:
            return unconfirmed(to)
        case OutcomeKind.MATCH | OutcomeKind.FLAG if consequence is Consequence.REFUSE:
            return refused(to, _found(kind, config))
        case OutcomeKind.MATCH | OutcomeKind.FLAG if (
            consequence is Consequence.WARN and row.state is SendState.DONE
        ):
            return warned(to, _found(kind, config))
        case _:
            return ""


def _of_progress(progress: Progress, kind: OutcomeKind, received: bool, config: DeviceConfig) -> str:
    row = progress.row
    if progress.report_id is not None:
        found, scheduled = _found(kind, config), config.cover is not None
        return reported(row.recipient, found, progress.report_id, received, scheduled)
    if progress.failure is not None:
        late = config.mode is FailureMode.HOLD and row.state is SendState.SENT
        mode = FailureMode.SEND_AND_MATCH_LATER if late else config.mode
        return undecided(row.recipient, mode, progress.failure)
    if progress.problem is None:
        return ""
    if row.state is SendState.FAILED:
        return str(progress.problem)
    return waiting(row.recipient, str(progress.problem))


def _found(kind: OutcomeKind, config: DeviceConfig) -> str:
    """What was found of a picture that matches or is flagged."""
    if kind is not OutcomeKind.FLAG:
        return "matches an entry of the list of known abuse material"
    return f"is taken by this device for one of the category {config.design.info.relation.words}"


def reported(recipient: str, found: str, report_id: bytes, received: bool, on_schedule: bool) -> str:
    """A picture was, or will be, reported; `on_schedule` in the slots of a cover schedule."""
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
    return (
        f"The picture you sent to {recipient} {found}. {how}, "
        "with your name, the recipient's and the time; nothing else of the message is in the report. "
        "People there check every report before anything follows from it. "
        f"You can complain at the centre under report number {report_id.hex()}.{seen}"
    )


def unconfirmed(recipient: str) -> str:
    """A filter says that a picture is listed; nothing follows from it."""
    return (
        f"The picture you sent to {recipient} matches by a filter alone, which cannot confirm it. "
        "It is not reported."
    )


def warned(recipient: str, found: str) -> str:
    """A picture matches or is flagged; nothing follows but this notice."""
    return (
        f"The picture you sent to {recipient} {found}. "
        "This device is set to warn you and to tell nobody else: it is not reported."
    )


def refused(recipient: str, found: str) -> str:
    """A picture was not sent because it matches or is flagged."""
    return (
        f"The picture for {recipient} was not sent: it {found}, and this device is set to refuse what does. "
        "It is not reported. Who watches both your messages and what is asked about them can tell."
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
    return f"The picture for {recipient} {why} ({failure.error}). {what}"


def unreadable(recipient: str) -> str:
    """An attachment is no picture that can be decoded."""
    return f"The attachment for {recipient} is no picture this device can read. It is sent without a check."


def waiting(recipient: str, problem: str) -> str:
    """A message waits for the relay."""
    return (
        f"The message to {recipient} waits on this device: {problem}. It is sent as soon as that is possible."
    )
