"""The page's year: what `population` computes, by the same data; where that has a band, the page has one."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.assess.results import check_folder
from blindmatch_simulations.evaluation.population.inputs import Inputs, read_inputs, with_value
from blindmatch_simulations.evaluation.population.model import Behaviour, Model, Range, literature, model
from blindmatch_simulations.evaluation.population.outputs import (
    BY_FALSE,
    _judge,
    banded,
    jointly,
    of_expected,
    of_run,
)
from blindmatch_simulations.evaluation.population.running import read_results, subjects
from blindmatch_simulations.report.yearly import (
    classes,
    inputs,
    parameters,
    year_behaviours,
    year_inputs,
)
from defusedxml.ElementTree import fromstring
from msgspec.structs import replace
from support.drawn import Drawn, drawn, year_bands, years

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"
SETTINGS = 1_000
DAYS = 40


def _drawn_setting(rng: np.random.Generator) -> Model:
    """Every slider and most other inputs anywhere between far ends."""
    held = read_inputs(None)

    def anywhere(low: float, high: float) -> float:
        return float(low * (high / low) ** rng.random())

    for name, value in {
        "activity.pictures_a_day": anywhere(0.01, 100), "material.files": anywhere(1e-5, 1),
        "material.video": rng.random(), "clients.modified": rng.random(), "centre.staff": anywhere(10, 500),
        "centre.minutes": anywhere(1, 60), "centre.days_a_week": int(rng.integers(1, 8)),
        "centre.passes_false": rng.random(), "centre.complains": rng.random(),
        "cascades.benign": rng.random(), "cascades.left": rng.random() * 0.95, "list.growth": anywhere(1, 50),
        "list.epoch_days": int(rng.integers(1, 31)), "outages.chance": rng.random(),
        "outages.part": rng.random(),
        "false_matches.series": int(rng.integers(1, 21)), "keys.life_days": int(rng.integers(1, 60)),
        "material.shape": anywhere(0.05, 2),
    }.items():  # fmt: skip
        held = with_value(held, *name.split("."), value)
    held = replace(held, outages=replace(held.outages, mode=str(rng.choice(["hold", "later", "unmatched"]))))
    exact = Range.exactly
    behaviour = replace(
        literature(held), recall=exact(rng.random()), unnoticed=exact(rng.random()),
        asks=bool(rng.integers(2)), false_rate=exact(anywhere(1e-9, 0.5)) if rng.integers(4) else None,
        threshold=int(rng.choice([1, 1, 1, 2, 4, 7])), by_period=bool(rng.integers(2)),
    )  # fmt: skip
    return model(held, behaviour, int(anywhere(1e5, 1e9)), DAYS)


def test_the_page_computes_what_population_computes_at_a_thousand_settings() -> None:
    rng = np.random.default_rng(27)
    models = [_drawn_setting(rng) for _ in range(SETTINGS)]
    rows = [
        {name: float(of_run(name, found)[0]) for name, found in of_expected([its]).items()} for its in models
    ]
    page = years(committed("year"), [{**parameters(one), "classes": classes(one)} for one in models], DAYS)
    assert {"true_reports", "false_reports", "people_needed", "backlog"} <= page[0].keys()
    above = np.array([one.threshold > 1 for one in models])
    known = np.array([one.behaviour.false_rate is not None for one in models])
    assert 300 < above.sum() < 700 < known.sum() < 800
    for name in page[0]:
        # a rate that is not known is none in the numbers, and what depends on it is told of nobody
        wanted = [bool(told or name not in BY_FALSE) for told in known]
        assert [name in row for row in rows] == wanted
        told = np.array([row.get(name, one[name]) for row, one in zip(rows, page, strict=True)], float)
        found = np.array([one[name] for one in page], float)
        if name == "accounts_wrong":  # at one match it has no closed form by days
            assert np.isnan(found[~above]).all()
        else:
            # a report that is decided a rounding later makes the queue differ by its last digits
            close = 1e-7 if name in ("backlog", "people_needed") else 1e-11
            assert found[~above] == pytest.approx(told[~above], rel=close, abs=1e-6), name
        # of many small chances, each rounded
        assert found[above] == pytest.approx(told[above], rel=1e-7, abs=1e-3), name


def _asked(its: Model, behaviour: Behaviour, days: int, free: object = None) -> dict[str, Any]:
    held = year_inputs()
    names = ("recall", "false_rate", "unnoticed")
    ends = ("value", "low", "high")
    ranges = {
        name: (one := getattr(behaviour, name)) and {end: one.at(end) for end in ends} for name in names
    }
    base = {
        **parameters(its), "share_sharing": held["base"]["share_sharing"], "classes": classes(its),
        "by_period": behaviour.by_period,
    }  # fmt: skip
    return {
        "told": held["model"], "base": base, "behaviour": {"ranges": ranges, "assumed": behaviour.assumed},
        "free": free, "days": days, "most": held["staff_most"],
    }  # fmt: skip


@cache
def _subjects() -> dict[str, Behaviour]:
    found = subjects(read_results(None), read_inputs(None), [])
    return {one.design: one.behaviour for one in found if one.behaviour is not None}


@pytest.mark.parametrize(
    ("design", "volume", "files", "rate"),
    [
        ("literature", 1.6, 6e-2, 3.2e-6),
        pytest.param("literature", 5, 6e-4, 1e-7, marks=pytest.mark.slow),
        pytest.param("token-psi", 1.6, 6.67e-3, 0, marks=pytest.mark.slow),
        ("threshold-psi", 1.6, 6.67e-3, 0),
        pytest.param("oprf-psi", 0.2, 6e-4, 0, marks=pytest.mark.slow),
    ],
)
def test_bands_are_those_of_population(design: str, volume: float, files: float, rate: float) -> None:
    """Of 5,000 drawn runs, which it computes without drawing."""
    held: Inputs = read_inputs(None)
    held = with_value(held, "activity", "pictures_a_day", volume)
    held = with_value(with_value(held, "material", "files", files), "false_matches", "rate", rate)
    behaviour = literature(held) if rate else _subjects()[design]
    its = model(held, behaviour, 450_000_000, 120)
    there, here = banded(its, 1), year_bands(_asked(its, behaviour, 120))
    assert ("false_reports" in here["bands"]) is ("false_reports" in there) is bool(rate)
    for name, (low, high) in here["bands"].items():
        drawn = [one[0] for one in there[name]["run"]]
        room = 0.25 if name == "backlog" else 0.12
        assert [low, high] == pytest.approx(drawn, rel=room, abs=50), name
    if not rate:
        return
    ends = {name: [float(one[0]) for one in there[name]["run"]] for name in ("people_needed", "backlog")}
    ends |= {key: [0.0, 0.0] for key in ("oldest_days", "delay_days")}  # which the page does not show
    run: dict[str, Any] = {name: {"low": low, "high": high} for name, (low, high) in ends.items()}
    _judge(run, held.centre.staff)
    assert here["verdicts"] == {
        name: one["verdict"] for name, one in run.items() if name in here["bands"] and "verdict" in one
    }


@pytest.mark.slow
def test_with_inputs_drawn_too_bands_are_as_wide_as_those_of_population() -> None:
    """Whose own ends move by two thirds above and sixfold below with the seed."""
    for design in ("token-psi", "literature"):
        behaviour = _subjects()[design]
        its = model(read_inputs(None), behaviour, 450_000_000, 365)
        there = jointly(its, 1, costs=False)
        here = year_bands(_asked(its, behaviour, 365, year_inputs()["uncertain"]))["joint"]
        for name, (low, high) in here.items():
            assert there[name][0] / 6 <= low <= there[name][0] * 6 or there[name][0] < 100, name
            assert there[name][1] / 2.5 <= high <= there[name][1] * 2.5 or there[name][1] == 0, name


def _lines(made: Drawn) -> dict[str, list[str]]:
    (table,) = [
        one for one in made.tree().iter("table") if one.findtext("caption") == "A year at these settings"
    ]
    rows = [["".join(cell.itertext()).replace("\u202f", "") for cell in row] for row in table.iter("tr")]
    return {row[0]: row[1:] for row in rows[1:]}


def test_the_page_shows_bands_and_verdicts_where_the_command_does() -> None:
    results = check_folder(SAMPLE)
    names = [row["name"] for row in year_behaviours(results)]
    assert "token-psi" in names and "none" not in names, "which lacks a figure"
    made = drawn(SAMPLE, results)
    words = made.words("year")
    assert "no photograph matched: at most 1 in 105" in words
    assert re.search(r"Above one error in \d+ 000 to \d+ 000 pictures most matches are wrong", words)
    (balance,) = re.findall(r"Above one error in (\d+ 000 to \d+ 000) pictures", words)
    sheet = " ".join("".join(fromstring(made.sheet).itertext()).split())
    assert f"above one error in {balance} pictures (0a " in sheet, (
        "the same on both views, and for which design"
    )
    right = [
        1e6 * float(one) for one in _lines(made)["right matches"][1].replace("million", "").split(" to ")
    ]
    photos = 365 * next(one.value for one in inputs() if one.ident == "volume")
    ends = [float(one.replace(" ", "")) for one in balance.split(" to ")]
    assert ends == pytest.approx([photos / right[1], photos / right[0]], rel=0.01), "as anybody divides them"
    lines = _lines(made)
    assert lines["reviewers needed, without checks"][0] == "beyond any capacity (500)"
    assert lines["wrong matches, before checks"][0] == lines["matches left waiting"][0] == "only a range", (
        "no photograph matched"
    )
    assert "if no photograph matches 792 million" in made.opened("year.false_reports").replace("\u202f", "")
    assert "The least of wrong matches is of other kinds of pictures alone (30 %, assumed)." in words.replace(
        "\u00a0", " "
    )
    assert "Expected is at the lowest rates, the range up to the highest; the sheet has the" in words
    looks = next(one for one in year_behaviours(results) if one["name"] == "provider-scan")
    found = f"Found: {100 * looks['ranges']['recall']['value']:.3g} % of copies, as shared (assumed)"
    assert found in words.replace("\u00a0", " "), "not each edit alike"
    chosen = drawn(SAMPLE, results, given={"errors": 1e-6})
    assert "only a range" not in _lines(chosen)["wrong matches, before checks"][
        0
    ] and "The least of" not in chosen.words("year")
    assert all(" to " in cells[1] and " to " in cells[2] for name, cells in lines.items() if cells[0] != "0")
    few = _lines(drawn(SAMPLE, results, given={"errors": 1e-9, "files": 1e4, "staff": 500}))
    assert few["reviewers needed, without checks"][0] not in ("not determinable", "beyond any capacity (500)")
    hashed = _lines(drawn(SAMPLE, results, given={"design": 2}))
    assert (
        hashed["reviewers needed, without checks"][0]
        == "not determinable"
        == hashed["matches left waiting"][0]
    )
    refused = drawn(SAMPLE, results, given={"files": 1e9, "volume": 1e6}).words("year")
    assert "Not computed: more known files than pictures" in refused, "as the command refuses them"
    longer = drawn(SAMPLE, results, given={"list": 1_000_000})
    assert "no photograph matched: at most 50.6 %" in longer.words("year"), "in proportion"
    assert "times 53, in proportion: a model" in longer.opened("year.false_reports")


def test_every_slider_has_ends_within_the_bounds_of_its_input() -> None:
    slides = [one for one in inputs() if one.slide]
    assert [one.ident for one in slides] == ["volume", "list", "files", "errors", "modified", "staff"]
    for one in slides:
        assert one.slide is not None and one.least <= one.slide[0] < one.slide[1] <= one.most and one.short
        assert one.value == 0 or one.slide[0] <= one.value <= one.slide[1]
