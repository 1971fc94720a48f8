"""Every attack fails against the build if it is claimed to, and succeeds where its weakness is planted."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dummy_designs as dummy
import jsonschema
import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.contract import AnyDesign
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation import attacks
from blindmatch_simulations.evaluation.attacks.adversary import Adversary
from blindmatch_simulations.evaluation.attacks.arena import DECLARED, Arena, Attack
from blindmatch_simulations.evaluation.attacks.needs import PART, WHOLE_HASH
from blindmatch_simulations.evaluation.attacks.run import AttackRow, NotPlayed, Ran, results_of, run_attack
from blindmatch_simulations.evaluation.attacks.table import ATTACKS, pairs
from blindmatch_simulations.measure.results import Results, read
from blindmatch_simulations.testbed.deployment.registry import all_designs, load_design
from support.command import in_process
from support.schemas import committed

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "attacks.md"
DESIGNS = [one.design for one in all_designs().values()]
PAIRS = [(one.attack, one.design) for one in pairs(DESIGNS) if not one.unplayed]


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


def test_every_weakness_finds_the_pieces_that_it_replaces() -> None:
    for attack, design in PAIRS:
        with attack.weakness(design):
            pass


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=named)
def test_a_claim_stands_on_its_page(attack: Attack) -> None:
    page = re.sub(r"[`*>]", "", (ROOT / attack.claim.page).read_text())
    assert attack.claim.words in " ".join(page.split())


def test_the_page_of_attacks_lists_them_all() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| (withstood|declared to succeed) \|", PAGE.read_text(), re.M)
    words = {True: "withstood", False: "declared to succeed"}
    assert rows == [(one.name, words[one.claimed]) for one in ATTACKS.values()]


def test_attacks_are_found_by_their_decorator_each_once_and_in_the_same_order() -> None:
    assert len(ATTACKS) == len(DECLARED)
    sources = [(one.move.__module__, one.move.__code__.co_firstlineno) for one in DECLARED]
    assert [one.name for one in DECLARED if one.name not in ATTACKS] == []
    modules = [one.move.__module__ for one in ATTACKS.values()]
    assert modules == sorted(modules) and set(modules) == {module for module, _ in sources}
    later_first = (
        "from blindmatch_simulations.evaluation.attacks import recorded, table\nprint(*table.ATTACKS)"
    )
    ran = subprocess.run([sys.executable, "-c", later_first], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == list(ATTACKS)


def test_no_attack_names_a_built_in_design() -> None:
    names = {one.info.name for one in DESIGNS}
    for path in Path(attacks.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Constant) and node.value in names), (path.name, node.lineno)
            if isinstance(node, ast.Compare):
                assert "info.name" not in ast.unparse(node), (path.name, node.lineno)


RENAMED = """
from copy import copy
from blindmatch_simulations.testbed.deployment.registry import load_design
from msgspec.structs import replace

