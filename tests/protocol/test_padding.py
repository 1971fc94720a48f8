"""Padding: lengths it hides, and the one form it accepts."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.content import (
    pad_attachment,
    pad_text,
    padded_attachment_length,
    padded_text_length,
    padme,
    unpad_attachment,
    unpad_text,
)
from hypothesis import given
from hypothesis import strategies as st

Unpad = Callable[[bytes], bytes]


@given(st.binary(max_size=2000))
def test_padding_is_undone(data: bytes) -> None:
    assert unpad_text(pad_text(data)) == data
    assert unpad_attachment(pad_attachment(data)) == data
    assert len(pad_text(data)) == padded_text_length(len(data))
    assert len(pad_attachment(data)) == padded_attachment_length(len(data))


@pytest.mark.parametrize(("length", "padded"), [(0, 256), (255, 256), (256, 512), (511, 512), (512, 768)])
def test_texts_fill_the_next_multiple_of_256(length: int, padded: int) -> None:
    assert padded_text_length(length) == padded


@pytest.mark.parametrize(
    ("length", "padded"),
    [(0, 0), (1, 1), (2, 2), (8, 8), (9, 10), (10, 10), (1000, 1024), (1025, 1088), (10_000, 10_240)],
)
def test_padme_keeps_the_leading_bits(length: int, padded: int) -> None:
    assert padme(length) == padded


@given(st.integers(2, 1 << 50))
def test_padme_is_the_formula_of_the_paper_and_costs_at_most_12_percent(length: int) -> None:
    padded = padme(length)
    exponent = length.bit_length() - 1
    zeros = exponent - (math.floor(math.log2(exponent)) + 1 if exponent else 0)
    assert padded % (1 << zeros) == 0
    assert 0 <= padded - length < 1 << zeros
    assert padded <= length * 1.12
    assert padme(padded) == padded


@pytest.mark.parametrize("unpad", [unpad_text, unpad_attachment])
@pytest.mark.parametrize(
    "padded",
    [b"", bytes(1024), b"\x80", b"a" * 1024, b"a\x80" + bytes(1021), b"a\x80" + bytes(1021) + b"\x01"],
    ids=["empty", "no mark", "too short", "no padding", "odd length", "a byte after the mark"],
)
def test_what_is_not_the_padded_form_of_anything_is_refused(unpad: Unpad, padded: bytes) -> None:
    with pytest.raises(ProtocolError, match="padding"):
        unpad(padded)


@pytest.mark.parametrize(("unpad", "longer"), [(unpad_text, 512), (unpad_attachment, 1088)])
def test_more_padding_than_needed_is_refused(unpad: Unpad, longer: int) -> None:
    with pytest.raises(ProtocolError, match="length"):
        unpad(b"short\x80".ljust(longer, b"\x00"))
