"""Sweeps: which points there are, that each is measured as it says, and one table of all."""

from __future__ import annotations

import csv
import io
import shlex
from pathlib import Path

import blindmatch as bm
import pytest
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import SetParameters
from blindmatch_simulations.evaluation.assess.keeping import key_of
from blindmatch_simulations.evaluation.assess.plan import (
    FULL,
    QUICK,
    STANDARD,
    AssessError,
    PlanError,
    Sweep,
    plan_text,
    read_plan,
)
from blindmatch_simulations.evaluation.assess.results import (
    COLUMNS,
    RESULTS,
    Measured,
    as_csv,
    check_folder,
    rows_of,
)
from blindmatch_simulations.evaluation.assess.running import Assessment
from blindmatch_simulations.evaluation.assess.subjects import plan_toml, points
from blindmatch_simulations.measure.phases import silent
from blindmatch_simulations.measure.results import Figure, ResultsError, Row, encode, results
from blindmatch_simulations.measure.results import Results as File
from blindmatch_simulations.testbed.deployment.registry import load_design
from msgspec.structs import replace
from support.assess_rows import tiny
from support.command import REFUSED, USAGE, in_process

TINY = tiny(unlisted=2, edits='["identical"]', run_seconds=600)


@pytest.mark.parametrize("committed", [STANDARD, QUICK, FULL])
def test_a_plan_that_is_written_reads_as_itself(committed: str) -> None:
    plan = read_plan(plan_text(None, committed))
    plan = replace(
        plan, name='a "name"\\', parameters={"k": 20}, sweep=Sweep({"bands": (9, 10)}, (1,), (2, 3))
    )
    assert read_plan(plan_toml(plan)) == plan


def test_a_grid_has_every_combination_and_each_design_what_it_has() -> None:
    plan = replace(read_plan(TINY), sweep=Sweep({"bits": (4, 8), "signatures": (0, 1)}, (10, 20)))
    found = points(plan, ["prefix-bucket", "oprf-psi", "none"])
    each = {one.name: one.references for one in found}
    assert len(found) == len(each) == 2 * (4 + 2 + 1)
    assert each["bits=4_signatures=1_random=10_seed=3"] == ("prefix-bucket",)
    assert each["signatures=0_random=20_seed=3"] == ("oprf-psi",)
    assert each["random=20_seed=3"] == ("none",)
    for one in found:
        made = read_plan(one.text)
        again = [f"{name}={value}" for name, value in made.parameters.items()]
        assert one.name == "_".join([*again, f"random={made.list.random}", f"seed={made.seed}"])
        assert made.sweep is None and one.words[-2:] == ("--list-sizes", str(made.list.random))


def test_parameters_of_a_workload_stand_at_each_point_and_one_point_has_the_whole_folder() -> None:
    plan = replace(read_plan(TINY), parameters={"bits": 8}, sweep=Sweep({}, (), (5, 6)))
    assert [one.name for one in points(plan, ["prefix-bucket"])] == [
        "bits=8_random=40_seed=5",
        "bits=8_random=40_seed=6",
    ]
    (only,) = points(replace(plan, sweep=Sweep({"bits": (4,)})), ["prefix-bucket"])
    assert only.name == "" and read_plan(only.text).parameters == {"bits": 4}
    assert only.words == ("--set", "bits=4")


