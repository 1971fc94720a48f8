"""The page that is drawn of a view model: every number opens its evidence, no text becomes markup, and a run
that lacks something has a page that says so."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from copy import deepcopy
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from blindmatch_simulations.report.page_of_view import MODULES, asset, draw_view
from blindmatch_simulations.report.view.schema import View
from support.drawn_view import (
    REASONS,
    drawn_view,
    hundred_of,
    marked_tags,
    plain_view,
    sample_view,
    unevidenced,
    words_of,
)
from support.marked_view import KEYED, MARK, STRUCTURE, marked

SECTIONS = (
    "findings", "designs", "compare", "hundred", "edits", "flagged", "costs", "abuse", "openings", "reported",
    "unmeasured", "law", "terms",
)  # fmt: skip


def tried_of(view: dict[str, Any], answer: str = "found") -> dict[str, Any]:
    """What "try one" shows, with one answer of all designs for a listed picture."""
    edits = [edit["name"] for edit in view["edits"]]
    shot = {"picture": "data:image/webp;base64,AA==", "likeness": "data:image/webp;base64,BB==", "finer": ""}
    picture = {
        "id": "cat",
        "title": "A cat",
        "alt": "The face of a cat",
        "package": "a package",
        "licence": "CC0",
    }
    trial = {
        "how": "asked in a real session",
        "listed": {"cat": [answer] * len(edits)},
        "unlisted": {"cat": ["nothing to find"] * len(edits)},
    }
    return {
        "fillers": 40,
        "pictures": [picture],
        "edits": edits,
        "answers": {card["id"]: trial for card in view["designs"]},
        "not_covered": {},
        "shots": {"cat": [shot] * len(edits)},
    }


def test_the_sample_draws_every_section_and_each_has_its_title_and_its_source() -> None:
    drawn = drawn_view(plain_view())
    sections = list(drawn.tree().iter("section"))
    assert [one.get("id") for one in sections] == list(SECTIONS)
    for one in sections[1:]:
        titles = [each for each in one.iter() if each.get("id") == f"{one.get('id')}-title"]
        assert len(titles) == 1 and words_of(titles[0]), one.get("id")
        assert "Source: " in words_of(one), one.get("id")


def test_every_design_stands_once_in_the_table_by_level_and_in_the_order_of_the_view() -> None:
    view = plain_view()
    table = drawn_view(view).section("designs-table")
    names = [words_of(one) for one in table.iter("button") if one.get("data-set") == "open"]
    assert names == [card["title"] for card in view["designs"]]
    levels = [words_of(one) for one in table.iter("tr") if one.get("class") == "level"]
    assert levels == list(dict.fromkeys(card["level"] for card in view["designs"]))


# ---- numbers


@pytest.mark.parametrize("with_tried", [False, True], ids=["not tried", "tried"])
@pytest.mark.parametrize("is_moved", [False, True], ids=["assumed", "moved"])
def test_each_number_opens_evidence_or_has_a_named_reason(with_tried: bool, is_moved: bool) -> None:
    view = plain_view()
    state: dict[str, object] = {"open": "token-psi", **({"video": 20, "modified": 50} if is_moved else {})}
    root = drawn_view(view, tried_of(view) if with_tried else None, **state).tree()
    keys = {*view["evidence"]}
    assert list(unevidenced(root, keys)) == []
    opened = [one.get("data-evidence") for one in root.iter() if one.get("data-evidence") is not None]
    assert len(opened) > 500
    assert {*opened} <= keys, "a number opens nothing"
    used = {one.get("data-digits") for one in root.iter() if one.get("data-digits")}
    assert used <= REASONS.keys()


def test_the_walk_finds_a_number_without_evidence() -> None:
    view = plain_view()
    view["unmeasured"] = ["nothing"]
    view["findings"][0]["says"].append(["There are 17 of them."])
    assert list(unevidenced(drawn_view(view).tree(), {*view["evidence"]})) == ["There are 17 of them."]


def test_figures_show_the_value_of_their_evidence() -> None:
    view = plain_view()
    view["evidence"]["hundred/token-psi/found"]["value"] = 37.4
    view["evidence"]["cost/token-psi/phone"]["value"] = 12_340.0
    root = drawn_view(view).section("designs-table")
    shown = {one.get("data-evidence"): words_of(one) for one in root.iter("a")}
    assert shown["hundred/token-psi/found"] == "37"
    assert shown["cost/token-psi/phone"].replace("\u00a0", " ") == "12.3 s"


def test_evidence_opens_state_value_ends_number_reason_and_source() -> None:
    view = plain_view()
    held = view["evidence"]["flagged/mixed"]
    card = drawn_view(view).cards["flagged/mixed"]
    for words in (held["title"], held["state"], str(held["value"]), held["interval"], *held["source"]):
        assert words.replace("'", "&#39;") in card
    assert str(held["low"]) in card and str(held["high"]) in card
    assert "22\u202f143" in card
    assert view["runs"][0]["digest"][:16] in card


def test_evidence_of_a_design_names_it() -> None:
    view = plain_view()
    card = next(one for one in view["designs"] if one["id"] == "token-psi")
    cards = drawn_view(view).cards
    assert card["title"] in cards["hundred/token-psi/found"] and card["title"] in cards[card["cost"]["phone"]]
    assert "<dt>design</dt>" not in cards["flagged/mixed"]


def test_evidence_says_over_which_list_it_was_measured_and_that_it_was_disturbed() -> None:
    view = plain_view()
    view["evidence"]["flagged/mixed"] |= {"entries": 20_020, "disturbed": True}
    card = drawn_view(view).cards["flagged/mixed"]
    assert "20\u202f020 entries" in card and "Other work on the same machine" in card
    assert "Other work" not in drawn_view(view).cards["flagged/seen"]


# ---- states


def test_states_look_different_from_each_other_and_from_zero() -> None:
    view = plain_view()
    keys = [card["cost"]["phone"] for card in view["designs"][3:9]]
    states = ("not measured", "not run", "failed", "does not apply")
    for key, state in zip(keys, states, strict=False):
        view["evidence"][key] |= {"state": state, "value": None, "low": None, "high": None}
    view["evidence"][keys[4]] |= {"value": 0.0, "low": None, "high": None}
    view["evidence"][keys[5]] |= {"value": 3.0, "at_least": True}
    root = drawn_view(view).section("designs-table")
    cells = {one.get("data-evidence"): one for one in root.iter("a")}
    kinds = []
    for key, state in zip(keys, states, strict=False):
        mark = next(one for one in cells[key].iter("span"))
        assert words_of(mark) == state
        kinds.append(mark.get("class"))
    assert len({*kinds}) == 4
    styles = asset("page.css") + asset("phone.css")
    for kind in kinds:
        assert kind is not None and f".{kind.replace(' ', '.')} {{" in styles, (
            "each state has a look of its own"
        )
    assert words_of(cells[keys[4]]).startswith("0") and not [*cells[keys[4]].iter("span")]
    assert words_of(cells[keys[5]]).startswith("over 3")
    chart = drawn_view(view).section("cost-phone")
    arrows = [one for one in chart.iter() if "arrow" in (one.get("class") or "")]
    phones = [view["evidence"][card["cost"]["phone"]] for card in view["designs"] if card["cost"]]
    open_ends = [phone for phone in phones if phone["at_least"] and phone["value"] is not None]
    assert len(arrows) == len(open_ends) > 0, "an open end has an arrow"


# ---- what the reader moves


def test_the_script_finds_what_python_calculated_of_a_hundred_files() -> None:
    view = plain_view()
    held = view["evidence"]
    base = view["year"]["base"]
    for one in view["behaviours"]:
        card = next(card for card in view["designs"] if card["id"] == one["name"])
        made = hundred_of(view, one["name"], video=base["video"], modified=base["modified"])
        for fate, key in card["fates"].items():
            assert made[fate] == pytest.approx(held[key]["value"], abs=1e-6), (one["name"], fate)
        for end, place in (("high", "low"), ("low", "high")):
            chosen = {name: view["year"]["ends"][name][end] for name in ("video", "modified")}
            moved = hundred_of(view, one["name"], **chosen)["found"]
            assert moved == pytest.approx(held[card["fates"]["found"]][place], abs=1e-6), one["name"]


def test_moved_sliders_change_bars_and_title_and_no_longer_claim_evidence() -> None:
    view = plain_view()
    still = drawn_view(view)
    moved = drawn_view(view, video=10, modified=0)
    assert still.live["hundred-heading"] != moved.live["hundred-heading"]
    assert 'data-evidence="hundred/' in still.live["hundred-bars"]
    assert "data-evidence" not in moved.live["hundred-bars"]
    assert 'data-digits="chosen"' in moved.live["hundred-bars"]


def test_the_dots_follow_the_chosen_rate() -> None:
    view = plain_view()
    even = drawn_view(view)
    rare = drawn_view(view, rate=8)
    often = drawn_view(view, rate=2)
    counts = [one.live["flagged-dots"].count('class="wrong"') for one in (rare, even, often)]
    assert counts[0] == 0 and counts[1] == 50 and counts[2] == 100
    assert "cannot tell" in even.live["flagged-says"] and "excludes such a rate" in often.live["flagged-says"]


def test_counts_of_pictures_are_exact_where_nothing_matched() -> None:
    words = drawn_view(plain_view()).live["flagged-chart"]
    assert "0 of 602, up to 0.611" in words and "0 of 22\u202f143, up to 7.25" in words


# ---- titles follow the data


def test_titles_are_computed_so_that_other_data_have_other_ones() -> None:
    view = plain_view()
    before = drawn_view(view)
    title = before.words("flagged-title")
    assert re.search(r"only rates above 0\.611\s%\s+or\s+above\s17\.6\s%, depending on how far", title), title
    other = deepcopy(view)
    other["evidence"]["flagged/excluded"]["value"] = 1e-7
    # the test reaches the rate that decides by one way of counting alone, so that it does not by both
    assert "only rates above" in drawn_view(other).words("flagged-title")
    other["evidence"]["flagged/excluded-by-source"]["value"] = 2e-7
    for card in other["designs"]:
        for one in card["tiles"]:
            one["holds"] = "nothing"
        if "phone" in card["cost"]:
            other["evidence"][card["cost"]["phone"]]["value"] = 5.0
    for one in other["abusers"]:
        for each in one["exposed"]:
            each["notices"] = "its sender"
    after = drawn_view(other)
    assert "only rates" not in after.words("flagged-title")
    assert (
        after.words("designs-title")
        == "By their own declarations, with nineteen of nineteen designs that look for something nobody gets "
        "anything of what an innocent picture shows"
    )
    assert "less than a factor of two" in after.words("costs-title")
    assert after.words("abuse-title") == "Of every attack that succeeded, somebody could notice"


def test_the_designs_title_counts_by_the_most_that_one_party_holds() -> None:
    view = plain_view()
    words = drawn_view(view).words("designs-title")
    looks = [card for card in view["designs"] if any(one["holds"] == "the picture" for one in card["tiles"])]
    assert len(looks) == 1 and words.endswith("with one somebody gets an innocent picture itself")


# ---- runs that lack something


def none_of(view: dict[str, Any], *prefixes: str) -> None:
    """Take away the values of evidence whose key begins so."""
    for key, held in view["evidence"].items():
        if key.startswith(prefixes):
            held |= {"state": "not measured", "value": None, "low": None, "high": None, "n": None}


def test_one_design_has_a_page() -> None:
    view = plain_view()
    view["designs"] = view["designs"][7:8]
    drawn = drawn_view(view)
    assert [one.get("id") for one in drawn.tree().iter("section")] == [
        one for one in SECTIONS if one != "compare"
    ]
    assert drawn.words("findings").count("One design stands for") == 1


def test_forty_designs_have_a_page() -> None:
    view = plain_view()
    view["designs"] += [deepcopy(card) | {"id": f"{card['id']}-b"} for card in view["designs"]]
    drawn = drawn_view(view)
    names = [one for one in drawn.section("designs-table").iter("button") if one.get("data-set") == "open"]
    assert len(names) == len(view["designs"]) == 42


def test_failures_stand_as_failed_with_their_reason() -> None:
    view = plain_view()
    view["failed"] = [{"id": "broken-psi", "why": "it raised an error"}]
    words = drawn_view(view).words("designs-table")
    assert "broken-psi" in words and "failed it raised an error" in words


def test_a_run_whose_designs_all_failed_says_so() -> None:
    view = plain_view()
    view |= {"designs": [], "behaviours": [], "edits": [], "rates": [], "abusers": [], "openings": []}
    view["failed"] = [{"id": "broken-psi", "why": "it raised an error"}]
    drawn = drawn_view(view)
    assert "no design that could be measured" in drawn.words("findings")
    assert drawn.words("designs-title") == "No design of this run has figures"
    assert "was not calculated in this run" in drawn.words("hundred-title")
    assert "not measured in this run" in drawn.words("costs-title")
    assert "was not measured in this run" in drawn.words("edits-title")


def test_without_a_corpus_edits_and_rates_are_not_measured() -> None:
    view = plain_view()
    none_of(view, "edit/", "flagged/seen", "flagged/excluded", "flagged/mixed", "flagged/photographs")
    drawn = drawn_view(view)
    assert "was not measured in this run" in drawn.words("edits-title")
    assert "how many are was not measured" in drawn.words("flagged-title")
    assert "not measured" in drawn.words("flagged")


def test_without_attacks_the_page_says_that_none_was_played() -> None:
    view = plain_view()
    view["abusers"] = []
    drawn = drawn_view(view)
    assert drawn.words("abuse-title") == "Attacks were not played in this run"
    assert "That is no safety" in drawn.words("abuse")


def test_without_the_model_of_a_year_nothing_can_be_moved() -> None:
    view = plain_view()
    view |= {"year": {}, "behaviours": []}
    root = drawn_view(view).tree()
    assert not [one for one in root.iter("input") if one.get("type") == "range"]


def test_designs_whose_list_was_not_measured_are_named() -> None:
    view = plain_view()
    key = "opened/token-psi/1000"
    view["evidence"][key] = view["evidence"]["flagged/mixed"] | {"value": 0.25, "low": None, "high": None}
    view["openings"] = [{"design": "token-psi", "by_phones": {"1000": key}, "says": "an opening"}]
    words = drawn_view(view).words("openings")
    titles = {card["id"]: card["title"] for card in view["designs"]}
    missing = words.split("not measured for ")[1].split(" The table")[0]
    assert titles["oprf-psi"] in missing and titles["token-psi"] not in missing.split("; ")


# ---- try one


def test_without_tried_pictures_the_page_says_that_they_were_not_made() -> None:
    words = drawn_view(plain_view()).words("designs")
    assert "not run" in words and "needs the file try.json" in words


def test_a_found_copy_shows_the_picture_at_the_centre_and_a_likeness_where_a_hash_is_held() -> None:
    view = plain_view()
    root = drawn_view(view, tried_of(view), open="", listed=1).section("designs-table")
    row = next(one for one in root.iter("tr") if view["designs"][7]["title"] in words_of(one))
    assert view["designs"][7]["id"] == "hash-upload"
    pictures = [one.get("src") for one in row.iter("img")]
    assert pictures == ["data:image/webp;base64,BB==", "data:image/webp;base64,AA=="]
    assert "found" in words_of(row)
    missed = drawn_view(view, tried_of(view, "missed"), listed=1).section("designs-table")
    row = next(one for one in missed.iter("tr") if view["designs"][7]["title"] in words_of(one))
    assert [one.get("src") for one in row.iter("img")] == ["data:image/webp;base64,BB=="]


def test_a_design_that_could_not_be_asked_says_why() -> None:
    view = plain_view()
    tried = tried_of(view)
    del tried["answers"]["he-hamming"]
    tried["not_covered"] = {"he-hamming": "it takes too long"}
    root = drawn_view(view, tried).section("designs-table")
    row = next(one for one in root.iter("tr") if "Compared while it is encrypted" in words_of(one))
    assert "not run" in words_of(row) and "it takes too long" in words_of(row)


# ---- strangers' text


@pytest.mark.parametrize("whole", [False, True], ids=["texts", "all texts and names"])
def test_markup_in_any_text_of_the_view_is_escaped(whole: bool) -> None:
    view = plain_view()
    view["failed"] = [{"id": "broken", "why": "it raised"}]
    view["openings"] = [
        {"design": "token-psi", "by_phones": {"1000": "flagged/mixed"}, "says": "opened"},
    ]
    tried = tried_of(view)
    made = marked(view, whole=whole)
    told = marked(tried, ("tried",))
    told["edits"] = [edit["name"] for edit in made["edits"]]
    told["shots"] = {f"cat{MARK}": told["shots"]["cat"]}
    told["answers"] = {
        f"{name}{MARK}": {"how": one["how"], "listed": {f"cat{MARK}": one["listed"]["cat"]}, "unlisted": {}}
        for name, one in told["answers"].items()
    }
    for tried_too in (None, told):
        drawn = drawn_view(made, tried_too, open=f"token-psi{MARK}")
        assert marked_tags(drawn.tree()) == []
        text = drawn.whole()
        assert "<img src=x" not in text and "<script" not in text
        assert text.count("&#60;img src=x") > 1000, "the marks are drawn"


def texts_of(value: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each text with its place, in which entries of lists and of objects with free names are alike."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, list):
        for one in value:
            yield from texts_of(one, at)
    elif isinstance(value, dict):
        for name, one in value.items():
            free = at[-1:] and at[-1] in KEYED
            yield from texts_of(one, at if free else (*at, name))


NOT_DRAWN = {
    ("format",): "of the file",
    ("edits", "name"): "the note says it in words",
    ("behaviours", "name"): "joins a behaviour to its card",
    ("behaviours", "source"): "stands in the evidence of what is found",
    ("options", "level"): "stands as the level of the designs",
    ("edits", "found"): "keys of evidence",
    ("designs", "tiles", "party"): "stands in the page's own words for parties",
    ("designs", "misuse"): "stands in its parts, with the page's own words for parties",
    ("abusers", "actor"): "stands in the page's own words for parties",
}
"""Texts of the view model that are not on the page as they are, and why."""


def test_every_text_of_the_view_model_is_drawn_or_has_a_reason() -> None:
    view = plain_view()
    view["failed"] = [{"id": "broken", "why": "it raised"}]
    view["openings"] = [{"design": "token-psi", "by_phones": {"1000": "flagged/mixed"}, "says": "opened"}]

    def folded(words: str) -> str:
        return " ".join(words.replace("\u00a0", " ").replace("\u202f", " ").split()).lower()

    # each design's card is drawn, one after the other
    shown = folded("".join(drawn_view(view, open=card["id"]).whole() for card in view["designs"]))
    left = set()
    for place, words in texts_of(view):
        is_model = place[:1] == STRUCTURE or place[:1] == ("behaviours",)
        if is_model or place[-1] == "evidence" or place in NOT_DRAWN:
            continue
        plain = re.sub(r"\[\[([^\]]*)\]\]", r"\1", words)
        escaped = "".join(f"&#{ord(one)};" if one in "&<>\"'" else one for one in plain)
        if folded(escaped) not in shown:
            left.add((place, words[:60]))
    assert left == set()


# ---- the file


def page() -> str:
    return draw_view(msgspec.json.decode(sample_view(), type=View))


def test_the_file_admits_its_own_script_and_styles_alone_and_fetches_nothing() -> None:
    text = page()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(scripts) == len(styles) == 1
    for kind, held in (("script-src", scripts[0]), ("style-src", styles[0])):
        digest = b64encode(sha256(held.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1] and "require-trusted-types-for 'script'" in policy[1]
    assert not re.search(r"""\b(src|href)=["']?(https?:)?//""", text)
    assert "style=" not in "".join(asset(f"{name}.js") for name in MODULES)
    assert len(text.encode()) < 2_500_000


