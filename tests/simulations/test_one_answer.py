"""Questions that a reader asks the report have one answer, wherever on the page it stands."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest
from blindmatch_simulations.evaluation.assess.results import Measured, Results
from blindmatch_simulations.evaluation.population.fates import of_hundred
from blindmatch_simulations.evaluation.population.inputs import YEAR, read_inputs
from blindmatch_simulations.evaluation.population.model import model
from blindmatch_simulations.evaluation.population.running import subjects
from defusedxml.ElementTree import fromstring
from msgspec.structs import replace
from support.drawn import Drawn, called, drawn
from support.sample_page import SAMPLE, part_of, sample_page, sample_results, words_of

VOUCHERS = ("threshold-near", "threshold-psi")


@pytest.fixture(scope="module")
def results() -> Results:
    return sample_results()


@pytest.fixture(scope="module")
def made() -> Drawn:
    return sample_page()


def _cells(tree: Element, design: str) -> list[str]:
    """Words of the cells of the row that a design heads alone."""
    row = next(
        one
        for one in tree.iter("tr")
        if one.find("td") is not None and any(each.get("data-design") == design for each in one.iter())
    )
    return [words_of(one) for one in row.iter("td")]


def test_each_design_stands_in_a_row_of_fates_whose_numbers_are_its_own(
    made: Drawn, results: Results
) -> None:
    year = read_inputs(None)
    own = {
        one.design: of_hundred(model(year, one.behaviour, year.accounts.number.value, YEAR))
        for one in subjects(results, year, [])
        if one.behaviour is not None and one.reference
    }
    rows = [one for one in part_of(made, "hundred").iter("tr") if one.find("td") is not None]
    looked_at = set()
    for row in rows:
        cells = [words_of(one) for one in row.findall("td")]
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
    assert "against a list of 1.21 million entries" in words_of(part_of(made, "year"))


def test_no_modified_client_is_said_to_escape_where_only_clients_that_never_ask_are_counted(
    made: Drawn,
) -> None:
    """0a loses nothing to clients that never ask, and two other modified clients escape it."""
    year = words_of(part_of(made, "year"))
    assert "modified client" not in year and "missed: clients that never ask" in year
    sheet = words_of(fromstring(made.sheet))
    assert "Modified clients escape: E2EE designs by not asking, 0a by packing" in sheet


def test_what_a_classifier_flags_wrongly_is_recalled_on_sheet_and_table_of_options(made: Drawn) -> None:
    said = "not measured; recalled 1\u201310 % of pictures"
    found = _cells(fromstring(made.sheet), "device-classifier")
    assert said in found[1]
    assert said in _cells(part_of(made, "matrix"), "device-classifier")[2]


@pytest.mark.parametrize("design", VOUCHERS)
def test_what_a_design_finds_of_single_copies_stands_beside_from_when_it_opens_any(
    made: Drawn, design: str
) -> None:
    assert "opens from 5 matches with different hashes on" in _cells(fromstring(made.sheet), design)[1]
    assert "opens from 5 matches with different hashes on" in _cells(part_of(made, "matrix"), design)[1]


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
    rows = [one for one in fromstring(made.sheet).iter("tr") if "0c" in words_of(one)[:4]]
    assert any(both in words_of(one) for one in rows)
    (seen,) = [
        one.get("aria-label") or ""
        for one in part_of(made, "matrix").iter()
        if "authorities" in (one.get("aria-label") or "")
    ]
    assert both in seen


def test_a_centre_that_opened_vouchers_in_the_run_saw_pictures_in_it(made: Drawn) -> None:
    """24 of 52 were opened, and the table drew the picture as declared and not seen."""
    seen: dict[str, str] = {}
    for row in part_of(made, "matrix").iter("tr"):
        heads = {one.get("data-design") for one in row.iter()}
        labels = [one.get("aria-label") for one in row.iter() if one.get("class") == "sees"]
        seen |= {design: labels[0] or "" for design in VOUCHERS if design in heads}
    assert "24 of 52 blinded tokens with threshold, 0 of 52 blinded hash" in words_of(fromstring(made.sheet))
    assert "centre, of what it opens: picture (observed)" in seen["threshold-near"]
    assert "centre, of what it opens: picture (declared, not seen)" in seen["threshold-psi"]


def test_whom_joined_logs_tell_of_is_not_called_undeclared_where_an_attack_joined_them(made: Drawn) -> None:
    """The table of topics said "none declared" of designs in which the attack had succeeded."""
    (row,) = [one for one in part_of(made, "abuse").iter("tr") if words_of(one).startswith("Logs joined")]
    assert "matcher with provider: who sent whom a picture (nobody), played" in words_of(row)


def test_the_rights_part_tells_whose_messages_the_provider_reads_in_every_design(made: Drawn) -> None:
    said = "the provider can read the messages of people who never compared keys"
    assert said in words_of(part_of(made, "rights"))
    assert "can read those who never compared keys" in words_of(fromstring(made.sheet))


def test_a_file_without_the_figure_of_a_keys_life_says_what_its_costs_follow_from(results: Results) -> None:
    """The costs said 13 seconds where the list of what has no value said that the file has none."""
    rows = tuple(
        replace(row, figures={name: one for name, one in row.figures.items() if name != "key_life"})
        if isinstance(row, Measured)
        else row
        for row in results.rows
    )
    older = drawn(SAMPLE, replace(results, rows=rows))
    assert "a key lasts 13 seconds" in words_of(part_of(older, "matrix"))
    said = "what stands beside costs follows from the limits of keys"
    assert said in words_of(part_of(older, "unmeasured"))


def _said_of(tree: Element, words: str) -> str:
    """Words of the row whose first words these are."""
    return next(words_of(row) for row in tree.iter("tr") if words_of(row).startswith(words))


def test_the_rights_part_names_who_opened_innocent_pictures_in_a_played_attack(made: Drawn) -> None:
    """It said "nobody else" of threshold designs, where a centre with the curator reads unlisted pictures."""
    read = _said_of(part_of(made, "rights"), "Confidentiality")
    assert "centre with curator, in a played attack: 1b blinded tokens with threshold" in read
    assert "provider, under a seal; provider with vendor, in a played attack; provider alone" in read


def test_the_rights_part_tells_who_learns_who_sent_a_picture_as_the_sheet_does(made: Drawn) -> None:
    """It said "only that it was asked" where the sheet had "matcher: who sent it"."""
    (held,) = [
        words_of(row) for row in part_of(made, "rights").iter("tr") if "Data protection" in words_of(row)
    ]
    only = held.partition("only that it was asked: ")[2].partition(";")[0]
    assert only and all("via provider" in one for one in only.split("blinded ")[1:])
    assert "that it was asked, who sent it: the others" in held
    assert "matcher: who sent it" in words_of(fromstring(made.sheet))


def test_a_client_that_is_told_nothing_is_said_to_learn_what_an_attack_let_it_learn(made: Drawn) -> None:
    taken = _said_of(part_of(made, "abuse"), "List opened by clients")
    found = "when vouchers are tried: whether guesses are listed (nobody), played"
    assert f"a client is told no outcome; guesses tested by {found}: 1b blinded tokens with" in taken


def test_an_attack_played_once_says_in_how_many_more_designs_it_counts(made: Drawn) -> None:
    """Tables by actor counted 13 designs where the table of attacks named one."""
    alike = _said_of(part_of(made, "attacks"), "matches split over accounts")
    by_actor = _said_of(part_of(made, "actors"), "that an account with many matches is noticed")
    assert "alike in 12 more" in alike
    named = next(
        row
        for row in part_of(made, "actors").iter("tr")
        if words_of(row).startswith("that an account with many matches is noticed")
    )
    assert by_actor and len({one.get("data-design") for one in named.iter() if one.get("data-design")}) == 13
    assert "designs, played or alike" in words_of(part_of(made, "abuse"))
    assert "designs, played or alike" in words_of(fromstring(made.sheet))


def test_the_part_on_what_is_missed_says_how_many_of_the_edits_it_shows(made: Drawn) -> None:
    cards = [one for one in part_of(made, "edits").iter("li") if one.get("class") == "edit"]
    said = f"with {len(cards)} of these edits, which alone are shown one by one"
    assert said in words_of(part_of(made, "missed"))


def test_why_a_threshold_design_fails_to_recognise_more_of_the_same_hashes_is_said(made: Drawn) -> None:
    """25.9 and 26.2 of 100 files of one letter were not recognised."""
    assert "In threshold designs some vouchers are made up and never count" in words_of(
        part_of(made, "hundred")
    )


def test_reports_a_day_and_the_break_even_say_which_of_them_counts_videos(made: Drawn) -> None:
    assert "Videos count here among known files" in words_of(part_of(made, "flagged-tables"))
    for drawn_part in (part_of(made, "year"), fromstring(made.sheet)):
        assert "If every known picture, videos not counted, were found, half of all" in words_of(drawn_part)


def test_costs_that_were_timed_apart_and_bytes_that_were_not_fetched_say_so(made: Drawn) -> None:
    """3a's answers took 3,330 ms, its servers 2,690; 0a's device 0 and 0.0351; 1d fetched 509 bytes."""
    costs = words_of(part_of(made, "cost-tables"))
    assert "either can be the larger" in costs
    assert "In 0a the provider matches what it reads, so the device is charged nothing" in costs
    assert "did not fetch it: the model of 1d text detector, 4 745 517 bytes" in costs


def test_what_is_assumed_of_witnesses_fits_the_attacks_that_have_them(made: Drawn) -> None:
    """Every run was said to have none, and two attacks on the log were played with some."""
    assumed = _said_of(part_of(made, "assumptions"), "Every device gets the same set.")
    assert "no run here has" not in assumed and "the suite's own" in assumed


def test_each_design_whose_pictures_no_game_told_apart_says_so_on_the_sheet(
    made: Drawn, results: Results
) -> None:
    sheet = fromstring(made.sheet)
    open_ = {
        row.id
        for row in results.rows
        if isinstance(row, Measured)
        and row.figures["advantage"].value is None
        and not row.figures["advantage"].why.startswith("nothing to measure")
        and "nothing is sent for a picture" not in row.figures["advantage"].why
    }
    assert "carried-split-psi" in open_ and "oprf-psi" not in open_
    for design in open_:
        (row,) = [one for one in sheet.iter("tr") if _heads(one, design)]
        assert "whether pictures can be told apart" in words_of(row), design


def _heads(row: Element, design: str) -> bool:
    """Whether a design is named in the row's first cell."""
    head = row.find("th")
    return head is not None and any(design in (one.get("data-design") or "").split() for one in head.iter())