@pytest.mark.parametrize(
    ("sweep", "error", "words"),
    [
        (Sweep({"nosuch": (1,)}), PlanError, "nosuch: no design of this run has it"),
        (Sweep({"bits": ()}), PlanError, "bits: needs a value"),
        (Sweep({"bits": (8, 8)}), PlanError, "bits: must not have a value twice"),
        (Sweep({}, (5, 5)), PlanError, "random: must not have a value twice"),
        (Sweep({"bits": (4, 10_000)}), DesignError, "parameter bits: must be"),
    ],
)
def test_an_impossible_sweep_is_refused_before_anything_is_measured(
    sweep: Sweep, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        points(replace(read_plan(TINY), sweep=sweep), ["prefix-bucket"])


def test_impossible_figures_of_a_workload_or_an_option_are_named(tmp_path: Path) -> None:
    workload = tmp_path / "w.toml"
    told = ("assess", "--out", tmp_path / "out", "--designs", "prefix-bucket")
    for text, words in (
        ("[sweep]\nrandom = [-1]\n", "$.sweep.random[0]"),
        ('[sweep]\nset = { bits = ["many"] }\n', "$.sweep.set"),
        ("[sweep]\nlists = [1]\n", "lists"),
        ("[parameters]\nnosuch = 1\n", "nosuch: no design of this run has it"),
    ):
        workload.write_text(TINY + text)
        ran = in_process(tmp_path, *told, "--workload", workload)
        assert ran.code == REFUSED and words in ran.err
    for option in (("--set", "bits=x"), ("--set", "bits"), ("--list-sizes", "-4"), ("--seeds", "1,,2")):
        assert in_process(tmp_path, *told, *option).code == USAGE
    assert in_process(tmp_path, *told, "--set", "bits=9999").code == REFUSED
    assert not (tmp_path / "out").exists()
    with pytest.raises(AssessError, match="several points"):
        Assessment(tmp_path, TINY + "[sweep]\nseeds = [1]\n", (), "test", silent).run()


def test_a_set_with_other_parameters_is_another_set() -> None:
    class Held:
        footer = None

    entries = Held()
    design = load_design("prefix-bucket")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blindmatch_simulations.evaluation.assess.keeping.list_digest", lambda _: "list")
        keys = [key_of(design, entries, 1, given) for given in ({}, {"bits": 4}, {"bits": 5})]  # type: ignore[arg-type]
    assert len(set(keys)) == 3


def written(path: Path, *rows: Row, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(results(File[Row], "test", {}, rows, **more)))
    return path


def test_a_table_has_a_row_a_figure_with_all_that_it_was_measured_with(tmp_path: Path) -> None:
    share = Figure(0.5, "", 0.1, 0.9, 10, unit="share")
    one = Row(id="a", parameters={"k": 20, "entries": 9, "n": 7}, figures={"recall": share})
    two = Row(id="b", parameters={"reference": "x.py:D", "bands": 3}, why='it failed, "so"\nto say')
    for name, row, seed in (("k=20", one, 1), ("k=24", two, 2)):
        written(tmp_path / "sweep" / name / RESULTS, row, seed=seed, workload="tiny")
    rows = list(csv.DictReader(io.StringIO(as_csv(rows_of(tmp_path / "sweep")))))
    assert list(rows[0])[: len(COLUMNS)] == list(COLUMNS)
    assert list(rows[0])[len(COLUMNS) :] == ["bands", "k", "parameter n", "reference"]
    assert (
        [row["seed"] for row in rows] == ["1", "2"] and rows[0]["n"] == "10" and rows[0]["parameter n"] == "7"
    )
    assert all(row["machine"] and row["workload"] == "tiny" for row in rows)
    assert (rows[0]["value"], rows[0]["unit"], rows[0]["entries"]) == ("0.5", "share", "9")
    assert (rows[1]["value"], rows[1]["figure"], rows[1]["design"]) == ("", "", "x.py:D")
    assert (
        bm.table(tmp_path / "sweep", str(tmp_path / "sweep" / "k=20"))[2] == bm.table(tmp_path / "sweep")[0]
    )


def test_to_csv_writes_it_and_refuses_what_was_edited(tmp_path: Path) -> None:
    path = written(tmp_path / "s" / "a" / RESULTS, Row(id="a", figures={"x": Figure(1.5)}), seed=7)
    out = tmp_path / "t.csv"
    assert in_process(tmp_path, "results", "to-csv", tmp_path / "s", "--out", out).code == 0
    assert in_process(tmp_path, "results", "to-csv", path).out == out.read_text()
    assert in_process(tmp_path, "results", "to-csv", path, "--json", "-").json[0]["value"] == 1.5
    path.write_text(path.read_text().replace("1.5", "2.5"))
    ran = in_process(tmp_path, "results", "to-csv", tmp_path / "s", "--out", tmp_path / "no.csv")
    assert ran.code == REFUSED and "edited" in ran.err and not (tmp_path / "no.csv").exists()
    with pytest.raises(ResultsError, match=r"no results.json"):
        rows_of(tmp_path)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "\t=", "\r=", "\n=", "a\r="])
