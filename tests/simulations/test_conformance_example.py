"""A design in a package of its own: built, installed, found by its entry point, and checked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "digest_upload"
BLINDMATCH = [sys.executable, "-m", "blindmatch_simulations"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the example is installed, in a folder of its own."""
    target = tmp_path_factory.mktemp("installed")
    # an environment that uv made has no pip
    pip = [sys.executable, "-m", "pip", "install"]
    install = pip if find_spec("pip") else ["uv", "pip", "install", "--python", sys.executable]
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([*install, *options, str(EXAMPLE)], check=True, timeout=240)
    return {**os.environ, "PYTHONPATH": str(target)}


def test_the_installed_example_is_listed_with_its_package(environment: dict[str, str]) -> None:
    shown = subprocess.run(
        [*BLINDMATCH, "design", "list", "--json", "-"],
        env=environment,
        capture_output=True,
        check=True,
        timeout=120,
    )
    sources = {row["name"]: row["source"] for row in json.loads(shown.stdout)}
    assert sources["digest-upload"] == "blindmatch-digest-upload"
    assert sources["oprf-psi"] == "built in"


def test_the_installed_example_fails_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    arguments = ["conformance", "digest-upload", "--json", str(path)]
    checked = subprocess.run(
        [*BLINDMATCH, *arguments], env=environment, capture_output=True, timeout=240, cwd=tmp_path
    )
    assert checked.returncode == 0, checked.stderr.decode()
    result = json.loads(path.read_text())
    assert result["failed"] == []
    verdicts = {check["check"]: check["verdict"] for check in result["checks"]}
    unpassed = {name for name, verdict in verdicts.items() if verdict != "passed"}
    assert unpassed == {"other key", "update", "timing", "proofs", "replays", "full size"}
