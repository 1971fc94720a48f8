"""The parts of an assessment without a design: plan, intervals, guard, corpus."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest
from blindmatch_protocol.contract import Done, NoMatch
from blindmatch_simulations.evaluation.assess import results, running
from blindmatch_simulations.evaluation.assess.observing import NeverAsks
from blindmatch_simulations.evaluation.assess.plan import QUICK, PlanError, plan_text, read_plan
from blindmatch_simulations.evaluation.assess.running import guarded
from blindmatch_simulations.measure.intervals import clopper_pearson
from blindmatch_simulations.testbed.deployment.registry import Registered, built_in_designs
from support.command import processes_of


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("seed = 1", "seed = 1\nspeed = 2", "unknown field `speed`"),
        ("seed = 1", "", "missing required field `seed`"),
        ("version = 3", "version = 9", "version 9; this program reads 3"),
        ("version = 3", "version = 2", "version 2; this program reads 3"),
        ('"flip"', '"flap"', "no edit is called flap"),
        ("listed = 4", "listed = -1", "listed"),
        ("[list]", "[list", "workload file: not TOML: "),
    ],
)
def test_a_bad_workload_file_is_refused_with_the_reason(before: str, after: str, why: str) -> None:
    with pytest.raises(PlanError, match=why):
        read_plan(plan_text(None, QUICK).replace(before, after, 1))


def test_a_workload_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"none\.toml: cannot be read: No such file or directory$"):
        plan_text(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff")
    with pytest.raises(PlanError, match=r"binary\.toml: not UTF-8$"):
        plan_text(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.30850), (3, 10, 0.06674, 0.65245), (10, 10, 0.69150, 1.0), (0, 0, 0.0, 1.0)],
)
def test_intervals_are_those_of_the_tables(hits: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(hits, trials) == pytest.approx((low, high), abs=1e-5)


@pytest.mark.parametrize("one", list(built_in_designs()), ids=lambda one: str(one.design.info.name))
def test_a_client_that_never_asks_is_the_design_in_all_but_its_start(one: Registered) -> None:
    client = NeverAsks(one.design)
    assert client.start(b"state", None, None, None, None).step == Done(NoMatch())
    others = {name for name in dir(one.design) if not name.startswith("_") and name != "start"}
    assert all(getattr(client, name) == getattr(one.design, name) for name in others)


def test_an_impossible_count_is_refused() -> None:
    with pytest.raises(ValueError, match="hits"):
        clopper_pearson(3, 2)


def starting(code: str) -> Callable[[int, IO[bytes]], subprocess.Popen[bytes]]:
    """Starts Python that runs `code`."""
    words = [sys.executable, "-c", code]
    return lambda out, errors: subprocess.Popen(words, stdout=out, stderr=errors, start_new_session=True)


def test_a_command_that_ends_well_is_followed(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    code = "import json; print('noise'); print(json.dumps(['part', 1, 2]))"
    ended = guarded(starting(code), tmp_path / "log", 240, 1000, lambda *words: heard.append(words))
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
    seconds = 1 if "sleep" in code else 240
    assert guarded(starting(code), tmp_path / "log", seconds, 1000).why == why


def test_what_a_command_waits_for_before_it_starts_is_none_of_its_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def start(out: int, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        now[0] = 1000.0
        return starting("")(out, errors)

    monkeypatch.setattr(running, "time", SimpleNamespace(monotonic=lambda: now[0]))
    ended = guarded(start, tmp_path / "log", 240, 1000)
    assert (ended.why, ended.seconds) == ("", 0.0)


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    child = f"import time; time.sleep(60)  # {tmp_path}"
    code = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    )
    assert "took longer" in guarded(starting(code), tmp_path / "log", 1, 1000).why
    assert processes_of(tmp_path) == []


def test_a_row_that_is_being_written_is_not_yet_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.write_whole(tmp_path / results.WORKLOAD, b"")
    seen: list[set[str]] = []
    replace = Path.replace

    def watched(draft: Path, target: Path) -> Path:
        seen.append(set(results.file_digests(tmp_path)))
        return replace(draft, target)

    monkeypatch.setattr(Path, "replace", watched)
    for path in ("rows/none.jsonl", "designs/none.json"):
        results.write_whole(tmp_path / path, b"")
    assert seen == [{"workload.toml"}, {"workload.toml", "rows/none.jsonl"}]
