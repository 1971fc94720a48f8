"""What people decide about a report that was checked, and how it is written down.

Each decision is one transaction: the state, the journal's entry with who, when and why, and the notice that
the user gets because of it.
"""

from __future__ import annotations

from sqlite3 import Connection
from typing import Final

from blindmatch_protocol.codec.errors import ProtocolError
from msgspec import Struct

from blindmatch_server.centre import notices, store
from blindmatch_server.centre.assessment import Outcome
from blindmatch_server.centre.states import Cause, State, check_transition
from blindmatch_server.storage.errors import PreconditionError

MOST_WORDS: Final = 2000
"""Characters of a reason or a complaint."""
_MOVE: Final = "centre/move"
_BY_PEOPLE: Final = frozenset(State) - {State.RECEIVED, State.CHECKED}
_DECISIONS: Final = frozenset({State.CONFIRMED, State.UNFOUNDED})


class Decision(Struct, frozen=True):
    """What an operator wants done with a report.

    Attributes:
        state: where it shall be.
        reason: why; never empty.
        authority: who it is forwarded to; empty otherwise.
        delay_notice: tell the user of an unfounded report after the statutory delay, not at once.
    """

    state: State
    reason: str
    actor: str
    at_ms: int
    authority: str = ""
    delay_notice: bool = False

    def __post_init__(self) -> None:
        """Raise `ProtocolError` unless the fields go together."""
        if self.state not in _BY_PEOPLE:
            raise ProtocolError(_MOVE, f"no person moves a report to {self.state}", "state")
        if (self.state is State.FORWARDED) is not bool(self.authority):
            raise ProtocolError(_MOVE, "must be named when a report is forwarded, and only then", "authority")
        if self.delay_notice and self.state is not State.UNFOUNDED:
            raise ProtocolError(_MOVE, "is for an unfounded report", "delay_notice")


def decide(connection: Connection, report_id: bytes, decision: Decision) -> store.Row:
    """Move a report as an operator decided.

    Raises:
        NotFoundError: if there is no such report.
        TransitionError: if the state does not follow the report's.
        PreconditionError: if a report that failed a check is to be confirmed: the check has shown that what
            it claims is not so.
    """
    row = store.find(connection, report_id)
    check_transition(row.state, decision.state, Cause.OPERATOR)
    if decision.state is State.CONFIRMED and row.outcome is Outcome.FAILED:
        raise PreconditionError(_MOVE, f"cannot be confirmed: {row.outcome_reason}", "state")
    if decision.state in _DECISIONS:
        connection.execute(
            "UPDATE reports SET decision = ?, decided_at_ms = ? WHERE report_id = ?",
            (decision.state, decision.at_ms, report_id),
        )
    event = f"to {decision.authority}" if decision.authority else "decided"
    entry = store.Entry(decision.at_ms, decision.actor, event, decision.state, decision.reason)
    store.move(connection, report_id, entry)
    if decision.state is State.UNFOUNDED:
        notices.tell_unfounded(connection, row, decision.at_ms, decision.delay_notice)
    return store.find(connection, report_id)


def words_of(value: str, step: str, field: str, most: int = MOST_WORDS) -> str:
    """Free text that a person must give: not empty, not too long, no control characters.

    Raises:
        ProtocolError: otherwise.
    """
    text = value.strip()
    if not 1 <= len(text) <= most:
        raise ProtocolError(step, f"must be 1 to {most} characters", field)
    if not text.isprintable():
        raise ProtocolError(step, "must be plain text in one line", field)
    return text
