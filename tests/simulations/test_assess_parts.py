"""The parts of an assessment without a design: plan, intervals, guard, corpus."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from blindmatch_simulations.assess.corpus import hashed, installed
from blindmatch_simulations.assess.errors import PlanError
from blindmatch_simulations.assess.guard import guarded
from blindmatch_simulations.assess.intervals import interval
from blindmatch_simulations.assess.plan import plan_text, read_plan
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.conformance.leakage.interval import clopper_pearson
from support.command import processes_of

PYTHON = sys.executable


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("seed = 1", "seed = 1\nspeed = 2", "unknown field `speed`"),
        ("seed = 1", "", "missing required field `seed`"),
        ("version = 1", "version = 9", "version 9; this program reads 1"),
        ('"gif"', '"gift"', "no edit is called gift"),
        ("listed = 6", "listed = -1", "listed"),
        ("[list]", "[list", "workload file"),
    ],
)
def test_a_bad_workload_file_is_refused_with_the_reason(before: str, after: str, why: str) -> None:
    with pytest.raises(PlanError, match=why):
        read_plan(plan_text(None, quick=True).replace(before, after, 1))


def test_a_workload_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        plan_text(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.30850), (3, 10, 0.06674, 0.65245), (10, 10, 0.69150, 1.0), (0, 0, 0.0, 1.0)],
)
def test_intervals_are_those_of_the_tables(hits: int, trials: int, low: float, high: float) -> None:
    assert interval(hits, trials) == pytest.approx((low, high), abs=1e-5)


@pytest.mark.parametrize(("hits", "trials"), [(1, 500), (250, 500), (499, 500), (2000, 4000)])
def test_intervals_agree_with_the_second_implementation(hits: int, trials: int) -> None:
    assert interval(hits, trials) == pytest.approx(clopper_pearson(hits, trials, 0.95), abs=1e-6)


def test_an_impossible_count_is_refused() -> None:
    with pytest.raises(ValueError, match="hits"):
        interval(3, 2)


def test_a_command_that_ends_well_is_followed(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    code = "import json; print('noise'); print(json.dumps(['part', 1, 2]))"
    ended = guarded([PYTHON, "-c", code], tmp_path / "log", 30, 1000, lambda *words: heard.append(words))
    assert ended.why == ""
    assert heard == [("part", 1, 2)]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise SystemExit('broken: the rule')", "exit code 1: broken: the rule"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal SIGSEGV"),
        ("import time; time.sleep(60)", "took longer than 1 s"),
    ],
)
def test_a_command_that_ends_badly_says_why(tmp_path: Path, code: str, why: str) -> None:
    assert guarded([PYTHON, "-c", code], tmp_path / "log", 30 if "sleep" not in code else 1, 1000).why == why


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    child = f"import time; time.sleep(60)  # {tmp_path}"
    code = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    )
    assert "took longer" in guarded([PYTHON, "-c", code], tmp_path / "log", 1, 1000).why
    assert processes_of(tmp_path) == []


def test_a_corpus_has_one_row_for_each_hash_and_says_whose_it_is() -> None:
    found = hashed(installed(3), lambda done, total: None)
    assert len({one.hash for one in found}) == len(found) >= 3
    row = found[0].row()
    assert row["package"] == "scikit-image"
    assert row["licence"]
    assert len(bytes.fromhex(row["hash"])) == 32


def test_the_manifest_holds_no_picture(tmp_path: Path) -> None:
    assert run(["corpus", "--most", "2", "--out", str(tmp_path / "corpus.json")]) == 0
    held = json.loads((tmp_path / "corpus.json").read_text())
    assert held["pictures"]
    assert {type(value) for row in held["pictures"] for value in row.values()} <= {str, int}
    assert (tmp_path / "corpus.json").stat().st_size < 500 * len(held["pictures"]) + 100
    assert np.array([row["quality"] for row in held["pictures"]]).max() <= 100
