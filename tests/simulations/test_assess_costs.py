"""What a design costs is stated whole, by the command: vouchers, decoding and hashing, a model, growth; times
that other work disturbed say so, and every interval says of what level it is."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.designs import hash_upload
from blindmatch_protocol.designs.he_hamming import packing
from blindmatch_protocol.designs.he_hamming.design import HeHamming
from blindmatch_protocol.picture.decode import Picture
from blindmatch_server.epochs.published import open_publication
from blindmatch_simulations.evaluation.assess import alone, costs
from blindmatch_simulations.evaluation.assess.figures import FIGURES
from blindmatch_simulations.evaluation.assess.material import make
from blindmatch_simulations.evaluation.assess.observed import AloneRow, Lengths, Observed
from blindmatch_simulations.evaluation.assess.plan import read_plan
from blindmatch_simulations.evaluation.attacks.figure import share_of
from blindmatch_simulations.measure.intervals import level_of, mean
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.measure.yardstick import Cost, Reading, Run
from blindmatch_simulations.testbed.inprocess.deployed import open_published
from blindmatch_simulations.testbed.pictures.crops import crops
from msgspec.structs import replace
from support.altered_folder import altered, row_of
from support.assess_rows import observed, row, tiny
from support.command import in_process

MODEL = 4_700_000
CLASSIFIER = f"""
from blindmatch_protocol.designs.device_classifier import DeviceClassifier
DESIGN = DeviceClassifier(lambda item: float(item.pixels.mean() > 255), model_bytes={MODEL})
"""
QUIET = Reading(50.0, 1.0)
SHARED = Reading(78.0, 14.0)
PARTS = {costs.ALONE, costs.SENT, costs.BUILT, costs.UPDATED}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command on a tiny workload."""
    here = tmp_path_factory.mktemp("costs")
    (here / "classifier.py").write_text(CLASSIFIER, "utf-8")
    (here / "tiny.toml").write_text(tiny(), "utf-8")
    designs = f"threshold-psi,provider-scan,hash-upload,{here / 'classifier.py'}:DESIGN"
    ran = in_process(
        here, "assess", "--workload", here / "tiny.toml", "--designs", designs, "--out", here / "out"
    )
    assert ran.code == 0, ran.err
    return here / "out"


def figures_of(folder: Path, design: str) -> dict[str, Any]:
    rows = json.loads((folder / "results.json").read_bytes())["rows"]
    return dict(next(one for one in rows if one["design"]["name"] == design)["figures"])


def raw(folder: Path, design: str, kind: str) -> list[dict[str, Any]]:
    (file,) = (folder / "rows").glob(f"{design}*.jsonl")
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    return [one for one in rows if one["kind"] == kind]


def test_a_voucher_that_leaves_with_every_picture_is_among_the_bytes_that_leave(folder: Path) -> None:
    figures = figures_of(folder, "threshold-psi")
    vouchers = [one["voucher_bytes"] for one in raw(folder, "threshold-psi", "photographs")]
    assert min(vouchers) > 1000
    assert figures["query_up_bytes"]["value"] == pytest.approx(fmean(vouchers))
    assert figures["report_bytes"]["value"] is None and "voucher" in figures["report_bytes"]["why"]


def test_a_device_is_charged_with_decoding_and_hashing_and_with_nothing_where_the_provider_matches(
    folder: Path,
) -> None:
    own = raw(folder, "hash-upload", "alone")
    assert min(one["picture_cpu_ms"] for one in own) > 0
    spent = [one["picture_cpu_ms"] + one["device_cpu_ms"] for one in own]
    assert figures_of(folder, "hash-upload")["phone_cpu_ms"]["value"] == pytest.approx(fmean(spent))
    assert figures_of(folder, "provider-scan")["phone_cpu_ms"]["value"] == 0
    assert "provider" in figures_of(folder, "provider-scan")["phone_cpu_ms"]["why"]


