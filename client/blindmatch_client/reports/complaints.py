"""Complaints of the user about reports: kept, then handed in once, by the user's own decision.

    complain --> kept under a random id --Complain (same id, same words)--> the centre has it
                                  \\--refused for good: no such report, or none of this account's

A complaint leaves at once, whatever cover schedule reports are on; `COMPLAINT_FACTS` in settings.py says what
that discloses. What the centre decides comes as a message of its own account; saying the same again asks
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
"""Characters of a complaint."""

_PERMANENT: Final = frozenset({"NOT_FOUND", "INVALID_ARGUMENT", "ALREADY_EXISTS", "PERMISSION_DENIED"})
"""Refusals after which the same complaint will never be taken."""

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
    """How far it is, a `ComplaintState`."""
    words: Annotated[str, Text(1 << 16)]
    """Why it waits or was refused, or what the centre had decided when last asked; may be empty."""


class _All(Message, tag=0xEC, name="device/complaints"):
    """All complaints, oldest first: one sealed value, there from the beginning (vault.py)."""

    complaints: Annotated[tuple[Complaint, ...], Several(Nested(Complaint), 1 << 16)]


NO_COMPLAINTS: Final = _All(()).encode()


class Complaints(Struct, frozen=True):
    base: Base

    def complain(self, report_id: bytes, text: str) -> Complaint:
        """Complain about a report; if the centre cannot be reached, or asks to wait, it is sent later. The
        same words about the same report are the same complaint: handing it in again changes nothing at the
        centre, and brings what was decided. `DeviceError` if the id or the text breaks a rule, `RefusedError`
        if the centre will never take it."""
        words = _checked(report_id, text)
        same = [one for one in self.all() if (one.report_id, one.text) == (report_id, words)]
        if not same:
            name = self.base.rng.take(ID_BYTES)
            now = self.base.clock_ms()
            made = Complaint(name, report_id, words, now, ComplaintState.WAITING, "")
            self._save([*self.all(), made])
            same = [made]
        problem = self._submit(same[0])
        if isinstance(problem, RefusedError) and problem.status in _PERMANENT:
            raise problem
        return self.get(same[0].complaint_id)

    def submit_all(self) -> list[ServiceError]:
        """Hand in what waits, oldest first; the errors of what has to wait on."""
        waiting = [one for one in self.all() if one.stage == ComplaintState.WAITING]
        return [problem for one in waiting if (problem := self._submit(one)) is not None]

    def all(self) -> Sequence[Complaint]:
        return list(_All.decode(self.base.store.get(_COMPLAINTS) or NO_COMPLAINTS).complaints)

    def get(self, complaint_id: bytes) -> Complaint:
        """The complaint with this id; KeyError if there is none."""
        return {one.complaint_id: one for one in self.all()}[complaint_id]

    def waiting(self) -> int:
        return sum(one.stage == ComplaintState.WAITING for one in self.all())

    def _submit(self, one: Complaint) -> ServiceError | None:
        call = Call(Party.CENTRE, COMPLAIN, Purpose.COMPLAINT, None, idempotent=True)
        request = pb.ComplainRequest(complaint_id=one.complaint_id, report_id=one.report_id, text=one.text)
        try:
            taken = self.base.egress.unary(call, request)
            if (taken.complaint_id, taken.report_id) != (one.complaint_id, one.report_id):
                raise MisbehavedError(Party.CENTRE, "an answer names the complaint that was handed in")
        except ServiceError as problem:
            if one.stage != ComplaintState.RECEIVED:  # one that the centre has stays with it
                final = isinstance(problem, RefusedError) and problem.status in _PERMANENT
                stage = ComplaintState.REFUSED if final else ComplaintState.WAITING
                self._note(one.complaint_id, stage, str(problem))
            return problem
        said = f"{taken.decision}: {taken.reason}" if taken.reason else taken.decision
        self._note(one.complaint_id, ComplaintState.RECEIVED, printable(said, 2 * MOST_WORDS))
        return None

    def _note(self, complaint_id: bytes, stage: ComplaintState, words: str) -> None:
        noted = (
            replace(one, stage=stage, words=words) if one.complaint_id == complaint_id else one
            for one in self.all()
        )
        self._save(tuple(noted))

    def _save(self, every: Sequence[Complaint]) -> None:
        self.base.store.put(_COMPLAINTS, _All(tuple(every)).encode())


def _checked(report_id: bytes, text: str) -> str:
    words = text.strip()
    if len(report_id) != ID_BYTES:
        raise DeviceError(f"complaint: report must be {ID_BYTES} bytes")
    if not 1 <= len(words) <= MOST_WORDS:
        raise DeviceError(f"complaint: text must be 1 to {MOST_WORDS} characters")
    if not words.isprintable():
        raise DeviceError("complaint: text must be plain text in one line")
    return words
