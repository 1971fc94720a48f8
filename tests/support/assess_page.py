"""A results folder made of rows, and what its page holds."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from blindmatch_simulations.evaluation.assess.results import (
    RESULTS,
    WORKLOAD,
    Results,
    check_folder,
    file_digests,
    write_rows,
    write_whole,
)
from blindmatch_simulations.measure.results import Row, Status, encode
from blindmatch_simulations.measure.results import results as made
from blindmatch_simulations.report import draw_report

from support.assess_rows import EDITS, HOSTILE, observed, row

VOID = {"meta", "br", "input"}


def results_folder(out: Path) -> Path:
    """A results folder of two measured designs and one that failed."""
    write_whole(out / WORKLOAD, b"x = 1\n")
    rows = (row(observed()), row(observed("silent", "0a", HOSTILE, tells=False)))
    for one, seen in zip(rows, (observed(), observed("silent", tells=False)), strict=True):
        write_rows(out, one.name, {"pictures": seen.pictures, "alone": seen.alone})
    failed = Row(
        id="bad", status=Status.FAILED, parameters={"reference": "bad.py:BAD"}, why=HOSTILE, seconds=3.0
    )
    pictures = {"listed": 1, "unlisted": 2, "edits": list(EDITS)}
    results: Results = made(
        Results,
        "blindmatch assess --out DIR",
        {"pictures": pictures, "list": {"random": 99}},
        [*rows, failed],
        seed=1,
        workload="test",
        files=file_digests(out),
    )
    write_whole(out / RESULTS, encode(results))
    draw_report(out, check_folder(out))
    return out


class Outline(HTMLParser):
    """Open elements, headings, ids, labels."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def view(page: str, ident: str) -> str:
    """One view of the page."""
    return page.partition(f'<section id="{ident}"')[2].partition("</section>")[0]


def outline(page: str) -> Outline:
    made = Outline()
    made.feed(page)
    return made
