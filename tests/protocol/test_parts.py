"""Byte strings in parts: whatever is cut is joined again, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.parts import (
    ENROLMENT,
    ENVELOPE,
    PART,
    PART_BYTES,
    SUBMISSION,
    Form,
    Joiner,
    begun,
    cut,
    joined,
    pieces,
    single,
    split,
    whole,
)
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

MOST = 4 * PART_BYTES
HEADS: Sequence[tuple[Form[Any], Any]] = [
    (PART, pb.Part()),
    (ENVELOPE, pb.Envelope(design="d", version=1, epoch=2, role="r", request_id=b"i")),
    (SUBMISSION, pb.SubmitPart(report_id=b"i" * 16)),
    (ENROLMENT, pb.EnrolPart(head=pb.EnrolmentHead(design="d", sha256=b"s"))),
]


async def sent(parts: Sequence[Any]) -> AsyncIterator[Any]:
    for part in parts:
        yield type(part).FromString(part.SerializeToString())


@pytest.mark.parametrize(("form", "head"), HEADS)
@pytest.mark.parametrize("size", [1, PART_BYTES, 2 * PART_BYTES + 7])
def test_what_is_cut_is_joined_again_with_its_head(form: Form[Any], head: Any, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    parts = list(split(form, head, data[:size]))
    assert len(parts) == -(-size // PART_BYTES)
    assert b"".join(joined(Joiner(form, MOST, "x", size), iter(parts))) == data[:size]

    async def read() -> tuple[Any, bytes]:
        first, rest = await begun(Joiner(form, MOST, "x"), sent(parts))
        return first, await whole(rest)

    assert asyncio.run(read()) == (parts[0], data[:size])


@pytest.mark.parametrize(("form", "head"), HEADS)
def test_a_stream_that_breaks_a_rule_is_refused(form: Form[Any], head: Any) -> None:
    def rule(*parts: Any, most: int = MOST) -> str:
        with pytest.raises(ProtocolError) as caught:
            list(joined(Joiner(form, most, "x"), iter(parts)))
        return caught.value.rule

    one = form.first(head, 2, b"a")
    two = form.part(b"b")
    assert rule() == "no part was sent"
    assert rule(one, two, most=1) == "must be 1 to 1 bytes, not 2"
    assert rule(form.part(b"a")) == f"must be 1 to {MOST} bytes, not 0"
    assert rule(one).startswith("truncated: 1 of 2")
    assert rule(one, form.part(b"bc")) == rule(one, two, two) == "more than the 2 bytes announced"
    assert rule(one, form.part(b"")) == rule(form.first(head, 2, b"")) == "a part must not be empty"
    assert rule(one, form.first(head, 2, b"b")) == "only the first part bears more than data"


def test_a_file_goes_on_from_an_offset_and_ends_in_one_empty_part() -> None:
    data = bytes(PART_BYTES) + b"end"
    for offset in (0, 5, PART_BYTES, len(data)):
        parts = cut(PART, pb.Part(), len(data), pieces(data, offset))
        joiner = Joiner(PART, len(data), "x", len(data), offset)
        assert b"".join(joined(joiner, parts)) == data[offset:] and joiner.size == len(data)
    with pytest.raises(ProtocolError, match="more than"):
        list(joined(Joiner(PART, 3, "x", offset=1), iter([PART.first(pb.Part(), 3, b"abc")])))


def test_an_enrolment_says_itself_from_where_it_goes_on() -> None:
    head = pb.EnrolPart(head=pb.EnrolmentHead(design="d"), offset=2)
    parts = list(cut(ENROLMENT, head, 5, [b"cd", b"e"]))
    assert (parts[0].head.size, parts[1]) == (5, pb.EnrolPart(data=b"e"))
    assert list(joined(Joiner(ENROLMENT, 9, "x"), iter(parts))) == [b"cd", b"e"]


def test_the_first_part_is_looked_at_before_the_size_is_believed() -> None:
    def check(first: pb.Envelope) -> None:
        raise ValueError(first.design)

    with pytest.raises(ValueError, match="other"):
        list(joined(Joiner(ENVELOPE, 1, "x", check=check), iter([pb.Envelope(design="other", body_size=9)])))


def test_one_envelope_says_its_size_or_none() -> None:
    assert (
        single(pb.Envelope(body=b"abc"), "x") == single(pb.Envelope(body=b"abc", body_size=3), "x") == b"abc"
    )
    with pytest.raises(ProtocolError, match="body_size"):
        single(pb.Envelope(body=b"abc", body_size=2), "x")
