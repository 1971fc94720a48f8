"""The decision sheet that is drawn of a view model: its numbers follow back to evidence, its findings are
those of the page, no text becomes markup, and a run that lacks something has a sheet that says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any
from xml.etree.ElementTree import Element

import msgspec
import pytest
from blindmatch_simulations.report.page_of_view import asset, draw_sheet
from blindmatch_simulations.report.view.schema import View
from defusedxml.ElementTree import fromstring
from support.drawn_view import drawn_view, marked_tags, plain_view, sample_view, unevidenced, words_of
from support.marked_view import MARK, marked

FOUND = 2
PHONE = 3
DATA = 4
SERVERS = 5
ONE_LIST = 7
"""Cells of a row: the first is what parties get."""


def sheet_of(view: dict[str, Any]) -> Element:
    """The sheet, which must be well formed."""
    root: Element = fromstring(f"<div>{drawn_view(view).sheet}</div>")
    return root


def part_of(root: Element, ident: str) -> Element:
    return next(one for one in root.iter() if one.get("id") == ident)


def rows_of(root: Element) -> Iterator[list[Element]]:
    """The rows of single designs, each as its cells; the first names the design."""
    for row in part_of(root, "designs").iter("tr"):
        cells = [*row]
        if cells[0].get("scope") == "row":
            yield cells


def row_of(root: Element, ident: str) -> list[Element]:
    return next(cells for cells in rows_of(root) if ident in [words_of(one) for one in cells[0].iter("code")])


def none_of(view: dict[str, Any], *prefixes: str) -> None:
    """Take away the values of evidence whose key begins so."""
    for key, held in view["evidence"].items():
        if key.startswith(prefixes):
            held |= {"state": "not measured", "value": None, "low": None, "high": None, "n": None}


# ---- what stands on it


def test_the_sheet_has_its_parts_in_their_order() -> None:
    parts = [one.get("id") for one in sheet_of(plain_view()).iter("section")]
    assert parts == ["findings", "unmeasured", "reading", "run", "designs"]


def test_the_findings_are_the_sentences_of_the_page() -> None:
    view = plain_view()
    root = sheet_of(view)
    drawn = drawn_view(view)
    page = [words_of(one) for one in drawn.section("findings").iter("div") if one.get("class") == "finding"]
    sheet = [words_of(one) for one in part_of(root, "findings").iter("div") if one.get("class") == "finding"]
    assert len(sheet) == len(view["findings"]) == 3
    assert sheet == page
    assert words_of(part_of(root, "question")) == drawn.words("question")


def test_each_design_has_its_row_by_level_with_its_title_its_name_and_its_option() -> None:
    view = plain_view()
    root = sheet_of(view)
    rows = [words_of(cells[0]).rstrip("\u2020") for cells in rows_of(root)]
    assert rows == [f"{card['title']} {card['option']} {card['id']}" for card in view["designs"]]
    levels = [words_of(one) for one in root.iter("tr") if one.get("class") == "level"]
    assert levels == list(dict.fromkeys(card["level"] for card in view["designs"]))


def test_each_party_that_holds_something_has_its_tile_which_the_legend_explains() -> None:
    view = plain_view()
    root = sheet_of(view)
    for card, cells in zip(view["designs"], rows_of(root), strict=True):
        tiles = [one for one in cells[1].iter("span") if one.get("role") == "img"]
        assert len(tiles) == len(card["tiles"]), card["id"]
    in_rows = [one for cells in rows_of(root) for one in cells[1].iter() if one.get("role") == "img"]
    drawn = {one.get("class") for one in in_rows}
    legend = next(one for one in root.iter("ul") if one.get("class") == "legend tiles")
    assert drawn == {one.get("class") for one in legend.iter() if one.get("role") == "img"}


def test_the_sheet_names_the_run_its_digest_its_command_and_what_nobody_measured() -> None:
    view = plain_view()
    root = sheet_of(view)
    run = view["runs"][0]
    for words in (run["digest"], run["command"], run["made_at"], run["machine"]):
        assert words in words_of(part_of(root, "run"))
    gaps = [words_of(one) for one in part_of(root, "unmeasured").iter("li")]
    assert gaps == [re.sub(r"\[\[([^\]]*)\]\]", r"\1", one) for one in view["unmeasured"]]


def test_what_a_row_says_of_one_list_in_short_stands_below_in_full_for_each_design() -> None:
    view = plain_view()
    root = sheet_of(view)
    full = words_of(part_of(root, "reading"))
    for card, cells in zip(view["designs"], rows_of(root), strict=True):
        short = words_of(cells[ONE_LIST])
        assert card["one_list"].startswith(short), card["id"]
        assert card["one_list"].rstrip(".") == short or card["one_list"] in full, card["id"]


# ---- numbers


def test_each_number_follows_back_to_evidence_or_has_a_named_reason() -> None:
    view = plain_view()
    root = sheet_of(view)
    keys = {*view["evidence"]}
    assert list(unevidenced(root, keys)) == []
    opened = [one.get("data-evidence") for one in root.iter() if one.get("data-evidence") is not None]
    assert len(opened) > 100
    assert {*opened} <= keys, "a number opens nothing"


def test_a_row_shows_the_values_of_its_evidence() -> None:
    view = plain_view()
    held = view["evidence"]
    held["hundred/token-psi/found"] |= {"value": 37.4, "low": 11.0, "high": 66.0}
    held["cost/token-psi/phone"]["value"] = 12_340.0
    held["cost/token-psi/up"]["value"] = 777.0
    held["cost/token-psi/down"]["value"] = 888.0
    held["cost/token-psi/servers"] |= {"value": 4321.0, "at_least": True}
    cells = [words_of(one) for one in row_of(sheet_of(view), "token-psi")]
    assert cells[FOUND].replace("\u00a0", " ") == "37\u202111 to 66"
    assert cells[PHONE] == "12.3 s"
    assert cells[DATA] == "777 bytes888 bytes"
    assert cells[SERVERS] == "over 4 320\u2021"


def test_states_look_different_from_each_other_and_from_zero() -> None:
    view = plain_view()
    cards = [card for card in view["designs"] if card["cost"]][:5]
    states = ("not measured", "not run", "failed", "does not apply")
    for card, state in zip(cards, states, strict=False):
        view["evidence"][card["cost"]["phone"]] |= {"state": state, "value": None, "low": None, "high": None}
    held = view["evidence"][cards[4]["cost"]["phone"]]
    held |= {"value": 0.0, "low": None, "high": None, "at_least": False}
    root = sheet_of(view)
    marks = []
    for card, state in zip(cards, states, strict=False):
        mark = next(row_of(root, card["id"])[PHONE].iter("span"))
        assert words_of(mark) == state
        marks.append(mark.get("class"))
    assert len({*marks}) == 4
    zero = row_of(root, cards[4]["id"])[PHONE]
    assert words_of(zero) == "0 ms" and not [*zero.iter("span")]


# ---- runs that lack something


def test_one_design_has_a_sheet() -> None:
    view = plain_view()
    view["designs"] = view["designs"][7:8]
    root = sheet_of(view)
    assert len([*rows_of(root)]) == 1
    assert "One design stands for" in words_of(part_of(root, "findings"))


def test_forty_designs_have_a_sheet_with_a_row_for_each() -> None:
    view = plain_view()
    view["designs"] += [deepcopy(card) | {"id": f"{card['id']}-b"} for card in view["designs"]]
    assert len([*rows_of(sheet_of(view))]) == 2 * len(plain_view()["designs"])


def test_failures_stand_as_failed_with_their_reason() -> None:
    view = plain_view()
    view["failed"] = [{"id": "broken-psi", "why": "it raised an error"}]
    view["attacks_failed"] = ["a lost attack"]
    root = sheet_of(view)
    assert words_of(row_of(root, "broken-psi")[1]) == "failed it raised an error"
    assert "nothing is known of them: a lost attack." in words_of(part_of(root, "unmeasured"))


def test_a_run_whose_designs_all_failed_says_so() -> None:
    view = plain_view()
    view |= {"designs": [], "behaviours": [], "edits": [], "rates": [], "abusers": [], "openings": []}
    view["failed"] = [{"id": "broken-psi", "why": "it raised an error"}]
    root = sheet_of(view)
    assert "no design that could be measured" in words_of(part_of(root, "findings"))
    assert words_of(part_of(root, "designs-title")) == "No design of this run has figures"


def test_without_a_corpus_what_is_found_is_not_measured() -> None:
    view = plain_view()
    none_of(view, "hundred/", "edit/", "flagged/")
    root = sheet_of(view)
    for card, cells in zip(view["designs"], rows_of(root), strict=True):
        state = "not measured" if card["matches"] != "nothing" else "does not apply"
        assert words_of(cells[FOUND]) == state, card["id"]


def test_a_design_without_costs_says_that_they_were_not_measured() -> None:
    view = plain_view()
    card = next(one for one in view["designs"] if one["id"] == "token-psi")
    card["cost"] = {}
    cells = [words_of(one) for one in row_of(sheet_of(view), "token-psi")]
    assert cells[PHONE : SERVERS + 1] == ["not measured"] * 3


# ---- strangers' text


@pytest.mark.parametrize("whole", [False, True], ids=["texts", "all texts and names"])
def test_markup_in_any_text_of_the_view_is_escaped(whole: bool) -> None:
    view = plain_view()
    view["failed"] = [{"id": "broken", "why": "it raised"}]
    view["attacks_failed"] = ["an attack"]
    made = marked(view, whole=whole)
    sheet = drawn_view(made).sheet
    assert marked_tags(sheet_of(made)) == []
    assert "<img src=x" not in sheet and "<script" not in sheet
    assert sheet.count("&#60;img src=x") > 100, "the marks are drawn"


def test_data_cannot_end_the_element_that_holds_them() -> None:
    view = msgspec.json.decode(msgspec.json.encode(marked(plain_view())), type=View)
    text = draw_sheet(view)
    assert text.count("</script>") == 3
    assert "<img src=x" not in text and MARK not in text


# ---- the file


def test_the_file_is_drawn_as_a_sheet_with_styles_of_its_own_and_fetches_nothing() -> None:
    text = draw_sheet(msgspec.json.decode(sample_view(), type=View))
    assert '<body class="sheet">' in text
    assert asset("sheet.css") in text
    assert "default-src 'none'" in text
    assert not re.search(r"""\b(src|href)=["']?(https?:)?//""", text)


def test_no_letters_on_the_sheet_are_smaller_than_eight_points() -> None:
    sizes = [float(one) for one in re.findall(r"font(?:-size)?: ([\d.]+)pt", asset("sheet.css"))]
    assert len(sizes) > 5 and min(sizes) >= 8
    assert not re.search(r"font-size: [\d.]+px", asset("sheet.css"))