def test_data_cannot_end_the_element_that_holds_them() -> None:
    view = msgspec.json.decode(msgspec.json.encode(marked(plain_view())), type=View)
    text = draw_view(view, {"pictures": [MARK]})
    assert text.count("</script>") == 3
    assert "<img src=x" not in text


def test_one_module_alone_knows_a_document_and_each_says_what_goes_in_and_out() -> None:
    for name in MODULES:
        code = asset(f"{name}.js")
        head = code[:900]
        assert "// In: " in head and "Out:" in head, name
        if name != MODULES[-1]:
            assert not re.search(r"\b(document|window|location|localStorage)\.[a-z]", code), name


def test_components_are_small_and_have_no_long_line() -> None:
    for name in [*(f"{one}.js" for one in MODULES), "page.css", "phone.css", "sheet.css", "shell.html"]:
        lines = asset(name).splitlines()
        assert max(map(len, lines)) <= 120, (name, max(lines, key=len))
        assert len(lines) <= (300 if name.endswith(".js") else 1500), name


# ---- what crashed, and what is assumed, is drawn as such


def test_attacks_that_crashed_are_named_and_tell_nothing_of_designs() -> None:
    view = plain_view()
    view["attacks_failed"] = ["a leaflet on the list, on oprf-psi"]
    drawn = drawn_view(view)
    assert "a leaflet on the list, on oprf-psi" in drawn.words("abuse")
    assert "tell nothing of the designs" in drawn.words("abuse")
    assert "tell nothing of the designs" not in drawn_view(plain_view()).words("abuse")


