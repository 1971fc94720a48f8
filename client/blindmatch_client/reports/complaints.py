"""Complain about reports, as the user decides: a complaint is kept, then handed in once.

    complain --> kept under a random id --Complain (same id, same words)--> the centre has it
                                  \\--refused for good: no such report, or none of this account's

A complaint leaves at once, even if reports are on a cover schedule; `COMPLAINT_FACTS` in settings.py says
what that discloses. The centre sends its decision as a message of its own account; repeating a complaint asks
for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Message, Nested, Text, UInt
from blindmatch_protocol.codec import Sequence as Several
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_client.egress import Call
from blindmatch_client.egress.calls import COMPLAIN, printable
from blindmatch_client.errors import DeviceError, MisbehavedError, RefusedError, ServiceError
from blindmatch_client.settings import Base
from blindmatch_client.trace import Purpose

ID_BYTES: Final = 16
MOST_WORDS: Final = 2000
"""Most characters of a complaint."""

_PERMANENT: Final = frozenset({"NOT_FOUND", "INVALID_ARGUMENT", "ALREADY_EXISTS", "PERMISSION_DENIED"})
"""Refusals after which the centre will never take the same complaint."""

_COMPLAINTS: Final = "complaints"


class ComplaintState(StrEnum):
    WAITING = "waiting"
    RECEIVED = "at the centre"
    REFUSED = "refused"


class Complaint(Message, tag=0xEB, name="device/complaint"):
    """A complaint, as it is kept."""

    complaint_id: Annotated[bytes, Fixed(ID_BYTES)]
    """The centre takes each once."""
    report_id: Annotated[bytes, Fixed(ID_BYTES)]
    """What it is about."""
    text: Annotated[str, Text(4 * MOST_WORDS)]
    """What the user says."""
    made_at_ms: Annotated[int, UInt(64)]
    """When the user said it, Unix time in milliseconds."""
    stage: Annotated[str, Text(32)]
    """A `ComplaintState`: how far it has come."""
    words: Annotated[str, Text(1 << 16)]
    """Why it waits or was refused, or what the centre had decided when last asked; may be empty."""


class _All(Message, tag=0xEC, name="device/complaints"):
    """All complaints, oldest first: one sealed value, there from the beginning (vault.py)."""

    complaints: Annotated[tuple[Complaint, ...], Several(Nested(Complaint), 1 << 16)]


NO_COMPLAINTS: Final = _All(()).encode()


class Complaints(Struct, frozen=True):
    """The complaints of one account."""

    base: Base

    def complain(self, report_id: bytes, text: str) -> Complaint:
        """Complain about a report; if the centre cannot be reached, or asks to wait, it is sent later.

        The same words about the same report are the same complaint: handing it in again changes nothing at
        the centre, and brings its decision.

        Returns:
            The complaint as it stands now.

        Raises:
            DeviceError: The id or the text breaks a rule.
            RefusedError: The centre will never take it.
        """
        words = _check(report_id, text)
        complaint = self._find(report_id, words)
        if complaint is None:
            complaint_id = self.base.rng.take(ID_BYTES)
            now = self.base.clock_ms()
            complaint = Complaint(complaint_id, report_id, words, now, ComplaintState.WAITING, "")
            self._save([*self.list_all(), complaint])
        problem = self._submit(complaint)
        if problem is not None and _is_permanent(problem):
            raise problem
        return self.get(complaint.complaint_id)

    def submit_all(self) -> list[ServiceError]:
        """Hand in the complaints that wait, oldest first; return the errors of those that must wait on."""
        problems = []
        for complaint in self.list_all():
            if complaint.stage == ComplaintState.WAITING:
                problem = self._submit(complaint)
                if problem is not None:
                    problems.append(problem)
        return problems

    def list_all(self) -> Sequence[Complaint]:
        """List all complaints, oldest first."""
        return list(_All.decode(self.base.store.get(_COMPLAINTS) or NO_COMPLAINTS).complaints)

    def get(self, complaint_id: bytes) -> Complaint:
        """Return the complaint with this id; KeyError if there is none."""
        return {complaint.complaint_id: complaint for complaint in self.list_all()}[complaint_id]

    def count_waiting(self) -> int:
        return sum(complaint.stage == ComplaintState.WAITING for complaint in self.list_all())

    def _find(self, report_id: bytes, text: str) -> Complaint | None:
        for complaint in self.list_all():
            if (complaint.report_id, complaint.text) == (report_id, text):
                return complaint
        return None

    def _submit(self, complaint: Complaint) -> ServiceError | None:
        """Hand in a complaint and note the answer; return the error if there is none."""
        call = Call(Party.CENTRE, COMPLAIN, Purpose.COMPLAINT, None, idempotent=True)
        request = pb.ComplainRequest(
            complaint_id=complaint.complaint_id, report_id=complaint.report_id, text=complaint.text
        )
        try:
            reply = self.base.egress.unary(call, request)
            if (reply.complaint_id, reply.report_id) != (complaint.complaint_id, complaint.report_id):
                raise MisbehavedError(Party.CENTRE, "an answer names the complaint that was handed in")
        except ServiceError as problem:
            # a failed repetition does not undo that the centre has the complaint
            if complaint.stage != ComplaintState.RECEIVED:
                stage = ComplaintState.REFUSED if _is_permanent(problem) else ComplaintState.WAITING
                self._note(complaint.complaint_id, stage, str(problem))
            return problem
        decision = f"{reply.decision}: {reply.reason}" if reply.reason else reply.decision
        self._note(complaint.complaint_id, ComplaintState.RECEIVED, printable(decision, 2 * MOST_WORDS))
        return None

    def _note(self, complaint_id: bytes, stage: ComplaintState, words: str) -> None:
        self._save(
            [
                replace(complaint, stage=stage, words=words)
                if complaint.complaint_id == complaint_id
                else complaint
                for complaint in self.list_all()
            ]
        )

    def _save(self, complaints: Sequence[Complaint]) -> None:
        self.base.store.put(_COMPLAINTS, _All(tuple(complaints)).encode())


def _is_permanent(problem: ServiceError) -> bool:
    return isinstance(problem, RefusedError) and problem.status in _PERMANENT


def _check(report_id: bytes, text: str) -> str:
    """Check a complaint's parts, and return its text without blanks around it."""
    words = text.strip()
    if len(report_id) != ID_BYTES:
        raise DeviceError(f"complaint: report must be {ID_BYTES} bytes")
    if not 1 <= len(words) <= MOST_WORDS:
        raise DeviceError(f"complaint: text must be 1 to {MOST_WORDS} characters")
    if not words.isprintable():
        raise DeviceError("complaint: text must be plain text in one line")
    return words
