"""What the page claims: facts by name, figures with what they stand on, and nothing that a design denies."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Context
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from blindmatch_client.settings import FailureMode, list_device_facts, list_failure_facts
from blindmatch_protocol.contract import Fact, Severity, Shows
from blindmatch_protocol.designs import oprf_psi
from blindmatch_simulations.evaluation.assess.figures import NOT_TIED
from blindmatch_simulations.evaluation.assess.observed import (
    Audited,
    AuditFinding,
    Check,
    Declared,
    FactSeen,
    ToGroup,
    Traffic,
)
from blindmatch_simulations.evaluation.assess.results import Measured, check_folder
from blindmatch_simulations.evaluation.population.inputs import read_inputs
from blindmatch_simulations.measure.intervals import advantage
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.report.yearly import inputs
from blindmatch_simulations.testbed.deployment.registry import built_in_designs
from defusedxml.ElementTree import fromstring
from msgspec.structs import replace
from support.assess_page import outline, results_folder
from support.assess_rows import game_figures, observed, row
from support.drawn import Drawn, called, drawn

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"
DEFAULTS = {one.ident: one.value for one in inputs()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results_folder(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def sample() -> Drawn:
    return drawn(SAMPLE, check_folder(SAMPLE))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """The sample's rows as anybody reads them from the file."""
    held = json.loads((SAMPLE / "results.json").read_text("utf-8"))["rows"]
    return [one for one in held if one["kind"] == "design"]


def page_of(folder: Path, one: Measured, **more: Any) -> Drawn:
    """The page of one row."""
    return drawn(folder, replace(check_folder(folder), rows=(one,)), **more)


@cache
def facts_of_this_program() -> dict[str, Fact]:
    """Every fact that a built-in design or the messenger declares, by name."""
    messenger = (
        *list_device_facts().values(),
        *(facts for mode in FailureMode for facts in list_failure_facts(mode, oprf_psi.DESIGN.info).values()),
    )
    designs = (leak.facts for one in built_in_designs() for leak in one.design.leakage())
    return {fact.name: fact for facts in (*designs, *messenger) for fact in facts}


def fact_seen(name: str) -> FactSeen:
    """A fact as it is declared; one of a plug-in's own is as severe as a hash, and shows one."""
    own = Fact(name, f"that is {name}", Severity.HASH, shows=frozenset({Shows.HASH}))
    return FactSeen.of(facts_of_this_program().get(name, own))


def declaring(*leaks: tuple[str, str, str], **changes: Any) -> Measured:
    """A design that declares a fact to parties, by (parties, adversary, name)."""
    declared = tuple(
        Declared(tuple(who.split("+")), adversary, "design", (fact_seen(name),))
        for who, adversary, name in leaks
    )
    seen = observed()
    return row(replace(seen, design=replace(seen.design, declared=declared, **changes)))


def cell(made: Drawn, place: str, view: str = "matrix") -> str:
    """What stands in the matrix, or on the sheet, where a number opens `place`."""
    whole = fromstring(made.sheet) if view == "sheet" else made.tree()
    section = next(one for one in whole.iter("section") if one.get("id") == view)
    found = next(one for one in section.iter("a") if one.get("href") == f"#{place}")
    return " ".join("".join(found.itertext()).split())


def three(value: float) -> float:
    """To three figures, a half upwards, as the page's script rounds."""
    return float(Context(prec=3, rounding=ROUND_HALF_UP).create_decimal_from_float(value))


def shown_numbers(words: str) -> list[float]:
    """The numbers in words, thousands joined again."""
    joined = re.sub(r"(?<=\d) (?=\d{3})", "", words)
    return [float(one) for one in re.findall(r"\d+\.?\d*", joined)]


