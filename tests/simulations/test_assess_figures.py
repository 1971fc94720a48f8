"""Figures of a design are counted from its rows, with intervals; charts and rankings are made from them."""

from __future__ import annotations

import math
import re
from typing import Final

import pytest
from blindmatch_simulations.assess import judging
from blindmatch_simulations.assess.catalogue import FIGURES, MATRIX
from blindmatch_simulations.assess.observed import (
    Built,
    Check,
    Declared,
    FactSeen,
    KeyUse,
    ServerCost,
    Updated,
)
from blindmatch_simulations.assess.results import Figure, Measured
from blindmatch_simulations.measure.advantage import advantage, resolution
from blindmatch_simulations.report import outside
from blindmatch_simulations.report.calculating import (
    HEAD,
    Input,
    accepted,
    cells,
    design_inputs,
    inputs,
    literature,
)
from blindmatch_simulations.report.costing import frontier, frontier_words
from blindmatch_simulations.report.markup import number, power
from blindmatch_simulations.report.svg import EM, Point, trade
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
    limited = row(replace(observed(), key=KeyUse(160, 1_600, None)))
    assert limited.figures["oracle_tries"].value == 10
    assert "under one key" in limited.figures["oracle_tries"].why
    named = replace(observed().design, parameters={"bands": 10, "probes": 16, "account_evaluations": 1_600})
    unlimited = row(replace(observed(), design=named))
    assert unlimited.figures["oracle_tries"].value == 50 * 86_400 + 500, "names of parameters say nothing"


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
    assert alone.why == judging.NO_ROLES


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
    assert (both.value, both.n, both.why) == (0.3, 9, "")
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
    assert cells({"recall": [None] * 3, "false": [None] * 3}) == ["not measured"] * (len(HEAD) - 1)


def test_the_calculators_cores_are_those_of_the_deployed_servers() -> None:
    deployed = design_inputs(row(observed()))
    assert (deployed["ms"], deployed["of"]) == (pytest.approx(100.0), "deployed")
    unread = replace(observed(), servers=(ServerCost("matcher", None, None),))
    alone = design_inputs(row(unread))
    assert (alone["ms"], alone["of"]) == (pytest.approx(0.55), "in process")
    found = dict(zip(HEAD[1:], cells(alone, {"volume": 86_400_000}), strict=True))
    assert found["server cores, all day at full load"] == '0.55<br><span class="soft">in process</span>'


def test_the_calculator_has_queries_both_ways_and_what_devices_fetch() -> None:
    update = Updated("", Built(1.0, 1.0, 1, 8500), 500)
    design = design_inputs(row(replace(observed(), update=update)))
    given = {"volume": 1e9, "devices": 1e9, "setups": 365, "updates": 2}
    assert cells(design, given)[-3:] == ["70 GB", "136 GB", "9\u202f000 GB"]
    assert cells(design, {**given, "devices": 0})[-1] == "0 GB"


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 1e15])
@pytest.mark.parametrize("one", inputs(), ids=lambda one: str(one.ident))
def test_the_calculator_refuses_what_no_day_can_have(one: Input, value: float) -> None:
    with pytest.raises(ValueError, match=f"{one.label}: must be "):
        cells(literature(), {one.ident: value})
    assert accepted({one.ident: one.least}) and accepted({one.ident: one.most})


def test_an_input_that_the_calculator_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="volumes: no such input"):
        accepted({"volumes": 1})


@pytest.mark.parametrize("equals", [False, True])
def test_the_frontiers_sentence_says_what_its_code_does(equals: bool) -> None:
    """Each "beaten by" of the sentence holds by the sentence's own words, and nothing else is beaten."""
    rows = [design(*one) for one in DESIGNS]
    words = frontier_words(rows).partition("Privacy left out")[2].partition("If only")[2 * equals]
    off = dict(re.findall(r"(\w+) is beaten by (\w+)", words))
    on = set(re.findall(r"(?:these are on it|outcome included): ([\w, ]+) \(", words)[0].split(", "))
    told = {name: set(facts) for name, _, _, facts in DESIGNS}

    def beats(winner: tuple[str, float, float, str], loser: tuple[str, float, float, str]) -> bool:
        more = winner[1] > loser[1] and winner[2] <= loser[2]
        cheaper = winner[1] == loser[1] and winner[2] < 0.9 * loser[2]
        return (more or cheaper) and (not equals or not told[winner[0]] - told[loser[0]])

    by_words = {one[0]: {other[0] for other in DESIGNS if beats(other, one)} for one in DESIGNS}
    assert on == {name for name, winners in by_words.items() if not winners}
    assert off.keys() == {name for name, winners in by_words.items() if winners}
    assert all(winner in by_words[name] for name, winner in off.items())


