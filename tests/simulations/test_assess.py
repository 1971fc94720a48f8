"""An assessment over real processes, on a tiny workload: what it measures, and what spoils a row."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import jsonschema
import msgspec
import pytest
from blindmatch_protocol.group import backend
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.data import committed as committed_data
from blindmatch_simulations.data import table_of
from blindmatch_simulations.evaluation.assess import keeping
from blindmatch_simulations.evaluation.assess.figures import FIGURES, NOT_TIED
from blindmatch_simulations.evaluation.assess.keeping import SETS
from blindmatch_simulations.evaluation.assess.observed import Copies, ToGroup
from blindmatch_simulations.evaluation.assess.plan import (
    FULL,
    QUICK,
    STANDARD,
    AssessError,
    plan_text,
    read_plan,
)
from blindmatch_simulations.evaluation.assess.results import (
    RESULTS,
    WORKLOAD,
    Measured,
    Results,
    check_folder,
)
from blindmatch_simulations.evaluation.assess.running import Assessment
from blindmatch_simulations.evaluation.assess.subjects import again, known
from blindmatch_simulations.evaluation.verifying import Folder
from blindmatch_simulations.measure.machine import choose_group_backend, machine
from blindmatch_simulations.measure.results import ResultsError
from blindmatch_simulations.report.page import draw_report, failed
from blindmatch_simulations.testbed.deployment.registry import RegistryError
from support.assess_rows import TINY, tiny
from support.assess_worker import GROUP, quick_workers
from support.command import COMMAND, processes_of
from support.schemas import committed, of_results

T = TypeVar("T")
BAD = Path(__file__).with_name("assess_designs.py")
DUMMIES = Path(__file__).parents[1] / "dummy_designs.py"


def assess(out: Path, references: Sequence[str], text: str = TINY) -> Results:
    with quick_workers():
        return Assessment(out, text, references, "test", lambda title: lambda done, total: None).run()


def measured(results: Results, name: str) -> Measured:
    (found,) = [one for one in results.rows if isinstance(one, Measured) and one.design.name == name]
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished assessment of two honest designs and of three that spoil their row."""
    out = tmp_path_factory.mktemp("assess") / "out"
    spoiling = [f"{BAD}:{name}" for name in ("CRASHES", "CRASHES_LATER", "EATS", "LIES")]
    assess(out, ["hash-upload", *spoiling, f"{DUMMIES}:VOUCHERS", "none"])
    return out


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def test_honest_designs_are_measured_beside_ones_that_crash_and_eat(made: Path) -> None:
    results = check_folder(made)
    upload = measured(results, "hash-upload")
    assert upload.figures["recall_identical"].value == 1.0
    assert upload.figures["recall"].n == 6
    assert upload.figures["false_matches"].value == 0.0
    assert upload.figures["false_matches"].pairs == 3 * upload.entries
    assert upload.figures["wrong_outcomes"].value == 0.0
    assert upload.figures["undeclared_bytes"].value == 0.0
    assert (upload.figures["query_up_bytes"].value or 0) > 32
    assert upload.offence.delivered == upload.offence.sent == upload.offence.uploads
    assert upload.offence.asked == 0
    assert upload.to_group == ToGroup(people=5, delivered=5, asked=1, uploads=1, reports=1, named=0)
    assert upload.to_large_group == ToGroup(GROUP, GROUP, asked=1, uploads=1, reports=1, named=0)
    assert measured(results, "none").to_group == ToGroup(5, 5, 0, 1, 0, 0), "nothing is asked or reported"
    assert measured(results, "none").to_large_group == ToGroup(GROUP, GROUP, 0, 1, 0, 0)
    assert (upload.update.built is not None, upload.update.why[:11]) == (True, "a whole set")
    for name in ("recall", "advantage"):
        assert measured(results, "none").figures[name].why.startswith("nothing to measure")
    assert measured(results, "none").copies == Copies(9, 9)
    assert upload.figures["proof_bytes"].why == NOT_TIED


