"""The report of an assessment: one file that needs nothing else, says what was not measured, and escapes."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from blindmatch_simulations.assess import judging, store
from blindmatch_simulations.assess.catalogue import FIGURES, MATRIX
from blindmatch_simulations.assess.machine import this_machine
from blindmatch_simulations.assess.observed import (
    AloneRow,
    Audited,
    Built,
    Check,
    Declared,
    Described,
    FactSeen,
    HarnessRow,
    Observed,
    Offence,
    PictureRow,
    ServerCost,
    Traffic,
    Updated,
)
from blindmatch_simulations.assess.report import draw_report, outside
from blindmatch_simulations.assess.report.calculating import cells, literature
from blindmatch_simulations.assess.report.costing import frontier
from blindmatch_simulations.assess.report.page import report
from blindmatch_simulations.assess.report.secrecy import _limited, _unlimited
from blindmatch_simulations.assess.report.summary import counts, headline
from blindmatch_simulations.assess.results import (
    Design,
    Failed,
    Measured,
    PairDistances,
    Results,
    encode,
)
from blindmatch_simulations.cli.app import run
from msgspec.structs import replace

HOSTILE = "<script>alert('x')</script>"
EDITS = ("identical", "caption")
VOID = {"meta", "br", "input"}
MOST_BYTES = 3 << 20


def picture(index: int, edit: str, listed: bool, matched: bool | None) -> PictureRow:
    distance = 0 if edit == "identical" else 40
    near = distance if listed else 90
    return PictureRow(
        index, "cat" if listed else f"dog-{index}", edit, listed, 100, distance, near, matched is True,
        matched, "match", True, 70, 136, 100, 5.0 + index, 2.0,
    )  # fmt: skip


def observed(name: str = "quoted", option: str = "1b", differs: str = "", tells: bool = True) -> Observed:
    facts = (FactSeen("query_time", HOSTILE),)
    declared = (
        Declared(("matcher",), "semi-honest", "design", facts),
        Declared(("device",), "semi-honest", "design", ()),
        Declared(("provider",), "semi-honest", "messenger", facts),
    )
    design = Described(
        name, 1, option, differs, HOSTILE, 31, ("device",), {"matcher": "matcher"}, False,
        {"k": 24, "bands": 10, "probes": 16}, declared,
    )  # fmt: skip
    matched = (True, False, False, False) if tells else (None,) * 4
    pictures = tuple(
        picture(at, edit, listed, hit)
        for at, (edit, listed, hit) in enumerate(
            zip((*EDITS, "identical", "identical"), (True, True, False, False), matched, strict=True)
        )
    )
    return Observed(
        design=design,
        entries=100,
        build=Built(1.0, 0.5, 100, 8000),
        build_parts=1,
        pictures=pictures,
        arrived=4,
        alone=(AloneRow(0, 10.0, 1.0, 1.0, 0.5, 0.5), AloneRow(1, 12.0, 2.0, 1.5, 0.7, 0.6)),
        harness=tuple(HarnessRow(at, 2.0, 1.0, 2.1 + at / 10, 1.03) for at in range(5)),
        traffic=(Traffic("matcher", "matching", 280, 544),),
        servers=(ServerCost("matcher", 0.4, 100.0),),
        peak_mib=3.0,
        audit=Audited(2, 2, 0, ()),
        update=Updated("cannot be updated"),
        offence=Offence(1, 1, 0, 1, True, True, 0),
        vouchers_opened=0,
        query_rate=50.0,
        query_burst=500,
        stages={},
    )


def row(seen: Observed, checks: tuple[Check, ...] = (), why: str = "no time") -> Measured:
    return Measured(
        "measured", seen.design.name, seen.design.name, seen.design, seen.entries,
        judging.figures(seen, checks, why), judging.recall_by_edit(seen.pictures, EDITS),
        judging.recall_by_distance(seen.pictures), seen.traffic, seen.servers, seen.audit,
        seen.update, seen.offence,
        judging.tries_until_hidden(seen.pictures, EDITS), checks, why, {}, 0.0, 1.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder of two measured designs and one that failed."""
    out = tmp_path_factory.mktemp("report")
    store.write(out / store.WORKLOAD, b"x = 1\n")
    rows = (row(observed()), row(observed("silent", "0a", HOSTILE, tells=False)))
    for one, seen in zip(rows, (observed(), observed("silent", tells=False)), strict=True):
        store.write_rows(out, one.name, {"pictures": seen.pictures, "alone": seen.alone})
    failed = Failed("failed", "bad.py:BAD", "bad", HOSTILE, 3.0)
    pictures = {"listed": 1, "unlisted": 2, "edits": list(EDITS)}
    results = Results(
        "blindmatch-assess", 1, "2026-01-01T00:00:00+00:00", "blindmatch assess --out DIR", 1, "test",
        this_machine(), {"pictures": pictures, "list": {"random": 99}},
        (*(Design(measured=one) for one in rows), Design(failed=failed)), (), store.digests(out), "",
    )  # fmt: skip
    store.write(out / store.RESULTS, encode(store.sealed(results)))
    draw_report(out, store.check(out))
    return out


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text("utf-8")


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


