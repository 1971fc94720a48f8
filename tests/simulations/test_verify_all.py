"""`make verify-all`, on a Makefile with tiny targets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support import verify_all
from support.verify_all import TARGETS, Chosen, chosen_of, duration, main

ROOT = Path(__file__).parents[2]
MAKEFILE = """
.PHONY: good bad killed slow left orphans worker
ARGS ?=
good:
	@echo "arguments are [$(ARGS)]"; echo "level $(MAKELEVEL)"
bad:
	@echo before; echo "why it failed" >&2; exit 3
killed:
	@kill -9 $$PPID
slow:
	@touch $(HERE)/there; sleep 600
left:
	@sleep 600 & echo $$! >$(HERE)/left
orphans:
	@(sh -c "python3 -c 'sum(range(3 * 10**7))' & exec true"); echo done
worker:
	@python3 -c "sum(range(10**7))"
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run targets of the Makefile above; the exit code."""
    path = tmp_path / "Makefile"
    path.write_text(MAKEFILE)
    make = ("make", "--no-print-directory", "-f", str(path), f"HERE={tmp_path}")
    names = ("good", "bad", "killed", "slow", "left", "worker", "missing")
    # as a recipe of an outer make finds them
    monkeypatch.setenv("MAKEFLAGS", "w -- ARGS=good\\ bad")
    monkeypatch.setenv("ARGS", "good bad")
    monkeypatch.setenv("MAKELEVEL", "1")
    return lambda *words: main(words, make, tmp_path, names)


def told(folder: Path) -> dict[str, dict[str, Any]]:
    held = json.loads((folder / "verify-all.json").read_text())
    assert (held["format"], held["version"]) == ("blindmatch-verify-all", 1)
    return {row["target"]: row for row in held["targets"]}


def log(folder: Path, target: str) -> str:
    return (folder / "verify-all" / f"{target}.log").read_text()


def test_a_failure_does_not_end_the_run_and_is_its_exit_code(
    run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("bad", "killed", "missing", "good") == 1
    rows = told(tmp_path)
    assert [(name, row["result"]) for name, row in rows.items()] == [
        ("bad", "failed"),
        ("killed", "failed"),
        ("missing", "failed"),
        ("good", "passed"),
    ]
    assert (rows["bad"]["exit_code"], rows["good"]["exit_code"]) == (2, 0), "make's, not the recipe's"
    assert rows["killed"]["exit_code"] == -signal.SIGKILL
    assert log(tmp_path, "bad").splitlines()[1:3] == ["before", "why it failed"]
    shown = capfd.readouterr().out
    lines = [line for line in shown.splitlines() if line.startswith("|")]
    assert re.fullmatch(r"\| `bad` +\| failed \(exit 2\) +\| \d+ s +\| \d+ s +\| \S+/bad\.log +\|", lines[2])
    assert re.fullmatch(r"\| `killed` +\| failed \(signal 9\) .*", lines[3])
    assert re.fullmatch(r"\| `good` +\| passed .*", lines[5])
    assert len(lines) == 6 and "why it failed" not in shown
    assert "good: begins, output in" in shown and "good: passed" in shown


def test_a_run_without_a_failure_ends_well(run: Any) -> None:
    assert run("good") == 0


def test_a_target_gets_its_own_arguments_and_not_the_choice_of_targets(run: Any, tmp_path: Path) -> None:
    assert run("good") == 0
    assert "arguments are []\n" in log(tmp_path, "good") and "level 0\n" in log(tmp_path, "good")
    assert run("good=--messages 5 --kills 1") == 0
    assert "arguments are [--messages 5 --kills 1]\n" in log(tmp_path, "good")
    assert told(tmp_path)["good"]["arguments"] == "--messages 5 --kills 1"


def test_cpu_time_is_that_of_the_processes_that_a_target_starts(run: Any, tmp_path: Path) -> None:
    run("worker")
    assert told(tmp_path)["worker"]["cpu_s"] > 0


ORPHANS = """
import sys
from pathlib import Path
from support.verify_all import adopt_orphans, main
here = Path(sys.argv[1])
if sys.argv[2] == "adopt":
    adopt_orphans()
