"""A run over a population: the same bits however it is computed."""

from __future__ import annotations

import json
import multiprocessing
import re
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_simulations.cli.population import _rows, opened, unseen
from blindmatch_simulations.evaluation.assess.observed import KeyUse, PeriodUse
from blindmatch_simulations.evaluation.assess.results import AnyResults, Measured
from blindmatch_simulations.evaluation.population import bands, outputs, running
from blindmatch_simulations.evaluation.population.bands import calibrated
from blindmatch_simulations.evaluation.population.computing import BANDS, ENDS
from blindmatch_simulations.evaluation.population.counts import blocks
from blindmatch_simulations.evaluation.population.false_matches import break_even
from blindmatch_simulations.evaluation.population.fates import declared
from blindmatch_simulations.evaluation.population.inputs import (
    Assumed,
    Inputs,
    PopulationError,
    figures,
    read_inputs,
    with_rate,
    with_value,
)
from blindmatch_simulations.evaluation.population.model import LITERATURE, Range, mean_entries, model
from blindmatch_simulations.evaluation.population.model import literature as literature_of
from blindmatch_simulations.evaluation.population.outputs import NOT_KNOWN, load
from blindmatch_simulations.evaluation.population.running import (
    Options,
    Subject,
    _subject,
    read_results,
    run,
    subjects,
)
from blindmatch_simulations.evaluation.population.threshold import opened_accounts
from blindmatch_simulations.evaluation.studies.evidence import committed, false_rate
from blindmatch_simulations.evaluation.studies.false_matches import FALSE
from blindmatch_simulations.measure.intervals import one_sided_most_rate, share
from blindmatch_simulations.measure.results import Figure, encode, read, sealed
from blindmatch_simulations.report.yearly import _year_behaviour
from blindmatch_simulations.testbed.pictures.crops import BY_NAME
from msgspec.structs import replace
from msgspec.structs import replace as replaced
from support.command import BAD_STATE, REFUSED, in_process, refused

INPUTS = Path(running.__file__).parents[2] / "data" / "population.toml"
SAMPLE = Path(__file__).parents[2] / "docs" / "sample" / "results.json"
EU = replace(read_inputs(None), calibration=())
"""Without the years that were counted, which take longer than all else here."""
WHOLE = Options(accounts=300_000_000, days=3)


class StoppedError(Exception):
    """As Ctrl-C or a kill, between two blocks."""


def literature(options: Options, progress: Progress = no_progress) -> dict[str, Any]:
    """A run of the one design that every results file has."""
    return run(EU, None, [LITERATURE], options, progress)


YEARS: dict[tuple[bytes, int], list[dict[str, Any]]] = {}


def calibrated_once(inputs: Inputs, seed: int) -> list[dict[str, Any]]:
    key = msgspec.json.encode(inputs), seed
    return YEARS[key] if key in YEARS else YEARS.setdefault(key, calibrated(inputs, seed))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few runs for a joint band that is not looked at; not beside workers, which have it whole. Counted years
    are foretold once."""
    monkeypatch.setattr(outputs, "JOINT", 9)
    monkeypatch.setattr(running, "calibrated", calibrated_once)


@pytest.fixture
def quicker(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no input is moved to its ends, which is not looked at either."""
    monkeypatch.setattr(outputs, "_ends", lambda *_: [])


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """The run that the others must equal."""
    return literature(WHOLE)


@cache
def hasty() -> dict[str, Any]:
    return literature(WHOLE)


@pytest.fixture
def whole_quickly(quick: None) -> dict[str, Any]:
    """The run that others with few runs for a joint band must equal."""
    return hasty()


def test_another_seed_gives_other_bits(whole_quickly: dict[str, Any]) -> None:
    assert literature(replaced(WHOLE, seed=2))["digest"] != whole_quickly["digest"]


