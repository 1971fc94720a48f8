"""Figures of a design are counted from its rows, with intervals; charts and rankings are made from them."""

from __future__ import annotations

import re

import pytest
from blindmatch_simulations.assess import judging
from blindmatch_simulations.assess.catalogue import FIGURES, MATRIX
from blindmatch_simulations.assess.observed import (
    Built,
    Check,
    Updated,
)
from blindmatch_simulations.assess.report import outside
from blindmatch_simulations.assess.report.calculating import cells, literature
from blindmatch_simulations.assess.report.costing import frontier
from blindmatch_simulations.assess.report.markup import number, power
from blindmatch_simulations.assess.report.secrecy import _limited, _unlimited
from blindmatch_simulations.assess.report.svg import EM, Point, trade
from msgspec.structs import replace
from support.assess_rows import EDITS, observed, row


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_the_matrix_shows_known_figures_under_the_criteria_of_the_catalogue() -> None:
    assert list(MATRIX) == [row["id"] for row in outside.criteria()]
    assert all(FIGURES[name].criterion == criterion for criterion, names in MATRIX.items() for name in names)


def test_figures_of_a_design_are_counted_from_its_rows() -> None:
    figures = row(observed()).figures
    assert figures.keys() == FIGURES.keys()
    assert (figures["recall"].value, figures["recall"].n) == (0.5, 2)
    assert (figures["false_matches"].value, figures["false_matches"].pairs) == (0.0, 200)
    assert figures["device_ms"].value == 1.5
    assert figures["server_cpu_ms"].value == pytest.approx(100.0)
    assert figures["update_s"].why == "cannot be updated"
    assert figures["oracle_tries"].value == 50 * 86_400 + 500
    assert judging.tries_until_hidden(observed().pictures, EDITS) == (2,)


def test_the_limits_of_a_key_bound_the_tries_of_an_account() -> None:
    limited = replace(observed().design, parameters={"bands": 10, "probes": 16, "account_evaluations": 1_600})
    figure = row(replace(observed(), design=limited)).figures["oracle_tries"]
    assert figure.value == 10
    assert "under one key" in figure.why
    unlimited = replace(limited, parameters={**limited.parameters, "account_evaluations": 0})
    assert row(replace(observed(), design=unlimited)).figures["oracle_tries"].value == 50 * 86_400 + 500


def test_small_numbers_are_written_as_people_write_them() -> None:
    assert number(1.5e-6) == "1.5\u00a0\u00d7\u00a010\u207b\u2076"
    assert number(0.25, "share") == "25\u00a0%"
    assert power("42") == "42"


