"""The states of a report, and which one may follow which."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from blindmatch_protocol.errors import BlindmatchError


class State(StrEnum):
    """Where a report is."""

    RECEIVED = "received"
    CONFIRMED = "confirmed"
    UNFOUNDED = "unfounded"
    UNVERIFIABLE = "unverifiable"


LEGAL: Final[dict[State, frozenset[State]]] = {
    State.RECEIVED: frozenset({State.CONFIRMED, State.UNFOUNDED, State.UNVERIFIABLE}),
    State.CONFIRMED: frozenset(),
    State.UNFOUNDED: frozenset(),
    State.UNVERIFIABLE: frozenset(),
}


class TransitionError(BlindmatchError):
    """A report was to be moved to a state that does not follow its own."""


def check_transition(before: State, after: State) -> None:
    """Raise `TransitionError` unless `after` may follow `before`."""
    if after not in LEGAL[before]:
        raise TransitionError(f"a report that is {before} cannot become {after}")
