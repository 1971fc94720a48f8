"""The briefing: eight figures of a results file alone, captioned, whole or not there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.assess.results import Measured, Results, check_folder
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.report import briefing as drawing
from blindmatch_simulations.report.briefing import BRIEFING, briefing, draw_briefing
from msgspec.structs import replace
from support.assess_page import results_folder
from support.drawn import drawn

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"


@pytest.fixture(scope="module")
def results() -> Results:
    return check_folder(SAMPLE)


def _values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return list(spec["data"]["values"])


def test_eight_figures_say_their_run_and_what_not_to_conclude(results: Results) -> None:
    made = briefing(results)
    assert len(made) == 8 and len({spec["title"]["text"][0] for spec in made.values()}) == 8
    for spec in made.values():
        below = " ".join(spec["title"]["subtitle"])
        assert (
            below.startswith("Do not conclude ") and results.digest[:16] in below and results.command in below
        )
        assert (
            spec["title"]["text"]
            and _values(spec)
            and "$" not in json.dumps({**spec, "$schema": ""})[1:].replace('"$schema"', "")
        )


def test_nothing_is_told_apart_by_colour_alone_and_estimates_have_intervals(results: Results) -> None:
    for name, spec in briefing(results).items():
        coloured = [
            layer["encoding"]
            for layer in spec["layer"]
            if layer["mark"] != "rule" and "color" in layer["encoding"]
        ]
        assert all(one["shape"]["field"] == one["color"]["field"] for one in coloured), name
        assert not coloured or any(layer["mark"] == "rule" for layer in spec["layer"]), name
        for row in _values(spec):
            assert "low" not in row or row["low"] <= row["value"] <= row["high"], name
    scatter = briefing(results)["2-found-against-cost"]
    assert sum(layer["mark"] == "rule" for layer in scatter["layer"]) == 2, "of both figures"
    seen = {row["design"]: row["sees"] for row in _values(scatter)}
    assert seen["0a provider looks"] == "picture" and seen["2a sealed picture"] == "sealed picture"
    assert seen["1b hash sent"] == "hash" and seen["1b blinded tokens"] == "none of these"


def test_the_figures_are_of_the_results_and_leave_out_what_was_not_measured(results: Results) -> None:
    changed = {"corpus_recall_pairs": Figure(0.125, low=0.1, high=0.2, n=9), "server_cpu_ms": Figure(7000.0)}
    rows = [
        replace(one, figures={**one.figures, **changed})
        if one.id == "oprf-psi" and isinstance(one, Measured)
        else one
        for one in results.rows
    ]
    made = briefing(replace(results, rows=tuple(rows)))
    (row,) = [one for one in _values(made["2-found-against-cost"]) if one["design"] == "1b blinded hash"]
    assert (row["value"], row["low"], row["high"], row["cost_value"]) == (0.125, 0.1, 0.2, 7000.0)
    found = {one["design"] for one in _values(made["1-found"])}
    assert "0b no detection" not in found and "1d text detector" not in found, "no figure of near copies"
    seen = {(one["design"], one["across"]): one["says"] for one in _values(made["6-who-sees-what"])}
    assert seen["1b hash sent", "matcher"] == "A H O" and ("0a provider looks", "matcher") not in seen
    assert "(P)" in seen["2a sealed picture", "provider"] and seen["1a plain list", "device"] == "O"


def test_the_page_has_the_scatter_of_the_briefing(results: Results) -> None:
    """The same designs, by the same most that is seen, with both figures, each of which opens."""
    made = drawn(SAMPLE, results)
    spec = briefing(results)["2-found-against-cost"]
    fold = next(one for one in made.tree().iter("details") if one.get("id") == "scatter")
    rows = [[" ".join("".join(cell.itertext()).split()) for cell in one] for one in fold.iter("tr")][1:]
    drawn_ = {re.sub(r"^\d+\. ", "", one[0]): one for one in rows}
    assert {name: one[1] for name, one in drawn_.items()} == {
        row["design"]: row["sees"] for row in _values(spec)
    }
    assert len(fold.findall(".//svg[@class='scatter']/text[@class='letter']")) == len(rows)
    for row in _values(spec):
        _, _, found, cost = drawn_[row["design"]]
        share, low, high = (f"{100 * row[end]:.3g}" for end in ("value", "low", "high"))
        assert found.replace("\u00a0", " ") == f"{share} % ({low}\u2013{high} %)"
        assert float(re.sub(r"[^\d.]", "", cost)) == pytest.approx(row["cost_value"], rel=0.006)
    asking = {"0b", "1d"} & {name[:2] for name in drawn_}
    assert not asking, "which ask no server"


def test_svg_and_png_of_each_are_written_whole_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = pytest.importorskip("vl_convert")
    folder = results_folder(tmp_path)
    assert run(["report", str(folder), "--briefing"]) == 0
    names = sorted(one.name for one in (folder / BRIEFING).iterdir())
    assert len(names) == 16 and {one.rpartition(".")[2] for one in names} == {"svg", "png"}
    for one in (folder / BRIEFING).glob("*.svg"):
        text = " ".join(re.findall(r">([^<>]+)<", one.read_text("utf-8")))
        assert "Do not conclude" in text and not re.search(r"\d[eE][+\u2212-]?\d", text), one.name
    assert all(
        (folder / BRIEFING / name).read_bytes()[:4] == b"\x89PNG" for name in names if name.endswith("png")
    )
    before = {name: (folder / BRIEFING / name).read_bytes() for name in names}
    some = iter([*[b"x"] * 5])

    def failing(*_: object, **__: object) -> bytes:
        return next(some)

    monkeypatch.setattr(convert, "svg_to_png", failing)
    with pytest.raises(StopIteration):
        draw_briefing(folder, check_folder(folder))
    assert {name: (folder / BRIEFING / name).read_bytes() for name in names} == before
    assert not list(folder.glob(".briefing*")), "nothing half is left"


def test_without_the_library_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    folder = results_folder(tmp_path)
    assert run(["report", str(folder), "--briefing"]) != 0
    assert "install blindmatch[report]" in capsys.readouterr().err and not (folder / BRIEFING).exists()
    assert drawing.BRIEFING == BRIEFING