def test_where_every_attack_crashed_the_title_does_not_say_that_none_was_played() -> None:
    view = plain_view()
    view["attacks_failed"] = ["a leaflet on the list, on oprf-psi"]
    view["abusers"] = []
    assert drawn_view(view).words("abuse-title") == "Of the attacks that were played, none came to its end"


def test_shares_of_the_mix_are_assumed_figures_that_open_their_evidence_and_sum_to_one() -> None:
    view = plain_view()
    shares = [view["evidence"][edit["mix"]] for edit in view["edits"]]
    assert {share["state"] for share in shares} == {"assumed"}
    assert sum(share["value"] for share in shares) == pytest.approx(1)
    unnamed = [share for share in shares if not share["value"]]
    assert unnamed and all("does not name" in share["why"] for share in unnamed)
    assert all(f'data-evidence="{edit["mix"]}"' in drawn_view(view).main for edit in view["edits"][:2])


def test_no_rule_of_the_styles_lays_out_the_whole_page_by_the_name_of_its_kind() -> None:
    kind = re.search(r'<body class="([^"]+)">', draw_view(msgspec.convert(plain_view(), View)))
    assert kind and f".{kind[1]}" not in asset("page.css") + asset("phone.css")


# ---- what is shown must be what was measured


def test_more_than_a_factor_is_never_rounded_up() -> None:
    view = plain_view()
    for card in view["designs"]:
        for name in ("phone", "servers"):
            if name in card["cost"]:
                view["evidence"][card["cost"][name]] |= {"value": 10.0, "at_least": False}
    most = next(card for card in view["designs"] if card["id"] == "he-hamming")
    view["evidence"][most["cost"]["phone"]] |= {"value": 276.0, "at_least": False}
    view["evidence"][most["cost"]["servers"]] |= {"value": 17_990.0, "at_least": True}
    title = drawn_view(view).words("costs-title")
    assert "about 28" in title and "more than 1 700" in title
    assert "with a list of 3 004 entries" in title


