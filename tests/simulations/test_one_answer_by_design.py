"""Questions on vouchers, parties, costs and bounds have one answer, wherever on the page it stands."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

import pytest
from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.assess.results import Results
from defusedxml.ElementTree import fromstring
from support.drawn import Drawn
from support.sample_page import part_of, sample_page, sample_results, words_of

VOUCHERS = ("threshold-near", "threshold-psi")


@pytest.fixture(scope="module")
def results() -> Results:
    return sample_results()


@pytest.fixture(scope="module")
def made() -> Drawn:
    return sample_page()


def _line(tree: Element, start: str) -> list[str]:
    """Words of the cells of the first row that begins so."""
    return next(
        [words_of(cell) for cell in row] for row in tree.iter("tr") if words_of(row).startswith(start)
    )


def _table(tree: Element, caption: str) -> Element:
    return next(one for one in tree.iter("table") if one.findtext("caption", "").startswith(caption))


@pytest.fixture(scope="module")
def sheet(made: Drawn) -> str:
    return words_of(fromstring(made.sheet))


def test_from_how_many_matches_a_centre_can_open_has_both_numbers_everywhere(made: Drawn, sheet: str) -> None:
    """The sheet said "from the threshold itself on" without a number, and cells knew of 5 alone."""
    both = "opens from 5 matches with different hashes on, 4 with more work"
    assert sheet.count(both) == 2 and words_of(part_of(made, "matrix")).count(both) == 2
    assert "with more work, as declared, from 4 on" in sheet
    assert "closed by cryptography below 4 matches" in words_of(part_of(made, "rights"))


@pytest.mark.parametrize("design", VOUCHERS)
def test_nobody_is_told_of_an_opened_voucher_nor_sees_a_report_leave(made: Drawn, design: str) -> None:
    """The messenger's facts had a notice, a complaint and a report's time where a voucher leaves for all."""
    facts = part_of(made, "learns")
    row = next(
        words_of(one)
        for one in _table(facts, "Declared facts of the messenger").iter("tr")
        if any(design in (each.get("data-design") or "").split() for each in one.iter())
    )
    assert "report" in row
    assert not any(name in row for name in ("match time", "notice time", "complaint"))
    assert "when a report leaves" not in made.opened(f"{design}.sees")


def test_a_sender_is_said_to_complain_where_one_is_told(made: Drawn, sheet: str) -> None:
    assert "of opened vouchers, nothing. A sender who is told can complain" in sheet
    assert "A sender who is told can complain." in words_of(part_of(made, "rights"))


@pytest.mark.parametrize("design", VOUCHERS)
def test_a_centre_is_drawn_with_whose_every_voucher_is(made: Drawn, design: str) -> None:
    """It stood in a dashed box of reported pictures alone, or was not drawn at all."""
    row = next(
        one
        for one in part_of(made, "matrix").iter("tr")
        if any(design in (each.get("data-design") or "").split() for each in one.iter())
    )
    boxes = [one for one in row.iter() if "box" in (one.get("class") or "").split()]
    after = [one for one in boxes if "after" in (one.get("class") or "").split()]
    (label,) = [one.get("aria-label") or "" for one in row.iter() if one.get("class") == "sees"]
    assert "centre, of every voucher: account (observed), outcome (" in label
    assert "centre, of what it opens: picture (" in label
    assert len(after) == 1 and len(boxes) >= 2
    assert "whose each voucher is" in made.opened(f"{design}.sees")


def test_tries_by_guesses_are_told_as_the_attack_has_them(made: Drawn) -> None:
    """The table said 0 tries a day of designs in which an attack had tested guesses."""
    client = words_of(part_of(made, "client"))
    said = "none by replies; guesses tested by when vouchers are tried: whether guesses are listed"
    assert said in client and not re.search(r"(?<!\d)0 tries", client)


def test_tries_say_what_their_limit_is_of(made: Drawn) -> None:
    """6,553 stood as tries a day, and its evidence had a key, however many days it lasts."""
    client = words_of(part_of(made, "client"))
    assert "6 553 tries a key" in client and "6 553 tries a day" not in client
    assert "is allowed 4 320 500 tries a day or 6 553 tries a key" in client
    assert "6 553 tries a key" in made.opened("token-psi.oracle_tries").replace("\u202f", " ")


def test_a_provider_that_reads_messages_is_sent_no_query(made: Drawn, sheet: str) -> None:
    assert "provider looks 14 ms, no query." in sheet
    costs = _table(part_of(made, "cost-tables"), "Cost by design")
    assert _line(costs, "Query, up")[1] == "nothing to measure"
    assert "queries and replies, all devices, a day nothing to measure" in made.opened("provider-scan.cost")


@pytest.mark.parametrize("design", VOUCHERS)
def test_a_centres_work_on_vouchers_is_nowhere_said_to_be_none(made: Drawn, design: str) -> None:
    """Its evidence had 0 cores, and the tables of costs nothing to measure."""
    said = made.opened(f"{design}.cost")
    assert "not measured: the centre\u2019s work on vouchers was not timed" in said
    name = {"threshold-near": "blinded tokens with threshold", "threshold-psi": "blinded hash with threshold"}
    (load,) = [
        [words_of(cell) for cell in row]
        for row in _table(part_of(made, "load"), "One picture").iter("tr")
        if words_of(row[0]) == f"1b {name[design]}"
    ]
    assert load[-1] == "not measured"
    costs = _table(part_of(made, "cost-tables"), "Cost by design")
    at = [words_of(cell) for cell in costs.iter("th")].index(f"1b {name[design]}")
    for figure in ("Server CPU", "Server CPU, deployed", "Server CPU, in u", "Server CPU, growth"):
        (cells,) = [
            [words_of(cell) for cell in row] for row in costs.iter("tr") if words_of(row[0]) == figure
        ]
        assert cells[at] == "not measured", figure
    assert "the centre\u2019s work on vouchers was not timed" in words_of(part_of(made, "missing"))


def test_no_design_without_a_matcher_discloses_anything_to_one(made: Drawn) -> None:
    """0b, 0a, 2a, 2b and 2c had a matcher who learns the account, whom no part draws."""
    rows = [
        words_of(one) for one in _table(part_of(made, "learns"), "Declared facts of the messenger").iter("tr")
    ]
    for option in ("0a", "0b"):
        (row,) = [words for words in rows if words.startswith(option)]
        assert "matcher" not in row
    assert "centre" not in next(words for words in rows if words.startswith("0b"))
    for words in rows:
        names = words.partition("provider:")[0]
        if any(one in names for one in ("2a", "2b", "2c")):
            assert "matcher" not in words, words
    for design in ("none", "enclave", "third-party", "split-psi", "carried-split-psi"):
        assert "matcher" not in made.opened(f"{design}.sees").partition("learns the outcome")[0]


def test_where_growth_was_not_resolved_no_cell_gives_a_longer_list_without_it(
    made: Drawn, sheet: str
) -> None:
    """3a stood with 27,700 cores at 3,004 and at 49,152 entries, and a slope of -4,650 to 8,950."""
    assert (
        "at least 27 700 (49 152 entries; declared to grow with the list; by how much, not resolved)"
        in words_of(part_of(made, "cost-lists"))
    )
    assert (
        "At least 27 700 server cores (3a, 49 152 entries, declared to grow with the list; by how much, not"
        in words_of(part_of(made, "cost"))
    )
    assert "116 (24 032 entries)" in words_of(part_of(made, "cost-lists"))
    assert "same lists (no growth where none was resolved)" in sheet


def test_a_list_that_devices_can_read_is_not_told_by_a_number_of_requests(made: Drawn) -> None:
    """3a said 100 % for a million requests, where one of own keys reads 16,384 entries."""
    (words,) = [
        words_of(row)
        for row in part_of(made, "topics").iter("tr")
        if words_of(row).startswith("List opened by clients")
    ]
    assert "the whole list at once: it lies on the device: 1a plain list" in words
    said = "a modified device, with keys of its own making the whole list, up to 16,384 entries a request: 3a"
    assert said in words
    assert "1 000 000" not in words


def test_as_many_designs_are_named_as_are_counted(made: Drawn) -> None:
    """12 of 18 were counted, and 9 named: variants stood for their bases without a word."""
    topics = part_of(made, "topics")
    assert "can be shown that all devices have one list in 12 of 18 designs" in words_of(topics)
    (row,) = [row for row in topics.iter("tr") if words_of(row).startswith("Other lists")]
    link = "with independent witnesses of the log, outsiders can be shown"
    after = words_of(row).partition(link)[2].partition("whoever makes the model")[0]
    assert after.count("also via provider") == 2, "1b by name, 2c as a whole"
    named = {one for each in row.iter() for one in (each.get("data-design") or "").split()}
    assert {"carried-oprf-psi", "carried-token-psi", "carried-split-psi"} <= named


def test_an_attack_is_said_to_be_by_the_parties_that_its_design_has(made: Drawn) -> None:
    """2b and 2c had "matcher with provider", and they have no matcher."""
    attacks = part_of(made, "attacks")
    head = _line(attacks, "logs joined")[0]
    assert "matcher with provider; or party A with party B with provider" in head
    assert "party A with party B with provider" in made.opened("attack.joined-logs.split-psi")
    assert "matcher" not in made.opened("attack.refused.third-party").partition("attacks the sentence")[0]


def test_a_server_that_is_sent_hashes_is_said_to_know_matches_that_are_warned_of(
    made: Drawn, sheet: str
) -> None:
    """ "0 of 4 matches" stood for it, and a footnote said otherwise."""
    rows = [words_of(one) for one in part_of(made, "prevention").iter("tr")]
    hashes = [words for words in rows if words.startswith("warn") and "every match, from the hashes" in words]
    others = [words for words in rows if words.startswith("warn") and "0 of 4 matches" in words]
    (told,) = hashes
    (untold,) = others
    assert "hash sent" in told and "part sent" in told and "2b" in told
    assert "hash sent" not in untold and "part sent" not in untold and "2b" not in untold
    assert "0 of 4 matches, by calls they get; if sent hashes: every match, from the hashes" in sheet


def test_what_other_parts_call_not_measured_stands_in_the_table_of_it(made: Drawn, sheet: str) -> None:
    missing = words_of(part_of(made, "missing"))
    assert "Innocent pictures that a model takes for its category" in missing
    assert "One listed picture to 30 people3a: 8 of 68 pictures" in missing
    assert "Who notices that an account was opened" in missing
    told = _line(part_of(made, "missing"), "Pictures told apart, at most")[1]
    assert "1a" not in told and "1d" not in told
    for start in ("1a All detection", "1d Classifier"):
        row = next(
            words_of(one) for one in fromstring(made.sheet).iter("tr") if words_of(one).startswith(start)
        )
        assert "whether pictures can be told apart" not in row


def test_a_forced_report_is_said_to_be_refused_after_the_centre_saw_it(made: Drawn, sheet: str) -> None:
    """It counted as an attack that succeeded on the check, and the declared fact says that it fails there."""
    said = (
        "2 of 6 attacks on this succeeded. A forced report is refused, after the centre has seen the picture."
    )
    assert said in sheet
    assert "refused, after the centre has seen the picture" in words_of(part_of(made, "rights"))
    assert "a report forced by a false answer" in words_of(part_of(made, "bugs"))


def test_what_a_threshold_design_recognises_is_not_said_to_be_found(made: Drawn) -> None:
    missed = part_of(made, "missed")
    key = _line(_table(missed, "Missed and found"), "B ")[0]
    assert "(with threshold: not recognised; what is recognised opens from the threshold on)" in key
    found = _table(missed, "Found, by design")
    assert "recognised; opens from 5 matches" in _line(found, "1b blinded hash with threshold")[0]


def test_the_year_says_how_long_its_list_is_and_what_rates_come_to_over_it(made: Drawn) -> None:
    """1.08 % over 20,000 entries stood beside a list of 1.21 million, where it is scaled to 63.7 %."""
    year = words_of(part_of(made, "year"))
    assert "(the year\u2019s mean: 1 004 611 at its start, 1.43 times as many at its end)" in year
    said = "Scaled to 1.21 million entries, by a model, these two rates are "
    assert f"{said}0 % (0\u2013100 %); 63.7 % (21\u2013100 %)." in year
    assert "IWF annual reports" in made.opened("year.length")


def test_a_longer_list_is_said_to_match_more_on_the_sheet(sheet: str) -> None:
    assert "of all kinds; a longer list matches more." in sheet


def test_a_bound_that_leaves_nearly_all_open_says_that_it_says_little(made: Drawn) -> None:
    facts = _table(part_of(made, "learns"), "Declared facts, most severe")
    told = _line(facts, "3a encrypted hash")[-2]
    assert told.startswith("at most 0.981: too few runs to say")
    attacks = words_of(part_of(made, "attacks"))
    assert "too few runs to say: advantage by time \u22640.526" in attacks
    for words in (attacks, words_of(part_of(made, "bugs"))):
        bounds = re.findall(r"(to say: )?advantage(?: by time)? \u2264([\d.]+)", words)
        assert bounds and all((float(bound) > 0.5) == bool(said) for said, bound in bounds)


def test_what_a_run_found_of_few_pictures_has_its_interval(made: Drawn) -> None:
    found = _line(_table(part_of(made, "missed"), "Found, by design"), "0a")[-1]
    assert found == "25 of 52 (3.62\u201395.3 %), agrees"


def test_what_is_not_ranked_is_options(sheet: str) -> None:
    """ "Nothing is ranked" stood beside the worst abuse."""
    assert "Options are not ranked." in sheet and "Nothing is ranked" not in sheet


def test_differences_between_letters_are_said_to_be_of_the_corpus(made: Drawn) -> None:
    words = words_of(part_of(made, "differences"))
    assert "Differences between letters, on the corpus\u2019s copies: 18 of 18 are more than chance" in words
    assert "of which each edit counts alike: of real traffic they say nothing" in words


def test_that_outsiders_can_be_shown_one_list_has_its_condition(made: Drawn) -> None:
    said = (
        "If the log\u2019s witnesses are independent, outsiders can be shown that all devices have one list"
    )
    assert f"{said} in 12" in words_of(part_of(made, "topics"))


def test_an_attack_on_a_sentence_of_a_document_is_not_called_declared(made: Drawn) -> None:
    """ "Succeeded, as declared" stood where no declared fact of that party says so."""
    abuse = words_of(part_of(made, "abuse"))
    assert "succeeded, as documented" in abuse and "succeeded, as declared" not in abuse
    assert "against what a document claims: none" in abuse


def test_an_attack_on_everybodys_list_does_not_go_for_designs_whose_devices_take_none(made: Drawn) -> None:
    """18 more were counted, with 0b, which has no list, and 0a, whose devices have none."""
    attacks = part_of(made, "attacks")
    for name in ("two histories of the public log", "a list or model that is not in the log"):
        assert "alike in 17 more" in _line(attacks, name)[1]
    assert "alike in 18 more" in _line(attacks, "false keys at first contact")[1]


def test_an_option_that_finds_nothing_is_not_counted_as_measured(made: Drawn) -> None:
    head = words_of(next(one for one in part_of(made, "matrix").iter("h2")))
    assert "7 measured, 1 with nothing to find (0b)," in head


def test_no_name_of_a_design_holds_a_comma(made: Drawn) -> None:
    """ "blinded tokens, threshold, blinded hash, threshold" could not be split by eye."""
    assert not [name for name in committed("plain")["names"].values() if "," in name]


def test_what_becomes_of_a_key_that_is_used_up_is_said(made: Drawn, sheet: str) -> None:
    assert "once it is used up, nobody is answered before a new set-up" in sheet
    said = "Once a key is used up, nobody is answered before a new set-up"
    assert said in words_of(part_of(made, "cost-lists")) and said in words_of(part_of(made, "matrix"))
    cells = _line(part_of(made, "cost-lists"), "1b blinded tokens via provider")
    assert "a key lasts" in cells[1] and "a key lasts" not in cells[2]


def test_shares_with_near_duplicates_say_of_how_many_more_pictures(made: Drawn) -> None:
    """1.08 % became 1.06 % with near-duplicates in, and photographs 0.659 % from 0."""
    table = _table(part_of(made, "flagged"), "Measured, of pictures not listed")
    heads = [words_of(one) for one in table.iter("th")]
    assert "the same with near-duplicates inside packages left in, so of more pictures" in heads
    assert "268 of 25 168" in _line(table, "near copies")[2]


def test_every_letter_of_the_page_stands_on_the_sheet(made: Drawn, sheet: str) -> None:
    tree = fromstring(made.sheet)
    letters = [words_of(row)[0] for row in _table(tree, "Found, by how").iter("tr")][1:]
    assert letters == ["A", "B", "C", "D"]
    assert "D near, 72.1 %" in sheet


def test_the_legend_of_who_sees_what_does_not_speak_for_a_design_without_a_centre(made: Drawn) -> None:
    """It gave the centre of the design without detection picture, account and outcome."""
    row = next(one for one in part_of(made, "matrix").iter("tr") if "E2EE, no detection" in words_of(one))
    assert "centre: none of the four" in "".join(row.itertext())


def test_where_no_session_was_audited_no_byte_is_said_to_be_undeclared(made: Drawn, sheet: str) -> None:
    assert "no session to look at" in made.opened("provider-scan.sees")
    rows = [words_of(one) for one in fromstring(made.sheet).iter("tr")]
    assert next(one for one in rows if "No E2EE, provider detects" in one).endswith(
        "an audit of what leaves devices"
    )


def test_what_a_role_can_do_with_its_key_stands_among_the_kinds_of_abuse(made: Drawn) -> None:
    said = " ".join(_line(part_of(made, "topics"), "List opened, or matches hidden, by who answers"))
    assert "matcher reads the whole list" in said and "matcher tests any guess against the list" in said
    assert "matcher makes matches go unseen" in said


def test_attacks_that_go_for_every_messenger_are_not_said_to_be_unplayed(made: Drawn) -> None:
    assert "no attacks file beside this run" not in made.opened("none.abuse")


def test_who_must_join_includes_whoever_sees_when_messages_leave(made: Drawn, sheet: str) -> None:
    assert "unless matcher and provider join, or whoever sees when messages leave helps" in sheet


def test_words_for_every_design_name_the_one_that_they_do_not_hold_for(made: Drawn, sheet: str) -> None:
    page = words_of(made.tree())
    assert "unless others must endorse it" in sheet
    assert "second hash runs in every assessment, but for 1d" in page
    assert "by kind of picture where the run has them" not in page
    assert "that it opens is declared by" in page


def test_points_of_the_chart_of_costs_have_numbers_since_letters_are_ways_to_match(made: Drawn) -> None:
    marks = [words_of(one) for one in part_of(made, "cost").iter() if one.get("class") == "letter"]
    assert marks and all(one.isdigit() for one in marks)
