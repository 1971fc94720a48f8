"""What the user is told, in plain words. Texts name the other person and the report, never a hash."""

from __future__ import annotations

from blindmatch_client.detector import Cause, Undecided
from blindmatch_client.failure import FailureMode


def reported(recipient: str, report_id: bytes, received: bool) -> str:
    """A picture was, or will be, reported."""
    how = (
        "This device has reported it to the centre"
        if received
        else "This device will report it as soon as the centre can be reached"
    )
    return (
        f"The picture you sent to {recipient} matches an entry of the list of known abuse material. {how}, "
        "with the message it was part of. People there check every report before anything follows from it. "
        f"You can complain at the centre under report number {report_id.hex()}."
    )


def undecided(recipient: str, mode: FailureMode, failure: Undecided) -> str:
    """A picture could not be matched, and what happens to it."""
    why = {
        Cause.UNAVAILABLE: "could not be checked for now",
        Cause.CHEATED: "could not be checked: the matcher's answer broke the rules, so it is not asked again",
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
