"""`bench near` and `design tune` at their smallest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from blindmatch_simulations.cli.app import run


def test_tuning_proposes_parameters_that_meet_the_wishes(tmp_path: Path) -> None:
    result = tmp_path / "tune.json"
    arguments = ["design", "tune", "token-psi", "--crops", "5", "--recall", "95", "--json", str(result)]
    assert run(arguments) == 0
    found = json.loads(result.read_text())
    assert found["proposal"] in found["points"]
    assert found["proposal"]["recall"] >= 95
    assert found["proposal"]["secrecy"] >= 2**25


def test_wishes_that_nothing_meets_have_no_proposal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "tune.json"
    arguments = ["design", "tune", "--crops", "5", "--device", "1", "--json", str(result)]
    assert run(arguments) == 0
    assert json.loads(result.read_text())["proposal"] is None
    assert "lower a wish" in capsys.readouterr().out


def test_a_design_without_parameters_to_tune_is_refused() -> None:
    assert run(["design", "tune", "oprf-psi"]) == 2


def test_near_matching_is_measured_beside_its_reaches(tmp_path: Path) -> None:
    result = tmp_path / "near.json"
    arguments = ["bench", "near", "--log2n", "8", "--crops", "5", "--sessions", "1", "--built", "16"]
    assert run([*arguments, "--json", str(result)]) == 0
    rows = json.loads(result.read_text())
    assert {"recall", "revealed", "bytes", "cost", "set", "extraction"} <= {row["section"] for row in rows}
