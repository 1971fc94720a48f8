"""A conformance run passes honest designs and says on one line what is wrong with others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.designs import hash_upload, none, oprf_psi, provider_scan, token_psi
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.conformance import Options, Verdict, check_design
from blindmatch_simulations.conformance.checks import BY_NAME
from dummy_designs import ECHO, SHARES, VOUCHERS, Failing

HONEST = (
    none.DESIGN,
    hash_upload.DESIGN,
    provider_scan.DESIGN,
    oprf_psi.DESIGN,
    pytest.param(token_psi.DESIGN, marks=pytest.mark.slow),
)
QUICKER = (24, 24)


def _named(design: AnyDesign) -> str:
    return design.info.name


MEASURED = {"games", "malicious games", "simulator", "tightness", "egress", "list", "list games", "timing"}
ROBUSTNESS = tuple(name for name in BY_NAME if name not in MEASURED)


@pytest.mark.parametrize("design", HONEST, ids=_named)
def test_an_honest_design_fails_nothing(design: AnyDesign) -> None:
    report = check_design(design, Options(runs=QUICKER))
    assert [report.line(result) for result in report.failed] == []
    assert {result.check for result in report.results} == set(BY_NAME)
    assert all(result.reason for result in report.results)


@pytest.mark.parametrize("design", [ECHO, SHARES, VOUCHERS], ids=lambda design: design.info.name)
def test_dummies_of_several_rounds_roles_and_vouchers_are_robust(design: AnyDesign) -> None:
    report = check_design(design, Options(only=ROBUSTNESS))
    assert [report.line(result) for result in report.failed] == []


@pytest.mark.parametrize("step", ["enrol", "prepare", "start", "receive", "answer"])
def test_a_design_whose_step_raises_fails_and_the_step_is_named(step: str) -> None:
    report = check_design(Failing(step, ZeroDivisionError("a bug")), Options(only=["outcomes"]))
    (result,) = report.results
    assert result.verdict is Verdict.FAILED
    assert result.step == step
    assert report.line(result) == f"dummy-failing: outcomes: {step}: {result.rule} (seed 1)"


def test_the_command_prints_one_line_writes_a_replay_and_runs_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = f"{Path(__file__).parents[1] / 'dummy_designs.py'}:FAILING"
    arguments = ["conformance", reference, "--only", "outcomes", "--seed", "3", "--replays", str(tmp_path)]
    assert run(arguments) == 1
    failures = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed:")]
    assert len(failures) == 1
    assert "dummy-failing: outcomes: session: " in failures[0]
    assert failures[0].endswith("(seed 3)")
    (replay,) = tmp_path.iterdir()
    assert run(["conformance", "--replay", str(replay), "--replays", str(tmp_path)]) == 1
    assert failures[0] in capsys.readouterr().err


def test_the_command_writes_json_and_ends_with_0(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    assert run(["conformance", "hash-upload", "--only", "codec", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["design"] == "hash-upload"
    assert [(check["check"], check["verdict"]) for check in result["checks"]] == [("codec", "passed")]


@pytest.mark.parametrize(
    "arguments", [[], ["hash-upload", "--only", "nonsense"], ["hash-upload", "--set", "x"]]
)
def test_the_command_refuses_what_there_is_not(arguments: list[str]) -> None:
    assert run(["conformance", *arguments]) == 2