def test_pictures_whose_vouchers_the_centre_opens_count_as_found(made: Path) -> None:
    vouchers = measured(check_folder(made), "dummy-vouchers")
    assert vouchers.figures["recall_identical"].value == 1.0
    assert vouchers.figures["false_matches"].value == 0.0
    assert vouchers.figures["wrong_outcomes"].value == 0.0


def test_a_crash_and_a_breach_of_memory_are_named_in_their_rows(made: Path) -> None:
    reasons = {one.id.split("-")[1]: one.why for one in failed(check_folder(made))}
    assert reasons["CRASHES"].startswith("exit code 3")
    assert "matcher ended with exit code 4" in reasons["CRASHES_LATER"]
    assert reasons["EATS"] == "used more than 1500 MiB"


def test_a_lie_about_what_leaves_the_device_shows_as_undeclared_bytes(made: Path) -> None:
    lies = measured(check_folder(made), "lies")
    assert (lies.figures["undeclared_bytes"].value or 0) >= 2 * 32
    assert any(finding.party == "matcher" for finding in lies.audit.findings)


def test_a_design_that_hangs_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    text = tiny(run_seconds=6)
    results = assess(tmp_path / "out", [f"{BAD}:HANGS"], text)
    assert [one.why for one in failed(results)] == ["took longer than 6 s"]
    assert processes_of(tmp_path) == []


def test_results_follow_the_committed_schema(made: Path) -> None:
    assert committed("results-v4") == of_results()
    jsonschema.validate(json.loads((made / RESULTS).read_text()), committed("results-v4"))


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_gives_the_figures_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_setting", "_chosen"):  # what is chosen below is chosen for this test
        monkeypatch.setattr(backend, name, getattr(backend, name))
    (tmp_path / "tiny.toml").write_text(TINY)
    out = tmp_path / "out"
    line = [*COMMAND, "assess", "--workload", "tiny.toml", "--designs", "none,hash-upload", "--out", "out"]
    first = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        built = waited(lambda: list(out.glob(f"{SETS}/hash-upload/*/current")), first)
    finally:
        first.kill()
        first.wait(240)
    assert built
    kept = (out / "designs" / "none.json").read_bytes()
    assert not (out / "designs" / "hash-upload.json").exists()
    assert list(out.glob(f"{SETS}/hash-upload/*/current"))
    assert gone(tmp_path)
    choose_group_backend()  # as the command did
    resumed, whole = (assess(one, ["none", "hash-upload"]) for one in (out, tmp_path / "whole"))
    for name in ("none", "hash-upload"):
        assert lasting(measured(resumed, name)) == lasting(measured(whole, name))
    assert (out / "designs" / "none.json").read_bytes() == kept
    assert not (out / SETS).exists()


def gone(folder: Path) -> bool:
    """Do all processes that work in `folder` end?"""
    deadline = time.monotonic() + 240
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not left


