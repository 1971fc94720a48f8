"""A conformance run passes honest designs and says on one line what is wrong with others."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.codec.errors import ProtocolError, UnopenedError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Answer, AnyDesign, Leak
from blindmatch_protocol.designs import (
    device_list,
    device_list_hashed,
    hash_upload,
    none,
    oprf_psi,
    partial_hash,
    provider_scan,
    third_party,
    token_psi,
    wide_psi,
)
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.conformance import Options, Verdict, check_design
from blindmatch_simulations.evaluation.conformance.run import BY_NAME
from dummy_designs import CARRIED, ECHO, SHARES, VOUCHERS, Echo, Failing

HONEST = (
    none.DESIGN,
    hash_upload.DESIGN,
    provider_scan.DESIGN,
    device_list.DESIGN,
    *(
        pytest.param(design, marks=pytest.mark.slow)
        for design in (oprf_psi.DESIGN, device_list_hashed.DESIGN, partial_hash.DESIGN, third_party.DESIGN)
    ),
)
QUICKER = (12, 12)
HIDING = (oprf_psi.DESIGN, device_list_hashed.DESIGN, third_party.DESIGN)
FEW = (8, 8)
"""Runs of designs that show some party the hash, or nobody anything: games have little to find there."""


def _named(design: AnyDesign) -> str:
    return design.info.name


MEASURED = {
    "games",
    "malicious games",
    "simulator",
    "tightness",
    "egress",
    "list",
    "list games",
    "timing",
    "entries",
}
ROBUSTNESS = tuple(name for name in BY_NAME if name not in MEASURED)


@pytest.mark.parametrize("design", HONEST, ids=_named)
def test_an_honest_design_fails_nothing(design: AnyDesign) -> None:
    report = check_design(design, Options(runs=QUICKER if design in HIDING else FEW))
    assert [report.line(result) for result in report.failed] == []
    assert {result.check for result in report.results} == set(BY_NAME)
    assert all(result.reason for result in report.results)


@pytest.mark.parametrize(
    "design", [ECHO, *(pytest.param(one, marks=pytest.mark.slow) for one in (SHARES, VOUCHERS))], ids=_named
)
def test_dummies_of_several_rounds_roles_and_vouchers_are_robust(design: AnyDesign) -> None:
    report = check_design(design, Options(only=ROBUSTNESS))
    assert [report.line(result) for result in report.failed] == []


@pytest.mark.slow
def test_token_psi_fails_nothing_with_fewer_bands_tokens_and_runs() -> None:
    """Its own sizes take four times as long; `make checks` has them."""
    report = check_design(token_psi.DESIGN, Options(runs=(12, 12), values={"bands": 3, "probes": 4}))
    assert [report.line(result) for result in report.failed] == []
    assert {result.check for result in report.results} == set(BY_NAME)


@pytest.mark.slow
def test_wide_psi_fails_nothing_with_fewer_bands_tokens_and_runs() -> None:
    report = check_design(wide_psi.DESIGN, Options(runs=(12, 12), values={"bands": 3, "probes": 4}))
    assert [report.line(result) for result in report.failed] == []
    assert {result.check for result in report.results} == set(BY_NAME)


class Blaming(third_party.ThirdParty):
    """Takes a reply that does not open for the third party's doing, which its carrier may have altered."""

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        try:
            return super().receive(session, setup, replies, rng)
        except UnopenedError as error:
            raise ProtocolError(error.step, error.rule, error.field) from error


def test_a_forwarded_role_is_not_blamed_for_what_its_carrier_altered() -> None:
    found = [
        check_design(design, Options(only=["hostile replies"])).results[0]
        for design in (third_party.DESIGN, CARRIED, Blaming())
    ]
    assert [one.verdict for one in found] == [Verdict.PASSED, Verdict.PASSED, Verdict.FAILED]
    assert "the role is not to blame" in found[-1].reason


@pytest.mark.parametrize("step", ["enrol", "prepare", "start", "receive", "answer"])
def test_a_design_whose_step_raises_fails_and_the_step_is_named(step: str) -> None:
    report = check_design(Failing(step, ZeroDivisionError("a bug")), Options(only=["outcomes"]))
    (result,) = report.results
    assert result.verdict is Verdict.FAILED
    assert result.step == step
    assert report.line(result) == f"dummy-failing: outcomes: {step}: {result.rule} (seed 1)"


def test_the_command_prints_one_line_and_what_runs_the_check_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reference = f"{Path(__file__).parents[1] / 'dummy_designs.py'}:FAILING"
    arguments = ["conformance", reference, "--only", "outcomes", "--seed", "3"]
    assert run(arguments) == 1
    said = capsys.readouterr().err.splitlines()
    failures = [line for line in said if line.startswith("failed:")]
    assert len(failures) == 1
    assert "dummy-failing: outcomes: session: " in failures[0]
    assert failures[0].endswith("(seed 3)")
    (again,) = [line.removeprefix("again: ") for line in said if line.startswith("again: ")]
    assert run(shlex.split(again)[1:]) == 1
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


@pytest.mark.parametrize("value", ["nonsense=1", "evaluations=99999", "evaluations=0"])
def test_parameters_that_the_design_does_not_take_are_refused_before_any_check(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["conformance", "oprf-psi", "--only", "tape", "--set", value]) == 6
    said = capsys.readouterr().err
    assert value.partition("=")[0] in said and "failed:" not in said


QUOTING = """
from dummy_designs import Failing
DESIGN = Failing("answer", ValueError("[/b] and [red]"))
"""


def test_what_a_design_says_in_an_error_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quoting.py").write_text(QUOTING)
    assert run(["conformance", "quoting.py:DESIGN", "--only", "outcomes"]) == 1
    seen = capsys.readouterr()
    assert "[/b] and [red]" in seen.out
    assert "outcomes: answer: crash: raises ValueError: [/b] and [red] (seed 1)" in seen.err


class Silent(Echo):
    def answer(self, *_: object) -> Answer:
        return Answer([])


class Unsaying(Echo):
    def leakage(self) -> tuple[Leak, ...]:
        raise ValueError("not said")


@pytest.mark.parametrize(
    ("design", "check", "line"),
    [
        (
            Silent(),
            "outcomes",
            "outcomes: session: an honest session ends in an error: "
            "design dummy-echo gives 0 replies to one request, picture twin/other/0",
        ),
        (Unsaying(), "list", "list: leakage: crash: raises ValueError: not said"),
    ],
)
def test_a_step_that_gives_too_little_is_named(design: AnyDesign, check: str, line: str) -> None:
    report = check_design(design, Options(only=[check]))
    (result,) = report.results
    assert report.line(result) == f"dummy-echo: {line} (seed 1)"
