"""How large the house may be: words written by hand, and lines and files of the product."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from support.pages import ROOT, pages, words_by_hand

WORDS: Final = 52_000
OF_A_PAGE: Final = {
    "README.md": 900,
    "docs/threat-model.md": 3_000,
    "docs/wire.md": 3_500,
    "docs/conformance.md": 2_500,
    "docs/plugin.md": 2_500,
    "docs/set-format.md": 2_000,
    "docs/performance.md": 1_800,
    "docs/accountability.md": 2_500,
    "docs/results.md": 2_000,
}
OTHERS: Final = 1_500
A_DESIGN: Final = 800
A_DECISION: Final = 250
A_PATH: Final = 3_000
"""What a reader reads in order, the README included, before looking things up."""
ROOMS: Final = ("client", "server", "protocol", "proofs", "simulations")
MOVED: Final = (
    "tests/hostile",
    "tests/planted/mutations",
    "tests/support/bands.py",
    "tests/support/classifier_study.py",
    "tests/support/declared.py",
    "tests/support/explicit_messages.py",
    "tests/support/fact_tables.py",
    "tests/support/hash_study.py",
    "tests/support/reference_making.py",
    "tests/support/vector_replay.py",
)
"""What the product had once, or parts of which it had, counts as if it still did."""
LINES: Final = 87_065
FILES: Final = 446
"""Of the product, without stubs; never higher."""


def _budget(page: Path) -> int:
    name = str(page.relative_to(ROOT))
    return OF_A_PAGE.get(name, {"designs": A_DESIGN, "decisions": A_DECISION}.get(page.parent.name, OTHERS))


def test_pages_have_no_more_words_than_their_budgets() -> None:
    counted = {page: words_by_hand(page.read_text("utf-8")) for page in pages()}
    over = {str(page.relative_to(ROOT)): words for page, words in counted.items() if words > _budget(page)}
    assert over == {}
    assert sum(counted.values()) <= WORDS


def test_the_path_of_each_kind_of_reader_is_short() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    paths = re.findall(r"^\| \*\*(.+?)\*\* \| (.+?) \|", readme, re.MULTILINE)
    words = {
        reader: words_by_hand(readme)
        + sum(
            words_by_hand((ROOT / page).read_text("utf-8")) for page in re.findall(r"\]\((\S+\.md)\)", read)
        )
        for reader, read in paths
    }
    assert len(words) == 5
    assert {reader: count for reader, count in words.items() if count > A_PATH} == {}


def test_the_product_grows_by_budgets_alone() -> None:
    places = [ROOT / place for place in (*ROOMS, *MOVED)]
    found = [one for place in places for one in ([place] if place.is_file() else place.rglob("*.py"))]
    files = [one for one in found if "_pb2" not in one.name]
    assert len(files) <= FILES
    assert sum(len(one.read_text("utf-8").splitlines()) for one in files) <= LINES
