"""What comes back for wrong requests: a status that docs/wire.md names; and right ones are answered after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from blindmatch_protocol.codec import Message, layout
from blindmatch_protocol.contract import Role
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance.remote.counterpart import Answer, Heard
from blindmatch_simulations.evaluation.conformance.remote.material import Material
from blindmatch_simulations.testbed.inprocess.steps import hostile
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed

FLIPS: Final = 64
FEW: Final = 8
LONG_BYTES: Final = 1 << 16
"""Of requests from this length on only a few are altered."""
EVERY: Final = 16
"""After so many hostile requests an honest one is sent."""
OVERSIZED: Final = 2 << 20
BODY: Final = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION"})
"""A body breaks a rule, or speaks of another epoch."""
INVALID: Final = frozenset({"INVALID_ARGUMENT"})
UNREADABLE: Final = frozenset({"INVALID_ARGUMENT", "INTERNAL"})
"""What is no protobuf at all is refused by gRPC's own libraries with INTERNAL, before a server sees it."""
TOO_LONG: Final = frozenset({"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"})
UNSUPPORTED: Final = frozenset({"UNIMPLEMENTED"})
STALE: Final = frozenset({"FAILED_PRECONDITION"})
UNKNOWN_ROLE: Final = frozenset({"NOT_FOUND"})


def check_hostile_requests(material: Material) -> Passed:
    """Hostile bodies and envelopes end in a declared reply or in a documented status, and nothing stops."""
    tried = refused = 0
    for role, body in bodies(material):
        raw, rng = body.encode(), material.rng(f"ask/{role}/{body.NAME}")
        flips = FLIPS if len(raw) < LONG_BYTES else FEW
        for altered in hostile(material.design.requests[role], raw, rng, flips):
            answer = material.counterpart.exchange(role, altered)
            refused += answered_or_refused(material, role, answer, altered)
            tried += 1
            if tried % EVERY == 0:
                material.still_answers(f"{tried} hostile requests")
        for what, parts, allowed in hostile_envelopes(material, role, raw):
            must_refuse(role, what, material.counterpart.send(role, parts), allowed)
            tried, refused = tried + 1, refused + 1
        longest = _whole(material, role, bytes(OVERSIZED))
        must_refuse(role, "a message of 2 MiB", material.counterpart.oversized(role, longest), TOO_LONG)
        material.still_answers("hostile envelopes")
    return Passed(f"{tried} hostile requests, {refused} refused", {"tried": tried, "refused": refused})


def check_epoch_binding(material: Material) -> Passed:
    """A stale epoch, and one to come, are refused: in the envelope, and in a body that names one."""
    tried, epoch = 0, material.manifest.epoch
    for role, body in bodies(material):
        for other in sorted({epoch - 1, epoch + 1, 0, (1 << 64) - 1}):
            for inner in (body, _of_epoch(body, other)) if _names_epoch(body) else (body,):
                head = material.counterpart.head(role, inner.encode())
                head.epoch = other
                answer = material.counterpart.exchange(role, inner.encode(), head)
                must_refuse(role, f"an envelope of epoch {other}", answer, STALE)
                tried += 1
            if _names_epoch(body):
                answer = material.counterpart.exchange(role, _of_epoch(body, other).encode())
                must_refuse(role, f"a body of epoch {other}", answer, BODY)
                tried += 1
    material.still_answers("requests of other epochs")
    return Passed(f"{tried} requests of other epochs refused", {"tried": tried})


def bodies(material: Material) -> list[tuple[Role, Message]]:
    """A body for each role and each kind of message that it is sent.

    Raises:
        NotApplicableError: if the design asks nobody.
    """
    turns = material.honest[material.probes[0].name].turns()
    found = {(turn.role, type(turn.body)): turn.body for turn in turns}
    if not found:
        raise NotApplicableError("the design asks nobody")
    return [(role, body) for (role, _), body in found.items()]


def must_refuse(role: str, what: str, answer: Answer, allowed: frozenset[str]) -> None:
    """Make sure that `answer` is one of the refusals.

    Raises:
        BrokenError: if it is an answer, or another status.
    """
    ends = "an answer" if isinstance(answer, Heard) else str(answer)
    if isinstance(answer, Heard) or answer.status not in allowed:
        rule = f"{what} must be refused with {' or '.join(sorted(allowed))}, and ends in {ends}"
        raise BrokenError(f"request to {role}", rule)


def answered_or_refused(material: Material, role: Role, answer: Answer, raw: bytes) -> bool:
    """Was a hostile body refused? An answer to it must be a declared reply all the same.

    Raises:
        BrokenError: if the answer is none, or the refusal another status.
    """
    if isinstance(answer, Heard):
        material.opened(role, answer)
        return False
    if answer.status not in BODY:
        rule = f"hostile bytes must be answered or refused with {' or '.join(sorted(BODY))}, not {answer}"
        raise BrokenError(f"request to {role}", rule, body=raw[:4096])
    return True


def hostile_envelopes(
    material: Material, role: Role, body: bytes
) -> Iterator[tuple[str, list[bytes], frozenset[str]]]:
    """What is wrong, the serialised envelopes, and the statuses that may answer them."""
    for field, value, allowed in (
        ("design", "another-design", UNSUPPORTED),
        ("design", "", UNSUPPORTED),
        ("design", "x" * 100_000, UNSUPPORTED),
        ("version", material.design.info.version + 1, UNSUPPORTED),
        ("version", 0, UNSUPPORTED),
        ("role", "nobody", UNKNOWN_ROLE),
        ("role", "", UNKNOWN_ROLE),
    ):
        yield (
            f"an envelope of {field} {str(value)[:32]!r}",
            [_whole(material, role, body, **{field: value})],
            allowed,
        )
    yield "a request_id of 15 bytes", [_whole(material, role, body, request_id=bytes(15))], INVALID
    yield (
        "a body_size that is not the body's",
        [_whole(material, role, body, body_size=len(body) + 1)],
        INVALID,
    )
    rng = material.rng(f"envelopes/{role}")
    for size in (1, 16, 1000):
        yield "what is no protobuf", [b"\xff" + rng.take(size)], UNREADABLE
    if material.design.info.large_bodies:
        yield from _hostile_streams(material, role, body)
    else:
        yield "a body of zeros that fills an envelope", [_whole(material, role, bytes(960 << 10))], TOO_LONG


def _hostile_streams(
    material: Material, role: Role, body: bytes
) -> Iterator[tuple[str, list[bytes], frozenset[str]]]:
    first = _whole(material, role, body, body_size=len(body))
    again = pb.Envelope(design=material.design.info.name, body=b"x").SerializeToString()
    yield "a stream that does not end", [first, pb.Envelope(body=b"x").SerializeToString()], INVALID
    yield "a second first envelope", [first, again], INVALID


def _whole(material: Material, to: Role, content: bytes, **fields: Any) -> bytes:
    """A serialised envelope around `content`, with these fields instead of the right ones."""
    envelope = pb.Envelope(body=content)
    envelope.MergeFrom(material.counterpart.head(to, content))
    if material.design.info.large_bodies:
        envelope.body_size = len(content)
    for name, value in fields.items():
        setattr(envelope, name, value)
    return envelope.SerializeToString()


def _names_epoch(body: Message) -> bool:
    return "epoch" in {name for name, _ in layout(type(body))}


def _of_epoch(body: Message, epoch: int) -> Message:
    """`body` with another epoch in it, if it names one."""
    return replace(body, epoch=epoch) if _names_epoch(body) else body