def test_a_classifier_is_charged_with_decoding_alone_and_with_its_model(folder: Path) -> None:
    figures = figures_of(folder, "device-classifier")
    assert (
        figures["setup_bytes"]["value"] > MODEL
        and "a model of 4,700,000 bytes" in figures["setup_bytes"]["why"]
    )
    assert min(one["picture_cpu_ms"] for one in raw(folder, "classifier", "alone")) > 0
    (picture,) = crops(1, seed=1)
    asked = alone.Asked(Picture.from_bytes(picture.data))
    assert (asked.is_decoded, asked.is_hashed) == (False, False)
    assert asked.pixels.ndim == 3
    assert (asked.is_decoded, asked.is_hashed) == (True, False)
    assert asked.quality >= 0
    assert (asked.is_decoded, asked.is_hashed) == (True, True)


def test_a_run_keeps_the_yardstick_around_each_timed_part_and_verifies(folder: Path) -> None:
    (run,) = raw(folder, "hash-upload", "run")
    assert run["timed"].keys() == PARTS
    held = json.loads((folder / "results.json").read_bytes())
    conditions = row_of(held, "hash-upload")["conditions"]
    assert conditions["runs"] == len(PARTS)
    ran = in_process(folder, "results", "verify", folder, "--no-evidence", "--json", "-")
    assert (ran.code, ran.json["differences"]) == (0, [])


def test_a_mark_that_is_taken_away_or_put_beside_a_quiet_time_is_named_by_verify(folder: Path) -> None:
    before = (folder / "results.json").read_bytes()
    designs = {one: one.read_bytes() for one in (folder / "designs").iterdir()}

    def turn(results: Any) -> None:
        figure = row_of(results, "hash-upload")["figures"]["device_cpu_ms"]
        marked = figure["why"].startswith("disturbed")
        figure["why"] = "" if marked else "disturbed: load 14"

    altered(folder, turn)
    try:
        ran = in_process(folder, "results", "verify", folder, "--no-evidence", "--json", "-")
        named = [one["figure"] for one in ran.json["differences"]]
        assert (ran.code, named) == (1, ["device_cpu_ms: marked as disturbed"])
    finally:
        (folder / "results.json").write_bytes(before)
        for path, held in designs.items():
            path.write_bytes(held)


def timed(alone_after: Reading) -> Observed:
    """A run in which other work came when sessions were timed alone, or did not."""
    quiet = Run(Cost(1.0, 1.0), QUIET, QUIET)
    parts = dict.fromkeys(PARTS, quiet) | {costs.ALONE: Run(Cost(1.0, 1.0), QUIET, alone_after)}
    sides = tuple(AloneRow(at, 1, 1, 1, 1.0, 1.0 + at / 10, 700, 4.0) for at in range(8))
    lengths = Lengths(900, 50.0, sides, sides, (8_000, 72_000), (), 8)
    return replace(observed(), timed=parts, lengths=lengths)


def test_times_of_a_part_that_other_work_disturbed_are_marked_and_no_others() -> None:
    quiet = row(timed(QUIET))
    shared = row(timed(SHARED))
    assert not [name for name, one in quiet.figures.items() if one.why.startswith("disturbed")]
    marked = {name for name, one in shared.figures.items() if one.why.startswith("disturbed")}
    wanted = {name for name, kind in FIGURES.items() if kind.timed == costs.ALONE}
    assert marked == {name for name in wanted if shared.figures[name].value is not None}
    assert {"server_u", "device_cpu_ms", "phone_cpu_ms", "matcher_cpu_ms"} <= marked
    assert "load 14, u moved by 56 %" in shared.figures["server_u"].why
    assert quiet.conditions is not None and shared.conditions is not None
    assert (quiet.conditions.clean_runs, shared.conditions.clean_runs) == (4, 3)


