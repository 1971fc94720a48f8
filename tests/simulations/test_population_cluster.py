"""Blocks on a local Ray cluster of two workers; skipped where Ray is not installed (`make ray`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import BAD_STATE, REFUSED, blindmatch, in_process, refused

ARGUMENTS = ("population", "--accounts", "40000000", "--days", "2", "--designs", "literature")


def needs_ray() -> None:
    """Skip with one line where it is not installed."""
    pytest.importorskip("ray", reason="Ray is not installed: make ray")


@pytest.mark.slow
def test_a_local_cluster_gives_the_bits_of_one_process(tmp_path: Path) -> None:
    needs_ray()
    made = []
    for more in (("--ray", "--workers", "2"), ()):
        ran = blindmatch(tmp_path, *ARGUMENTS, *more, "--json", "-")
        assert ran.code == 0, ran.err
        made.append(ran.json)
    assert made[0]["digest"] == made[1]["digest"]
    assert made[0]["designs"] == made[1]["designs"]


@pytest.mark.slow
def test_a_killed_workers_task_is_done_by_another_and_all_listens_on_loopback(tmp_path: Path) -> None:
    needs_ray()
    done = subprocess.run(
        [sys.executable, "-m", "support.ray_tasks", str(tmp_path / "mark")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    told = {"killed": "done by another", "failed": "TaskError: ZeroDivisionError", "elsewhere": []}
    assert json.loads(done.stdout or "{}") == told, done.stderr
    assert (tmp_path / "mark").exists()


@pytest.mark.slow
def test_an_address_without_a_cluster_ends_in_one_line(tmp_path: Path) -> None:
    needs_ray()
    ran = in_process(tmp_path, *ARGUMENTS, "--ray", "no address")
    refused(ran, REFUSED, "--ray", "no cluster at no address")


@pytest.mark.parametrize("more", [("--ray", "local"), ("--ray",), ("--ray", "--workers", "2")])
def test_without_ray_the_command_says_so(
    more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    ran = in_process(tmp_path, *ARGUMENTS, *more)
    refused(ran, BAD_STATE, "not installed: ray", "pip install ray")
