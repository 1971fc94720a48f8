"""What comes of a report after it left the centre, and of its entry after an upheld complaint.

anywhere       --> exported: what is opened of it leaves the centre after this line
forwarded      --> acknowledged (by the authority)
removal asked  --> removed | removal refused (by the provider)
reversed       --> the entry is withdrawn: no later epoch should list it (the curator's to do, `withdrawals`)

Each is a line of the journal; answers once for each time that the report was forwarded or removal was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Connection
from typing import Final

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from blindmatch_server.centre import store
from blindmatch_server.centre.states import State
from blindmatch_server.storage.database import unsigned
from blindmatch_server.storage.errors import PreconditionError

_NOTE: Final = "centre/note"
AFTER: Final[Mapping[str, State]] = {
    "acknowledged": State.FORWARDED,
    "removed": State.REMOVAL_ASKED,
    "removal refused": State.REMOVAL_ASKED,
}
"""What may happen, and the state that a report must have come to before."""
EXPORTED: Final = "exported"


def exported(connection: Connection, report_id: bytes, reason: str, at_ms: int, actor: str) -> None:
    """Write down that a report is about to leave; `NotFoundError` if there is none."""
    state = store.find(connection, report_id).state
    store.write_journal(connection, report_id, store.Entry(at_ms, actor, EXPORTED, state, reason))


def note(
    connection: Connection, report_id: bytes, event: str, reason: str, at_ms: int, actor: str
) -> store.Row:
    """Write down what happened to a report; its state stays.

    Raises:
        ProtocolError: if it is none of `AFTER`.
        NotFoundError: if there is no such report.
        PreconditionError: if the report was not brought there, or it is written down already.
    """
    if event not in AFTER:
        raise ProtocolError(_NOTE, f"must be one of {', '.join(AFTER)}", "event")
    row, state = store.find(connection, report_id), AFTER[event]
    lines = store.journal(connection, report_id)
    moves = [at for at, line in enumerate(lines) if line.state == state and line.event not in _ASIDE]
    if not moves:
        raise PreconditionError(_NOTE, f"the report never was {state}", "event")
    if any(AFTER.get(line.event) is state for line in lines[moves[-1] :]):
        raise PreconditionError(_NOTE, "is written down already", "event")
    store.write_journal(connection, report_id, store.Entry(at_ms, actor, event, row.state, reason))
    return store.find(connection, report_id)


_ASIDE: Final = frozenset(
    {*AFTER, EXPORTED, "complaint", "complaint upheld", "complaint rejected", "notice sent", "notice held"}
)
"""Lines that moved nothing."""


def withdrawals(connection: Connection) -> list[wire.Withdrawal]:
    """The entries whose matches upheld complaints have reversed, in the order of that, each once with the
    first report of it."""
    rows = connection.execute(
        "SELECT r.report_id, r.entry_id, r.epoch, MIN(j.at_ms) AS at FROM journal AS j "
        "JOIN reports AS r USING (report_id) "
        "WHERE j.event = 'reversed' AND r.decision = 'unfounded' AND r.score IS NULL "
        "GROUP BY r.entry_id ORDER BY at"
    )
    return [
        wire.Withdrawal(report_id=name, entry_id=unsigned(entry), epoch=unsigned(epoch), upheld_at_ms=at)
        for name, entry, epoch, at in rows
    ]
