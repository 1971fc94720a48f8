"""The check of the report's first two views that shares no code with the program, and what it must catch."""

from __future__ import annotations

import ast
import shutil
import sys
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
from blindmatch_protocol.designs.threshold_near import DESIGN as THRESHOLD_NEAR
from blindmatch_protocol.designs.token_psi.tokens import PERMUTATION
from blindmatch_protocol.designs.wide_psi.tokening import BY_RUNS
from blindmatch_simulations.cli.app import run
from independent.corpus import Corpus
from independent.first_views import DATA, ROOT, Committed, check, main
from independent.page import BROWSERS, Element, Ledger, drawn_by_script, parsed, rendered

SAMPLE = ROOT / "docs" / "sample"
FOLDER = Path(__file__).parents[1] / "independent"
FOREIGN = {"numpy", "scipy", "py_mini_racer", "independent"}
LEAST = 450
"""Numbers and spans that the two views have, at least."""


@pytest.fixture(scope="module")
def made() -> Committed:
    return Committed(SAMPLE)


@pytest.fixture(scope="module")
def drawn_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's page as this code draws it."""
    folder = tmp_path_factory.mktemp("drawn") / "sample"
    shutil.copytree(SAMPLE, folder)
    assert run(["report", str(folder)]) == 0
    return folder / "report.html"


@cache
def _views(report: Path) -> list[Element]:
    return [drawn_by_script(report, place) for place in ("", "year")]


def _ledger(made: Committed, report: Path, altered: tuple[str, str] | None = None) -> Ledger:
    """The ledger of a page, of which every text that is `altered` says something else."""
    views = deepcopy(_views(report))
    if altered is not None:
        old, new = altered
        before = [view.words for view in views]
        for view in views:
            for one in view.all():
                one.parts = [part.replace(old, new) if isinstance(part, str) else part for part in one.parts]
        assert [view.words for view in views] != before, f"the page does not say {old!r}"
    return check(made, views[0], views[1])


def test_the_check_imports_nothing_of_the_program() -> None:
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            named = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            named += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            roots = {one.split(".")[0] for one in named}
            assert roots <= FOREIGN | set(sys.stdlib_module_names), f"{file.name} imports {roots}"


def test_every_number_of_the_first_two_views_is_derived_again(made: Committed, drawn_again: Path) -> None:
    ledger = _ledger(made, drawn_again)
    assert ledger.faults == []
    assert len(ledger.lines) > LEAST


def test_every_number_of_the_committed_sample_is_derived_again(made: Committed) -> None:
    assert _ledger(made, SAMPLE / "report.html").faults == []


def test_a_folder_without_results_is_refused_by_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nothing")]) == 2
    assert "results.json, attacks.json, report.html missing" in capsys.readouterr().err


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no browser")
def test_a_browser_shows_what_the_check_reads_without_one(drawn_again: Path) -> None:
    for place, idents in (("", ["sheet"]), ("year", ["year", "matrix"])):
        shown = rendered(drawn_again, place)
        read = drawn_by_script(drawn_again, place)
        for ident in idents:
            mine, other = (one.all("section", id=ident)[0].words for one in (shown, read))
            assert mine == other
    sliders = [one.words for one in shown.all("form", id="scale")[0].all("p") if one.all("output")]
    assert sliders == [one.words for one in read.all("form", id="scale")[0].all("p")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("99.6", "99.7"),
        ("34.8", "34.9"),
        ("0.611", "0.612"),
        ("0.374", "0.375"),
        ("15\u202f652", "15\u202f653"),
        ("146\u202f000", "147\u202f000"),
        ("1.66 million", "1.67 million"),
        ("25.9", "25.8"),
        ("2 of 6 attacks", "3 of 6 attacks"),
        ("17 (4; ", "17 (5; "),
        ("opens from 5 matches", "opens from 4 matches"),
        ("63.2", "63.3"),
        ("42.2", "42.3"),
        ("2.59", "2.69"),
        ("720 million", "730 million"),
        ("jpeg-75 25", "jpeg-75 26"),
        ("Of 11 options", "Of 12 options"),
    ],
)
def test_a_changed_digit_on_the_page_is_a_fault(
    made: Committed, drawn_again: Path, old: str, new: str
) -> None:
    assert _ledger(made, drawn_again, (old, new)).faults


def test_a_number_that_no_derivation_claims_is_a_fault(made: Committed, drawn_again: Path) -> None:
    (fault,) = _ledger(made, drawn_again, ("Options are not ranked", "17 options are not ranked")).faults
    assert "not derived: '17'" in fault


def test_a_number_that_a_derivation_has_and_the_page_does_not_is_a_fault(
    made: Committed, drawn_again: Path
) -> None:
    left_out = ("half of all matches would be wrong at", "Nothing is known of")
    faults = _ledger(made, drawn_again, left_out).faults
    assert any("the page does not say" in fault for fault in faults)


def test_a_number_beside_the_places_that_are_looked_at_is_a_fault() -> None:
    ledger = Ledger()
    ledger.add("sheet, a", "1 of 2")
    page = parsed('<section id="sheet"><p>1 of 2</p><div>3 more</div></section>')
    ledger.look_at("sheet", page.all("section", id="sheet")[0])
    assert ledger.faults == ["sheet: 1 times '3' is in no place that is looked at"]


def test_the_pages_of_token_designs_list_the_bits_that_the_program_takes() -> None:
    corpus = Corpus(DATA, ROOT / "docs")
    assert corpus.bands("token-psi").ravel().tolist() == list(PERMUTATION[:240])
    assert corpus.bands("wide-psi").ravel().tolist() == list(BY_RUNS[:252])
    assert corpus.bands("threshold-near").ravel().tolist() == list(THRESHOLD_NEAR.sizes.order[:240])