def test_what_is_missed_and_flagged_is_what_the_results_file_says(
    sample: Drawn, rows: list[dict[str, Any]]
) -> None:
    for one in rows:
        figures = one["figures"]
        if figures["recall"]["value"] is None and figures["corpus_recall"]["value"] is None:
            assert cell(sample, f"{one['id']}.recall").startswith(
                "nothing to measure" if figures["recall"]["why"].startswith("nothing") else "not measured"
            ), one["id"]
            continue
        recall = figures["corpus_recall"]
        false = figures["corpus_false"]
        if recall["value"] is None:
            own = figures["recall"]
            shown = shown_numbers(cell(sample, f"{one['id']}.recall"))
            assert shown[0] in (three(100 * (1 - own["value"])), round((1 - own["value"]) * own["n"]))
            continue
        shown = shown_numbers(cell(sample, f"{one['id']}.corpus_recall"))
        assert shown == [three(100 * (1 - recall[end])) for end in ("value", "high", "low")]
        shown = shown_numbers(cell(sample, f"{one['id']}.corpus_false"))
        assert shown == pytest.approx(
            [100 * false[end] for end in ("value", "low", "high")], rel=0.05, abs=1e-9
        )
        if one["id"] == "threshold-psi":  # a made-up voucher may hide its few matches
            continue
        missed = one["id"] == "threshold-near"  # its wide tokens miss a copy at 28 bits in this run
        for name, says in (("recall", "found"), ("false_matches", "flagged")):
            own = figures[name]
            found = round(own["value"] * own["n"])
            words = " ".join(sample.opened(f"{one['id']}.corpus_{name.split('_')[0]}").split())
            assert f"{says} {found} of {own['n']}; of " in words, one["id"]
            same = "the hash level says the same for each" in words
            assert same or (missed and "differ" in words), one["id"]
        assert round(figures["wrong_outcomes"]["value"] * 68) <= missed, one["id"]


