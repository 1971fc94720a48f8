"""The view model of the report: every number has evidence, and every tile follows from a declaration."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from blindmatch_protocol.contract import Severity, Shows
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.data import table_of
from blindmatch_simulations.evaluation.assess.observed import Declared, FactSeen
from blindmatch_simulations.evaluation.assess.results import (
    ATTACKS,
    RESULTS,
    Measured,
    Results,
    check_folder,
)
from blindmatch_simulations.evaluation.assess.subjects import STUDIES
from blindmatch_simulations.evaluation.attacks.run import AttackRow, NotPlayed
from blindmatch_simulations.measure import results as measure
from blindmatch_simulations.measure.results import Figure, ResultsError, Row, Status, encode, read, sealed
from blindmatch_simulations.report.view import words
from blindmatch_simulations.report.view.abuse import name_of
from blindmatch_simulations.report.view.cards import words_of
from blindmatch_simulations.report.view.findings import _say_of_hundred
from blindmatch_simulations.report.view.holdings import tiles_of
from blindmatch_simulations.report.view.ledger import Ledger, SentenceError
from blindmatch_simulations.report.view.schema import Card, Evidence, Holds, Shown, State, View
from blindmatch_simulations.report.view.whole import schema, view_of
from blindmatch_simulations.testbed.deployment.registry import built_in_designs
from msgspec.structs import replace
from support.command import in_process
from support.sample_page import SAMPLE, sample_results

AttackResults = measure.Results[AttackRow | NotPlayed]
SCHEMA = "view-v1.schema.json"
FIGURE = re.compile(r"results\.json: rows, ([^,]+), figures, (\w+)")


@cache
def sample_view() -> View:
    return view_of(SAMPLE, sample_results())


@cache
def sample_rows() -> dict[str, Measured]:
    return {row.id: row for row in sample_results().rows if isinstance(row, Measured)}


def card(name: str, view: View | None = None) -> Card:
    return next(one for one in (view or sample_view()).designs if one.id == name)


def with_rows(*rows: Any) -> Results:
    return replace(sample_results(), rows=rows)


def holdings(row: Measured) -> dict[str, Holds]:
    return {tile.party: tile.holds for tile in tiles_of(row)}


def declaring(row: Measured, party: str, *facts: FactSeen) -> Measured:
    leak = Declared((party,), "semi-honest", "design", facts)
    return replace(row, design=replace(row.design, declared=(*row.design.declared, leak)))


def keys_of(view: View) -> Iterator[str]:
    """Yield each key of evidence that a sentence, card or chart names."""
    for finding in view.findings:
        for sentence in finding.says:
            yield from (part.evidence for part in sentence if isinstance(part, Shown))
    for one in view.designs:
        yield from (*one.fates.values(), *one.cost.values())
    yield from (key for edit in view.edits for key in (edit.mix, *edit.found.values()))
    yield from (rate.evidence for rate in view.rates)
    yield from (key for opening in view.openings for key in opening.by_phones.values())


def test_each_number_that_the_view_names_has_evidence_and_none_is_idle() -> None:
    view = sample_view()
    named = set(keys_of(view))
    assert named == set(view.evidence)


def test_evidence_of_a_results_file_is_the_figure_that_its_source_names() -> None:
    compared = 0
    for key, evidence in sample_view().evidence.items():
        for source in evidence.source:
            found = FIGURE.fullmatch(source)
            if found is None or evidence.state not in (State.MEASURED, State.NOT_MEASURED):
                continue
            figure = sample_rows()[found[1]].figures.get(found[2], Figure(None, "not in this results file"))
            assert (evidence.value, evidence.low, evidence.high) == (figure.value, figure.low, figure.high), (
                key
            )
            assert evidence.why == figure.why and evidence.n == figure.n
            compared += 1
    assert compared > 90


def test_the_schema_is_that_of_the_records_and_the_sample_fits_it() -> None:
    text = files("blindmatch_simulations.report.view").joinpath(SCHEMA).read_text("utf-8")
    assert json.loads(text) == json.loads(json.dumps(schema()))
    jsonschema.validate(json.loads(msgspec.json.encode(sample_view())), json.loads(text))


@pytest.mark.parametrize("text", ["It finds 3 of them.", "About 99.6 % are found.", "Option 4d finds {a}."])
def test_a_sentence_with_a_number_that_has_no_evidence_is_refused(text: str) -> None:
    ledger = Ledger()
    ledger.add("a", Evidence(title="a", state=State.MEASURED, value=1.0))
    with pytest.raises(SentenceError, match="a number without evidence"):
        ledger.sentence(text, {"a": ("a", words.value)})


def test_a_sentence_that_names_what_was_not_taken_down_is_refused() -> None:
    with pytest.raises(SentenceError, match="no evidence for"):
        Ledger().sentence("It finds {a}.", {"a": ("a", words.value)})


def test_one_key_cannot_name_two_figures() -> None:
    ledger = Ledger()
    ledger.add("a", Evidence(title="a", state=State.MEASURED, value=1.0))
    with pytest.raises(ValueError, match="names two different figures"):
        ledger.add("a", Evidence(title="a", state=State.MEASURED, value=2.0))


@pytest.mark.parametrize(
    ("design", "party", "holds"),
    [
        ("provider-scan", "provider", Holds.PICTURE),
        ("none", "provider", Holds.CIPHERTEXT),
        ("none", "centre", Holds.NOTHING),
        ("hash-upload", "matcher", Holds.LIKENESS),
        ("third-party", "third_party", Holds.LIKENESS),
        ("third-party", "provider", Holds.CIPHERTEXT),
        ("partial-hash", "matcher", Holds.FINER_LIKENESS),
        ("prefix-bucket", "matcher", Holds.PART),
        ("oprf-psi", "matcher", Holds.ACCOUNT),
        ("carried-oprf-psi", "matcher", Holds.SOMEBODY),
        ("split-psi", "party_b", Holds.ACCOUNT),
        ("threshold-near", "centre", Holds.VOUCHER),
        ("enclave", "provider", Holds.SEALED),
    ],
)
def test_what_a_party_holds_of_an_innocent_picture(design: str, party: str, holds: Holds) -> None:
    assert holdings(sample_rows()[design])[party] == holds


def test_a_declared_fact_decides_the_tile_whatever_the_design_is_called() -> None:
    row = replace(sample_rows()["oprf-psi"], id="mine")
    every = FactSeen("every_picture", "the picture", Severity.CONTENT, (Shows.PICTURE,))
    hashed = FactSeen("another_hash", "another hash", Severity.HASH, (Shows.HASH,))
    assert holdings(declaring(row, "matcher", every))["matcher"] == Holds.PICTURE
    assert holdings(declaring(row, "matcher", hashed))["matcher"] == Holds.LIKENESS
    assert holdings(declaring(row, "observer", hashed))["observer"] == Holds.LIKENESS
    assert holdings(row)["matcher"] == Holds.ACCOUNT


def test_a_tile_says_what_the_design_declares_of_innocent_pictures_and_nothing_of_reports() -> None:
    tiles = {tile.party: tile for tile in tiles_of(sample_rows()["oprf-psi"])}
    assert any("how many" in words or "number" in words for words in tiles["matcher"].says)
    assert not any("report" in words for words in tiles["centre"].says)


def test_each_built_in_design_has_a_title_and_an_idea_of_at_most_three_sentences() -> None:
    names = {one.design.info.name for one in built_in_designs()} | set(STUDIES) | {"device-classifier"}
    table = table_of("cards")
    assert names == set(table)
    for name, held in table.items():
        assert held["title"] and 1 <= len(held["idea"]) <= 3, name
        assert all(sentence.endswith(".") and sentence[0].isupper() for sentence in held["idea"]), name


def test_a_design_of_a_plug_in_is_shown_with_its_own_name_and_summary() -> None:
    row = replace(sample_rows()["oprf-psi"], id="mine")
    view = view_of(Path("nowhere"), with_rows(row))
    assert words_of("mine") == {}
    assert card("mine", view).title == "mine" and card("mine", view).idea == (row.design.summary,)
    assert card("mine", view).page == ""


def test_fates_of_each_design_sum_to_100() -> None:
    view = sample_view()
    sums = {one.id: sum(view.evidence[key].value or 0 for key in one.fates.values()) for one in view.designs}
    assert {name for name, total in sums.items() if total} >= {"oprf-psi", "threshold-near", "provider-scan"}
    assert all(total == pytest.approx(100, abs=0.01) for total in sums.values() if total)


def test_a_design_without_fates_says_why() -> None:
    view = sample_view()
    assert all(bool(one.fates) != bool(one.found_why) for one in view.designs)
    assert card("none").found_why == "It does not look for anything."
    assert "was not measured" in card("device-classifier").found_why


def test_cores_of_a_design_that_compares_with_each_entry_are_at_least_so_many() -> None:
    view = sample_view()
    servers = view.evidence[card("he-hamming").cost["servers"]]
    assert servers.at_least and servers.value is not None
    assert not view.evidence[card("oprf-psi").cost["servers"]].at_least


def test_no_server_is_no_zero_and_nothing_measured_is_neither() -> None:
    view = sample_view()
    assert view.evidence[card("device-list").cost["servers"]].state == State.NOT_APPLICABLE
    assert view.evidence[card("oprf-psi").cost["opened"]].state == State.NOT_MEASURED
    assert view.evidence[card("device-list").cost["up"]].value == 0.0


def test_the_views_of_one_design_of_failures_and_of_a_run_without_attacks_say_so() -> None:
    broken = Row(id="broken", status=Status.FAILED, parameters={"reference": "broken"}, why="it crashed")
    view = view_of(Path("nowhere"), with_rows(sample_rows()["oprf-psi"], broken))
    said = [
        "".join(part if isinstance(part, str) else part.shown for part in one) for one in _sentences(view)
    ]
    assert any("has no private design that finds near copies" in one for one in said)
    assert any("did not try to put something else on the list" in one for one in said)
    assert [(one.id, one.why) for one in view.failed] == [("broken", "it crashed")]
    assert all(not one.exposed and not one.withstood for one in view.abusers)
    assert set(keys_of(view)) == set(view.evidence)


def _words(sentence: tuple[str | Shown, ...]) -> str:
    return "".join(part if isinstance(part, str) else part.shown for part in sentence)


def _sentences(view: View) -> Iterator[tuple[str | Shown, ...]]:
    for finding in view.findings:
        yield from finding.says


def test_a_leaflet_that_is_not_found_is_counted_as_not_found(tmp_path: Path) -> None:
    played = read(SAMPLE / ATTACKS, AttackResults)
    rows = list(played.rows)
    at = next(at for at, row in enumerate(rows) if row.id == "dual-purpose" and isinstance(row, AttackRow))
    rows[at] = replace(rows[at], succeeded=False)
    (tmp_path / ATTACKS).write_bytes(encode(sealed(replace(played, rows=tuple(rows)))))
    evidence = view_of(tmp_path, sample_results()).evidence
    tried = evidence["findings/leaflet/tried"].value
    assert tried is not None and evidence["findings/leaflet/found"].value == tried - 1


def test_a_government_order_comes_first_and_each_exposure_names_designs_and_who_notices() -> None:
    abusers = sample_view().abusers
    assert [len(one.exposed) for one in abusers] == sorted(
        (len(one.exposed) for one in abusers), reverse=True
    )
    assert all(one.designs and one.notices and one.proof for actor in abusers for one in actor.exposed)
    for actor in abusers:
        assert not {attack for one in actor.exposed for attack in one.attacks} & set(actor.withstood)


def test_the_command_writes_the_view_of_the_results(tmp_path: Path) -> None:
    for name in (RESULTS, "attacks.json", "workload.toml"):
        (tmp_path / name).write_bytes((SAMPLE / name).read_bytes())
    for folder in ("designs", "rows"):
        (tmp_path / folder).mkdir()
        for path in (SAMPLE / folder).iterdir():
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    ran = in_process(tmp_path, "report", tmp_path, "--json", "-")
    assert ran.code == exit_codes.OK and "report.html" in ran.err
    written = json.loads(ran.out)
    assert written == json.loads(msgspec.json.encode(view_of(tmp_path, check_folder(tmp_path))))


@pytest.mark.parametrize(
    ("write", "value", "shown"),
    [
        (words.percent, 0.99578, "99.6 %"),
        (words.percent, 0.0, "0 %"),
        (words.one_in, 1 / 145_926, "one in 146\u202f000"),
        (words.one_in, 0.0, "none"),
        (words.size, 5160, "5.16 kB"),
        (words.size, 70, "70 bytes"),
        (words.milliseconds, 28.914, "28.9 ms"),
        (words.duration, 12.58, "13 seconds"),
        (words.duration, 7200, "2 hours"),
        (words.value, None, "not measured"),
        (words.percent, None, "not measured"),
    ],
)
def test_numbers_as_people_read_them(write: Any, value: float | None, shown: str) -> None:
    state = State.NOT_MEASURED if value is None else State.MEASURED
    assert write(Evidence(title="a", state=state, value=value)) == shown


# --- what a hostile reading found -----------------------------------------------------------------


def said(view: View, at: int) -> str:
    return " ".join(_words(sentence) for sentence in view.findings[at].says)


def test_a_server_that_is_sent_hashes_is_not_private_even_if_it_seals_its_answer() -> None:
    row = sample_rows()["hash-upload"]
    sealing = replace(row, design=replace(row.design, learns=("device",)))
    assert "no private design that finds near copies" in said(view_of(SAMPLE, with_rows(sealing)), 0)


def test_an_attack_that_succeeded_is_in_no_list_of_those_withstood() -> None:
    played = read(SAMPLE / ATTACKS, AttackResults)
    won = {name_of(row) for row in played.rows if isinstance(row, AttackRow) and row.succeeded}
    for abuser in sample_view().abusers:
        ways = {name for exposed in abuser.exposed for name in exposed.attacks} | set(abuser.as_encrypted)
        assert ways <= won and not set(abuser.withstood) & ways
    assert any(abuser.as_encrypted for abuser in sample_view().abusers)


def test_a_failed_check_and_undeclared_bytes_stand_on_the_card() -> None:
    row = sample_rows()["oprf-psi"]
    failed = tuple(replace(check, verdict="failed", reason="it leaked") for check in row.checks)
    broken = replace(row, checks=failed, audit=replace(row.audit, undeclared_bytes=4096))
    (made,) = view_of(Path("nowhere"), with_rows(broken)).designs
    assert f"The check {failed[0].check} failed: it leaked" in made.faults
    assert "4,096 bytes left the device that nothing declared explains." in made.faults
    assert not any(tile.checked for tile in made.tiles)
    assert card("oprf-psi").faults == ()


def test_whether_there_is_one_list_for_all_is_not_zero_where_it_was_not_measured() -> None:
    row = sample_rows()["oprf-psi"]
    figures = {name: figure for name, figure in row.figures.items() if name != "proof_bytes"}
    view = view_of(Path("nowhere"), with_rows(replace(row, figures=figures)))
    assert "was not measured in this run" in said(view, 2)
    assert "findings/one-list/provable" not in view.evidence


def test_a_key_that_lasts_longer_than_a_year_is_not_said_to_be_used_up() -> None:
    row = sample_rows()["token-psi"]
    assert row.key is not None
    lasting = replace(row, key=replace(row.key, in_all=10**18))
    assert "used up after" in said(view_of(SAMPLE, with_rows(row)), 0)
    assert "used up after" not in said(view_of(SAMPLE, with_rows(lasting)), 0)


def test_the_life_of_a_key_is_one_figure_in_the_finding_and_on_the_card() -> None:
    view = sample_view()
    keys = {
        part.evidence for sentence in view.findings[0].says for part in sentence if isinstance(part, Shown)
    }
    assert card("token-psi").cost["key"] in keys
    assert view.evidence[card("token-psi").cost["key"]].value == pytest.approx(12.58, abs=0.01)


def test_the_centre_of_vouchers_says_what_it_sees_of_innocent_pictures_and_has_no_zero_servers() -> None:
    tiles = {tile.party: tile for tile in card("threshold-near").tiles}
    assert any("hashes" in words for words in tiles["centre"].says)
    servers = sample_view().evidence[card("threshold-near").cost["servers"]]
    assert servers.state == State.NOT_MEASURED


def test_a_list_on_the_phone_costs_at_least_what_it_did_over_the_short_list_of_the_run() -> None:
    phone = sample_view().evidence[card("device-list").cost["phone"]]
    setup = sample_view().evidence[card("device-list").cost["setup"]]
    assert (setup.entries, setup.at_least) == (3004, True)
    assert phone.entries == 3004


def test_growth_that_was_not_measured_leaves_cores_open_at_the_top() -> None:
    row = sample_rows()["hash-upload"]
    figures = {name: figure for name, figure in row.figures.items() if name != "server_growth_u"}
    view = view_of(Path("nowhere"), with_rows(replace(row, figures=figures)))
    assert view.evidence[card("hash-upload", view).cost["servers"]].at_least


def test_cores_name_the_figure_that_they_follow_from_and_whether_it_was_disturbed() -> None:
    servers = sample_view().evidence[card("he-hamming").cost["servers"]]
    assert any("matcher_cpu_ms" in source for source in servers.source)
    phone = sample_view().evidence[card("token-psi").cost["phone"]]
    assert phone.disturbed and "other work ran beside it" in said(sample_view(), 0)


def test_a_leaflet_is_counted_once_for_each_design_with_a_list_of_this_run() -> None:
    view = view_of(SAMPLE, with_rows(sample_rows()["oprf-psi"], sample_rows()["none"]))
    counted = {
        name: view.evidence[f"findings/leaflet/{name}"].value for name in ("tried", "private", "untried")
    }
    assert counted == {"tried": 1, "private": 1, "untried": 0}


def test_two_rows_of_one_name_are_refused_by_name() -> None:
    row = sample_rows()["oprf-psi"]
    with pytest.raises(ResultsError, match="oprf-psi occurs more than once"):
        view_of(Path("nowhere"), with_rows(row, row))


def test_a_design_of_a_file_that_has_the_name_of_a_built_in_one_has_its_own_words() -> None:
    row = sample_rows()["oprf-psi"]
    own = replace(row, parameters={**row.parameters, "reference": "mine.py:DESIGN"})
    (made,) = view_of(Path("nowhere"), with_rows(own)).designs
    assert made.title == "oprf-psi" and made.page == ""


def test_what_is_claimed_without_a_rate_says_so_and_what_was_not_found_is_no_claim() -> None:
    view = sample_view()
    assert view.evidence["claimed/neuralhash-adult"].why.startswith("no false match is reported")
    assert view.evidence["claimed/pdq"].state == State.NOT_MEASURED
    assert {rate.unit for rate in view.rates} <= {
        "each picture",
        "each pair",
        "each account",
        "unit not stated",
    }


def test_the_bound_by_source_stands_beside_the_one_by_picture() -> None:
    evidence = sample_view().evidence
    alone, by_source = (evidence[key].value for key in ("flagged/excluded", "flagged/excluded-by-source"))
    assert alone is not None and by_source is not None and by_source > 10 * alone
    worst, mixed = (evidence[key].value for key in ("flagged/worst-kind", "flagged/mixed"))
    assert worst is not None and mixed is not None and worst >= mixed


@pytest.mark.parametrize(
    ("write", "value", "shown"),
    [
        (words.percent, 0.99962, "over 99.9 %"),
        (words.percent, 1.0, "100 %"),
        (words.percent, 4e-8, "under 0.001 %"),
        (words.one_in, None, "not measured"),
    ],
)
def test_numbers_that_are_nearly_all_or_nothing_are_not_rounded_to_it(
    write: Any, value: float | None, shown: str
) -> None:
    state = State.NOT_MEASURED if value is None else State.MEASURED
    assert write(Evidence(title="a", state=state, value=value)) == shown


def test_the_break_even_has_the_ends_of_its_assumptions_and_their_values() -> None:
    even = sample_view().evidence["flagged/break-even"]
    assert even.low is not None and even.high is not None
    # K (1 - v) / V at the ends of K, v and V in population.toml that make it least, and most
    assert even.low == pytest.approx(6e-4 * 0.3 / (365 * 5))
    assert even.high == pytest.approx(6e-2 * 0.9 / (365 * 0.2))
    for value in ("0.00667 (0.0006 to 0.06)", "0.4 (0.1 to 0.7)", "1.6 (0.2 to 5)"):
        assert value in even.why
    finding = said(sample_view(), 1)
    assert "from one in 10.1 million to one in 1\u202f350" in finding


def test_a_finding_says_how_many_innocent_pictures_a_year_and_at_which_volume() -> None:
    finding = said(sample_view(), 1)
    assert "1.8 million innocent pictures would be flagged in the EU in a year" in finding
    assert "720 million pictures a day" in finding


def test_recall_has_its_interval_and_the_level_that_its_evidence_names() -> None:
    view = sample_view()
    finding = said(view, 0)
    assert "72.6 % (68.1 to 77.3 % for another source)" in finding
    assert "25.4 % of them (16.2 to 37.7 % for another source)" in finding
    recall = view.evidence["figure/token-psi/corpus_recall"]
    assert recall.interval == "98 % interval for another package of 10 photographs or more"
    assert recall.interval.split(" interval")[0] in recall.why


def test_the_difference_from_reading_everything_is_said_to_be_assumed_only_where_it_is() -> None:
    assert "most is assumed, not measured" in said(sample_view(), 0)
    results = with_rows(*sample_rows().values())
    view = view_of(SAMPLE, results)
    ledger = Ledger()
    for key, held in view.evidence.items():
        ledger.add(key, replace(held, value=6.0) if key == "hundred/provider-scan/modified" else held)
    rows = sample_rows()
    said_of = _say_of_hundred(rows["token-psi"], rows["oprf-psi"], [*rows.values()], view.designs, ledger)
    assert len([*said_of]) == 1


def test_a_leaflet_s_finding_names_its_senders_and_what_private_means() -> None:
    finding = said(sample_view(), 2)
    assert "5 devices sent the leaflet in each; all of them were found out" in finding
    assert "nobody but the device learns picture, hash or outcome until it reports" in finding


def test_figures_of_a_whole_year_say_where_the_key_does_not_last() -> None:
    view = sample_view()
    for key in ("hundred/token-psi/found", "cost/token-psi/servers"):
        assert "as if its key answered all year" in view.evidence[key].why.lower()
    for key in ("hundred/oprf-psi/found", "cost/oprf-psi/servers"):
        assert "as if its key" not in view.evidence[key].why.lower()
