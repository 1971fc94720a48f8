"""`pdq <hex>` lines."""

from __future__ import annotations

import io
from codecs import BOM_UTF8
from typing import Any

import numpy as np
import pytest
from blindmatch_server.curator import ListFormat
from blindmatch_server.curator.formats import text
from blindmatch_server.curator.formats.block import Lines, Numbering, whole_lines
from blindmatch_server.curator.source import Source
from hypothesis import example, given, settings
from hypothesis import strategies as st

GOOD = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
LINE = f"pdq {GOOD}\n".encode()


def test_good_lines_are_read_in_order(read: Any, hexes: list[str]) -> None:
    found = read(ListFormat.PDQ, "".join(f"pdq {one}\n" for one in hexes).encode())
    assert found.hexes == hexes
    assert (found.count, found.rejects) == (64, [])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_a_byte_order_mark_and_a_missing_last_end_make_no_difference(
    read: Any, hexes: list[str], end: str, mark: bytes
) -> None:
    data = mark + end.join(f"pdq {one}" for one in hexes).encode()
    assert read(ListFormat.PDQ, data).hexes == hexes
    assert read(ListFormat.PDQ, data + end.encode()).hexes == hexes


def test_comments_and_blank_lines_are_no_records_but_count_as_lines(read: Any) -> None:
    data = b"# a list\n\n  \n" + LINE + b"#pdq\nnonsense\n"
    found = read(ListFormat.PDQ, data)
    assert (found.count, found.hexes, found.reasons) == (2, [GOOD], ["not-a-pdq-line"])
    assert found.places == [(2, 6, data.index(b"nonsense"))]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (GOOD, "not-a-pdq-line"),
        (f"PDQ {GOOD}", "not-a-pdq-line"),
        (f" pdq {GOOD}", "not-a-pdq-line"),
        (f"pdq\t{GOOD}", "not-a-pdq-line"),
        ("pdq", "hash-missing"),
        ("pdq ", "hash-missing"),
        (f"pdq  {GOOD}", "hash-white-space"),
        (f"pdq {GOOD} ", "hash-white-space"),
        (f"pdq {GOOD},1", "hash-not-hex"),
        (f"pdq {GOOD.upper()}", "hash-upper-case"),
        (f"pdq 0x{GOOD}", "hash-prefixed"),
        (f"pdq {GOOD[:-1]}", "hash-too-short"),
        (f"pdq {GOOD}0", "hash-too-long"),
        ("pdq " + "0" * 64, "hash-all-zero"),
        ("pdq " + "f" * 64, "hash-unbalanced"),
    ],
)
def test_a_bad_line_is_rejected_at_its_place_and_the_others_are_taken(
    read: Any, line: str, reason: str
) -> None:
    found = read(ListFormat.PDQ, LINE * 3 + line.encode() + b"\n" + LINE)
    assert (found.hexes, found.reasons) == ([GOOD] * 4, [reason])
    assert found.places == [(4, 4, 3 * len(LINE))]


def test_bytes_that_are_no_utf8_are_rejected_with_that_reason(read: Any) -> None:
    found = read(ListFormat.PDQ, b"\xff\xfa\n" + LINE + b"pdq \xc3" + LINE)
    assert found.reasons == ["not-utf-8", "not-utf-8"]


@pytest.mark.parametrize("length", [4097, 300_000, 1_000_000])
def test_a_huge_line_is_rejected_and_never_held(read: Any, length: int) -> None:
    found = read(ListFormat.PDQ, LINE + b"x" * length + b"\n" + LINE + b"y" * length)
    assert (found.hexes, found.reasons) == ([GOOD] * 2, ["line-too-long"] * 2)
    assert found.places == [(2, 2, 69), (4, 4, 2 * 69 + length + 1)]


def test_places_are_right_after_regular_blocks(read: Any) -> None:
    data = LINE * 9000 + b"bad\n" + LINE * 9000 + b"bad"
    found = read(ListFormat.PDQ, data)
    assert found.places == [(9001, 9001, 9000 * 69), (18002, 18002, 18000 * 69 + 4)]
    assert len(found.hexes) == 18000
    assert any(block.read == 4096 for block in found.blocks)


def _line() -> st.SearchStrategy[bytes]:
    flipped = st.tuples(st.integers(0, len(LINE) - 1), st.integers(0, 255)).map(
        lambda change: LINE[: change[0]] + bytes([change[1]]) + LINE[change[0] + 1 :]
    )
    return st.one_of(st.just(LINE), flipped, st.binary(max_size=80))


@settings(max_examples=200, deadline=None)
@given(st.lists(_line(), min_size=1, max_size=6).map(b"".join))
def test_the_fast_path_equals_the_careful_path(data: bytes) -> None:
    fast = text.regular(data)
    careful = text.careful(Lines(data, 1, 0), Numbering())
    if fast is not None:
        assert careful.read == fast.read
        assert not careful.rejects
        assert np.array_equal(careful.hashes, fast.hashes)
    else:
        assert careful.rejects or data != LINE * (len(data) // len(LINE))


@settings(max_examples=100, deadline=None)
@example(data=BOM_UTF8, size=200)
@given(data=st.lists(_line(), max_size=20).map(b"".join), size=st.integers(200, 800))
def test_cutting_into_blocks_changes_nothing(data: bytes, size: int) -> None:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b"):
        return
    whole = list(Lines(data.removeprefix(BOM_UTF8), 1, 0).each())
    cut = [line for lines in whole_lines(Source(io.BytesIO(data)), size, 190) for line in lines.each()]
    assert [line[:191] for *_, line in whole] == [line[:191] for *_, line in cut]
    assert [place[:2] for place in whole] == [place[:2] for place in cut]