def test_cost_is_computed_from_the_larger_cpu_and_from_what_is_fetched(
    sample: Drawn, rows: list[dict[str, Any]]
) -> None:
    for one in rows:
        figures = one["figures"]
        found = cell(sample, f"{one['id']}.cost")
        found, _, limited = found.partition("; a key lasts 13 seconds, or the list is open to ")
        assert bool(limited) == bool(one["key"] and one["key"]["in_all"]), (
            "no cost at a volume that is too much"
        )
        cpu = [figures[name]["value"] for name in ("server_cpu_ms", "matcher_cpu_ms")]
        if one["design"]["roles"]:
            most = max(ms for ms in cpu if ms is not None)
            assert shown_numbers(found)[0] == three(DEFAULTS["volume"] * most / 86_400_000), one["id"]
        else:
            vouches = "centre" in one["design"]["learns"]
            assert found.startswith("cores not measured" if vouches else "no server"), one["id"]
        if one["design"]["relation"] == "nothing":
            assert "moved" not in found
            continue
        value = {name: figure["value"] or 0 for name, figure in figures.items()}
        fetched = DEFAULTS["devices"] * (value["setup_bytes"] * 12 / 365 + value["update_bytes"])
        vouchers = (value["report_bytes"] or 0) if "centre" in one["design"]["learns"] else 0
        asked = DEFAULTS["volume"] * (value["query_up_bytes"] + value["query_down_bytes"] + vouchers)
        scale = {"MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15, "EB": 1e18}[found[-2:]]
        assert shown_numbers(found)[-1] == three((fetched + asked) / scale), one["id"]


def test_who_sees_what_is_what_the_run_and_the_declaration_say(
    sample: Drawn, rows: list[dict[str, Any]]
) -> None:
    """Read from the file again, by rules of its own: what was sent by traffic, hashes by extractors."""
    for one in rows:
        words = sample.opened(f"{one['id']}.sees")
        parties = dict(_parties(words))
        met = {each["party"] for each in one["traffic"]}
        if one["design"]["relation"] == "nothing":
            assert set(parties) == {"you", "provider"}, "there is nobody to ask, and nobody to report to"
            continue
        for party in ("provider", "centre"):
            assert ("account , observed" in parties.get(party, "")) == (party in met), (one["id"], party)
        reports = any(each["purpose"] == "report" and each["up_bytes"] for each in one["traffic"])
        scans = one["design"]["learns"] == ["server"]
        vouchers = any(each["purpose"] == "voucher" and each["up_bytes"] for each in one["traffic"])
        opened = vouchers and bool(one["figures"]["recall"]["value"])
        assert ("picture , observed" in parties.get("centre", "")) == (reports or scans or opened), one["id"]
        assert ("outcome , observed" in parties["you"]) == ("device" in one["design"]["learns"]), one["id"]
        tight = next((each for each in one["checks"] if each["check"] == "tightness"), None)
        recovered = (tight or {}).get("figures", {}).get("recovered_by", {})
        for party, said in parties.items():
            if "hash , observed" in said:
                assert any(
                    f"{name.replace(' ', '_')}: {fact}" in recovered
                    for name in (party,)
                    for fact in ("every_hash", "coefficients", "prefix")
                )
            if "hash , declared" in said:
                assert not any(name.startswith(f"{party}: ") for name in recovered)
        assert ("picture , sealed" in words) == (one["design"]["content"] == "sealed")


def _parties(words: str) -> Iterator[tuple[str, str]]:
    found = re.split(
        r" (?=(?:you|provider|matcher|third party|party [AB]|centre) (?:picture|hash|account|outcome|none))",
        words,
    )
    for one in found[1:]:
        name = re.match(r"you|provider|matcher|third party|party [AB]|centre", one)
        assert name is not None
        yield name[0], one


def test_every_edit_has_the_counts_of_the_file(sample: Drawn, rows: list[dict[str, Any]]) -> None:
    table = next(one for one in sample.tree().iter("details") if one.get("id") == "missed-tables")
    cells = {link.get("href"): "".join(link.itertext()) for link in table.iter("a")}
    known = [(one, each) for one in rows for each in one["recall_by_edit"] if each["found"] is not None]
    assert len(known) > 10 * (len(rows) - 2), "all but those of none and of a classifier"
    for one, each in known:
        if one["design"]["relation"] != "category":
            at = called("place", "edit", each["name"], one["id"])
            assert cells[f"#{at}"] == f"{each['found']} of {each['sent']}"


def test_facts_are_named_most_severe_first_and_not_counted(folder: Path) -> None:
    honest = "semi-honest"
    leaks = [("matcher", honest, name) for name in ("query_time", "query_count", "every_hash", "my.own")]
    one = declaring(*leaks, learns=("device", "server"))
    made = page_of(folder, one)
    assert cell(made, "quoted.abuse", "sheet") == "matcher looks for any picture, listed or not (nobody)"
    assert re.search(r"looks for any picture, listed or not \(hash\).* \(hash\)", made.opened("quoted.abuse"))
    assert not re.search(r"\d+ facts", made.main)


def test_an_abuse_is_that_of_the_smallest_coalition_that_can(folder: Path) -> None:
    one = declaring(("centre+matcher", "malicious", "forced_report"), ("matcher", "malicious", "every_entry"),
                    ("matcher+provider", "malicious", "every_entry"))  # fmt: skip
    made = page_of(folder, one)
    assert cell(made, "quoted.abuse", "sheet") == "matcher has any picture reported (its sender)"
    assert "matcher reads the whole list (" in made.opened("quoted.abuse"), "not of the two together"
    assert "matcher with provider reads the whole list" not in made.opened("quoted.abuse")
    assert "Forced reports matcher has any picture reported" in made.words("abuse").replace(
        "Forced reports", "Forced reports "
    )
    assert "Logs joinedmatcher has" not in made.words("abuse"), "a forced report is no joining of logs"


def test_what_is_observed_is_told_from_what_is_only_declared(folder: Path) -> None:
    one = declaring(("matcher", "semi-honest", "every_hash"))
    assert "hash , declared, not checked" in page_of(folder, one).opened("quoted.sees")
    tight = Check("tightness", "", "passed", "", {"recovered_by": {"matcher: every_hash": "field"}}, 1.0)
    assert "hash , observed" in page_of(folder, replace(one, checks=(tight,))).opened("quoted.sees")
    other = replace(tight, figures={"recovered_by": {"provider: every_hash": "field"}})
    assert "hash , observed" not in page_of(folder, replace(one, checks=(other,))).opened("quoted.sees")
    sealed = declaring(("matcher", "semi-honest", "query_time"), content="sealed")
    assert "picture , sealed" in page_of(folder, sealed).opened("quoted.sees")
    report = declaring(("centre", "semi-honest", "report"))
    assert "picture , declared" in page_of(folder, report).opened("quoted.sees")
    sent = replace(report, traffic=(Traffic("centre", "report", 9, 0),))
    assert "picture , observed" in page_of(folder, sent).opened("quoted.sees")


def test_a_plug_ins_fact_that_shows_a_hash_draws_the_letter_of_one(folder: Path) -> None:
    one = declaring(("matcher", "semi-honest", "my.half"))
    assert "hash , declared, not checked" in page_of(folder, one).opened("quoted.sees")


def test_every_abuse_that_this_program_declares_says_who_would_notice() -> None:
    for fact in facts_of_this_program().values():
        assert bool(fact.abuse) == bool(fact.noticed_by), fact.name


def test_the_forms_fields_have_the_bounds_of_its_inputs(folder: Path) -> None:
    page = (folder / "report.html").read_text("utf-8")
    fields = {attrs["id"]: attrs for tag, attrs in outline(page).seen if tag == "input"}
    for one in inputs():
        field = fields[f"in-{one.ident}"]
        assert (float(field["min"] or ""), float(field["max"] or "")) == (one.least, one.most)
        assert "required" in field and field["step"] == "any" and field["name"] == one.ident


def test_the_resolution_of_a_game_stands_beside_its_bound(folder: Path) -> None:
    game = Check("games", "", "passed", "", {"m": game_figures(0.4135, 48)}, 1.0)
    made = page_of(folder, row(observed(), (game,), ""))
    assert f"(guessing shows up to {three(advantage(24, 48).resolution)} in 48 runs a class)" in made.words(
        "learns"
    )
    few = replace(game, figures={"m": {**game_figures(0.4135, 48), "pairs": 7}})
    assert "not measured, 7 pairs" in page_of(folder, row(observed(), (few,), "")).opened("quoted.status")


def test_a_design_without_matches_has_nothing_to_measure(folder: Path) -> None:
    seen = observed()
    none = replace(seen.design, relation="nothing", distance=None, roles={}, declared=(), learns=("nobody",))
    quiet = tuple(replace(one, matched=False) for one in seen.pictures)
    made = page_of(folder, row(replace(seen, design=none, pictures=quiet), (), ""))
    assert cell(made, "quoted.recall") == cell(made, "quoted.false_matches") == "nothing to measure"
    assert made.words("missed") == "What is missed?Not measured."
    assert "there is no list: quoted" in made.words("abuse") and "none of the four" in made.opened(
        "quoted.sees"
    )


def test_an_audit_that_compared_nothing_has_no_undeclared_bytes(folder: Path) -> None:
    blind = replace(observed().audit, comparable=False)
    made = page_of(folder, row(replace(observed(), audit=blind)))
    assert "nothing could be compared" in made.words("learns")
    assert "undeclared bytes, in an audit not measured" in made.opened("quoted.sees")
    lie = Audited(2, 2, 70, (AuditFinding("provider", "longer than declared", 70),))
    assert "violated: provider, 70 undeclared bytes" in page_of(
        folder, row(replace(observed(), audit=lie))
    ).words("learns")


def test_a_proof_that_was_measured_is_not_said_to_be_missing(folder: Path) -> None:
    one = row(observed())
    assert "no proof to outsiders was measured" in page_of(folder, one).words("abuse")
    proven = replace(one, figures={**one.figures, "proof_bytes": Figure(64.0)})
    made = page_of(folder, proven)
    assert "outsiders can be shown that all devices have one list" in made.words("abuse")
    assert "Proofs to the public" not in made.words("unmeasured")
    untied = replace(one, figures={**one.figures, "proof_bytes": Figure(None, NOT_TIED)})
    assert "no outsider can be shown which list" in page_of(folder, untied).words("abuse")


def test_cores_are_not_told_beyond_the_one_length_that_was_measured(folder: Path) -> None:
    whole = check_folder(folder)
    one = replace(row(observed()), figures={**row(observed()).figures, "server_cpu_ms": Figure(100.0)})
    given = {"volume": 86_400_000, "list": 1_000}
    alone = drawn(folder, replace(whole, rows=(one,)), given=given)
    assert cell(alone, "quoted.cost").startswith("100 cores (to 100 entries)")
    assert "over 100 entries, the longest list measured; not known beyond" in alone.opened("quoted.cost")
    worker = replace(one, figures={**one.figures, "matcher_cpu_ms": Figure(900.0)})
    assert cell(page_of(folder, worker, given=given | {"list": 0}), "quoted.cost").startswith("900 cores")


def test_between_two_lengths_cores_are_on_a_line_with_its_band_and_not_told_beyond(folder: Path) -> None:
    whole = check_folder(folder)
    one = row(observed())
    known = {"server_cpu_ms": Figure(100.0), "matcher_cpu_ms": Figure(1.0), "server_u": Figure(2.0)}
    through = "line through 100 and 1,100 entries"
    line = {"server_growth_u": Figure(4_000.0, through, 2_000.0, 8_000.0, 10)}
    given = {"volume": 86_400_000, "list": 1_100}
    made = drawn(
        folder, replace(whole, rows=(replace(one, figures={**one.figures, **known, **line}),)), given=given
    )
    assert cell(made, "quoted.cost").startswith("1 100\u20134 100 cores"), "2 to 8 u an entry, half a ms each"
    further = replace(whole, rows=(replace(one, figures={**one.figures, **known, **line}),))
    beyond = drawn(folder, further, given=given | {"list": 10**6})
    assert cell(beyond, "quoted.cost").startswith("1 100\u20134 100 cores (to 1 100 entries)")
    costs = " ".join(made.words("cost").split())
    assert "4000 u/1,000 entries (2000\u20138000)" in costs, "a slope has its band"
    flat = {
        "server_growth_u": Figure(-1.0, through, -2.0, 900.0, 10),
        "setup_growth_bytes": Figure(0.0, "exact"),
    }
    made = drawn(
        folder, replace(whole, rows=(replace(one, figures={**one.figures, **known, **flat}),)), given=given
    )
    assert cell(made, "quoted.cost").startswith("100 cores"), "noise is not multiplied"


def test_a_picture_to_a_group_and_the_busiest_hour_are_told_for_each_design(folder: Path) -> None:
    whole = check_folder(folder)
    one = row(observed())
    model = read_inputs(None).activity
    known = {"server_cpu_ms": Figure(100.0), "matcher_cpu_ms": Figure(1.0), "server_u": Figure(2.0)}
    known |= {"server_growth_u": Figure(0.0, "a line", 0.0, 0.0, 10), "query_up_bytes": Figure(60.0)}
    groups = {"to_group": ToGroup(5, 5, 41, 42, 43, 44), "to_large_group": ToGroup(30, 30, 51, 52, 53, 54)}
    seen = replace(one, figures={**one.figures, **known}, **groups)
    made = drawn(folder, replace(whole, rows=(seen, whole.rows[1])), given={"volume": 86_400_000})
    assert cell(made, "quoted.to_group", "cost") == "41, 42, 43, 44", (
        "as counted, in the order of the words above"
    )
    assert cell(made, "quoted.to_large_group", "cost") == "51, 52, 53, 54"
    assert "silent.to_group" not in made.main, "of a file from before they were counted, it is not measured"
    hour = 100 * model.peak.value * (1 + model.retries.value)
    assert cell(made, "quoted.busiest", "cost") == f"{hour:.0f}", "100 cores all day, and queries asked again"
    told = made.opened("quoted.busiest")
    assert told.count("assumption") == 2 and model.retries.source in told and model.peak.source in told


def test_the_scale_multiplies_volume_prevalence_and_rates(folder: Path) -> None:
    given = {"volume": 1_000, "files": 365 * 10, "minutes": 10, "day": 400}
    made = drawn(folder, check_folder(folder), given=given)
    table = made.words("flagged")
    assert "without a source" in table
    wrong = [990 * rate for rate in (1e-8, 1e-3)]
    assert f"{three(wrong[1])}" in table and called("number", wrong[0]) in made.main
    assert called("percent", 0.25) == "25\u00a0%" and called("number", 1.5e-6) == "1 in 667\u202f000"
    assert called("bytes", 101.4e9) == "101\u00a0GB" and called("number", 1_004_611) == "1\u202f004\u202f611"
    assert called("between", 0.2, 0.2) == "0.2" and called("between", -0.1, 0.2) == "-0.1 to 0.2"


def test_a_threshold_is_reached_as_often_as_poisson_says() -> None:
    assert called("reaches", 0, 30) == 0
    assert called("reaches", 4, 1) == pytest.approx(0.98168436)
    assert called("reaches", 4, 30) == pytest.approx(4.2e-17, rel=0.1)
    below = sum(math.exp(-40) * 40**k / math.factorial(k) for k in range(30))
    assert called("reaches", 40, 30) == pytest.approx(1 - below)
