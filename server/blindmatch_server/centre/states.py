"""The life of a report: its states, and what may move it from which to which.

received --checks--> checked --operator--> confirmed --> forwarded <--> removal asked --> closed
                        \\-----operator--> unfounded ------------------------------------^
an upheld complaint takes a report that was confirmed to unfounded, wherever it is by then
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from blindmatch_server.storage.errors import PreconditionError


class State(StrEnum):
    """Where a report is."""

    RECEIVED = "received"
    CHECKED = "checked"
    CONFIRMED = "confirmed"
    UNFOUNDED = "unfounded"
    FORWARDED = "forwarded"
    REMOVAL_ASKED = "removal asked"
    CLOSED = "closed"


class Cause(StrEnum):
    """What moves a report."""

    CHECKS = "the machine checks"
    OPERATOR = "an operator"
    COMPLAINT = "an upheld complaint"


LEGAL: Final[Mapping[tuple[State, State], Cause]] = {
    (State.RECEIVED, State.CHECKED): Cause.CHECKS,
    (State.CHECKED, State.CONFIRMED): Cause.OPERATOR,
    (State.CHECKED, State.UNFOUNDED): Cause.OPERATOR,
    (State.CONFIRMED, State.FORWARDED): Cause.OPERATOR,
    (State.CONFIRMED, State.REMOVAL_ASKED): Cause.OPERATOR,
    (State.CONFIRMED, State.CLOSED): Cause.OPERATOR,
    (State.FORWARDED, State.REMOVAL_ASKED): Cause.OPERATOR,
    (State.FORWARDED, State.CLOSED): Cause.OPERATOR,
    (State.REMOVAL_ASKED, State.FORWARDED): Cause.OPERATOR,
    (State.REMOVAL_ASKED, State.CLOSED): Cause.OPERATOR,
    (State.UNFOUNDED, State.CLOSED): Cause.OPERATOR,
    (State.CONFIRMED, State.UNFOUNDED): Cause.COMPLAINT,
    (State.FORWARDED, State.UNFOUNDED): Cause.COMPLAINT,
    (State.REMOVAL_ASKED, State.UNFOUNDED): Cause.COMPLAINT,
    (State.CLOSED, State.UNFOUNDED): Cause.COMPLAINT,
}
"""Every legal transition, and the one cause that may bring it about; all else is refused."""


class TransitionError(PreconditionError):
    """A report was to be moved to a state that does not follow its own, or by the wrong cause."""


def check_transition(before: State, after: State, cause: Cause) -> None:
    """Raise `TransitionError`, which names both states, unless `cause` may move `before` to `after`."""
    allowed = LEGAL.get((before, after))
    if allowed is None:
        raise TransitionError("centre/move", f"a report that is {before} cannot become {after}", "state")
    if allowed is not cause:
        rule = f"a report that is {before} becomes {after} through {allowed} alone"
        raise TransitionError("centre/move", rule, "state")
