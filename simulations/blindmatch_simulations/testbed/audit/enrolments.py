"""Derives enrolments again: what a role was sent of an account is what its tape gives, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

from blindmatch_client.egress.calls import ENROL, ENROLLED
from blindmatch_client.trace import EgressRecord, EnrolmentTrace
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import replayed
from blindmatch_protocol.contract import AnyDesign, Party, Role
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct

from blindmatch_simulations.testbed.audit.counterpart import Counterpart
from blindmatch_simulations.testbed.audit.evidence import Evidence, Finding, found
from blindmatch_simulations.testbed.audit.records import ENROLMENTS, is_all_of
from blindmatch_simulations.testbed.inprocess.fields import decided


def held_by_roles(counterpart: Counterpart, traces: Sequence[EnrolmentTrace]) -> Mapping[Role, Message]:
    """What the roles hold of the device under the key of the set-up."""
    design, key = counterpart.design, counterpart.design.enrolment_key(counterpart.setup)
    bodies = next((trace.bodies for trace in reversed(traces) if trace.key == key), {})
    return {role: decode_any(design.enrolments[role], raw, "enrolment") for role, raw in bodies.items()}


def check_enrolments(counterpart: Counterpart, evidence: Evidence) -> Iterator[Finding]:
    """Every enrolment comes again from its tape; every request is one of them, from an offset on; and each is
    asked about and sent no more often than its device began, failed, or was refused for the lack of it."""
    design = counterpart.design
    expected = _heads(design, evidence.enrolments)
    for trace in evidence.enrolments:
        yield from _derived_again(counterpart, trace)
    records = [record for record in evidence.records if record.method in ENROLMENTS]
    # one look when the set-up is taken into use, one more before each upload, both again after a failure
    failed = sum(record.failed for record in evidence.records)
    looks = 2 * (evidence.told.registered + len(evidence.enrolments) + failed)
    counts = Counter[tuple[str, bytes]]()
    for record in records:
        sent = _sent(record)
        body = expected.get((record.party, sent.head))
        counts[record.method, sent.head] += 1
        if body is None or not _fits(record, sent, body):
            yield found(record, "an enrolment that no tape explains", record.request_bytes)
        elif counts[record.method, sent.head] > looks:
            yield found(record, "enrolled more often than declared", record.request_bytes)


class _Sent(Struct, frozen=True):
    """What one record says: whose enrolment, from where on, the bytes, and whether that is all."""

    head: bytes
    offset: int
    data: bytes
    plain: bool


def _sent(record: EgressRecord) -> _Sent:
    if record.method == ENROLLED.path:
        return _Sent(b"".join(record.requests), 0, b"", True)
    parts = [pb.EnrolPart.FromString(raw) for raw in record.requests] or [pb.EnrolPart()]
    first = parts[0]
    plain = not any(part.HasField("head") or part.offset for part in parts[1:])
    head = first.head.SerializeToString(deterministic=True)
    return _Sent(head, first.offset, b"".join(part.data for part in parts), plain)


def _fits(record: EgressRecord, sent: _Sent, body: bytes) -> bool:
    """A part of `body`, to its end unless the call failed."""
    if record.method != ENROL.path:
        return True
    return sent.plain and is_all_of(body[sent.offset :], sent.data, record)


def _heads(design: AnyDesign, traces: Sequence[EnrolmentTrace]) -> dict[tuple[Party, bytes], bytes]:
    info, heads = design.info, dict[tuple[Party, bytes], bytes]()
    for trace in traces:
        for role, body in trace.bodies.items():
            head = pb.EnrolmentHead(
                design=info.name,
                version=info.version,
                role=role,
                key=trace.key,
                size=len(body),
                sha256=sha256(body).digest(),
            )
            heads[info.roles[role], head.SerializeToString(deterministic=True)] = body
    return heads


def _derived_again(counterpart: Counterpart, trace: EnrolmentTrace) -> Iterator[Finding]:
    design = counterpart.design
    state = design.device_state.decode(trace.state_before)
    try:
        made = design.enrolment(state, counterpart.setup, replayed(trace.tape))
        again = {role: body.encode() for role, body in made.bodies.items()}
    except BlindmatchError:
        again = {}
    for role, body in trace.bodies.items():
        derived = again.get(role)
        if derived is None or decided(design, derived) != decided(design, body):
            yield Finding(
                design.info.roles[role], None, "an enrolment cannot be derived again from its tape", len(body)
            )
