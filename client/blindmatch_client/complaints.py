"""Complaints of the user about reports: kept, then handed in once, by the user's own decision.

    complain --> kept under a random id --Complain (same id, same words)--> the centre has it
                                  \\--refused for good: no such report, or none of this account's

A complaint leaves at once, whatever cover schedule reports are on; `COMPLAINT_FACTS` in facts.py says what
that discloses. What the centre decides comes as a message of its own account; saying the same again asks
for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct

from blindmatch_client.base import Base
from blindmatch_client.egress import Call
from blindmatch_client.egress.methods import COMPLAIN
from blindmatch_client.egress.status import printable
from blindmatch_client.errors import DeviceError, MisbehavedError, RefusedError, ServiceError
from blindmatch_client.trace import Purpose

ID_BYTES: Final = 16
MOST_WORDS: Final = 2000
"""Characters of a complaint."""

_PERMANENT: Final = frozenset({"NOT_FOUND", "INVALID_ARGUMENT", "ALREADY_EXISTS", "PERMISSION_DENIED"})
"""Refusals after which the same complaint will never be taken."""

_COLUMNS: Final = (
    "complaint_id, report_id, opened(text, 'complaint.text', complaint_id), made_at_ms, stage,"
    " opened(words, 'complaint.words', complaint_id)"
)


class ComplaintError(DeviceError):
    """What was to be said, or about which report, breaks a rule; nothing was kept or sent."""


class ComplaintState(StrEnum):
    """How far a complaint is."""

    WAITING = "waiting"
    RECEIVED = "at the centre"
    REFUSED = "refused"


class Complaint(Struct, frozen=True):
    """A complaint.

    Attributes:
        complaint_id: 16 bytes; the centre takes each once.
        report_id: what it is about.
        text: what the user says.
        made_at_ms: when the user said it, Unix time in milliseconds.
        stage: how far it is.
        words: why it waits or was refused, or what the centre had decided when last asked; may be empty.
    """

    complaint_id: bytes
    report_id: bytes
    text: str
    made_at_ms: int
    stage: ComplaintState
    words: str


class Complaints(Struct, frozen=True):
    """One account's complaints."""

    base: Base

    def complain(self, report_id: bytes, text: str) -> Complaint:
        """Complain about a report; if the centre cannot be reached, or asks to wait, it is sent later.

        The same words about the same report are the same complaint: it is handed in again, which changes
        nothing at the centre, and brings what was decided.

        Raises:
            ComplaintError: if the id or the text breaks a rule.
            RefusedError: if the centre will never take it.
        """
        words = _checked(report_id, text)
        same = [one for one in self.all() if (one.report_id, one.text) == (report_id, words)]
        if not same:
            same = [self._keep(report_id, words)]
        problem = self._submit(same[0])
        if isinstance(problem, RefusedError) and problem.status in _PERMANENT:
            raise problem
        return self.get(same[0].complaint_id)

    def submit_all(self) -> list[ServiceError]:
        """Hand in what waits, oldest first; the errors of what has to wait on."""
        waiting = [one for one in self.all() if one.stage is ComplaintState.WAITING]
        return [problem for one in waiting if (problem := self._submit(one)) is not None]

    def all(self) -> Sequence[Complaint]:
        """All complaints, oldest first."""
        rows = self.base.store.all(f"SELECT {_COLUMNS} FROM complaint ORDER BY rowid")  # noqa: S608 - constants
        return [_complaint(*row) for row in rows]

    def get(self, complaint_id: bytes) -> Complaint:
        """The complaint with this id; KeyError if there is none."""
        query = f"SELECT {_COLUMNS} FROM complaint WHERE complaint_id = ?"  # noqa: S608 - constants
        row = self.base.store.one(query, complaint_id)
        if row is None:
            raise KeyError(complaint_id)
        return _complaint(*row)

    def waiting(self) -> int:
        """How many the centre has neither taken nor refused."""
        row = self.base.store.one("SELECT count(*) FROM complaint WHERE stage = ?", ComplaintState.WAITING)
        return 0 if row is None else int(row[0])

    def _keep(self, report_id: bytes, text: str) -> Complaint:
        complaint_id = self.base.rng.take(ID_BYTES)
        self.base.store.run(
            "INSERT INTO complaint VALUES (?1, ?2, sealed(?3, 'complaint.text', ?1), ?4, ?5,"
            " sealed('', 'complaint.words', ?1))",
            complaint_id,
            report_id,
            text,
            self.base.clock_ms(),
            ComplaintState.WAITING,
        )
        return self.get(complaint_id)

    def _submit(self, one: Complaint) -> ServiceError | None:
        """Hand a complaint in; the error if it is not taken now."""
        call = Call(Party.CENTRE, COMPLAIN, Purpose.COMPLAINT, None, idempotent=True)
        request = pb.ComplainRequest(complaint_id=one.complaint_id, report_id=one.report_id, text=one.text)
        try:
            taken = self.base.egress.unary(call, request)
            if (taken.complaint_id, taken.report_id) != (one.complaint_id, one.report_id):
                raise MisbehavedError(Party.CENTRE, "an answer names the complaint that was handed in")
        except ServiceError as problem:
            self._troubled(one, problem)
            return problem
        self._note(one.complaint_id, ComplaintState.RECEIVED, _decided(taken))
        return None

    def _troubled(self, one: Complaint, problem: ServiceError) -> None:
        """One that the centre has stays with it, whatever comes of asking again."""
        if one.stage is ComplaintState.RECEIVED:
            return
        final = isinstance(problem, RefusedError) and problem.status in _PERMANENT
        stage = ComplaintState.REFUSED if final else ComplaintState.WAITING
        self._note(one.complaint_id, stage, str(problem))

    def _note(self, complaint_id: bytes, stage: ComplaintState, words: str) -> None:
        self.base.store.run(
            "UPDATE complaint SET stage = ?2, words = sealed(?3, 'complaint.words', complaint_id)"
            " WHERE complaint_id = ?1",
            complaint_id,
            stage,
            words,
        )


def _checked(report_id: bytes, text: str) -> str:
    words = text.strip()
    if len(report_id) != ID_BYTES:
        raise ComplaintError(f"complaint: report must be {ID_BYTES} bytes")
    if not 1 <= len(words) <= MOST_WORDS:
        raise ComplaintError(f"complaint: text must be 1 to {MOST_WORDS} characters")
    if not words.isprintable():
        raise ComplaintError("complaint: text must be plain text in one line")
    return words


def _decided(taken: pb.Complaint) -> str:
    """What the centre has decided, made safe for a terminal; empty while it has not."""
    said = f"{taken.decision}: {taken.reason}" if taken.reason else taken.decision
    return printable(said, 2 * MOST_WORDS)


def _complaint(
    complaint_id: bytes, report_id: bytes, text: Any, made_at_ms: int, stage: str, words: Any
) -> Complaint:
    return Complaint(complaint_id, report_id, text, made_at_ms, ComplaintState(stage), words)