def test_what_the_messenger_shows_stands_among_every_declared_fact(made: Drawn) -> None:
    """0b stood there with "nothing is declared", and the matcher without the account that it is shown."""
    facts = part_of(made, "learns")
    assert "nothing is declared" not in words_of(facts)
    without = [words_of(row) for row in facts.iter("tr") if words_of(row).startswith("0b")]
    assert any("provider: unverified keys, account" in words for words in without)
    assert "matcher: account" in _said_of(facts, "1b hash sent, blinded hash")


def test_parties_that_join_their_logs_stand_beside_what_a_design_declares_of_others(made: Drawn) -> None:
    """2c had only party A with B, and the attack had joined logs with the provider's there."""
    joined = _said_of(part_of(made, "abuse"), "Logs joined")
    said = "party A with party B with provider: who sent whom a picture (nobody), played"
    assert said in joined and joined.endswith("none declared: the others")


def test_what_one_party_found_out_stands_with_what_it_had_to_know(made: Drawn) -> None:
    """Alone and joined, 2b's third party and a matcher via provider had the same answer."""
    exposed = [words_of(row) for row in part_of(made, "actors").iter("tr")]
    wanted = {
        "whose a picture in mind is": "third party holds: pictures in mind, and every request of "
        "days, and who was active on which days, which the provider knows",
        "whose each request is": "matcher holds: when which account\u2019s message leaves",
    }
    for start, condition in wanted.items():
        rows = [words.replace("'", "\u2019") for words in exposed if words.startswith(start)]
        assert rows and all(condition in words for words in rows), start


