"""Budgets are work: a busy machine changes no result, and what did not run is told as not checked."""

from __future__ import annotations

import io
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.designs import none
from blindmatch_simulations.cli import bars
from blindmatch_simulations.cli.assess import FEWER, _row
from blindmatch_simulations.evaluation.assess import alone, keeping, worker
from blindmatch_simulations.evaluation.assess.observed import AloneRow, Check, Copies
from blindmatch_simulations.evaluation.assess.plan import Plan, read_plan
from blindmatch_simulations.evaluation.assess.results import Measured, check_folder, read_design
from blindmatch_simulations.evaluation.assess.running import SETS, WORKER, Assessment, Ended
from blindmatch_simulations.evaluation.assess.subjects import Done
from blindmatch_simulations.evaluation.conformance import determinism
from blindmatch_simulations.evaluation.conformance import run as run_of_checks
from blindmatch_simulations.evaluation.conformance.run import CHECKS, Options, check_design
from blindmatch_simulations.measure.phases import PhaseTimes, silent
from blindmatch_simulations.measure.results import encode
from blindmatch_simulations.measure.yardstick import Reading
from blindmatch_simulations.testbed.deployment.processes import Nursery
from blindmatch_simulations.testbed.inprocess.verdict import Passed, Verdict
from blindmatch_simulations.testbed.scenario.world import until
from msgspec.structs import replace
from rich.console import Console
from support.assess_rows import game_figures, observed, row, tiny
from support.command import COMMAND, in_process, processes_of

DONE = encode(Done(observed("none"), 0.0, 1.0))


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The checks of a plan with a budget, each of which takes so many CPU seconds and waits by the clock."""

    def run(budget: int, cpu: float, waits: float) -> list[Check]:
        spent = 0.0

        def check(fixtures: object) -> Passed:
            nonlocal spent
            spent += cpu
            time.sleep(waits)
            return Passed("done")

        five = tuple(replace(one, run=check) for one in CHECKS[:5])
        monkeypatch.setattr(worker, "CHECKS", five)
        monkeypatch.setattr(run_of_checks, "CHECKS", five)
        monkeypatch.setattr(keeping, "used_cpu_seconds", lambda: spent)
        monkeypatch.setattr(keeping, "reading", lambda: Reading(50.0, 1.0))
        worker._check(read_plan(tiny(check_u=budget)), tmp_path / "kept", "none")
        return [one.check for one in keeping.kept_checks(tmp_path / "kept")["none"]]

    return run


def test_checks_that_wait_for_a_busy_machine_all_run(checked: Any) -> None:
    assert [one.verdict for one in checked(1, 0.0, 0.2)] == ["passed"] * 5


def test_checks_stop_when_their_work_is_used_up(checked: Any) -> None:
    found = checked(40_000, 1.0, 0.0)
    assert [one.verdict for one in found] == ["passed"] * 3
    assert [one.check for one in found] == [one.name for one in CHECKS[:3]]


def after_the_run(folder: Path, check_u: int, nursery: Nursery | None = None) -> Measured:
    """The row of `none` once it was measured, and its checks have had so much work."""
    text = tiny(check_u=check_u)
    work = folder / "work"
    run = Assessment(folder / "out", text, ["none"], "test", silent, nursery=nursery)
    for path, content in (
        (work / worker.PLAN, encode(read_plan(text))),
        (run._done_path("none"), DONE),
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    run._check(read_plan(text), work, "none", "none", threading.Event())
    measured = read_design(run._path("none"))
    assert isinstance(measured, Measured)
    assert len(measured.checks) == len(CHECKS)
    return measured


def test_checks_of_the_conformance_suite_stand_in_the_row(tmp_path: Path) -> None:
    with Nursery(WORKER) as nursery:
        row = after_the_run(tmp_path, 100_000_000, nursery)
    assert row.figures["checks_failed"].value == 0.0
    assert {check.verdict for check in row.checks} <= {"passed", "not applicable", "not comparable"}
    assert row.figures["advantage"].value is None
    assert row.figures["advantage"].why.startswith("games: nobody gets anything")


def test_a_row_names_what_was_not_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def guard(self: Assessment, part: str, plan: Plan, folder: Path, name: str, *_: object) -> Ended:
        worker._check(plan, self.out / SETS / f"{name}-{worker.CHECKED}", name)
        return Ended("", 1.0, 1.0)

    monkeypatch.setattr(Assessment, "_guard", guard)
    measured = after_the_run(tmp_path, 1)
    assert [one.check for one in measured.checks if one.verdict == "passed"] == [CHECKS[0].name]
    left = {one.check for one in measured.checks if one.verdict == Verdict.NOT_CHECKED}
    assert "tightness" in left and measured.checks_why.startswith("the work for checks, 1 u, was used up")
    assert measured.figures["checks_failed"].value is None


def test_figures_count_what_was_checked_alone() -> None:
    passed = Check("games", "", "passed", "", {"x": game_figures(0.1, 48)}, 1.0)
    left = Check("malicious games", "", "not checked", "used up", {}, 0.0)
    found = row(observed(), (passed, left), "used up").figures
    assert found["checks_failed"].value is None
    assert "1 checks finished, none failed; used up" in found["checks_failed"].why
    assert (found["advantage"].value, found["advantage"].why) == (
        0.1,
        "an advantage of 0.59 in one class, once learnt, is caught with 95 %; "
        "over the semi-honest games alone: used up",
    )
    assert (
        row(observed(), (replace(passed, verdict="not checked", figures={}), left), "used up")
        .figures["advantage"]
        .why.startswith("games: ")
    )


@pytest.mark.parametrize("wall", [1.0, 100.0])
def test_a_busy_machine_takes_no_picture_and_no_entry_away(
    wall: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same CPU, by whatever clock: he-hamming was compared on 7 copies for it."""
    took = AloneRow(0, 0.0, 1000 * wall, 10.0, 1000 * wall, 10.0)
    monkeypatch.setattr(alone, "reading", lambda: Reading(50.0, 1.0))
    assert alone.work_of([took], 50.0) == 400.0
    # a machine half as fast has another u
    assert alone.work_of([AloneRow(0, 0, 0, 20.0, 0, 20.0)], 100.0) == 400.0