sys.exit(main(["orphans"], ("make", "-f", str(here / "Makefile")), here, ("orphans",)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux hands orphans to the process that asks for them")
def test_cpu_time_has_what_processes_spent_that_nobody_waited_for(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    spent = {}
    for how in ("leave", "adopt"):
        subprocess.run(
            [sys.executable, "-c", ORPHANS, str(tmp_path), how],
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
            check=True,
            capture_output=True,
        )
        spent[how] = told(tmp_path)["orphans"]["cpu_s"]
    assert spent["adopt"] > spent["leave"]


@pytest.mark.parametrize("words", [["good", "none"], ["good", "good"], ["--help"]])
def test_a_name_that_is_no_target_or_is_there_twice_is_refused_before_any_runs(
    words: list[str], run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    assert not (tmp_path / "verify-all.json").exists()
    assert words[-1] in capfd.readouterr().err


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_a_target_leaves_running_is_ended(run: Any, tmp_path: Path) -> None:
    assert run("left") == 0
    pid = int((tmp_path / "left").read_text())
    while is_running(pid):  # until the kernel has done what it was told
        time.sleep(0.01)


INTERRUPTED = """
import sys
from pathlib import Path
from support.verify_all import main
here = Path(sys.argv[1])
make = ("make", "-f", str(here / "Makefile"), f"HERE={here}")
sys.exit(main(["good", "slow", "bad"], make, here, ("good", "slow", "bad")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sends SIGINT to a process group")
def test_an_interrupt_ends_the_target_that_runs_and_keeps_the_table(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stdout=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "there").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 130
    assert {name: row["result"] for name, row in told(tmp_path).items()} == {
        "good": "passed",
        "slow": "interrupted",
        "bad": "not run",
    }
    assert "| `slow`" in out and "interrupted" in out


def test_a_long_target_is_told_of_while_it_runs(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify_all, "TOLD_EVERY_S", 0.0005)
    assert run("worker") == 0
    assert "worker: runs since 0 s" in capfd.readouterr().out


def test_seconds_are_told_in_the_largest_units() -> None:
    told_as = {None: "-", 0.4: "0 s", 59.4: "59 s", 59.6: "1 min 0 s", 200: "3 min 20 s", 7500: "2 h 5 min"}
    assert {seconds: duration(seconds) for seconds in told_as} == told_as


# --- the real ones ---

OTHERS = {
    "run by CI": "test test-slow lint",
    "of a release": "release-check",
    "measures": "bench growth peers test-cost artifact",
    "makes what is kept": "sample try-one picture pages notebooks vectors checks corpus best-order noble "
    "stubs lock format",
    "installs, fetches or builds": "setup classifier fast frames ray wheel vectors-package browser axe-fetch "
    "axe",
    "shows": "help demo clean",
    "this one": "verify-all",
}
"""Targets that are not run by `verify-all`, by why; a new target has to be put here, or is run."""


def test_every_target_of_the_makefile_is_run_or_is_no_check() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    others = [name for names in OTHERS.values() for name in names.split()]
    assert sorted(phony[1].split()) == sorted([*TARGETS, *others])


def test_make_knows_every_target_and_hands_the_choice_on() -> None:
    dry = ("make", "--dry-run", "--no-print-directory", f"VENV={sys.prefix}", "ARGS=docs 'soak=--kills 2'")
    for target in (*TARGETS, "verify-all"):
        made = subprocess.run(
            [*dry, target],
            cwd=ROOT,
            env=verify_all.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
    assert "-m support.verify_all docs 'soak=--kills 2'" in made.stdout
    assert chosen_of(["docs", "soak=--kills 2"]) == [Chosen("docs"), Chosen("soak", "--kills 2")]
    assert [one.target for one in chosen_of([])] == list(TARGETS)
