"""Threatexchange CSV."""

from __future__ import annotations

from typing import Any

import pytest
from blindmatch_server.curator import FormatError, ListFormat

GOOD = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
HEADER = "signal_type,signal_str,collab,category,tags\n"


def test_signals_of_type_pdq_are_taken(read: Any, hexes: list[str]) -> None:
    lines = "".join(f'pdq,{one},"Some, Collab",INVESTIGATION_SEED,a b\n' for one in hexes)
    found = read(ListFormat.THREATEXCHANGE, (HEADER + lines).encode())
    assert (found.hexes, found.count) == (hexes, 64)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("url,https://example.org,c,S,", "other-signal-type"),
        (f"PDQ,{GOOD},c,S,", "other-signal-type"),
        (f"pdq,{GOOD},c,S", "wrong-columns"),
        (f"pdq,{GOOD},c,S,t,u", "wrong-columns"),
        (f'pdq,{GOOD},"c,S,', "bad-quotes"),
        (f'pdq,"{GOOD}"x,c,S,', "bad-quotes"),
        ("pdq,,c,S,", "hash-missing"),
        (f"pdq, {GOOD},c,S,", "hash-white-space"),
        (f"pdq,{GOOD.upper()},c,S,", "hash-upper-case"),
        (f"pdq,{GOOD},{'c' * 5000},S,", "line-too-long"),
    ],
)
def test_a_bad_line_is_rejected_at_its_place(read: Any, line: str, reason: str) -> None:
    good = f"pdq,{GOOD},c,S,\n"
    found = read(ListFormat.THREATEXCHANGE, (HEADER + good + line + "\n" + good).encode())
    assert (found.hexes, found.reasons) == ([GOOD] * 2, [reason])
    assert found.places == [(2, 3, len(HEADER + good))]


def test_a_missing_quote_swallows_no_other_line(read: Any) -> None:
    data = HEADER + f'pdq,{GOOD},"open,S,\n' + f'pdq,{GOOD},c,S,"closed"\n'
    assert read(ListFormat.THREATEXCHANGE, data.encode()).hexes == [GOOD]


def test_columns_are_found_by_name(read: Any) -> None:
    data = f"\xef\xbb\xbf\r\ntags,signal_str,signal_type\r\n,{GOOD},pdq\r\n".encode("latin-1")
    assert read(ListFormat.THREATEXCHANGE, data).hexes == [GOOD]


@pytest.mark.parametrize("first", [f"pdq,{GOOD},c,S,\n", "signal_type,other\n", '"signal_type,signal_str\n'])
def test_a_source_without_the_header_is_refused(read: Any, first: str) -> None:
    with pytest.raises(FormatError, match="header signal_type,signal_str"):
        read(ListFormat.THREATEXCHANGE, first.encode())


def test_invalid_utf8_is_rejected_in_its_line_alone(read: Any) -> None:
    data = HEADER.encode() + f"pdq,{GOOD},".encode() + b"\xff,S,\n" + f"pdq,{GOOD},c,S,".encode()
    found = read(ListFormat.THREATEXCHANGE, data)
    assert (found.hexes, found.reasons) == ([GOOD], ["not-utf-8"])
