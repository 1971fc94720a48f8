"""A results folder made of rows, and what its page holds."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from blindmatch_simulations.assess import store
from blindmatch_simulations.assess.machine import this_machine
from blindmatch_simulations.assess.results import Design, Failed, Results, encode
from blindmatch_simulations.report import draw_report

from support.assess_rows import EDITS, HOSTILE, observed, row

VOID = {"meta", "br", "input"}


def results_folder(out: Path) -> Path:
    """A results folder of two measured designs and one that failed."""
    store.write(out / store.WORKLOAD, b"x = 1\n")
    rows = (row(observed()), row(observed("silent", "0a", HOSTILE, tells=False)))
    for one, seen in zip(rows, (observed(), observed("silent", tells=False)), strict=True):
        store.write_rows(out, one.name, {"pictures": seen.pictures, "alone": seen.alone})
    failed = Failed("failed", "bad.py:BAD", "bad", HOSTILE, 3.0)
    pictures = {"listed": 1, "unlisted": 2, "edits": list(EDITS)}
    results = Results(
        "blindmatch-assess", 2, "2026-01-01T00:00:00+00:00", "blindmatch assess --out DIR", 1, "test",
        this_machine(), {"pictures": pictures, "list": {"random": 99}},
        (*(Design(measured=one) for one in rows), Design(failed=failed)), (), store.digests(out), "",
    )  # fmt: skip
    store.write(out / store.RESULTS, encode(store.sealed(results)))
    draw_report(out, store.check(out))
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