def test_designs_on_which_an_attack_was_not_played_are_not_said_to_have_succumbed() -> None:
    view = plain_view()
    titles = {card["id"]: card["title"] for card in view["designs"]}
    actor = view["abusers"][0]
    view["abusers"] = [actor]
    actor["exposed"] = [actor["exposed"][0] | {"designs": ["oprf-psi"], "alike": ["split-psi", "none"]}]
    root = drawn_view(view).section("abuse")
    (story,) = (words_of(one) for one in root.iter("div") if one.get("class") == "story")
    assert re.search(rf"One design on which it was played\.\s*which\s*{re.escape(titles['oprf-psi'])}", story)
    assert "Two designs more are taken to go alike" in story and "it was not played there" in story
    mark = next(one for one in root.iter("details") if one.get("class") == "played-mark")
    parts = words_of(mark).split("not played, but taken to go alike, with")
    assert len(parts) == 2 and titles["split-psi"] not in parts[0] and titles["split-psi"] in parts[1]


def test_attacks_cite_the_run_in_which_they_were_played() -> None:
    view = plain_view()
    view["attacks_run"] = view["attacks_run"] | {"made_at": "2031-05-06T00:00:00+00:00", "digest": "ab" * 32}
    drawn = drawn_view(view)
    assert "Run of 2031-05-06, digest abababab" in drawn.words("abuse")
    assert (
        view["runs"][0]["made_at"][:10] not in drawn.words("abuse").split("Source:")[1].split("Openings")[0]
    )
    assert "2031" not in drawn.words("costs")


