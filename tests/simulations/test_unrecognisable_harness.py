"""A design that behaves where it believes to be under test is found there all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.conformance.run import Options, check_design
from blindmatch_simulations.testbed.demo import run as simulated
from blindmatch_simulations.testbed.demo.workload import demo_workload
from blindmatch_simulations.testbed.inprocess.verdict import Verdict
from dummy_designs import MASKED
from msgspec.structs import replace
from planted import harness
from planted.fair import EnrolledKey
from support.forked_servers import forked_servers


@pytest.mark.parametrize(
    ("kind", "check", "step"),
    [
        (harness.HonestInConformanceBySize, "egress", "egress"),
        (harness.HonestInDemoBySize, "egress", "egress"),
        (harness.HonestWhereHarnessIsLoaded, "surroundings", "surroundings: clock, host, order"),
        (harness.HonestByClock, "surroundings", "surroundings: clock, host, order"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_conformance_finds_what_behaves_only_where_it_thinks_it_is_tested(
    kind: type[Any], check: str, step: str
) -> None:
    (failure,) = check_design(kind(), Options(only=[check])).failed
    assert failure.step == step


@pytest.mark.parametrize("design", [MASKED, EnrolledKey()], ids=lambda one: one.info.name)
def test_an_account_that_enrols_has_the_same_secret_in_another_process(design: Any) -> None:
    (result,) = check_design(design, Options(only=["surroundings"])).results
    assert result.verdict is Verdict.PASSED, result.rule


def test_the_demo_finds_what_behaves_for_its_photographs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = demo_workload(3)
    few = [one for one in whole.sendings if one.name in ("phone", "screenshot", "grey")]
    few += [one for one in whole.sendings if one.listed][:2]
    monkeypatch.setattr(simulated, "demo_workload", lambda *_: replace(whole, sendings=tuple(few)))
    result = tmp_path / "result.json"
    arguments = ("demo", "--set-size", "50", "--design", f"{harness.__file__}:IN_DEMO")
    with forked_servers():
        code = run([*arguments, "--home", str(tmp_path / "home"), "--json", str(result)])
    found = json.loads(result.read_text())
    assert (code, found["undeclared_egress"]) == (1, "found")


def test_the_order_and_the_generated_pictures_of_the_demo_are_drawn() -> None:
    one = demo_workload(1)
    other = demo_workload(2)
    assert [sending.name for sending in one.sendings] != [sending.name for sending in other.sendings]
    assert {s.data for s in one.sendings if s.name == "phone"} != {
        s.data for s in other.sendings if s.name == "phone"
    }
    assert [p.data for p in one.listed] == [p.data for p in other.listed]
