"""The decision sheet: a row for every design and study, in the numbers of the run and of the scale."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.data import committed, volumes
from blindmatch_simulations.evaluation.assess.results import Measured, Results, Studied, check_folder
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.report import page
from blindmatch_simulations.report.yearly import inputs
from defusedxml.ElementTree import fromstring
from msgspec.structs import replace
from support.assess_page import results_folder
from support.drawn import Drawn, drawn

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"
GIVEN = {one.ident: one.value for one in inputs()}


@pytest.fixture(scope="module")
def results() -> Results:
    return check_folder(SAMPLE)


@pytest.fixture(scope="module")
def made(results: Results) -> Drawn:
    return drawn(SAMPLE, results)


def _rows(made: Drawn) -> dict[str, list[str]]:
    """Words of the cells, by the design that heads them."""
    tree: Element = fromstring(made.sheet)
    rows = [one for one in tree.iter("tr") if one.find(".//td") is not None]
    return {one.findtext(".//code", ""): [_words(cell) for cell in one.findall("td")] for one in rows}


def _words(one: Element) -> str:
    return " ".join("".join(one.itertext()).replace("\u00a0", " ").replace("\u202f", "").split())


def _of(results: Results, name: str) -> Measured:
    return next(one for one in results.rows if isinstance(one, Measured) and one.design.name == name)


def test_every_design_and_study_of_the_run_has_a_row_under_its_level(results: Results, made: Drawn) -> None:
    level = {one["id"]: one["level"] for one in committed("options")["options"]}
    tree: Element = fromstring(made.sheet)
    found, under = {}, ""
    for one in tree.iter("tr"):
        if one.find("th[@colspan]") is not None:
            under = _words(one)
        elif one.find("td") is not None:
            found[one.findtext(".//code", "")] = under
    heads = {
        "baseline": "Baselines",
        "device": "Device level",
        "server": "Server level",
        "encryption": "Protocol level",
    }
    measured = {one.id: one.design.option for one in results.rows if isinstance(one, Measured)}
    studied = {one.id: one.option for one in results.rows if isinstance(one, Studied)}
    assert found == {name: heads[level[option]] for name, option in (measured | studied).items()}


def test_every_number_of_the_sheet_opens_what_it_stands_on(made: Drawn) -> None:
    links = [one for one in fromstring(made.sheet).iter("a") if one.get("class") == "n"]
    assert len(links) > 90
    assert {one.get("href", "")[1:] for one in links} <= {*made.evidence}


def test_reports_restored_are_the_share_of_what_the_provider_would_find(
    results: Results, made: Drawn
) -> None:
    for name in ("token-psi", "oprf-psi", "provider-scan"):
        figure = _of(results, name).figures["corpus_recall_pairs"]
        assert figure.value is not None and figure.low is not None
        assert _rows(made)[name][2].startswith(
            f"{100 * figure.value:.3g} % ({100 * figure.low:.3g}".replace(" (99.9", " (99")
        )
    assert _rows(made)["none"][2] == "none"


def test_what_a_user_pays_in_a_year_is_computed_from_the_row_and_the_scale(
    results: Results, made: Drawn
) -> None:
    row = _of(results, "token-psi").figures
    query = sum(row[name].value or 0 for name in ("query_up_bytes", "query_down_bytes"))
    setup, update = (row[name].value or 0 for name in ("setup_bytes", "update_bytes"))
    total = GIVEN["items"] * query + GIVEN["setups"] * setup + 365 * GIVEN["updates"] * update
    euro = total / 1e9 * volumes()["data_price"]["value"]
    cpu = (row["device_cpu_ms"].value or 0) * GIVEN["items"] / 1000
    assert _rows(made)["token-psi"][4].startswith(
        f"{cpu:.2g} s; {total / 1e6:.3g} MB, \u20ac{euro:.2g} (real list: up to "
    )


def test_innocents_reported_follow_the_chosen_volume(results: Results) -> None:
    figure = _of(results, "token-psi").figures["corpus_false_photographs"]
    for photos in (1e6, 1e9):
        (high,) = re.findall(
            r"^0 to (\S+ \S+);", _rows(drawn(SAMPLE, results, given={"volume": photos}))["token-psi"][3]
        )
        size, word = high.split()
        scale = {"million": 1e6, "billion": 1e9}[word]
        expected = 365 * photos * (1 - GIVEN["prevalence"]) * (figure.high or 0)
        assert float(size) * scale == pytest.approx(expected, rel=0.05)


def test_what_was_not_measured_is_said_and_a_stand_in_is_named(results: Results) -> None:
    rows = [
        replace(
            one,
            figures={**one.figures, "device_cpu_ms": Figure(None, "no"), "setup_bytes": Figure(None, "no")},
        )
        if isinstance(one, Measured)
        else one
        for one in results.rows
    ]
    found = _rows(drawn(SAMPLE, replace(results, rows=tuple(rows))))
    assert found["oprf-psi"][4] == "not measured; not measured"
    assert "a stand-in ran" in found["enclave"][8]


@pytest.mark.parametrize("there", [True, False])
def test_the_sheet_is_printed_where_a_browser_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    folder = results_folder(tmp_path)
    script = tmp_path / "browser"
    script.write_text(
        '#!/bin/sh\nfor one; do case $one in --print-to-pdf=*) echo "%PDF $*" >"${one#*=}";; esac; done\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(script) if there else None)
    assert run(["report", str(folder), "--sheet"]) == (0 if there else 6)
    assert (folder / "sheet.pdf").exists() == there
    if there:
        assert "report.html#sheet" in (folder / "sheet.pdf").read_text()
    else:
        assert "no Chromium to print with" in capsys.readouterr().err


def test_a_browser_that_prints_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/false")
    with pytest.raises(page.ReportError, match="printed nothing: exit code 1"):
        page.print_sheet(results_folder(tmp_path))
