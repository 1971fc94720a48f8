"""Work on a local Ray cluster of three nodes; skipped without Ray (`make ray`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from blindmatch_simulations.testbed.pictures.crops import crops
from support.assess_rows import tiny
from support.command import BAD_STATE, REFUSED, USAGE, in_process, refused


def needs_ray() -> None:
    """Skip with one line where it is not installed."""
    pytest.importorskip("ray", reason="Ray is not installed: make ray")


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
def test_nodes_give_the_bits_of_one_process_and_a_lost_one_costs_its_task(tmp_path: Path) -> None:
    """A scan, pairs, and a sweep's points, each on a node of its own; a picture that a node lacks fails."""
    needs_ray()
    folder = tmp_path / "pictures"
    folder.mkdir()
    for at, crop in enumerate(crops(6, seed=1)):
        (folder / f"{at}.png").write_bytes(crop.data)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff and no picture")
    (tmp_path / "tiny.toml").write_text(tiny(run_seconds=600))
    done = subprocess.run(
        [sys.executable, "-m", "support.ray_nodes", str(folder), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    told = {
        "scan": True, "pairs": True, "gone": "FileNotFoundError", "nodes": 3, "on": 2,
        "done": [*range(6)], "codes": [0, 0, 0], "points": 2, "kept": True, "same": True,
    }  # fmt: skip
    assert json.loads(done.stdout or "{}") == told, done.stderr


@pytest.mark.parametrize(
    "command",
    [("corpus", "scan", "."), ("assess", "--quick", "--out", "out", "--designs", "none", "--seeds", "1,2")],
    ids=["scan", "assess"],
)
def test_without_ray_scans_and_sweeps_say_so(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picture.png").write_bytes(crops(1, seed=1)[0].data)
    for more in (("--ray",), ("--ray", "auto")):
        refused(in_process(tmp_path, *command, *more), BAD_STATE, "not installed: ray", "pip install ray")


def test_a_sweep_on_nodes_takes_no_designs_of_files(tmp_path: Path) -> None:
    told = ("assess", "--quick", "--out", tmp_path / "out", "--seeds", "1,2", "--ray")
    ran = in_process(tmp_path, *told, "--designs", f"{__file__}:DESIGN")
    assert ran.code == USAGE and "--ray" in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_address_without_a_cluster_ends_in_one_line(tmp_path: Path) -> None:
    needs_ray()
    (tmp_path / "picture.png").write_bytes(crops(1, seed=1)[0].data)
    ran = in_process(tmp_path, "corpus", "scan", tmp_path, "--ray", "no address")
    refused(ran, REFUSED, "--ray", "no cluster at no address")
