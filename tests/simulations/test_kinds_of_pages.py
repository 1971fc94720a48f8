"""Every page is a tutorial, a how-to guide, a reference or an explanation, and old names lead to it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support.documents import FENCE, PAGES, ROOT, named, reading_order

DOCS = ROOT / "docs"
OPENINGS = {
    "tutorials": r"After this page you ",
    "how-to": r"With this page you can ",
    "reference": r"Look up here ",
    "explanation": r"This page explains ",
}
"""A page begins with what its reader has afterwards, which differs by kind."""
OF_A_KIND = [page for page in PAGES if page.parent.parent == DOCS and page.parent.name in OPENINGS]
MOVED = [page for page in PAGES if page.parent == DOCS and page.name != "glossary.md"]
BESIDE = ("docs/sample/", "docs/designs/", "docs/decisions/", "docs/tutorials/notebooks/")
"""Folders whose pages are of one kind by where they lie: the index has them under it."""
MENTION = re.compile(r"\bdocs/[\w./-]+\.md\b")


def tracked() -> list[str]:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def mentions(names: list[str]) -> dict[str, set[str]]:
    """Return the pages that each file names by their path from the root."""
    found = {}
    for name in names:
        try:
            words = (ROOT / name).read_text("utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        found[name] = set(MENTION.findall(words))
    return found


@pytest.mark.parametrize("page", OF_A_KIND, ids=named)
def test_a_page_begins_as_its_kind_does(page: Path) -> None:
    first = page.read_text("utf-8").split("\n\n")[1]
    assert first.startswith(OPENINGS[page.parent.name]), first


def test_each_page_is_of_a_kind_or_says_where_its_text_has_gone() -> None:
    others = [named(page) for page in PAGES if DOCS in page.parents and page not in (*OF_A_KIND, *MOVED)]
    assert [name for name in others if not name.startswith((*BESIDE, "docs/glossary.md"))] == []
    assert {page.parent.name for page in OF_A_KIND} == set(OPENINGS)


def test_the_index_has_each_page_once_under_its_kind() -> None:
    parts = re.split(
        r"^   :caption: (\S+?)[:\n ]", (DOCS / "index.rst").read_text("utf-8"), flags=re.MULTILINE
    )
    kinds = {
        "Tutorials": "tutorials",
        "How-to": "how-to",
        "Reference": "reference",
        "Explanation": "explanation",
    }
    assert set(parts[1::2]) == set(kinds)
    for caption, part in zip(parts[1::2], parts[2::2], strict=True):
        names = re.findall(r"^   ([a-z-]+)/", part, re.MULTILINE)
        beside = {"designs", "decisions", "sample"}
        assert {name for name in names if name not in beside} <= {kinds[caption]}, caption
    order = reading_order()
    assert [named(page) for page in OF_A_KIND if page not in order] == []
    assert len(order) == len(set(order))


@pytest.mark.parametrize("page", MOVED, ids=named)
def test_a_page_that_moved_leads_on_and_is_still_named_somewhere(page: Path) -> None:
    words = page.read_text("utf-8")
    assert re.match(r"# .*: moved\n\nThis page has (?:moved to|been divided: )", words)
    targets = re.findall(r"\]\(([^)#]+)\)", words)
    assert targets and all((page.parent / target).resolve() in OF_A_KIND for target in targets)
    naming = [name for name, pages in mentions(tracked()).items() if named(page) in pages]
    assert naming, "nothing names it any more: remove it"


def test_no_page_links_to_a_page_that_moved() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s#]+\.md)", FENCE.sub("", page.read_text("utf-8"))):
            assert (page.parent / link).resolve() not in MOVED, (named(page), link)


def test_each_page_that_a_file_names_by_its_path_is_there() -> None:
    found = mentions([name for name in tracked() if not name.startswith("tests/simulations/test_kinds")])
    missing = {name: [page for page in pages if not (ROOT / page).exists()] for name, pages in found.items()}
    assert {name: pages for name, pages in missing.items() if pages} == {}
