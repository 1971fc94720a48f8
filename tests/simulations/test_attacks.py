"""Every attack fails against the build if it is claimed to, and succeeds where its weakness is planted."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import jsonschema
import pytest
from blindmatch_protocol.contract import AnyDesign
from blindmatch_simulations import attacks
from blindmatch_simulations.attacks.adversary import Adversary
from blindmatch_simulations.attacks.arena import Arena, Attack
from blindmatch_simulations.attacks.run import AttackRow, Ran, results_of, run_attack
from blindmatch_simulations.attacks.table import ATTACKS, attacked, pairs
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.deployment.registry import load_design
from blindmatch_simulations.measure.results import Results, read
from support.command import in_process
from support.schemas import committed

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "attacks.md"
PAIRS = pairs([load_design(name) for name in attacked()])


def named(value: Attack | AnyDesign) -> str:
    return value.name if isinstance(value, Adversary) else value.info.name


def ran(attack: Attack, design: AnyDesign, weakened: bool = False) -> Ran:
    return run_attack(attack, Arena(design, thorough=False), weakened)


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "design"), PAIRS, ids=named)
def test_an_attack_succeeds_against_the_build_only_where_that_is_declared(
    attack: Attack, design: AnyDesign
) -> None:
    assert ran(attack, design).figure.succeeded != attack.claimed


CLAIMED = list(
    {attack.name: (attack, design) for attack, design in reversed(PAIRS) if attack.claimed}.values()
)
"""Once each."""


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "design"), CLAIMED, ids=named)
def test_an_attack_succeeds_where_its_weakness_is_planted(attack: Attack, design: AnyDesign) -> None:
    figure = ran(attack, design, weakened=True).figure
    assert figure.succeeded
    assert all(figure.parts.values())  # a case that cannot succeed tests nothing


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=named)
def test_a_claim_stands_on_its_page(attack: Attack) -> None:
    page = re.sub(r"[`*>]", "", (ROOT / attack.claim.page).read_text())
    assert attack.claim.words in " ".join(page.split())


def test_the_page_of_attacks_lists_them_all() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| (withstood|declared to succeed) \|", PAGE.read_text(), re.M)
    words = {True: "withstood", False: "declared to succeed"}
    assert rows == [(one.name, words[one.claimed]) for one in ATTACKS.values()]


def test_every_attack_that_is_declared_is_run() -> None:
    modules = [import_module(f"{attacks.__name__}.{one.name}") for one in iter_modules(attacks.__path__)]
    declared = [one for module in modules for one in vars(module).values() if isinstance(one, Adversary)]
    assert sorted(one.name for one in declared) == sorted(ATTACKS)


def test_a_weakness_is_gone_after_its_run() -> None:
    design = load_design("oprf-psi")
    assert ran(ATTACKS["forged-replies"], design, weakened=True).figure.succeeded
    assert not ran(ATTACKS["forged-replies"], design).figure.succeeded


def test_the_result_has_a_row_for_every_attack(tmp_path: Path) -> None:
    path = tmp_path / "attacks.json"
    assert run(["attack", "run", "forged-replies", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert [(row["id"], row["parameters"]["design"], row["succeeded"]) for row in found["rows"]] == [
        ("forged-replies", name, False) for name in ("oprf-psi", "token-psi", "split-psi", "split-token-psi")
    ]
    jsonschema.validate(found, committed("results-v4"))
    figure = found["rows"][0]["figures"]["achieved"]
    assert (figure["value"], figure["unit"]) == (0, "replies taken") and figure["n"] > 100
    assert read(path, Results[AttackRow]).options == {"weakened": False}


def test_the_command_fails_if_an_attack_succeeds_that_must_not(tmp_path: Path) -> None:
    with ATTACKS["forged-replies"].weakness():
        made = in_process(tmp_path, "attack", "run", "forged-replies", "--design", "oprf-psi")
    assert made.code == 1
    assert "forged-replies, oprf-psi: succeeded, against the claim" in " ".join(made.err.split())


def test_the_command_can_plant_the_weakness(tmp_path: Path) -> None:
    assert in_process(tmp_path, "attack", "run", "forged-replies", "--weakened").code == 0


def test_an_attack_that_is_declared_to_succeed_is_no_failure(tmp_path: Path) -> None:
    made = in_process(tmp_path, "attack", "run", "guessing", "--design", "oprf-psi", "--json", "-")
    assert made.code == 0
    assert made.json["rows"][0]["succeeded"] is True


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["run", "nothing"], 2), (["run", "--address", "x:1"], 2), (["run", "guessing", "--design", "none"], 6)],
)
def test_the_command_line_is_refused(tmp_path: Path, arguments: list[str], code: int) -> None:
    assert in_process(tmp_path, "attack", *arguments).code == code


def test_a_result_without_runs_is_empty() -> None:
    assert results_of([]).rows == ()