DESIGNS: Final = (
    ("cheap", 0.5, 1.0, "h"), ("dear", 0.5, 9.0, "h"), ("silent", 0.5, 2.0, ""), ("slow", 0.4, 2.5, "q"),
    ("near", 0.5, 1.05, "hq"), ("best", 0.9, 8.0, "hq"),
)  # fmt: skip
"""Name, recall, device CPU, and facts told to the matcher, one letter each."""


def design(name: str, recall: float, cpu: float, facts: str) -> Measured:
    told = tuple(FactSeen(one, "") for one in facts)
    seen = observed(name)
    made = row(
        replace(
            seen,
            design=replace(seen.design, declared=(Declared(("matcher",), "semi-honest", "design", told),)),
        )
    )
    values = {"recall": Figure(recall), "device_cpu_ms": Figure(cpu)}
    return replace(made, figures={**made.figures, **values})


def test_a_server_that_learns_the_outcome_tells_further_than_one_that_does_not() -> None:
    cheap, dear = design("cheap", 0.5, 1.0, ""), design("dear", 0.5, 9.0, "")
    assert frontier([cheap, dear], among_equals=True) == ["cheap"]
    told = replace(cheap, design=replace(cheap.design, learns=("device", "server")))
    assert frontier([told, dear], among_equals=True) == ["cheap", "dear"]


def test_recall_of_all_edited_pictures_and_of_pdqs_own_pairs_stand_apart() -> None:
    far = observed().pictures[1]
    assert far.list_distance > 31 and not far.matched
    figures = row(observed()).figures
    assert (figures["recall"].value, figures["recall"].n) == (0.5, 2)
    assert (figures["recall_pairs"].value, figures["recall_pairs"].n) == (1.0, 1)
    poor = replace(observed().pictures[0], quality=49)
    seen = replace(observed(), pictures=(poor, *observed().pictures[1:]))
    assert row(seen).figures["recall_pairs"].value is None, "PDQ discards what is poor"


def test_an_advantage_says_what_as_many_runs_can_show() -> None:
    check = Check("games", "", "passed", "", {"m": {"interval": [-0.3, 0.4135], "held_out_runs": 48}}, 1.0)
    figure = row(observed(), (check,), "").figures["advantage"]
    assert (figure.value, figure.n, figure.resolution) == (
        0.4135,
        48,
        pytest.approx(resolution(48), abs=1e-4),
    )
    assert resolution(48) == pytest.approx(advantage(24, 48).high) == pytest.approx(-advantage(24, 48).low)
    assert 0.35 < resolution(48) < 0.4 < 0.98 < resolution(1)
    assert resolution(10_000) < 0.03


def test_a_design_that_matches_nothing_has_nothing_to_measure_and_no_intervals() -> None:
    nothing = replace(observed("none"), design=replace(observed().design, distance=None, roles={}))
    quiet = replace(nothing, pictures=tuple(replace(p, matched=False) for p in nothing.pictures), harness=())
    made = row(quiet, (LISTS,), "")
    for name in (*judging.OF_MATCHES, "advantage", "list_advantage", "server_cpu_ms", "matcher_cpu_ms"):
        figure = made.figures[name]
        assert (figure.value, figure.low, figure.n) == (None, None, None), name
        assert figure.why.startswith(judging.NOTHING), name
    assert {one.share.value for one in (*made.recall_by_edit, *made.recall_by_distance)} == {None}
    broken = row(quiet, (replace(LISTS, verdict="failed"),), "")
    assert broken.figures["list_advantage"].value == 1.0, "a violation is not explained away"
    liar = row(nothing).figures
    assert liar["recall"].value == 0.5, "what matches all the same is counted"


LISTS = Check("list games", "", "passed", "", {"device": {"interval": [0.0, 0.3], "held_out_runs": 9}}, 1.0)