@pytest.mark.parametrize(("number", "power"), [(0.3, 1), (1, 1), (7.9, 4), (8, 8), (1000, 512)])
def test_parts_of_a_workload_are_powers_of_two(number: float, power: int) -> None:
    assert alone._power(number) == power


def test_shares_of_fewer_pictures_are_not_set_beside_others() -> None:
    whole = observed()
    some = observed()
    some = replace(some, copies=Copies(8, 120, "it was sent 8 of 120 pictures"))
    assert FEWER not in _row(row(whole)) and FEWER not in _row(row(replace(whole, copies=Copies(4, 4))))
    made = row(some)
    assert made.copies == some.copies
    assert _row(made)[1:3] == (FEWER, FEWER)
    assert made.figures["recall"].value is not None, "it was measured, of those that were sent"


def test_a_process_that_is_given_up_is_no_verdict_on_the_design(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(determinism, "SECONDS", 0.001)
    report = check_design(none.DESIGN, Options(only=["surroundings"]))
    (result,) = report.results
    assert result.verdict in (Verdict.NOT_CHECKED, Verdict.NOT_APPLICABLE)
    report = check_design(_asking(), Options(only=["surroundings"]))
    assert [one.verdict for one in report.results] == [Verdict.NOT_CHECKED]
    assert (report.failed, report.unchecked) == ((), report.results)
    ran = in_process(tmp_path, "conformance", "oprf-psi", "--only", "surroundings")
    assert ran.code == 1
    assert "not checked: surroundings: the other process had not ended" in ran.err


def _asking() -> Any:
    from blindmatch_protocol.designs.oprf_psi import DESIGN

    return DESIGN


def test_waits_end_when_nothing_more_comes_however_long_it_takes_in_all() -> None:
    began = time.monotonic()
    done = 0

    def look() -> tuple[int, int, int]:
        nonlocal done
        done += done < 4
        return done, 5, done

    assert until(look, 0.5, lambda *_: None) == 4
    assert time.monotonic() - began > 1.0


@pytest.mark.slow
def test_an_interrupted_assessment_says_what_is_kept_and_goes_on(tmp_path: Path) -> None:
    """Ctrl-C while checks run, which are threads' and processes' that would have run to their end."""
    (tmp_path / "tiny.toml").write_text(tiny(check_u=100_000_000))
    line = [*COMMAND, "assess", "--workload", "tiny.toml", "--designs", "none,hash-upload", "--out", "out"]
    streams: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(line, cwd=tmp_path, **streams)
    rows = tmp_path / "out" / "designs"
    try:
        while len(list(rows.glob("*.json"))) < 2 or not list((tmp_path / "out").glob(".work-*/*/check.log")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=240)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    (kept,) = [one for one in said.splitlines() if one.startswith("kept in out: rows of hash-upload, none")]
    assert kept.endswith("the same command goes on") and "Traceback" not in said
    assert processes_of(tmp_path) == []
    assert (tmp_path / "out" / "report.html").exists() and (tmp_path / "out" / "results.json").exists()
    again = in_process(tmp_path, *line[3:5], tmp_path / "tiny.toml", *line[6:-1], tmp_path / "out")
    assert again.code == 0, again.err
    made = check_folder(tmp_path / "out")
    assert all(isinstance(row, Measured) and row.checks and not row.checks_why for row in made.rows)


@pytest.mark.parametrize("shown", ["_bar", "_phase"])
def test_without_a_terminal_a_line_tells_how_far_it_is(shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "PLAIN_SECONDS", 0.01)
    file = io.StringIO()
    globals()[shown](Console(file=file, emoji=False), lambda: file.getvalue().count("after 0:00:") >= 3)
    lines = [one for one in file.getvalue().splitlines() if ", after" in one]
    assert {one.split(", after")[0] for one in lines} - {"building: under way"} == {"building: 3 of 9"}
    assert "\r" not in file.getvalue() and "\x1b" not in file.getvalue()
    file = io.StringIO()
    globals()[shown](Console(file=file, force_terminal=True, emoji=False), lambda: True)
    assert ", after" not in file.getvalue()


def _bar(shown: Console, enough: Callable[[], bool]) -> None:
    with bars.progress_bar(shown, "building") as progress:
        progress(3, 9)
        while not enough():
            time.sleep(0.01)


def _phase(shown: Console, enough: Callable[[], bool]) -> None:
    with bars.phases(shown) as begin:
        begin("made before")(1, 1)
        begin("building")(3, 9)
        while not enough():
            time.sleep(0.01)


def test_a_step_that_had_nothing_to_do_is_over_once_the_next_one_begins() -> None:
    told = list[tuple[int, int]]()
    times = PhaseTimes(lambda title: lambda done, total: told.append((done, total)))
    for steps in ((), ((0, 0),), ((2, 5),)):
        with times("a step") as progress:
            for step in steps:
                progress(*step)
    assert told == [(1, 1), (0, 0), (1, 1), (2, 5), (2, 5)]