def test_names_in_a_chart_cover_neither_dots_nor_each_other() -> None:
    points = [Point(f"design-{at}", 0.03 + at / 1000, 0.95) for at in range(4)]
    drawn = trade("t", "x", "y", points, {"design-0"})
    dots = [(float(x), float(y)) for x, y in re.findall(r'class="p" cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    names = re.findall(r'x="([\d.]+)" y="([\d.]+)" text-anchor="start">(design-\d)', drawn)
    boxes = [(float(x), float(y) - 11, float(x) + EM * len(name), float(y) + 3) for x, y, name in names]
    assert (len(dots), len(boxes)) == (4, 4)
    assert drawn.count('fill="none"') == 1
    boxes += [(x - 5, y - 5, x + 5, y + 5) for x, y in dots[-1:]]
    assert not [(a, b) for at, a in enumerate(boxes) for b in boxes[:at] if overlap(a, b)]


def test_a_design_is_beaten_by_its_equals_alone_if_asked_so() -> None:
    cheap = row(observed("cheap"))
    dear = row(
        replace(observed("dear"), alone=tuple(replace(o, device_cpu_ms=9.0) for o in observed().alone))
    )
    silent = replace(dear, design=replace(dear.design, declared=()))
    assert frontier([cheap, silent]) == ["cheap"]
    assert frontier([cheap, silent], among_equals=True) == ["cheap", "dear"]
    assert frontier([cheap, dear], among_equals=True) == ["cheap"]


def test_what_the_harness_adds_is_a_share_of_the_designs_own_work() -> None:
    figures = row(observed()).figures
    assert figures["harness_cpu"].value == pytest.approx(0.03)
    assert (figures["harness_cpu"].low, figures["harness_cpu"].high) == pytest.approx((0.03, 0.03))
    wall = figures["harness_wall"]
    assert (wall.value, wall.n) == (pytest.approx(0.15), 5)
    assert wall.low is not None
    assert wall.low < 0.15
    assert "0.300 ms on 2.000 ms of its own" in wall.why
    alone = row(replace(observed(), harness=())).figures["harness_cpu"]
    assert alone.value is None
    assert "asks nobody" in alone.why


def test_a_build_in_parts_and_an_update_as_a_whole_set_say_so() -> None:
    whole = Updated("a whole set: cannot be updated", Built(3.0, 2.0, 101, 8000), 8000)
    figures = row(replace(observed(), build_parts=2, update=whole)).figures
    assert (figures["build_s"].value, figures["build_s"].why) == (
        1.0,
        "built in 2 parts: interrupted and taken up again",
    )
    assert (figures["update_s"].value, figures["update_s"].why) == (3.0, whole.why)
    assert figures["update_bytes"].value == 8000
    assert row(observed()).figures["build_s"].why == ""


def test_what_nobody_learns_by_picture_is_not_measured() -> None:
    figures = row(observed(tells=False)).figures
    assert {figures[name].value for name in ("recall", "false_matches", "evading")} == {None}


def test_unfinished_checks_are_not_counted_as_passed() -> None:
    passed = Check("outcomes", "", "passed", "", {}, 1.0)
    figure = row(observed(), (passed,), "took longer than 9 s").figures["checks_failed"]
    assert figure.value is None
    assert "1 checks finished, none failed; took longer than 9 s" in figure.why
    broken = replace(passed, verdict="failed")
    assert row(observed(), (broken,), "took longer than 9 s").figures["checks_failed"].value == 1.0


def test_the_advantage_is_the_largest_upper_bound_of_the_games() -> None:
    def game(name: str, high: float) -> Check:
        return Check(name, "", "passed", "", {"m": {"interval": [0.0, high], "held_out_runs": 9}}, 1.0)

    both = row(observed(), (game("games", 0.2), game("malicious games", 0.3)), "").figures["advantage"]
    assert (both.value, both.n, both.why) == (0.3, 18, "")
    one = row(observed(), (game("games", 0.2),), "took too long").figures["advantage"]
    assert one.value == 0.2
    assert "alone: took too long" in one.why


def test_a_report_that_the_server_makes_by_itself_costs_the_device_nothing() -> None:
    silent = replace(observed(), pictures=tuple(replace(p, report_bytes=0) for p in observed().pictures))
    assert row(silent).figures["report_bytes"].value is None
    server = replace(silent, design=replace(silent.design, learns=("server",)))
    assert row(server).figures["report_bytes"].value == 0.0


def test_designs_that_cost_nearly_the_same_are_both_on_the_frontier() -> None:
    one, other = row(observed("one")), row(observed("other"))
    near = replace(one.figures["device_cpu_ms"], value=1.05 * (one.figures["device_cpu_ms"].value or 0))
    assert frontier([one, replace(other, figures={**other.figures, "device_cpu_ms": near})]) == [
        "one",
        "other",
    ]


def test_the_frontier_leaves_out_what_another_design_beats() -> None:
    good, bad = row(observed("good")), row(observed("bad"))
    slow = replace(bad.figures["device_cpu_ms"], value=99.0)
    assert frontier([good, replace(bad, figures={**bad.figures, "device_cpu_ms": slow})]) == ["good"]


def test_the_calculator_multiplies_volume_prevalence_and_rates() -> None:
    assert cells(literature())[1].startswith("0<br>")
    assert cells(literature())[4].startswith(power(f"{(1e-8 * 1e-3) ** 0.5:.2e}"))
    assert cells({"recall": [None] * 3, "false": [None] * 3}) == ["not measured"] * 8


def test_limits_of_a_key_say_what_of_a_list_they_leave() -> None:
    whole = 2**25
    assert "leave 0.0977 % of the list to one account and 25 % to all" in _limited(whole, 2**20, 2**24)
    assert "leave 100 % of the list to one account and 100 % to all" in _limited(whole, 2**25, 2**26)
    assert "16 a picture, 2" in _unlimited(2**25, {"bands": 4, "probes": 4}, 2**20)
