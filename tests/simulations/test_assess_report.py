"""The report of an assessment: one file that needs nothing else, says what was not measured, and escapes."""

from __future__ import annotations

import csv
import re
from itertools import pairwise
from pathlib import Path

import pytest
from blindmatch_simulations.assess import store
from blindmatch_simulations.assess.catalogue import MATRIX
from blindmatch_simulations.assess.observed import Audited, AuditFinding, Check
from blindmatch_simulations.assess.results import Design, Figure, Measured, PairDistances
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.report import outside
from blindmatch_simulations.report.page import report
from blindmatch_simulations.report.summary import counts, headline
from msgspec.structs import replace
from support.assess_page import outline, results_folder, view
from support.assess_rows import HOSTILE, observed, row

MOST_BYTES = 3 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results_folder(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text("utf-8")


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


def learns(folder: Path, one: Measured) -> str:
    """The view of who learns what, with one design."""
    results = replace(store.check(folder), designs=(Design(measured=one),))
    return view(report(folder, results), "learns").partition("The messenger, whatever")[0]


def test_what_is_found_of_a_party_to_whom_nothing_is_declared_is_a_violation(folder: Path) -> None:
    quiet = replace(observed().design, declared=())
    honest = row(replace(observed(), design=quiet))
    assert "violated" not in learns(folder, honest)
    assert "the design declares nothing" in learns(folder, honest)
    lie = Audited(2, 2, 70, (AuditFinding("provider", "longer than declared", 70),))
    found = learns(folder, row(replace(observed(), design=quiet, audit=lie)))
    assert "70 undeclared bytes: longer than declared" in found
    for name, who in (("games", "a server"), ("list games", "device")):
        broken = Check(name, "", "failed", "told apart", {}, 1.0)
        found = learns(folder, row(replace(observed(), design=quiet), (broken,), ""))
        assert f'<th scope="row" role="rowheader">{who}</th>' in found
        assert f"{name}: told apart" in found


def test_a_game_of_lists_is_a_test_of_the_device_alone(folder: Path) -> None:
    game = Check(
        "list games",
        "",
        "passed",
        "",
        {"semi-honest device": {"interval": [0.0, 0.25], "held_out_runs": 9}},
        1.0,
    )
    found = learns(folder, row(observed(), (game,), ""))
    assert (
        found.count("lists that agree on these facts: advantage of the best distinguisher at most 0.250") == 1
    )
    broken = replace(game, verdict="failed", reason="told apart", figures={})
    found = learns(folder, row(observed(), (broken,), ""))
    assert found.count("violated</span>") == 1


def test_a_failed_design_is_shown_with_its_reason(page: str) -> None:
    assert "Designs that could not be measured" in page


def test_the_headline_counts_options_from_the_data(folder: Path) -> None:
    results = store.check(folder)
    exact, near, known = counts(results)
    assert (exact, near, known) == ({"1b"}, {"0a"}, len(outside.options()))
    assert headline(results) == f"1 of {known} options measured, 1 more by a design that is nearest to it"


def test_every_outside_figure_has_a_title_for_people() -> None:
    assert outside.TITLES.keys() == outside.volumes().keys()


def test_every_outside_figure_has_a_known_mark(page: str) -> None:
    marks = set(re.findall(r'class="mark mark-(\w+)"', page))
    assert marks <= {"verified", "secondary", "recalled", outside.ASSUMPTION}
    assert {"verified", "secondary", "recalled"} <= marks
    assert all(row["provenance"] in marks for row in outside.volumes().values())


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
    made = outline(page)
    assert made.open == []
    ids = {f"#{attrs['id']}" for _, attrs in made.seen if "id" in attrs}
    assert {attrs["href"] for tag, attrs in made.seen if tag == "a"} <= ids


def test_an_edited_result_is_not_drawn(folder: Path, tmp_path: Path) -> None:
    (tmp_path / store.RESULTS).write_bytes((folder / store.RESULTS).read_bytes())
    assert run(["report", str(tmp_path)]) != 0
    assert not (tmp_path / "report.html").exists()


def test_the_page_says_what_no_run_shows_where_one_looks_for_it(page: str) -> None:
    summary = view(page, "summary")
    assert "Proofs to the public: not measured for any design" in summary
    assert "sets are not shared between designs" in summary
    assert "Designs do not share an evaluated set" in view(page, "cost")
    assert "0c E2EE with exceptional targeted access" in summary


def test_a_proof_that_was_measured_is_not_said_to_be_missing(folder: Path) -> None:
    results = store.check(folder)
    one = row(observed())
    proven = replace(one, figures={**one.figures, "proof_bytes": Figure(64.0)})
    assert "not measured for any design" not in report(
        folder, replace(results, designs=(Design(measured=proven),))
    )


def test_an_option_without_a_design_opens_the_reason(page: str) -> None:
    rows = view(page, "matrix").split('<tr role="row">')
    (option,) = (one for one in rows if "<b>0c</b>" in one)
    assert option.count("no design of this option was measured in this run") == len(MATRIX)


def test_a_reading_without_raw_rows_does_not_claim_to_have_some(page: str) -> None:
    assert "kind <code>summary</code>" not in page
    assert "one reading, in <code>results.json</code>" in page


def test_every_value_of_a_table_names_its_column(page: str) -> None:
    made = outline(page)
    cells_of_tables = [attrs for tag, attrs in made.seen if tag == "td"]
    assert cells_of_tables
    assert all(attrs.get("data-label") for attrs in cells_of_tables)
    heads = {attrs.get("role") for tag, attrs in made.seen if tag == "th"}
    assert heads == {"columnheader", "rowheader"}


def test_a_share_is_never_shown_without_its_interval(page: str) -> None:
    assert '0\u00a0% <span class="soft">(0 to 84.2\u00a0%)</span>' in view(page, "matrix")


def test_packages_that_are_not_installed_are_named(folder: Path) -> None:
    results = store.check(folder)
    looked = replace(results, plan={**results.plan, "corpus": {"most_pictures": 5}})
    assert "openclipart-png, visp-images-data" in report(folder, looked)
    photographs = PairDistances("photographs", ("openclipart-png",), 2, 1, (0,) * 256 + (1,))
    found = report(folder, replace(looked, distances=(photographs,)))
    assert "without a part in it: visp-images-data" in found
    assert "Not installed" not in report(folder, results)


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


def test_the_sample_is_whole_and_can_be_drawn_again() -> None:
    sample = Path(__file__).parents[2] / "docs" / "sample"
    results = store.check(sample)
    assert headline(results) in (sample / "report.html").read_text("utf-8")
    assert outline(report(sample, results)).open == []