def outline(page: str) -> Outline:
    made = Outline()
    made.feed(page)
    return made


def test_the_page_needs_nothing_else(page: str) -> None:
    assert len(page.encode()) < MOST_BYTES
    tags = outline(page).seen
    assert not [attrs for tag, attrs in tags if tag in ("link", "img", "iframe") or "src" in attrs]
    links = [attrs["href"] or "" for tag, attrs in tags if tag == "a"]
    assert links
    assert all(link.startswith("#") for link in links)
    assert "url(" not in page
    assert "@import" not in page


def test_every_element_is_closed_and_every_link_leads_somewhere(page: str) -> None:
    made = outline(page)
    assert made.open == []
    ids = [attrs["id"] for _, attrs in made.seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"] for tag, attrs in made.seen if tag == "a"} <= {f"#{one}" for one in ids}


def test_the_page_has_landmarks_labels_and_table_headers(page: str) -> None:
    made = outline(page)
    tags = [tag for tag, _ in made.seen]
    assert {"header", "nav", "main", "footer"} <= set(tags)
    assert tags.count("h1") == 1
    labelled = {attrs["for"] for tag, attrs in made.seen if tag == "label"}
    assert {attrs["id"] for tag, attrs in made.seen if tag == "input"} <= labelled
    assert tags.count("table") == tags.count("caption")
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in made.seen if tag == "th")
    assert all("aria-label" in attrs for tag, attrs in made.seen if tag == "svg")
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_what_a_design_says_is_escaped(page: str) -> None:
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;") >= 4


def test_every_option_has_a_row_and_both_baselines_are_there(page: str) -> None:
    for option in outside.options():
        assert f"<b>{option['id']}</b>" in page
    assert "nearest to it" in page
    assert page.count('<span class="nm">not measured</span>') > 5 * (len(outside.options()) - 2)


def test_a_failed_design_is_shown_with_its_reason(page: str) -> None:
    assert "Designs that could not be measured" in page


def test_the_headline_counts_options_from_the_data(folder: Path) -> None:
    results = store.check(folder)
    exact, near, known = counts(results)
    assert (exact, near, known) == ({"1b"}, {"0a"}, len(outside.options()))
    assert headline(results) == f"1 of {known} options measured, 1 more by a design that is nearest to it"


def test_every_outside_figure_has_a_known_mark(page: str) -> None:
    marks = set(re.findall(r'class="mark mark-(\w+)"', page))
    assert marks <= {"verified", "secondary", "recalled", outside.ASSUMPTION}
    assert {"verified", "secondary", "recalled"} <= marks
    assert all(row["provenance"] in marks for row in outside.volumes().values())


def test_the_matrix_shows_known_figures_under_the_criteria_of_the_catalogue() -> None:
    assert list(MATRIX) == [row["id"] for row in outside.criteria()]
    assert all(FIGURES[name].criterion == criterion for criterion, names in MATRIX.items() for name in names)


def test_figures_stand_beside_the_page_as_svg_and_csv(folder: Path) -> None:
    rows = list(csv.DictReader((folder / "figures" / "figures.csv").open()))
    known = {(one["design"], one["figure"]): one for one in rows}
    assert float(known["quoted", "recall"]["value"]) == 0.5
    assert known["silent", "recall"]["value"] == ""
    assert known["silent", "recall"]["why not measured"]
    assert (folder / "figures" / "recall-quoted.svg").read_text().startswith("<svg xmlns=")