def waited(found: Callable[[], T], process: subprocess.Popen[bytes]) -> T:
    """What `found` gives as soon as it gives something, or the process has ended."""
    deadline = time.monotonic() + 600
    while not (value := found()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


def lasting(row: Measured) -> object:
    """What does not depend on time, memory or the messenger's randomness."""
    kept = {
        name: figure
        for name, figure in row.figures.items()
        if FIGURES[name].unit not in ("s", "MiB", "ms/picture", "ms/query") and name != "update_s"
    }
    recalls = (row.recall_by_edit, row.recall_by_distance, row.tries_until_hidden)
    return kept, recalls, row.entries, row.offence, row.audit.undeclared_bytes, row.design


def test_a_design_that_is_not_there_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    for reference in ("nosuch", f"{tmp_path}/nosuch.py:DESIGN"):
        with pytest.raises(RegistryError, match=r"no design is called|no such file"):
            assess(tmp_path / "out", ["none", reference])
    assert not (tmp_path / "out").exists()


def test_the_command_of_a_result_makes_all_of_its_rows(copy: Path, made: Path) -> None:
    typed = check_folder(made).command
    assert typed.startswith("test --designs hash-upload,assess_designs.py:CRASHES,")
    later = assess(copy, ["none"]).command
    assert sorted(later.split()[2].split(",")) == sorted(typed.split()[2].split(","))
    row = measured(check_folder(made), "none")
    every = [msgspec.structs.replace(row, parameters={"reference": name}) for name in known()]
    assert again("blindmatch assess --quick", every) == "blindmatch assess --quick --out DIR"


def test_a_folder_of_another_workload_or_of_something_else_is_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(AssessError, match="another workload"):
        assess(copy, ["none"], tiny(seed=4))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing").touch()
    with pytest.raises(AssessError, match="neither empty"):
        assess(tmp_path / "other", ["none"])


def test_a_row_of_another_machine_is_refused_and_names_what_differs(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = msgspec.structs.replace(machine(), processor="another", memory_mib=1)
    monkeypatch.setattr(keeping, "machine", lambda: elsewhere)
    with pytest.raises(AssessError, match=r"measured of .* elsewhere: other processor; choose another --out"):
        assess(copy, ["none"])
    check_folder(copy)


@pytest.mark.slow
def test_a_design_whose_source_has_changed_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in = tmp_path / "plug_in" / "mine.py"
    plug_in.parent.mkdir()
    plug_in.write_text("from blindmatch_protocol.designs.none import DESIGN\n")
    out = tmp_path / "out"
    reference = f"{plug_in}:DESIGN"
    asked: list[str] = []
    measure = Assessment._measure
    monkeypatch.setattr(
        Assessment, "_measure", lambda self, *args: (asked.append(args[3]), measure(self, *args))[1]
    )
    assess(out, [reference])
    assess(out, [reference])
    assert asked == [reference]
    plug_in.write_text(plug_in.read_text() + "# changed\n")
    assess(out, [reference])
    assert asked == [reference, reference]
    check_folder(out)


ROWS = "rows/hash-upload.jsonl"


@pytest.mark.parametrize(
    ("name", "spoilt", "why"),
    [
        (RESULTS, lambda text: text.replace('"seed": 3', '"seed": 4', 1), "edited: its digest"),
        (RESULTS, lambda text: json.dumps(json.loads(text)), "edited: not in the form"),
        (RESULTS, lambda text: text[:-40], "truncated or no JSON"),
        (RESULTS, lambda text: text.replace('"version": 4', '"version": 3', 1), "this program reads 4"),
        (RESULTS, lambda text: '{"format": "something", "version": 1}', "no blindmatch-results file"),
        (RESULTS, lambda text: text.replace('"machine":', '"machines":', 1), "not by its schema"),
        (ROWS, lambda text: text.replace('"matched":true', '"matched":false', 1), f"{ROWS}: edited or trunc"),
        (ROWS, None, f"{ROWS}: missing"),
        ("rows/another.jsonl", lambda text: "{}\n", "rows/another.jsonl: not among"),
        (WORKLOAD, lambda text: text + "\n", "workload.toml: edited or truncated"),
    ],
)
def test_what_was_changed_is_refused_with_the_reason(
    copy: Path, name: str, spoilt: Callable[[str], str] | None, why: str
) -> None:
    path = copy / name
    if spoilt is None:
        path.unlink()
    else:
        path.write_text(spoilt(path.read_text() if path.exists() else ""))
    with pytest.raises(ResultsError, match=why):
        check_folder(copy)
    assert run(["report", str(copy)]) != 0


def test_the_committed_workloads_can_be_read() -> None:
    quick, standard, full = (read_plan(plan_text(None, name)) for name in (QUICK, STANDARD, FULL))
    assert [quick.name, standard.name, full.name] == ["quick", "standard", "full"]
    assert full.list.random + full.pictures.listed == 1 << 20
    assert full.pictures == standard.pictures


def test_every_figure_of_a_new_run_is_derived_again_from_its_rows(made: Path) -> None:
    draw_report(made, check_folder(made))
    held = Folder(made, table_of("rederived"), committed_data("evidence")["rows"])
    held.verify()
    assert held.differences == []
    assert {one.partition(":")[0] for one in held.not_derived} <= {"depicted", "design", "attacks"}
    assert held.derived >= 3 * len(FIGURES) - 3