def test_an_attack_that_encryption_alone_allows_has_a_mark_of_its_own() -> None:
    root = drawn_view(plain_view()).section("abuse")
    signs = {
        words_of(one).split(",")[0].split(".")[0]: next(each.get("class") for each in one.iter("i"))
        for one in root.iter("summary")
        if "Succeeded" in words_of(one) or "Played without" in words_of(one)
    }
    assert signs["Succeeded"] == "sign alike" and signs["Played without success"] == "sign stood"


def test_designs_whose_key_is_used_up_say_so_beside_what_they_find_and_what_servers_cost() -> None:
    view = plain_view()
    drawn = drawn_view(view)
    caveat = "as if its key lasted; it is used up after 12.6"
    short = {card["title"] for card in view["designs"] if card["id"] in KEYS_THAT_END}
    for row in drawn.section("designs-table").iter("tr"):
        names = {words_of(one) for one in row.iter("button") if one.get("data-set") == "open"}
        if names:
            said = " ".join(words_of(row).split()).count(caveat)
            assert said == (2 if names & short else 0), names
    assert all(title in drawn.words("hundred").split("used up:")[1] for title in short)


KEYS_THAT_END = ("token-psi", "split-token-psi", "carried-token-psi")


def test_the_page_opens_with_an_innocent_picture_and_a_listed_one_changes_what_the_tiles_are_of() -> None:
    view = plain_view()
    opened = drawn_view(view, tried_of(view))
    assert "when an innocent picture is sent" in opened.words("tiles-note")
    listed = drawn_view(view, tried_of(view), listed=1)
    assert "what a report brings" in listed.words("tiles-note")
    assert "what else a match tells the parties is not drawn" in listed.words("tiles-note")