def test_a_report_is_drawn_again_and_beside_another(folder: Path) -> None:
    before = (folder / "report.html").read_bytes()
    assert run(["report", str(folder), "--compare", str(folder)]) == 0
    assert (folder / "report.html").read_bytes() == before
    page = (folder / "compare.html").read_text()
    assert "the same workload" in page
    assert outline(page).open == []


def test_an_edited_result_is_not_drawn(folder: Path, tmp_path: Path) -> None:
    (tmp_path / store.RESULTS).write_bytes((folder / store.RESULTS).read_bytes())
    assert run(["report", str(tmp_path)]) != 0
    assert not (tmp_path / "report.html").exists()


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


def test_packages_that_are_not_installed_are_named(folder: Path) -> None:
    results = store.check(folder)
    looked = replace(results, plan={**results.plan, "corpus": {"most_pictures": 5}})
    assert "openclipart-png, visp-images-data" in report(folder, looked)
    photographs = PairDistances("photographs", ("openclipart-png",), 2, 1, (0,) * 256 + (1,))
    found = report(folder, replace(looked, distances=(photographs,)))
    assert "without a part in it: visp-images-data" in found
    assert "Not installed" not in report(folder, results)


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


LISTS = Check(
    "list games", "", "passed", "semi-honest device: no distinguisher in this suite exceeded 0.285",
    {"known_to": {}, "semi-honest device": {"interval": [-0.04, 0.285], "held_out_runs": 256}}, 1.0,
)  # fmt: skip


def test_games_over_lists_have_a_figure_of_their_own() -> None:
    figures = row(observed(), (LISTS,), "").figures
    assert (figures["list_advantage"].value, figures["list_advantage"].n) == (0.285, 256)
    assert figures["advantage"].value is None
    broken = replace(LISTS, verdict="failed", figures={})
    assert row(observed(), (broken,), "").figures["list_advantage"].value == 1.0
    declared = replace(LISTS, verdict="not applicable", reason="the list is declared", figures={})
    figure = row(observed(), (declared,), "").figures["list_advantage"]
    assert figure.value is None and "the list is declared" in figure.why


def drawn(folder: Path, checks: tuple[Check, ...], why: str = "") -> str:
    """The report of one design with these checks."""
    results = store.check(folder)
    return report(folder, replace(results, designs=(Design(measured=row(observed(), checks, why)),)))


def cells_of(page: str, section: str) -> str:
    return page.partition(f'<section id="{section}"')[2].partition("</section>")[0]


def test_the_verdict_of_games_over_lists_stands_with_the_device_and_with_the_list(folder: Path) -> None:
    page = drawn(folder, (LISTS,))
    learnt = cells_of(page, "learns")
    assert "lists that agree on these facts: advantage of the best distinguisher at most 0.285" in learnt
    assert f"passed: {LISTS.reason}" in cells_of(page, "secrecy")
    reason = "semi-honest device: lone: lists told apart"
    broken = drawn(folder, (replace(LISTS, verdict="failed", reason=reason, figures={}),))
    assert f"failed: {reason}" in cells_of(broken, "secrecy")
    assert cells_of(broken, "learns").count("violated</span>") == 1, "of the device, not of the matcher"
    assert "not measured: took longer than 9 s" in cells_of(
        drawn(folder, (), "took longer than 9 s"), "secrecy"
    )


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
    assert cells(literature())[4].startswith(f"{(1e-8 * 1e-3) ** 0.5:.2e}")
    assert cells({"recall": [None] * 3, "false": [None] * 3}) == ["not measured"] * 8


def test_the_sample_is_whole_and_can_be_drawn_again() -> None:
    sample = Path(__file__).parents[2] / "docs" / "sample"
    results = store.check(sample)
    assert headline(results) in (sample / "report.html").read_text("utf-8")
    assert outline(report(sample, results)).open == []


def test_limits_of_a_key_say_what_of_a_list_they_leave() -> None:
    whole = 2**25
    assert "leave 0.0977 % of the list to one account and 25 % to all" in _limited(whole, 2**20, 2**24)
    assert "leave 100 % of the list to one account and 100 % to all" in _limited(whole, 2**25, 2**26)
    assert "16 a picture, 2" in _unlimited(2**25, {"bands": 4, "probes": 4}, 2**20)
