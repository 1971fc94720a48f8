"""No sentence of the report, a command or the documentation turns into its opposite when it is quoted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.assess.results import Results, check_folder
from blindmatch_simulations.report.page import asset, sources
from defusedxml.ElementTree import fromstring
from msgspec.structs import replace
from support import documents
from support.command import in_process
from support.drawn import Drawn, drawn
from support.pages import ROOT

SAMPLE = ROOT / "docs" / "sample"
PAGES = [one for one in documents.PAGES if one.parent.name != "decisions" and one.name != "CHANGELOG.md"]
INTRODUCED = "as in the Commission's draft paper of September 2020, from memory: check before you cite"
REVERSIBLE = (
    r"Protection of the child",
    r"\d+ of \d+ attacks failed",
    r"nobody notices \d",
    r"none besides",
    r"All get one list, proven",
    r"[Mm]odified clients escape, except",
    r"known files (sent )?a year",
    r"not got",
    r"catalogue that is recalled",
)


def spaced(words: str) -> str:
    return " ".join(words.split()).replace("\u2019", "'")


def words_of(tree: Element) -> str:
    return spaced(" ".join(tree.itertext()))


@pytest.fixture(scope="module")
def results() -> Results:
    return check_folder(SAMPLE)


@pytest.fixture(scope="module")
def sample(results: Results) -> Drawn:
    return drawn(SAMPLE, results)


@pytest.fixture(scope="module")
def views(sample: Drawn) -> dict[str, str]:
    return {"parts": words_of(sample.tree()), "sheet": words_of(fromstring(sample.sheet))}


@pytest.mark.parametrize("sentence", REVERSIBLE)
def test_no_view_page_or_script_has_a_sentence_whose_quotation_turns_round(
    views: dict[str, str], sentence: str
) -> None:
    scripts = {name: asset(name) for name in ("rights.js", "sheet.js", "actors.js", "follow.js", "matrix.js")}
    pages = {str(one.relative_to(ROOT)): spaced(one.read_text("utf-8")) for one in PAGES}
    plain = {"plain.json": json.dumps(committed("plain"), ensure_ascii=False)}
    held = {**views, **scripts, **pages, **plain}
    assert [name for name, words in held.items() if re.search(sentence, words)] == []


def test_every_view_introduces_the_options_as_from_memory(views: dict[str, str]) -> None:
    assert all(INTRODUCED in words for words in views.values())
    assert INTRODUCED in spaced((ROOT / "README.md").read_text("utf-8"))
    assert INTRODUCED in spaced((ROOT / "docs" / "explanation" / "report.md").read_text("utf-8"))


def test_the_list_of_designs_introduces_their_options_as_from_memory(tmp_path: Path) -> None:
    assert f"options: {INTRODUCED}" in spaced(in_process(tmp_path, "design", "list").out)
    assert f"options: {INTRODUCED}" in spaced(in_process(tmp_path, "design", "show", "none").out)


def test_what_is_found_is_no_answer_about_a_child_and_attacks_are_counted_by_success(sample: Drawn) -> None:
    rights = spaced(sample.words("rights"))
    assert "Finding known material" in rights and "What this does for a child: not measured." in rights
    assert re.search(r"\d of \d attacks on this succeeded", rights)


def test_that_all_have_one_list_hangs_on_independent_witnesses_wherever_it_is_said(
    sample: Drawn, views: dict[str, str]
) -> None:
    assert "yes, if the log's witnesses are independent" in spaced(sample.words("rights"))
    assert "One list for all, if the log's witnesses are independent" in views["sheet"]
    cells = {one.text for one in fromstring(sample.sheet).iter() if one.text in ("yes", "provable")}
    assert cells == {"provable"}
    shown = spaced(sample.opened("token-psi.abuse"))
    assert "with independent witnesses of the log, outsiders can be shown" in shown


def test_which_modified_clients_escape_the_provider_follows_from_the_run(results: Results) -> None:
    def said(archive: bool, hidden: bool) -> str:
        rows = []
        for row in results.rows:
            if row.id == "provider-scan":
                figures = dict(row.figures)
                figures["evading"] = replace(figures["evading"], value=float(hidden))
                offence = replace(row.offence, archive_delivered=archive)
                row = replace(row, figures=figures, offence=offence)
            rows.append(row)
        words = words_of(fromstring(drawn(SAMPLE, replace(results, rows=tuple(rows))).sheet))
        (found,) = re.findall(r"Modified clients escape: [^.]*\.", words)
        return re.sub(r" (?=[,.])", "", found)

    asked = "Modified clients escape: E2EE designs by not asking"
    packing = "packing pictures into archives (where these are allowed)"
    assert said(True, True) == f"{asked}, 0a by {packing} or editing pictures."
    assert said(False, True) == f"{asked}, 0a by editing pictures."
    assert said(False, False) == f"{asked}."


def test_files_are_reported_and_assumed_known_and_a_models_bytes_are_not_left_out_in_silence(
    results: Results, sample: Drawn, views: dict[str, str]
) -> None:
    assert "(reported, assumed known)" in views["sheet"]
    inputs = {one["ident"]: one for one in sources()["inputs"]}
    assert inputs["files"]["label"].endswith("assumed to be known ones")
    row = next(one for one in results.rows if one.id == "device-classifier")
    setup = replace(row.figures["setup_bytes"], value=176.0, why="")
    with_model = replace(setup, value=4.7e6, why="a model of 4,700,000 bytes, and a set-up of 176")
    for figure, lacks in ((setup, True), (with_model, False)):
        changed = replace(row, figures={**row.figures, "setup_bytes": figure})
        rows = tuple(changed if one.id == row.id else one for one in results.rows)
        words = words_of(fromstring(drawn(SAMPLE, replace(results, rows=rows)).sheet))
        assert ("(without its model)" in words) is lacks


def test_a_hash_is_called_a_blurred_likeness_that_can_be_redrawn(views: dict[str, str]) -> None:
    assert "is the whole hash, a blurred likeness that can be redrawn, or the part" in views["parts"]
    glossary = committed("plain")["glossary"]["perceptual hash"]
    assert "A blurred likeness of the picture can be redrawn from it." in glossary
