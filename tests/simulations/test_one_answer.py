"""Questions that a reader asks the report have one answer, wherever on the page it stands."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from blindmatch_simulations.evaluation.assess.results import Measured, Results, check_folder
from blindmatch_simulations.evaluation.population.fates import of_hundred
from blindmatch_simulations.evaluation.population.inputs import YEAR, read_inputs
from blindmatch_simulations.evaluation.population.model import model
from blindmatch_simulations.evaluation.population.running import subjects
from defusedxml.ElementTree import fromstring
from msgspec.structs import replace
from support.drawn import Drawn, called, drawn

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"
VOUCHERS = ("threshold-near", "threshold-psi")


@pytest.fixture(scope="module")
def results() -> Results:
    return check_folder(SAMPLE)


@pytest.fixture(scope="module")
def made(results: Results) -> Drawn:
    return drawn(SAMPLE, results)


def _words(one: Element) -> str:
    return " ".join("".join(one.itertext()).replace("\u00a0", " ").replace("\u202f", " ").split())


def _cells(tree: Element, design: str) -> list[str]:
    """Words of the cells of the row that a design heads alone."""
    row = next(
        one
        for one in tree.iter("tr")
        if one.find("td") is not None and any(each.get("data-design") == design for each in one.iter())
    )
    return [_words(one) for one in row.iter("td")]


def _part(made: Drawn, ident: str) -> Element:
    return next(one for one in made.tree().iter() if one.get("id") == ident)


def test_each_design_stands_in_a_row_of_fates_whose_numbers_are_its_own(
    made: Drawn, results: Results
) -> None:
    year = read_inputs(None)
    own = {
        one.design: of_hundred(model(year, one.behaviour, year.accounts.number.value, YEAR))
        for one in subjects(results, year, [])
        if one.behaviour is not None and one.reference
    }
    rows = [one for one in _part(made, "hundred").iter("tr") if one.find("td") is not None]
    looked_at = set()
    for row in rows:
        cells = [_words(one) for one in row.findall("td")]
        heads = [one.get("data-design", "") for one in row.iter()]
        for design in {name for names in heads for name in names.split()}:
            assert cells == [_said(value) for value in own[design].values()], design
            looked_at.add(design)
    assert {"hash-upload", "token-psi", "threshold-near"} <= looked_at


def _said(value: float) -> str:
    return "< 0.1" if 0 < value < 0.1 else f"{round(value, 1):g}"


def test_the_slider_of_the_list_says_how_long_the_list_of_the_year_is(made: Drawn) -> None:
    assert made.main
    said = called("slideSaid", {"ident": "list"}, 0)
    assert said == "this run\u2019s; the year\u2019s: 1.21 million"
    assert "against a list of 1.21 million entries" in _words(_part(made, "year"))


def test_no_modified_client_is_said_to_escape_where_only_clients_that_never_ask_are_counted(
    made: Drawn,
) -> None:
    """0a loses nothing to clients that never ask, and two other modified clients escape it."""
    year = _words(_part(made, "year"))
    assert "modified client" not in year and "missed: clients that never ask" in year
    sheet = _words(fromstring(made.sheet))
    assert "Modified clients escape: E2EE designs by not asking, 0a by packing" in sheet


def test_what_a_classifier_flags_wrongly_is_recalled_on_sheet_and_table_of_options(made: Drawn) -> None:
    said = "not measured; recalled 1\u201310 % of pictures"
    found = _cells(fromstring(made.sheet), "device-classifier")
    assert said in found[1]
    assert said in _cells(_part(made, "matrix"), "device-classifier")[2]


@pytest.mark.parametrize("design", VOUCHERS)
def test_what_a_design_finds_of_single_copies_stands_beside_from_when_it_opens_any(
    made: Drawn, design: str
) -> None:
    assert "opens from 5 matches with different hashes on" in _cells(fromstring(made.sheet), design)[1]
    assert "opens from 5 matches with different hashes on" in _cells(_part(made, "matrix"), design)[1]


@pytest.mark.parametrize("design", VOUCHERS)
def test_a_voucher_does_not_grow_with_the_list(results: Results, design: str) -> None:
    vouchers_alone = drawn(SAMPLE, results, given={"setups": 0, "updates": 0})
    megabytes = _cells(fromstring(vouchers_alone.sheet), design)[2].split("; ")[1].split(", ")[0]
    (row,) = [one for one in results.rows if isinstance(one, Measured) and one.id == design]
    sent = 584 * (row.figures["query_up_bytes"].value or 0) / 1e6
    assert megabytes == f"{float(f'{sent:.3g}'):g} MB"


def test_what_opens_messages_of_0c_is_told_alike_on_sheet_and_table_of_options(made: Drawn) -> None:
    """A thief's 96 of 96 stood on the sheet where the table named authorities, who open 8."""
    both = (
        "authorities, by a warrant for one account, 3 of them: 8 of 96 messages opened; "
        "a thief of keys that are kept for good, 3 of them: 96 of 96 messages opened"
    )
    rows = [one for one in fromstring(made.sheet).iter("tr") if "0c" in _words(one)[:4]]
    assert any(both in _words(one) for one in rows)
    (seen,) = [
        one.get("aria-label") or ""
        for one in _part(made, "matrix").iter()
        if "authorities" in (one.get("aria-label") or "")
    ]
    assert both in seen


def test_a_centre_that_opened_vouchers_in_the_run_saw_pictures_in_it(made: Drawn) -> None:
    """24 of 52 were opened, and the table drew the picture as declared and not seen."""
    seen: dict[str, str] = {}
    for row in _part(made, "matrix").iter("tr"):
        heads = {one.get("data-design") for one in row.iter()}
        labels = [one.get("aria-label") for one in row.iter() if one.get("class") == "sees"]
        seen |= {design: labels[0] or "" for design in VOUCHERS if design in heads}
    assert "24 of 52 blinded tokens, threshold, 0 of 52 blinded hash" in _words(fromstring(made.sheet))
    assert "centre: picture (observed)" in seen["threshold-near"]
    assert "centre: picture (declared, not seen)" in seen["threshold-psi"]


def test_whom_joined_logs_tell_of_is_not_called_undeclared_where_an_attack_joined_them(made: Drawn) -> None:
    """The table of topics said "none declared" of designs in which the attack had succeeded."""
    (row,) = [one for one in _part(made, "abuse").iter("tr") if _words(one).startswith("Logs joined")]
    assert "matcher with provider: who sent whom a picture (nobody), played" in _words(row)


def test_the_rights_part_tells_whose_messages_the_provider_reads_in_every_design(made: Drawn) -> None:
    said = "the provider can read the messages of people who never compared keys"
    assert said in _words(_part(made, "rights"))
    assert "can read those who never compared keys" in _words(fromstring(made.sheet))


def test_a_file_without_the_figure_of_a_keys_life_says_what_its_costs_follow_from(results: Results) -> None:
    """The costs said 13 seconds where the list of what has no value said that the file has none."""
    rows = tuple(
        replace(row, figures={name: one for name, one in row.figures.items() if name != "key_life"})
        if isinstance(row, Measured)
        else row
        for row in results.rows
    )
    older = drawn(SAMPLE, replace(results, rows=rows))
    assert "a key lasts 13 seconds" in _words(_part(older, "matrix"))
    said = "what stands beside costs follows from the limits of keys"
    assert said in _words(_part(older, "unmeasured"))