def test_no_cell_of_a_table_is_a_formula_to_a_spreadsheet(start: str, tmp_path: Path) -> None:
    """Names, reasons and parameters are a plug-in's words: `=HYPERLINK(...)`, `=cmd|'/C calc'!A0`."""
    bad = f"{start}cmd|'/C calc'!A0"
    figures = {bad: Figure(-1.5, unit=bad), "x": Figure(None, bad)}
    row = Row(id=bad, parameters={bad: bad, "reference": bad}, figures=figures, why=bad)
    path = written(tmp_path / "s" / RESULTS, row, workload=bad)
    cells = [cell for line in csv.reader(io.StringIO(as_csv(rows_of(path)))) for cell in line]
    assert sum("cmd|'/C calc'!A0" in cell for cell in cells) >= 8
    assert [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))] == ["-1.5"]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_workers")
def test_a_sweep_is_measured_point_by_point_resumed_and_read_as_one_table(tmp_path: Path) -> None:
    workload = tmp_path / "w.toml"
    out = tmp_path / "out"
    workload.write_text(TINY + "[sweep]\nset = { bits = [4, 12] }\n")
    told = ("assess", "--designs", "prefix-bucket", "--workload", workload, "--out", out)
    assert in_process(tmp_path, *told).code == 0
    assert {path.name for path in out.iterdir()} == {"bits=4_random=40_seed=3", "bits=12_random=40_seed=3"}
    seconds = {}
    for name in ("bits=4_random=40_seed=3", "bits=12_random=40_seed=3"):
        loaded = check_folder(out / name)
        (row,) = loaded.rows
        assert isinstance(row, Measured) and f"bits={row.parameters['bits']}_" in name
        assert row.design.parameters["bits"] == row.parameters["bits"]
        assert f"--set bits={row.parameters['bits']}" in loaded.command
        seconds[name] = row.seconds
    (out / "bits=12_random=40_seed=3" / RESULTS).unlink()  # as if it had been interrupted at the end
    assert in_process(tmp_path, *told).code == 0
    assert check_folder(out / "bits=4_random=40_seed=3").rows[0].seconds == seconds["bits=4_random=40_seed=3"]
    rows = {row["bits"]: row for row in rows_of(out) if row["figure"] == "query_down_bytes" and "bits" in row}
    assert rows[4]["value"] > rows[12]["value"]  # a bucket of fewer bits has more entries


@pytest.mark.slow
@pytest.mark.usefixtures("quick_workers")
def test_what_tuning_proposes_is_measured_as_it_is_proposed(tmp_path: Path) -> None:
    told = ("design", "tune", "--photographs", 16, "--recall", 95, "--json", "-")
    proposed = in_process(tmp_path, *told).json
    workload = tmp_path / "w.toml"
    workload.write_text(TINY)
    words = shlex.split(proposed["assess"].replace("DIR", str(tmp_path / "out")))
    assert words[0] == "blindmatch"
    assert in_process(tmp_path, *words[1:], "--workload", workload).code == 0
    (row,) = check_folder(tmp_path / "out").rows
    assert isinstance(row, Measured)
    wanted = proposed["proposal"]["tokening"] | proposed["limits"]
    assert {name: row.design.parameters[name] for name in wanted} == wanted
    assert row.key is not None and row.key.per_account == wanted["account_evaluations"]
    SetParameters(1, wanted).check(load_design("token-psi").info)