def test_designs_that_look_for_nothing_do_not_count_as_those_that_tell_nobody() -> None:
    title = drawn_view(plain_view()).words("designs-title")
    assert title.startswith(
        "By their own declarations, with eleven of nineteen designs that look for something"
    )
    assert "with two somebody gets a sealed voucher of one" in title


def test_lists_that_attacks_opened_are_named_where_their_share_in_a_year_is_not_known() -> None:
    view = plain_view()
    assert set(view["opened_by_asking"]) >= {"oprf-psi", "token-psi", "split-psi"}
    assert "opened parts of a small list, by asking, in five of these designs" in drawn_view(view).words(
        "openings"
    )
    view["opened_by_asking"] = []
    assert "which is no safety" not in drawn_view(view).words("openings")


def test_a_cell_of_a_table_has_its_head_beside_it_for_a_phone() -> None:
    root = drawn_view(plain_view()).section("unmeasured")
    table = next(one for one in root.iter("table") if one.get("class") == "plain")
    heads = [words_of(one) for one in table.iter("th") if one.get("role") == "columnheader"]
    row = next(one for one in table.iter("tr") if any(each.tag == "td" for each in one))
    labels = [words_of(one) for one in row.iter("span") if one.get("class") == "lab"]
    assert labels == heads[1:]