DESIGN = copy(load_design({name!r}))
info = replace(DESIGN.info, name="my-own", option="1b", summary="A plug-in.", differs="a copy")
DESIGN.__class__ = type("Plugin", (type(DESIGN),), {{"info": info}})
vars(DESIGN).pop("info", None)
"""


def met(design: AnyDesign) -> list[tuple[str, str, bool, str]]:
    """What a design alone meets: each attack, its claim, and why it is not played."""
    return [
        (one.attack.name, str(one.attack.claim), one.attack.claimed, one.unplayed) for one in pairs([design])
    ]


def renamed(design: AnyDesign, folder: Path) -> AnyDesign:
    path = folder / "plugin.py"
    path.write_text(RENAMED.format(name=design.info.name))
    return load_design(f"{path}:DESIGN")


@pytest.mark.parametrize("design", DESIGNS, ids=named)
def test_a_renamed_copy_of_a_design_meets_the_same_attacks(design: AnyDesign, tmp_path: Path) -> None:
    copy = renamed(design, tmp_path)
    assert copy.info.name == "my-own" and type(copy) is not type(design)
    assert met(copy) == met(design)


@pytest.mark.parametrize("name", ["extraction", "forged-replies", "one-share"])
def test_a_renamed_copy_fares_as_the_design_does(name: str, tmp_path: Path) -> None:
    design = load_design("split-psi")
    was, now = (ran(ATTACKS[name], one).figure for one in (design, renamed(design, tmp_path)))
    assert (now.succeeded, now.value, now.trials) == (was.succeeded, was.value, was.trials)


@pytest.mark.parametrize("design", [dummy.ECHO, dummy.LARGE], ids=named)
@pytest.mark.parametrize("name", ["forced-report", "rebuilt-picture", "membership-probing"])
def test_a_plug_in_that_shows_whole_hashes_meets_what_is_played_on_those(
    name: str, design: AnyDesign
) -> None:
    assert {one.attack.name: one.unplayed for one in pairs([design])}[name] == ""
    assert ran(ATTACKS[name], design).figure.succeeded


def test_half_a_hash_is_a_part_whatever_the_fact_is_called() -> None:
    def fact(**more: Any) -> bm.Fact:
        return bm.Fact("every_hash", "half", bm.Severity.HASH, shows=frozenset({bm.Shows.HASH}), **more)

    class Half(dummy.Echo):
        facts = (fact(project=lambda item, _: item.hash[:16]),)

    class Mirrored(dummy.Echo):
        facts = (fact(project=lambda item, _: item.hash[::-1]),)

    class Unknown(dummy.Echo):
        facts = (fact(project=lambda item, setup: setup.of(item)),)

    assert [(PART.met(one()), WHOLE_HASH.met(one())) for one in (Half, Mirrored, Unknown)] == [
        (True, False),
        (True, True),
        (True, False),
    ]


@pytest.mark.parametrize(
    ("name", "cases"), [("threshold-psi", {"an album"}), ("threshold-near", {"an album", "two copies"})]
)
def test_made_up_vouchers_are_told_by_order_and_by_copies_where_they_show_a_number(
    name: str, cases: set[str]
) -> None:
    parts = ran(ATTACKS["made-up"], load_design(name)).figure.parts
    assert {" ".join(case.split(",")[0].split()[:2]) for case in parts} == cases
    assert parts["an album, 1 % made up"] > 0.8 and min(parts.values()) > 0.2


def test_a_design_that_makes_no_voucher_up_does_not_meet_the_attack_on_those() -> None:
    (unplayed,) = [one.unplayed for one in pairs([dummy.VOUCHERS]) if one.attack.name == "made-up"]
    assert unplayed == "needs vouchers of which some are made up"


def test_every_pair_that_is_not_played_says_why() -> None:
    for one in pairs(DESIGNS):
        assert re.fullmatch("(needs .+|goes by nothing that designs differ in: played .+|)", one.unplayed)
    none = {one.attack.name: one.unplayed for one in pairs([load_design("none")])}
    assert none["fixed-edits"] == "needs a list" and none["extraction"] == "needs a VOPRF"
    assert none["tried-edits"] == "needs a category"
    assert none["first-contact"] == "", "what the messenger withstands has no need of detection"


def test_a_weakness_is_gone_after_its_run() -> None:
    design = load_design("oprf-psi")
    assert ran(ATTACKS["forged-replies"], design, weakened=True).figure.succeeded
    assert not ran(ATTACKS["forged-replies"], design).figure.succeeded


@pytest.mark.parametrize("base", ["voprf", "two-server", "bucket"])
def test_wrong_replies_are_refused_by_a_plug_in_that_says_they_are_bound_to_a_key(
    base: str, tmp_path: Path
) -> None:
    assert run(["design", "new", "mine", "--base", base, "--folder", str(tmp_path)]) == 0
    figure = ran(ATTACKS["forged-replies"], load_design(f"{tmp_path / 'mine.py'}:DESIGN")).figure
    assert not figure.succeeded and (figure.trials or 0) > 100


def test_a_plug_in_that_does_not_verify_what_it_says_is_bound_takes_forged_replies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["design", "new", "mine", "--base", "voprf", "--folder", str(tmp_path)]) == 0
    path = tmp_path / "mine.py"
    verified = "oprf.verified(session.blinding, made, setup.public_key, None, Told.NAME, session.certify)"
    assert verified in path.read_text()
    path.write_text(path.read_text().replace(verified, "made.elements"))
    assert run(["attack", "run", "forged-replies", "--design", f"{path}:DESIGN"]) == 1
    assert "forged-replies, mine: succeeded, against the claim" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("base", ["voprf", "two-server", "bucket"])
def test_a_plug_in_whose_replies_are_bound_to_a_key_withstands_false_proofs_of_absence(
    base: str, tmp_path: Path
) -> None:
    assert run(["design", "new", "mine", "--base", base, "--folder", str(tmp_path)]) == 0
    figure = ran(ATTACKS["false-absence"], load_design(f"{tmp_path / 'mine.py'}:DESIGN")).figure
    assert not figure.succeeded and (figure.trials or 0) >= 4


def test_a_plug_in_that_does_not_verify_what_it_says_is_bound_has_a_listed_hash_shown_to_be_absent(
    tmp_path: Path,
) -> None:
    assert run(["design", "new", "mine", "--base", "voprf", "--folder", str(tmp_path)]) == 0
    path = tmp_path / "mine.py"
    out = tmp_path / "found.json"
    verified = "oprf.verified(session.blinding, made, setup.public_key, None, Told.NAME, session.certify)"
    assert verified in path.read_text()
    path.write_text(path.read_text().replace(verified, "made.elements"))
    assert run(["attack", "run", "false-absence", "--design", f"{path}:DESIGN", "--json", str(out)]) == 1
    (row,) = json.loads(out.read_text())["rows"]
    assert row["succeeded"] and row["figures"]["achieved"]["value"] > 0


def test_false_proofs_of_absence_are_played_against_every_design_bound_to_a_key() -> None:
    met = [one for one in pairs(DESIGNS) if not one.unplayed]
    played = {one.design.info.name for one in met if one.attack.name == "false-absence"}
    bound = {one.design.info.name for one in met if one.attack.name == "forged-replies"}
    assert played == bound and {"oprf-psi", "token-psi", "prefix-bucket"} <= played


def test_the_result_has_a_row_for_every_attack(tmp_path: Path) -> None:
    path = tmp_path / "attacks.json"
    assert run(["attack", "run", "forged-replies", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    played = [row for row in found["rows"] if row["kind"] == "attack"]
    bound = ("oprf-psi", "prefix-bucket", "slot-psi", "split-psi", "split-token-psi", "token-psi", "wide-psi")
    assert [(row["id"], row["parameters"]["design"], row["succeeded"]) for row in played] == [
        ("forged-replies", name, False) for name in bound
    ]
    others = [row for row in found["rows"] if row["kind"] == "attack not played"]
    assert len(played) + len(others) == len(DESIGNS)
    assert {(row["why"], row["status"]) for row in others} == {
        ("needs replies bound to a key in the set-up, and in no seal around them", "not measured")
    }
    jsonschema.validate(found, committed("results-v4"))
    figure = found["rows"][0]["figures"]["achieved"]
    assert (figure["value"], figure["unit"]) == (0, "replies taken") and figure["n"] > 100
    assert read(path, Results[AttackRow | NotPlayed]).options == {"weakened": False}


def test_the_list_says_what_attacks_need_and_why_others_are_not_played(tmp_path: Path) -> None:
    found = in_process(tmp_path, "attack", "list", "--design", "device-list", "--json", "-").json
    needs = {one["name"]: one["needs"] for one in found["attacks"]}
    assert needs["stolen-device"] == ["a list", "devices that ask nobody"]
    why = {one["id"]: one["why"] for one in found["not_played"]}
    assert why["prefix"] == "needs a set in buckets that are asked for by a prefix"
    assert needs.keys() | why.keys() == set(ATTACKS)


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