@pytest.mark.slow
def test_two_workers_give_the_bits_of_one_and_one_that_is_killed_costs_its_block_alone(
    whole: dict[str, Any],
) -> None:
    assert blocks(WHOLE.accounts) == 3
    killed: Iterator[int] = count()

    def kill(done: int, total: int) -> None:
        if done == 1 and next(killed) == 0:
            for child in multiprocessing.active_children():
                child.kill()

    other = literature(replaced(WHOLE, workers=2), kill)
    assert (other["designs"], other["digest"]) == (whole["designs"], whole["digest"])
    assert next(killed) == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("value = 1.6", "value = -1.6", ("activity.pictures_a_day.value", ">")),
        ("value = 6.67e-3", "value = 600", ("material.files", "low <= value <= high")),
        (
            "value = 6.67e-3\nlow = 6e-4\nhigh = 6e-2",
            "value = 600",
            ("material.files", "the pictures of a year"),
        ),
        ("value = 1.5\nlow", "value = nan\nlow", ("activity.spread.value", ">= 0")),
        ("value = 1.5\nlow", "value = inf\nlow", ("activity.spread", "from 0 to 5")),
        ("low = 0.2\nhigh = 5", "low = 3.0\nhigh = 5", ("activity.pictures_a_day", "low <= value <= high")),
        ('provenance = "verified"', 'provenance = "certain"', ("provenance", "Invalid enum")),
        ('source = "no source: few', 'sauce = "no source: few', ("material.shape", "sauce")),
        ("[list.growth]\nvalue = 1.43", "[list.growth]\nvalue = 0.9\n", ("list.growth",)),
        ("identical = 0.30", "identical = 0.40", ("edits.mix", "sum to 1")),
        ("caption = 0.03", "captain = 0.03", ("edits.mix", "captain")),
        ("value = 450_000_000", "value = 0", ("accounts.number.value", ">= 1")),
        ("value = 0.5\nlow = 0.2\nhigh = 0.9", "value = 1.0", ("cascades.left", "0.99")),
        ("value = 5\nlow = 5\nhigh = 7", "value = 8", ("centre.days_a_week", "from 1 to 7")),
        ("value = 0.001", "value = 0.0", ("material.sharers", "from 1e-09")),
        ("value = 12\nlow = 1\n", "value = 12\n", ("accounts.setups_a_year", "neither low nor high")),
        ('mode = "hold"', 'mode = "drop"', ("outages.mode", "drop")),
        ("version = 4", "version = 3", ("version", "reads 4")),
        ('assume = "nothing"', 'assume = "some"', ("false_matches.assume", "some")),
        ("[clients.modified]", "[clients.modified", ("not TOML",)),
    ],
)
def test_an_impossible_figure_is_refused_with_its_name(
    old: str, new: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    text = INPUTS.read_text("utf-8")
    assert old in text
    path = tmp_path / "inputs.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(PopulationError) as error:
        read_inputs(path)
    assert all(word in str(error.value) for word in words), error.value


def test_every_figure_has_a_unit_and_a_source() -> None:
    for part, field, figure in figures(read_inputs(None)):
        assert figure.unit, (part, field)
        assert figure.source, (part, field)


def test_pictures_a_day_say_that_they_are_of_a_peak_day_and_go_down_to_those_of_2016() -> None:
    outside = json.loads((INPUTS.parent / "volumes.json").read_text())["figures"]
    world = {one["id"]: one for one in outside}
    figure = read_inputs(None).activity.pictures_a_day
    assert "(peak day)" in world["photos_world_2019"]["source"]
    assert "peak day" in figure.source
    for year, value in (("2016", figure.low), ("2019", figure.value)):
        ours = world[f"photos_world_{year}"]["value"] * 0.06 / 450_000_000
        assert value is not None
        assert value <= ours + 1e-9, year


@pytest.mark.usefixtures("quicker")
def test_what_a_design_does_is_read_from_the_results_file(tmp_path: Path) -> None:
    """Everything that a run takes from a design moves with the file, and with nothing else, at a distance
    that the committed evidence does not have."""
    results = read(SAMPLE, AnyResults)
    (row,) = (one for one in results.rows if isinstance(one, Measured) and one.id == "token-psi")
    share = Figure(0.5, "", 0.4, 0.6, 10)
    recalls = tuple(replace(one, share=share) for one in row.recall_by_edit)
    changed = {"false_matches": Figure(0.25, "", 0.2, 0.3, 4), "server_cpu_ms": Figure(7.0)}
    changed["matcher_cpu_ms"] = Figure(3.0)
    other = replace(row, recall_by_edit=recalls, figures={**row.figures, **changed})
    other = replace(other, design=replace(other.design, distance=30))
    path = tmp_path / "results.json"
    path.write_bytes(encode(sealed(replace(results, rows=(other,)))))
    made = run(EU, path, ["token-psi"], Options(1000, 5))
    (design,) = made["designs"]
    assert design["behaviour"]["recall"]["value"] == pytest.approx(0.5)
    assert design["behaviour"]["recall"]["low"] == pytest.approx(0.4)
    assert design["behaviour"]["false_rate"] is design["false_matches"] is None, (
        "of few pictures none is told"
    )
    pictures = 1000 * 1.6 * 1.01
    assert design["run"]["server_cores"]["value"] == pytest.approx(pictures * 7 * 3 / 86_400_000)
    assert row.key is not None
    assert design["run"]["keys_used"]["value"] == pytest.approx(5 * pictures * row.key.cost / row.key.in_all)


@pytest.mark.usefixtures("quicker")
def test_what_was_not_measured_stays_so() -> None:
    found = {one.design: one for one in subjects(read_results(None), read_inputs(None), [])}
    assert found["none"].behaviour is None
    assert "nothing to measure" in found["none"].why
    assert found["targeted-access"].behaviour is None
    made = run(EU, None, ["none", "device-list"], Options(1000, 2))
    unmeasured, device = sorted(made["designs"], key=lambda one: one["status"], reverse=True)
    assert unmeasured == {"design": "none", "status": "not measured", "why": found["none"].why}
    cores = device["run"]["server_cores"]
    assert cores["value"] is None
    assert cores["why"].startswith("nothing to measure")


@cache
def sample_row(design: str) -> Measured:
    """A design's row of the sample."""
    results = read(SAMPLE, AnyResults)
    (row,) = (one for one in results.rows if isinstance(one, Measured) and one.id == design)
    return row


@pytest.mark.parametrize(
    ("servers", "matcher", "taken"),
    [(10.8, 2808.8, 2808.8), (7.0, 3.0, 7.0), (None, 3.0, 3.0), (7.0, None, 7.0), (None, None, None)],
)
def test_servers_cost_what_the_matcher_does_where_its_worker_processes_do_the_work(
    servers: float | None, matcher: float | None, taken: float | None
) -> None:
    row = sample_row("token-psi")
    both = {"server_cpu_ms": Figure(servers, "servers"), "matcher_cpu_ms": Figure(matcher, "matcher")}
    behaviour = _subject(replace(row, figures={**row.figures, **both}), EU).behaviour
    assert behaviour is not None
    assert behaviour.costs["server_cpu_ms"].value == taken
    assert taken is not None or behaviour.costs["server_cpu_ms"].why == "servers"


def recall_of(shares: dict[str, Figure]) -> Range:
    """The recall for the inputs' mix of a row with these recalls by edit."""
    row = sample_row("oprf-psi")
    recalls = tuple(replace(one, share=shares[one.name]) for one in row.recall_by_edit)
    elsewhere = replace(row.design, distance=7)
    behaviour = _subject(replace(row, recall_by_edit=recalls, design=elsewhere), EU).behaviour
    assert behaviour is not None
    return behaviour.recall


@pytest.mark.usefixtures("quicker")
def test_a_run_takes_what_the_committed_evidence_has_of_a_design_and_says_so() -> None:
    """Four photographs and sixteen innocents gave 0 to 65 billion false reports a year."""
    made = run(EU, None, ["token-psi", "oprf-psi"], Options(1000, 5))
    near, exact = sorted(made["designs"], key=lambda one: one["design"], reverse=True)
    for design, recall, within in ((near, 0.917, 31), (exact, 0.502, 0)):
        told = design["behaviour"]
        known = design["false_matches"]
        assert told["recall"]["value"] == pytest.approx(recall, abs=0.02)
        assert told["recall"]["source"].startswith("committed evidence")
        assert told["unnoticed"]["source"] == "results file, 4 pictures"
        assert told["false_rate"] is None
        seen = {
            (one.parameters["kind"], one.parameters["list"]): one.figures
            for one in committed()
            if one.id == FALSE and one.parameters["within"] == within
        }
        assert known["seen"]["value"] == seen["photograph", "all"]["item"].value == 0
        assert known["seen"]["n"] == seen["photograph", "all"]["item"].n
        for one, kind in zip(known["lists"], ("photograph", "all"), strict=True):
            assert one["item"]["high"] == seen["all", kind]["item_by_package"].high


@pytest.mark.usefixtures("quicker")
def test_what_follows_from_a_rate_that_nobody_knows_is_not_told() -> None:
    """Sheet, year and cell had three answers in billions for what no test here can tell."""
    (unknown,) = run(EU, None, ["token-psi"], Options(1000, 5))["designs"]
    waiting = {
        "false_reports", "accounts_wrong", "people_needed", "backlog", "oldest_days", "delay_days",
        "forwarded_true", "forwarded_false", "dismissed_true", "complaints", "report_bytes",
    }  # fmt: skip
    assert {name for name, one in unknown["run"].items() if one.get("why") == NOT_KNOWN} == waiting
    assert unknown["run"]["true_reports"]["value"] is not None
    (cells,) = _rows([unknown])
    assert cells[2] == cells[3] == "not known"
    (assumed,) = run(with_rate(EU, 1e-3), None, ["token-psi"], Options(1000, 5))["designs"]
    assert assumed["run"]["false_reports"]["expected"] == pytest.approx(5 * 1600 * 1e-3, rel=0.01)


@pytest.mark.usefixtures("quicker")
def test_a_rate_of_lists_is_scaled_to_the_length_of_the_inputs_list() -> None:
    """The rate was that of an 18,883-picture list whatever `list.entries` said."""
    mixed = replace(EU, false_matches=replace(EU.false_matches, assume="mixed"))
    for entries in (2_000, 19_781, 40_000):
        held = with_value(with_value(mixed, "list", "entries", entries), "list", "growth", 1.0)
        (row,) = run(held, None, ["oprf-psi"], Options(1000, 5))["designs"]
        told = false_rate("all", "all", 0, entries, "item_by_package")
        rate = row["behaviour"]["false_rate"]
        assert [rate[end] for end in ("value", "low", "high")] == [told.value, told.low, told.high]
        assert row["run"]["false_reports"]["expected"] == pytest.approx(5 * 1600 * told.value, rel=0.01)
    grown = run(with_value(mixed, "list", "growth", 2.0), None, ["oprf-psi"], Options(1000, 365))
    mean = 1_004_611 / np.log(2)
    assert grown["list_entries"] == pytest.approx(mean, rel=2e-3)
    assert f"to {grown['list_entries']:,.0f}" in grown["designs"][0]["behaviour"]["false_rate"]["source"]


def test_the_length_of_the_list_moves_the_sensitivity_and_the_joint_band_of_a_rate_of_lists() -> None:
    mixed = replace(EU, false_matches=replace(EU.false_matches, assume="mixed"))
    behaviour = running._behaviour(sample_row("oprf-psi"), mixed)
    base, moved = outputs.tornado(mixed, behaviour, 1000, 5)
    (one,) = (o for o in moved if (o.output, o.input) == ("false_reports", "list.entries"))
    assert one.at_high / one.at_low == pytest.approx(3_000_000 / 345_961, rel=0.05)
    assert one.at_low < base["false_reports"] < one.at_high


def test_half_of_all_matches_are_wrong_at_the_break_even() -> None:
    """One definition: a matcher that finds every known picture, in the year's model."""
    even = break_even(EU)
    assert even.pictures == pytest.approx(146_000, rel=1e-3)
    held = with_value(
        with_value(with_rate(EU, even.rate), "outages", "chance", 0.0), "clients", "modified", 0
    )
    told = bands.expected(model(held, literature_of(held), 450_000_000, 365))
    assert told.true.sum() == pytest.approx(told.false.sum(), rel=2e-3)
    assert told.true.sum() == pytest.approx(even.right, rel=2e-3)


def test_of_100_known_files_each_has_one_fate_and_two_assumed_shares_decide_most() -> None:
    near = model(EU, running._behaviour(sample_row("token-psi"), EU), 450_000_000, 365)
    told = declared(near)
    assert told["unit"] == "of 100 known files sent" and told["derivation"]
    assert sum(told["fates"].values()) == pytest.approx(100)
    assert told["fates"]["video"] == pytest.approx(40)
    assert told["fates"]["modified"] == pytest.approx(6, rel=0.01)
    assert [round(end) for end in told["found_by_two_assumed_shares"]] == [3, 83]
    held = model(EU, running._behaviour(sample_row("threshold-psi"), EU), 450_000_000, 365)
    assert declared(held)["fates"]["held"] > 10 * declared(held)["fates"]["found"] > 0


@pytest.mark.usefixtures("quick")
def test_a_reader_changes_the_mix_of_edits_and_the_rate(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    asked = ("population", "--accounts", 1000, "--days", 3, "--designs", "oprf-psi", "--json", path)
    assert in_process(tmp_path, *asked, "--mix", "identical=0.5,caption=0.5", "--rate", "0.01").code == 0
    made = json.loads(path.read_text())
    assert made["inputs"]["edits"]["mix"] == {"identical": 0.5, "caption": 0.5}
    (row,) = made["designs"]
    assert row["behaviour"]["recall"]["value"] == pytest.approx(0.5, abs=0.01), (
        "each identical one, no caption"
    )
    assert row["behaviour"]["false_rate"]["value"] == 0.01
    ran = in_process(tmp_path, *asked)
    assert "identical 30%, jpeg-75 25%" in " ".join(ran.out.split())
    for words, said in (
        ("identical=0.5", "must sum to 1"), ("nosuch=1", "no edit is called nosuch"),
        ("identical", "write each edit once"), ("identical=1,identical=0", "write each edit once"),
        ("identical=two", "write each edit once"),
    ):  # fmt: skip
        refused(in_process(tmp_path, *asked, "--mix", words), REFUSED, said)


@pytest.mark.usefixtures("quicker")
def test_a_rate_of_one_in_a_million_is_said_to_be_no_small_one() -> None:
    made = run(EU, None, [LITERATURE], Options(450_000_000, 1))["unseen"]
    assert one_sided_most_rate(0, made["pictures"]) == pytest.approx(1e-6, rel=1e-4)
    assert made["false_reports"] == pytest.approx(720)
    year = {"unseen": {"pictures": made["pictures"], "false_reports": 365 * made["false_reports"]}}
    assert "still is 262,800 false reports" in unseen(year)


def test_what_a_rate_still_allows_is_what_the_model_makes_of_it() -> None:
    """It said 262,800 at a threshold that false matches alone never reach: of sharers whose true ones do,
    a few go with these."""
    for threshold, most in ((1, None), (30, 30)):
        held = with_value(EU, "centre", "threshold", threshold)
        told = bands.unseen(model(held, literature_of(held), 450_000_000, 365))["false_reports"]
        rate = with_value(held, "false_matches", "rate", 1e-6)
        its = model(rate, literature_of(rate), 450_000_000, 365)
        assert told == pytest.approx(bands.expected(its).false.sum())
        assert 1 < told < most if most else told == pytest.approx(262_800, rel=1e-3)


def test_the_page_says_what_the_evidence_and_the_model_say() -> None:
    """It gave the figures of one distance as those of all, and took five packages for 350 photographs."""
    docs = SAMPLE.parents[1]
    pages = (docs / "explanation" / "population.md", docs / "how-to" / "population.md")
    page = " ".join(" ".join(one.read_text() for one in pages).split())
    known = running.known_false(sample_row("token-psi"))
    assert known is not None and known.seen.high is not None and known.seen.pairs and known.seen.n
    length = known.seen.pairs / known.seen.n
    assert (
        f"of {known.seen.n} photographs matched a picture of another source, in a list of {length:,.0f}"
        in page
    )
    assert f"excludes only rates above {100 * known.seen.high:.2f} %" in page
    for one in known.lists:
        item = one.item
        assert item.value is not None and item.low is not None and item.high is not None
        assert item.n and item.pairs
        ends = f"{100 * item.value:.2f} % ({100 * item.low:.2f} to {100 * item.high:.2f} %)"
        assert f"{ends} against a list of {item.pairs / item.n:,.0f}" in page
    assert f"one error in {break_even(EU).pictures:,.0f} pictures" in page
    told = bands.unseen(model(EU, literature_of(EU), 450_000_000, 365))["false_reports"]
    assert f"{told / 1000:.0f} thousand false reports a year" in page
    (years,) = re.findall(r"\(threshold-psi: ([\d,]+) to ([\d,]+) of 450,000\)", page)
    seen = opened_accounts(model(EU, running._behaviour(sample_row("threshold-psi"), EU), 450_000_000, 365))
    for words, end in zip(years, ("from_utility", "from_t"), strict=True):
        assert float(words.replace(",", "")) == pytest.approx(seen["seen"][end], rel=0.02)


def test_one_account_has_a_joint_band() -> None:
    """Of fewer than half an account nothing could be drawn, and the command ended in a traceback."""
    (row,) = run(EU, None, ["oprf-psi"], Options(1, 2))["designs"]
    assert row["run"]["server_cores"]["joint"][0] > 0
    assert np.isfinite([end for one in row["run"].values() for end in one.get("joint") or ()]).all()


def test_no_more_than_all_pictures_match() -> None:
    behaviour = replace(literature_of(EU), false_rate=Range.exactly(3.0))
    assert model(EU, behaviour, 1000, 365).false_rates.max() == 1


@pytest.mark.parametrize("pictures", [4, 50])
def test_the_interval_of_a_mixs_recall_holds_the_truth_as_often_as_it_says(pictures: int) -> None:
    rng = np.random.default_rng(7)
    mix = EU.edits.mix
    held = 0
    for _ in range(200):
        truth = {one.name: rng.choice([0.02, 0.5, 0.97]) for one in BY_NAME.values() if one.name in mix}
        truth |= dict.fromkeys(BY_NAME.keys() - mix.keys(), 0.5)
        shares = {name: share(int(rng.binomial(pictures, p)), pictures) for name, p in truth.items()}
        found = recall_of(shares)
        held += found.low <= sum(mix[name] * truth[name] for name in mix) <= found.high
    assert held >= 190


def test_a_recall_of_an_edit_that_was_not_measured_is_not_made_up() -> None:
    shares = {name: share(3, 4) for name in BY_NAME} | {"jpeg-75": Figure(None, "no picture")}
    with pytest.raises(AssertionError):
        recall_of(shares)
    assert recall_of(shares | {"jpeg-75": share(3, 4), "flip": Figure(None)}).value == pytest.approx(0.75)


@pytest.mark.usefixtures("quicker")
def test_designs_differ_only_where_a_design_differs() -> None:
    """Each purpose has random numbers of its own, whatever a design's false matches and outages consume."""
    made = run(EU, None, ["device-list", "oprf-psi", "provider-scan", LITERATURE], Options(3_000_000, 10))
    years = [one["run"] for one in made["designs"]]
    assert years[0]["missed_video"]["value"] > 0
    for name in ("missed_video", "missed_unlisted"):
        assert all(year[name] == years[0][name] for year in years), name
    assert len({year["true_reports"]["value"] for year in years}) == 4


@pytest.mark.usefixtures("quicker")
def test_designs_that_behave_alike_are_computed_once_and_told_each() -> None:
    given = Options(1000, 3)
    computed = list[int]()
    with pytest.MonkeyPatch.context() as patch:
        real = running.computed
        patch.setattr(running, "computed", lambda *one: computed.append(one[1]) or real(*one))
        both = run(EU, None, ["hash-upload", "enclave"], given)
    (alone,) = run(EU, None, ["hash-upload"], given)["designs"]
    assert sorted(computed) == [ENDS, ENDS, BANDS, 0]
    assert alone == next(one for one in both["designs"] if one["design"] == "hash-upload")


@pytest.mark.usefixtures("quicker")
def test_people_that_nobody_has_are_not_told_as_a_number(tmp_path: Path) -> None:
    runs = {}
    for rate in (1e-2, 1e-5):
        (row,) = run(with_rate(EU, rate), None, ["token-psi"], Options(450_000_000, 30))["designs"]
        runs[rate] = row["run"]
    most = EU.centre.staff.high
    assert most == 500
    assert runs[1e-2]["people_needed"]["low"] > most
    assert "beyond any capacity" in runs[1e-2]["people_needed"]["verdict"]
    for name in ("people_needed", "backlog", "oldest_days", "delay_days"):
        assert "verdict" not in runs[1e-5][name]
    assert runs[1e-5]["people_needed"]["high"] < most


def test_what_is_known_is_told_beside_what_is_not_determinable() -> None:
    def band(low: float, high: float) -> dict[str, Any]:
        return {"value": low, "low": low, "high": high}

    for people, told in ((band(400, 600), True), (band(501, 600), False), (band(10, 500), False)):
        held = {
            "people_needed": people,
            "backlog": band(0, 9),
            "oldest_days": band(3, 3),
            "delay_days": band(1, 2),
        }
        outputs._judge(held, EU.centre.staff)
        assert [name for name, one in held.items() if one.get("verdict") == outputs.UNKNOWN] == (
            ["people_needed", "backlog", "delay_days"] if told else []
        )
        assert ("verdict" in held["people_needed"]) is (people["high"] > 500)


@pytest.mark.usefixtures("quicker")
def test_cores_have_the_spread_of_what_was_measured_and_limits_of_a_key_chance() -> None:
    (row,) = run(EU, None, ["token-psi"], Options(450_000_000, 5))["designs"]
    cores = row["run"]["server_cores"]
    figures = sample_row("token-psi").figures
    repeats = figures["matcher_cpu_ms"]
    growth = figures["server_growth_u"]
    assert repeats.low and repeats.high and repeats.value
    assert growth.low is not None and growth.low < 0, "it does not grow, as far as was resolved"
    assert cores["why"].endswith("entries, the longest list measured; not known beyond")
    for end, of in (("low", repeats.low), ("high", repeats.high)):
        assert cores[end] / cores["value"] == pytest.approx(of / repeats.value, rel=0.02), end
    assert row["run"]["keys_used"]["low"] == row["run"]["keys_used"]["high"]
    over = row["run"]["accounts_over_key"]
    rng = np.random.default_rng(1)
    limit = 1_048_576 // 160
    rates = 1.616 * np.exp(1.5 * rng.normal(size=20_000_000) - 1.5**2 / 2) * 30
    assert over["value"] == pytest.approx(22.5 * (rates > limit).sum(), rel=0.15)
    assert over["low"] < over["value"] < over["high"]
    assert over["high"] - over["low"] == pytest.approx(2 * 1.96 * over["value"] ** 0.5, rel=0.05)


def test_accounts_that_exceed_a_limit_by_year_or_day_are_counted_by_the_limit_that_most_exceed() -> None:
    day = PeriodUse(86_400, 224 * 1_000)
    year = PeriodUse(365 * 86_400, 224 * 2_000)
    rates = 1.616 * np.exp(1.5 * np.random.default_rng(1).normal(size=2_000_000) - 1.5**2 / 2)
    in_a_year = 450_000_000 * float((rates * 365 > 2_000).mean())
    inputs = read_inputs(None)
    for periods, per_account in (((year,), None), ((day, year), None), ((day, year), 1 << 60)):
        limited = replace(literature_of(inputs), key=KeyUse(224, per_account, None, periods))
        over = load(model(inputs, limited, 450_000_000, 365))["accounts_over_key"][0]
        assert over.value == pytest.approx(in_a_year, rel=0.02)
    by_key = replace(literature_of(inputs), key=KeyUse(224, 224 * 2, None, (day, year)))
    assert load(model(inputs, by_key, 450_000_000, 365))["accounts_over_key"][0].value > 10 * in_a_year


@pytest.mark.parametrize("low", [0.5, -0.5])
def test_cores_follow_the_line_between_two_lengths_and_nothing_is_told_beyond(low: float) -> None:
    """1 u is half a ms here: 2 u a thousand entries. A slope that chance alone may have made is none."""
    row = sample_row("token-psi")
    why = "line through 3,004 and 103,004 entries"
    line = {"server_cpu_ms": Figure(10.0, "", 10.0, 10.0), "matcher_cpu_ms": Figure(1.0, "", 1.0, 1.0),
            "server_u": Figure(2.0), "server_growth_u": Figure(2.0, why, low, 4.0, 10)}  # fmt: skip
    flat = with_value(EU, "list", "growth", 1.0)
    found = _subject(replace(row, figures={**row.figures, **line}), flat).behaviour
    assert found is not None
    for entries, thousands in ((53_004, 50), (103_004, 100), (18_000_000, 100)):
        held = with_value(flat, "list", "entries", entries)
        figure, number = load(model(held, found, 1_000, 10))["server_cores"]
        slopes = (0.5 * low, 1.0, 2.0) if low > 0 else (0.0, 0.0, 0.0)
        told = [10 + thousands * one for one in slopes]
        assert [figure.low, figure.value, figure.high] == pytest.approx(told)
        assert ("not known beyond" in figure.why) is (entries > 103_004)
        assert number[0] == pytest.approx(1_616 * 3 / 86_400_000)
    alone = {name: one for name, one in line.items() if name != "server_growth_u"}
    without = _subject(replace(row, figures={**row.figures, **alone}), flat).behaviour
    assert without is not None and load(model(flat, without, 1_000, 10))["server_cores"][0].value == 10.0


def test_a_query_that_is_asked_again_costs_what_the_first_did_and_counts_again_under_a_key() -> None:
    """`tests/server/test_budget.py` shows that the matcher counts it."""
    found = _subject(sample_row("token-psi"), EU).behaviour
    assert found is not None
    never, often = (
        load(model(with_value(EU, "activity", "retries", share), found, 1_000, 10)) for share in (0.0, 0.1)
    )
    for name in ("server_cores", "peak_queries", "query_up_bytes", "query_down_bytes", "keys_used"):
        assert often[name][1].sum() == pytest.approx(1.1 * never[name][1].sum()), name
    for name in ("setup_bytes", "update_bytes", "report_bytes"):
        assert often[name][1].sum() == pytest.approx(never[name][1].sum()), name


@pytest.mark.usefixtures("quicker")
def test_the_peak_hour_has_a_number_of_queries_and_a_band_of_what_is_not_known() -> None:
    (row,) = run(EU, None, ["token-psi"], Options(450_000_000, 5))["designs"]
    peak = row["run"]["peak_queries"]
    assert peak["value"] == pytest.approx(450e6 * 1.6 * 1.01 * 3 / 86_400, rel=1e-4)
    assert peak["joint"][0] < peak["value"] / 3 and peak["joint"][1] > 3 * peak["value"]


@pytest.mark.slow
def test_the_joint_band_holds_the_band_of_chance_and_what_the_inputs_ends_give() -> None:
    """Independent draws gave true reports of decades where the band of chance was a tenth wide."""
    (row,) = run(EU, None, ["token-psi"], Options(450_000_000, 5))["designs"]
    for name in ("true_reports", "missed_unrecognised", "server_cores", "missed_video"):
        one = row["run"][name]
        low, high = one["joint"]
        assert low < one["value"] < high, name
    one = row["run"]["true_reports"]
    low, high = one["joint"]
    assert high - low > 3 * (one["high"] - one["low"])
    assert high > 50 * low
    ends = [end for one in row["run"].values() for end in one.get("joint") or ()]
    assert ends == [float(f"{end:.2g}") for end in ends], "more digits than 500 runs have"
    other = run(EU, None, ["token-psi"], Options(450_000_000, 5, seed=2))
    assert other["designs"][0]["run"]["true_reports"]["joint"] == pytest.approx([low, high], rel=0.5)


@pytest.mark.slow
def test_inputs_without_ends_have_no_joint_band_beyond_chance() -> None:
    fixed = EU
    for part, field, figure in figures(EU):
        held = getattr(fixed, part)
        fixed = replace(fixed, **{part: replace(held, **{field: replace(figure, low=None, high=None)})})
    (row,) = run(fixed, None, [LITERATURE], Options(450_000_000, 20))["designs"]
    one = row["run"]["true_reports"]
    assert one["joint"] == pytest.approx([one["low"], one["high"]], rel=0.1)
    assert row["sensitivity"] == []


def test_every_shown_value_lies_in_its_band_and_days_come_to_the_run(whole_quickly: dict[str, Any]) -> None:
    (design,) = whole_quickly["designs"]
    for name, found in design["run"].items():
        days = design["daily"].get(name)
        if days is None or days["low"] is None:
            continue
        assert found["low"] <= found["value"] <= found["high"], name
        triples = zip(days["low"], days["value"], days["high"], strict=True)
        assert all(low <= value <= high for low, value, high in triples), name
        if found["of_days"] == "sum":
            assert sum(days["value"]) == pytest.approx(found["value"], rel=1e-5)


@pytest.mark.usefixtures("quick")
def test_the_sensitivity_is_what_a_changed_file_gives() -> None:
    options = Options(10_000, 30)
    (design,) = run(EU, None, [LITERATURE], options)["designs"]
    moved = {(one["output"], one["input"]): one for one in design["sensitivity"]}
    one = moved["true_reports", "material.video"]
    high = with_value(EU, "material", "video", 0.7)
    (other,) = run(high, None, [LITERATURE], options)["designs"]
    assert other["run"]["true_reports"]["expected"] == pytest.approx(one["at_high"], rel=1e-5)
    widths = [abs(r["at_high"] - r["at_low"]) for r in design["sensitivity"] if r["output"] == "true_reports"]
    assert widths == sorted(widths, reverse=True)
    assert ("true_reports", "centre.staff") not in moved
    assert ("backlog", "centre.staff") in moved or design["run"]["backlog"]["value"] == 0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("design", "assume"), [(LITERATURE, "nothing"), ("oprf-psi", "rate")])
def test_a_rate_of_the_inputs_has_no_interval_and_is_moved_as_an_input(design: str, assume: Assumed) -> None:
    given = replace(EU, false_matches=replace(EU.false_matches, assume=assume))
    rate = EU.false_matches.rate
    options = Options(1_000_000, 30)
    (row,) = run(given, None, [design], options)["designs"]
    told = dict.fromkeys(("value", "low", "high"), rate.value) | {"source": "inputs"}
    assert row["behaviour"]["false_rate"] == told
    moved = {(one["output"], one["input"]): one for one in row["sensitivity"]}
    assert ("false_reports", "measured.false_rate") not in moved
    one = moved["false_reports", "false_matches.rate"]
    other = with_value(given, "false_matches", "rate", 1e-3)
    (high,) = run(other, None, [design], options)["designs"]
    assert high["run"]["false_reports"]["expected"] == pytest.approx(one["at_high"], rel=1e-5)
    assert row["run"]["false_reports"]["high"] < one["at_high"] / 10


@pytest.mark.usefixtures("quick")
def test_an_inputs_rate_that_a_design_does_not_have_does_not_move_it() -> None:
    (row,) = run(EU, None, ["oprf-psi"], Options(1000, 5))["designs"]
    inputs = {one["input"] for one in row["sensitivity"]}
    assert not inputs & {"false_matches.rate", "measured.false_rate"}
    assert "measured.recall" in inputs and "false_reports" not in {
        one["output"] for one in row["sensitivity"]
    }


def test_counted_years_are_foretold_with_their_residuals() -> None:
    years = {one["name"]: one for one in calibrated(read_inputs(None), 1)}
    assert [f"Switzerland {year}" in years for year in range(2018, 2024)] == [True] * 6
    found = years["Switzerland 2022"]["received"]
    assert found["expected"] == round(1_503_431 / 447_000_000 * 8_815_000)
    assert found["residual"] == 12_737 - found["expected"]
    assert found["low"] <= found["expected"] <= found["high"]
    assert years["Germany 2023"]["received"]["counted"] == 180_300


def test_the_causes_that_are_named_of_residuals_have_the_figures_of_the_counts() -> None:
    """Each residual has a cause or is said not to be explained; what a note says moved is what moved."""
    of = {one.name: one for one in read_inputs(None).calibration}
    rises = list[float]()
    for name, one in of.items():
        received, _, forwarded = one.note.partition("; forwarded: ")
        assert received.startswith("received: ") and "not explained" in received, name
        assert bool(forwarded) is (one.forwarded is not None), name
        country, year = name.rsplit(" ", 1)
        if one.forwarded and country == "Switzerland":
            assert f"{100 * one.forwarded / one.received:.1f} % of what was received" in forwarded
            assert f"not {100 * one.relevant:.1f} %" in forwarded and "not explained" in forwarded
        elif one.forwarded:
            assert one.forwarded / one.received == pytest.approx(one.relevant, abs=5e-4), "this very count"
        if before := of.get(f"{country} {int(year) - 1}"):
            moved, eu = (100 * (now / then - 1) for now, then in (
                (one.received, before.received), (one.eu_reports, before.eu_reports),
            ))  # fmt: skip
            rises.append(moved)
            if "the Swiss" in received:
                assert f"{abs(eu):.0f} %" in received and f"by {abs(moved):.0f} %" in received, name
            assert country != "Germany" or f"by {moved:.0f} %" in received
    assert sorted(map(round, rises)) == [-12, -9, -2, 13, 32, 77], (
        "as the page says of a country's own counts"
    )
    germany = of["Germany 2022"]
    for part in (germany.inhabitants / germany.eu_inhabitants, germany.received / germany.eu_reports):
        assert f"{100 * part:.1f} % of its" in germany.note


@pytest.mark.usefixtures("quick")
def test_the_command_writes_its_result_and_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "population.json"
    arguments = ("--accounts", 1000, "--days", 3, "--designs", "token-psi,literature", "--json", path)
    ran = in_process(tmp_path, "population", *arguments)
    assert ran.code == 0, ran.err
    made = json.loads(path.read_text())
    assert {"accounts", "days", "seconds", "workers", "digest", "designs"} <= made.keys()
    assert (made["accounts"], made["days"], made["workers"]) == (1000, 3, 1)
    assert made["digest"] in ran.out
    for whole in ("recognised", "server cores", "not measured", "activity.pictures_a_day"):
        assert whole in ran.out, "broken on 80 columns"


def test_bad_input_to_the_command_ends_in_one_line(tmp_path: Path) -> None:
    edited = tmp_path / "results.json"
    edited.write_bytes(SAMPLE.read_bytes().replace(b'"version": 4', b'"version": 3', 1))
    refused(in_process(tmp_path, "population", "--results", edited), REFUSED, "version 3", "reads 4")
    refused(in_process(tmp_path, "population", "--designs", "nobody"), REFUSED, "designs: ", "nobody")
    assert in_process(tmp_path, "assess", "--quick", "--out", tmp_path, "--designs", "nobody").out == ""
    nowhere = tmp_path / "none.toml"
    refused(in_process(tmp_path, "population", "--inputs", nowhere), BAD_STATE, "none.toml", "cannot be read")
    inputs = tmp_path / "inputs.toml"
    inputs.write_text(INPUTS.read_text().replace("value = 1.6", "value = -1", 1))
    refused(in_process(tmp_path, "population", "--inputs", inputs), REFUSED, "activity.pictures_a_day")


def test_inputs_written_out_are_those_that_were_read(whole_quickly: dict[str, Any]) -> None:
    assert whole_quickly["inputs"] == msgspec.to_builtins(EU)


def test_who_asks_roles_and_hands_in_vouchers_pays_for_both() -> None:
    row = next(one for one in read_results(None).rows if one.id == "threshold-near")
    assert isinstance(row, Measured)

    def asked(value: float | None, voucher: float | None) -> float | None:
        figures = {
            **row.figures,
            "query_up_bytes": replace(row.figures["query_up_bytes"], value=value),
            "report_bytes": replace(row.figures["report_bytes"], value=voucher, why=""),
        }
        return running._behaviour(replace(row, figures=figures), EU).costs["query_up_bytes"].value

    # files of before vouchers were among what is sent for a picture
    assert (asked(0.0, 2044.0), asked(100.0, 2044.0), asked(None, 2044.0)) == (2044.0, 2144.0, None)
    assert (asked(2044.0, None), asked(0.0, None), asked(None, None)) == (2044.0, None, None)


def test_only_designs_with_vouchers_have_a_threshold_of_matches() -> None:
    """The classifier's parameter of that name is a score."""
    found = {one.design: one.behaviour for one in subjects(read_results(None), EU, []) if one.behaviour}
    voucher = found["threshold-psi"].costs
    assert (voucher["query_up_bytes"].value or 0) > 1_000 and voucher["report_bytes"].why.startswith(
        "a voucher leaves"
    )
    assert {name: one.threshold for name, one in found.items() if one.threshold > 1} == {
        "threshold-near": 4, "threshold-psi": 4
    }  # fmt: skip
    assert {one.made_up for one in found.values()} == {0.0, 0.01}
    page = _year_behaviour(Subject("psi", found["threshold-psi"]))
    assert (page["threshold"], page["by_period"], page["always"]) == (4, True, 5)


def test_made_up_vouchers_never_count_and_are_taken_off_once() -> None:
    """A results file has what its opened vouchers gave; the evidence and the inputs know of none."""
    near = sample_row("threshold-near")
    equal = sample_row("threshold-psi")
    elsewhere = replace(equal, design=replace(equal.design, distance=7))
    for row, own in ((near, 0.99), (equal, 0.99), (elsewhere, 1.0)):
        plain = running._recall(row, EU.edits.mix)
        made = running._behaviour(row, EU)
        for end in ("value", "low", "high"):
            assert made.recall.at(end) == pytest.approx(own * plain.at(end))
        assert ("made up" in made.recall.source) is (own < 1)
        rate = running._behaviour(row, with_rate(EU, 1e-3)).false_rate
        assert rate is not None and rate.value == pytest.approx(0.99e-3) and "made up" in rate.source
    mixed = replace(EU, false_matches=replace(EU.false_matches, assume="mixed"))
    its = model(mixed, running._behaviour(equal, mixed), 1000, 5)
    told = false_rate("all", "all", 0, mean_entries(mixed, 5), "item_by_package").value
    assert its.behaviour.false_rate is not None and told is not None
    assert its.behaviour.false_rate.value == pytest.approx(0.99 * told)
    words = _year_behaviour(Subject("near", running._behaviour(near, EU)))
    assert "0.01 of vouchers are made up" in words["source"]


@pytest.mark.parametrize("design", ["threshold-near", "threshold-psi"])
def test_a_period_that_ends_on_one_day_in_which_nobody_is_opened_is_drawn(design: str) -> None:
    """What rounding leaves of no account was taken for an account with endlessly many reports."""
    its = model(EU, running._behaviour(sample_row(design), EU), 450_000_000, 365)
    drawn = [outputs._supposed(its, 1, at) for at in range(60)]
    short = [one for one in drawn if 365 % one.period == 1]
    assert short, "periods that leave one day"
    assert all(np.isfinite(rows).all() for one in short for rows in bands.totals(one, 1, 1, "joint"))


def test_a_design_with_a_threshold_says_what_reports_nothing_and_whom_it_opens(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands, "RUNS", 50)
    (row,) = run(EU, None, ["threshold-near"], Options(3_000_000, 45))["designs"]
    told = row["threshold"]
    true, missed = (row["run"][name] for name in ("true_reports", "held_by_threshold"))
    assert 0 < true["value"] < missed["value"]
    assert true["low"] <= true["expected"] <= true["high"]
    words = opened(row)
    assert "fewer than 4 matches in 30 days reports nothing; from 5 on, all are opened." in words
    assert "Expected: of 3,000 sharers their true matches open" in words
    assert told["seen"]["from_utility"] < told["seen"]["from_t"] < 3_000 / 3
    wrong = told["opened_wrongly_a_year"]
    assert 0 < wrong["independent"] < wrong["in_series"] < wrong["bursts"] and wrong["bursts"] > 10_000
    assert wrong["rate"] == pytest.approx(break_even(EU).rate)
    assert "at one error in 145,927 pictures, where half of all matches are wrong" in words
    assert "from 5 on, all are opened" in words