def test_zero_not_measured_and_what_does_not_apply_are_drawn_apart() -> None:
    view = plain_view()
    with_value, unknown, without = view["designs"][:1] + view["designs"][3:5]
    evidence = view["evidence"]
    nothing = {"value": None, "low": None, "high": None, "at_least": False}
    evidence[with_value["cost"]["phone"]] |= {"value": 0.0, "low": None, "high": None, "at_least": False}
    evidence[unknown["cost"]["phone"]] |= nothing | {"state": "not measured"}
    evidence[without["cost"]["phone"]] |= nothing | {"state": "does not apply"}
    chart = drawn_view(view).section("cost-phone")
    assert len([one for one in chart.iter("rect") if one.get("class") == "mark-zero"]) == 1
    known = [card for card in view["designs"] if "phone" in card["cost"]]
    missing = [card for card in view["designs"] if card not in known]
    assert len([one for one in chart.iter("line") if one.get("class") == "unknown"]) == 1 + len(missing)


def test_what_can_be_shown_of_a_report_stands_with_who_can_check_it() -> None:
    view = plain_view()
    words = drawn_view(view).words("reported")
    assert "of eight things that matter in a report, anybody can check two" in words
    for one in view["provable"]:
        assert one["claim"] in words and one["by"][1:] in words
