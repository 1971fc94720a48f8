"""Tables of the pages are drawn as tables: a blank line inside one leaves the rows after it as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("client", "deploy", "docs", "examples", "proofs", "protocol", "server", "simulations", "tests")
PAGES = [
    page
    for page in [*ROOT.glob("*.md"), *(one for each in FOLDERS for one in (ROOT / each).rglob("*.md"))]
    if "node_modules" not in page.parts
]
RULE = re.compile(r"\|(\s*:?-+:?\s*\|)+")
CELL_END = re.compile(r"(?<!\\)\|")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def lines_outside_of_code(text: str) -> Iterator[tuple[int, str]]:
    """Give the lines of a page with their numbers from 1; a fenced block is one line without a row."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*(`{3,}|~{3,})", line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
            continue
        if mark:
            fence = mark[1]
            yield number, "code"
            continue
        yield number, line.strip()


def tables(text: str) -> Iterator[list[tuple[int, str]]]:
    """Give each run of lines that begin as a row does, as a renderer takes them together."""
    rows: list[tuple[int, str]] = []
    for number, line in [*lines_outside_of_code(text), (0, "")]:
        if line.startswith("|"):
            rows.append((number, line))
        elif rows:
            yield rows
            rows = []


def cells(row: str) -> int:
    return len(CELL_END.findall(row.rstrip("|"))) + (not row.endswith("|"))


def faults_of_tables(text: str) -> list[str]:
    """Say what of a page's tables is not drawn: rows after a blank line, and cells beyond the head's."""
    found = []
    for rows in tables(text):
        first = rows[0][0]
        if len(rows) < 2 or not RULE.fullmatch(rows[1][1]):
            found.append(f"line {first}: rows without a head; is there a blank line in the table above?")
            continue
        width = cells(rows[0][1])
        found += [
            f"line {number}: {cells(row)} cells in a table of {width}"
            for number, row in rows
            if cells(row) != width
        ]
    return found


def blank_runs(text: str) -> list[int]:
    """Return the numbers of blank lines that follow another one, outside of code."""
    lines = list(lines_outside_of_code(text))
    return [number for (_, before), (number, line) in pairwise(lines) if not before and not line]


@pytest.mark.parametrize("page", sorted(PAGES), ids=named)
def test_no_table_of_a_page_is_split_and_no_cell_is_lost(page: Path) -> None:
    assert faults_of_tables(page.read_text()) == []


@pytest.mark.parametrize("page", sorted(PAGES), ids=named)
def test_no_blank_line_of_a_page_follows_another(page: Path) -> None:
    assert blank_runs(page.read_text()) == []


TABLE = "| a | b |\n|---|:-:|\n| 1 | 2 |\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"{TABLE}\n| 3 | 4 |\n", [5]),
        (f"{TABLE}\n\n\n| 3 | 4 |\n| 5 | 6 |\n", [7]),
        (f"{TABLE} \t\n| 3 | 4 |\n", [5]),
        (f"{TABLE}\n  | 3 | 4 |\n", [5]),
        (f"{TABLE}<!-- a comment ends a table -->\n| 3 | 4 |\n", [5]),
        ("| a | b |\n\n|---|---|\n| 1 | 2 |\n", [1, 3]),
        ("| a | b |\n", [1]),
        (f"{TABLE}| 3 | 4 | 5 |\n", [4]),
        (f"{TABLE}| 3 `x|y` | 4 |\n", [4]),
        (f"{TABLE}| 3 |\n", [4]),
        (f"````\n```\n````\n{TABLE}\n| 3 | 4 |\n", [8]),
        (TABLE, []),
        (f"{TABLE}\n{TABLE}", []),
        (f"{TABLE}| `x\\|y` | 4 |\n", []),
        (f"```\n| no table |\n\n| 3 |\n```\n{TABLE}", []),
        (f"## Head\n{TABLE}\nText\n", []),
    ],
)
def test_a_table_that_is_split_or_too_wide_is_found(text: str, lines: list[int]) -> None:
    found = [int(fault.split(":")[0].removeprefix("line ")) for fault in faults_of_tables(text)]
    assert found == lines


def test_blank_lines_are_counted_outside_of_code_alone() -> None:
    assert blank_runs("a\n\n\nb\n\n```\nc\n\n\nd\n```\n\n \ne\n") == [3, 13]