def test_a_share_of_the_time_that_its_own_steps_waited_disturbs_a_part_too() -> None:
    waited = Run(Cost(2.0, 1.0), QUIET, QUIET, computes=True)
    seen = replace(timed(QUIET), timed={costs.ALONE: waited})
    assert row(seen).figures["device_cpu_ms"].why.startswith("disturbed: load 2")


def test_the_table_has_the_level_of_every_interval_and_the_status_of_every_figure(folder: Path) -> None:
    ran = in_process(folder, "results", "to-csv", folder)
    lines = list(csv.DictReader(io.StringIO(ran.out)))
    assert lines and all(bool(one["low"] or one["high"]) is bool(one["interval"]) for one in lines)
    levels = {one["figure"]: one["interval"] for one in lines if one["design"] == "hash-upload"}
    assert levels["recall"] == "95 % interval" and levels["send_ms"] == "lowest to highest"
    marked = {one["figure"] for one in lines if one["why"].startswith("disturbed")}
    assert marked == {one["figure"] for one in lines if one["status"] == "disturbed"}


def test_an_interval_says_the_level_that_it_was_computed_for() -> None:
    assert level_of(mean([1.0, 2.0, 4.0])) == "99 % interval"
    assert level_of(mean([1.0, 2.0, 4.0, 2.0, 3.0, 5.0])) == "95 % interval"
    assert level_of(share_of("share linked", 3, 9, {}).figures()["achieved"], "attack") == "99 % interval"
    # files of before levels were named
    assert level_of(Figure(1.0, "", 0.5, 2.0, 3, unit="u/query")) == "99 % interval"
    assert level_of(Figure(1.0, "", 0.5, 2.0, 16, unit="bytes/1,000 entries")) == "95 % interval"
    assert level_of(Figure(0.5, "", 0.4, 0.6, 16, unit="advantage"), "attack") == "99 % interval"
    assert level_of(Figure(2.0, "", 1.0, 3.0, 9, unit="u"), "bench") == "lowest to highest"
    assert level_of(Figure(None, "", None, 0.04)) == "95 % bound, one-sided"
    assert level_of(Figure(2.0)) == ""


class Stepped(hash_upload.HashUpload):
    """A design that compares with every entry, 100 in one step."""

    info = replace(hash_upload.HashUpload.info, entries_a_step=100)


def test_a_design_that_declares_steps_is_measured_over_two_lengths_that_are_whole_steps_apart(
    tmp_path: Path,
) -> None:
    plan = read_plan(tiny(random=40))
    plan = replace(plan, alone=replace(plan.alone, length_u=1))
    material = make(plan, tmp_path / "made", lambda done, total: None)
    design = Stepped()
    with alone.fitted(design, material, plan, tmp_path / "sets", lambda done, total: None) as fit:
        opened = open_published(design, open_publication(fit.kept.folder, alone.FIRST))
        pictures = [(one.index, material.data(one)) for one in fit.items[:3]]
        found = alone.lengths(opened, fit, plan, pictures, seeded("lengths"))
    assert found is not None
    assert (found.step, found.entries) == (100, 300)


def test_growth_of_a_design_that_compares_with_every_entry_is_linear_in_whole_steps() -> None:
    def side(ms: float) -> tuple[AloneRow, ...]:
        return tuple(AloneRow(at, 1, 1, 1, ms, ms + at / 1000, 700, 4.0) for at in range(8))

    # one step of 16,384 entries takes 2,000 ms, of which the shorter list of 100 has one and the longer three
    lengths = Lengths(49_152, 50.0, side(2_000), side(6_000), (8_000, 72_000), (), 8, packing.FULL.degree)
    found = row(replace(observed(), lengths=lengths)).figures["server_growth_u"]
    assert found.value == pytest.approx(1000 * 2_000 / 50 / 16.384)
    assert "linear, in steps of 16,384 entries" in found.why


def test_he_hamming_declares_that_it_compares_a_ring_of_entries_in_one_step() -> None:
    assert HeHamming.info.entries_a_step == packing.FULL.degree == 16_384