def test_an_opening_before_the_decoder_stands_beside_from_when_it_opens_any(made: Drawn) -> None:
    assert "with more work, as declared, from 4 on" in words_of(fromstring(made.sheet))


def test_an_audit_without_sessions_is_not_said_to_have_found_nothing(made: Drawn) -> None:
    facts = words_of(part_of(made, "learns"))
    assert "audit of 0 sessions" not in facts and "egress audit: no session to look at" in facts


def test_how_long_a_list_a_devices_work_is_known_for_is_said_of_all_designs(made: Drawn) -> None:
    (head,) = (words_of(one) for one in fromstring(made.sheet).iter("th") if "device's CPU" in words_of(one))
    assert "to the longest list measured (3 000 to 49 thousand entries, by design;" in head


def test_what_was_searched_for_and_timed_is_told_alike_in_assumptions_and_sheet(made: Drawn) -> None:
    page = words_of(made.tree())
    assert "no collisions are searched for here" not in page
    assert "of collisions, grey pictures that the attack on the hash makes match, and generated" in page
    assert "colliding photographs: grey pictures and generated look-alikes are made to match" in page
    assert "which is counted, not timed" in page
    assert "which was counted, not timed" in words_of(fromstring(made.sheet))


def test_found_copies_are_said_to_be_of_photographs_on_the_sheet(made: Drawn) -> None:
    assert "Found, of edited copies of photographs" in words_of(fromstring(made.sheet))
