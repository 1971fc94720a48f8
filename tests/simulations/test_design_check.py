"""`design check` runs every part, says what each came to, and passes a design if all of it was checked."""

from __future__ import annotations

import json
from asyncio import CancelledError
from pathlib import Path

import pytest
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.cli.design_new import BaseName
from blindmatch_simulations.evaluation.conformance.run import CHECKS, Options, check_design
from blindmatch_simulations.evaluation.design_check import (
    USED_UP,
    Budgets,
    Came,
    Checker,
    DesignCheck,
    built_in_beside,
)
from blindmatch_simulations.measure.phases import silent
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.inprocess.verdict import Verdict

EXAMPLE = f"{Path(__file__).parents[2] / 'examples' / 'exact_upload.py'}:DESIGN"
PARTS = ["demo", "conformance", "attacks", "assessment"]
NO_WORK = Budgets(conformance_u=0, attacks_u=0)
SECRETIVE = """
from blindmatch_simulations.data.bases.plain import ExactUpload


class Secretive(ExactUpload):
    def leakage(self):
        return ()


DESIGN = Secretive()
"""


def checker(reference: str = EXAMPLE, budgets: Budgets | None = None) -> Checker:
    return Checker(reference, load_design(reference), silent, budgets or Budgets(), 50.0)


def test_a_check_that_does_not_begin_for_want_of_work_is_not_checked() -> None:
    part = (made := checker(budgets=NO_WORK)).part("conformance", "again", made.conformance)
    assert part.verdict is Verdict.NOT_CHECKED
    assert len(part.problems) == len(CHECKS)
    assert all(line.startswith("not checked: ") and line.endswith(USED_UP) for line in part.problems)


@pytest.mark.parametrize("error", [GeneratorExit, CancelledError, BaseException])
def test_a_part_that_a_plugin_ends_by_no_exception_has_failed(error: type[BaseException]) -> None:
    def fail() -> Came:
        raise error("lost")

    part = checker().part("demo", "again", fail)
    assert part.verdict is Verdict.FAILED
    assert any(f"{error.__name__}: lost" in line for line in part.problems)


def test_a_keyboards_interrupt_ends_all_parts() -> None:
    def interrupt() -> Came:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checker().part("demo", "again", interrupt)


def test_an_attack_that_does_not_begin_for_want_of_work_leaves_the_part_unchecked() -> None:
    part = (made := checker(budgets=NO_WORK)).part("attacks", "again", made.attack)
    assert part.verdict is Verdict.NOT_CHECKED
    assert part.says.startswith("0 played")
    assert f"not played: framing: {USED_UP}" in part.problems


def test_checks_begin_until_there_is_a_reason_to_stop() -> None:
    begun = list[str]()
    only = ["outcomes", "codec", "order"]
    report = check_design(
        load_design(EXAMPLE), Options(only=only), begun.append, lambda: "enough" if len(begun) > 2 else ""
    )
    verdicts = {one.check: (one.verdict, one.reason) for one in report.results}
    assert [verdicts[name][0] for name in only[:2]] == [Verdict.PASSED] * 2
    assert verdicts["order"] == (Verdict.NOT_CHECKED, "enough")


def test_a_part_that_raises_is_named_with_its_step_and_the_next_one_runs() -> None:
    made = checker()

    def crash() -> Came:
        raise ZeroDivisionError("of a design")

    failed = made.part("demo", "again", crash)
    assert failed.verdict is Verdict.FAILED
    assert "ZeroDivisionError: of a design" in failed.problems[0]
    passed = made.part("next", "again", lambda: Came(Verdict.PASSED, "right"))
    assert passed.verdict is Verdict.PASSED


def test_one_part_that_is_not_passed_fails_the_whole() -> None:
    made = checker()
    parts = [made.part(name, "again", lambda: Came(Verdict.PASSED, "right")) for name in PARTS]

    def whole(*parts_: object) -> DesignCheck:
        return DesignCheck(made.design, EXAMPLE, "", 50.0, tuple(parts_), None, None, None, None)  # type: ignore[arg-type]

    assert whole(*parts).is_as_declared
    left = made.part("attacks", "again", lambda: Came(Verdict.NOT_CHECKED, "left", ("left",)))
    assert not whole(*parts[:2], left, parts[3]).is_as_declared
    bare = made.part("demo", "again", lambda: Came(Verdict.NOT_COMPARABLE, "alone", ("alone",)))
    assert whole(bare, *parts[1:]).is_as_declared and whole(bare, *parts[1:]).uncompared == ["demo"]


def test_a_design_is_assessed_beside_another_of_its_relation() -> None:
    assert built_in_beside(load_design(EXAMPLE)) == "oprf-psi"
    assert built_in_beside(load_design("oprf-psi")) == "device-list-hashed"
    assert built_in_beside(load_design("hash-upload")) == "token-psi"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (None, exit_codes.BAD_STATE, "no such file"),
        ("", exit_codes.REFUSED_INPUT, "has no DESIGN"),
        ("DESIGN = 1", exit_codes.REFUSED_INPUT, "is not a Design"),
        ("import nosuchmodule", exit_codes.REFUSED_INPUT, "nosuchmodule"),
    ],
)
def test_a_file_without_a_design_is_refused_before_any_work(
    tmp_path: Path, text: str | None, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    assert run(["design", "check", str(path)]) == code
    shown = capsys.readouterr()
    assert words in shown.err and "mine.py" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("base", "old", "new", "words"),
    [
        ("voprf", "def conclude(", "def conlude(", "conlude: the contract has no such name, and 'conclude'"),
        ("voprf", "def receive(", "def recieve(", "recieve: the contract has no such name, and 'receive'"),
        ("plain", "def leakage(", "def leakages(", "leakages: the contract has no such name, and 'leakage'"),
        ("voprf", "TAG: ClassVar[int] = 0x80", "TAG: ClassVar[int] = 0x21", "tag 0x21 must be 0x80 or more"),
        ("voprf", 'name="mine"', 'name="oprf-psi"', "oprf-psi is blindmatch's own"),
    ],
)
def test_a_misspelt_method_a_tag_and_a_name_of_blindmatchs_own_are_refused_by_name(
    tmp_path: Path, base: str, old: str, new: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["design", "new", "mine", "--base", base, "--folder", str(tmp_path)]) == exit_codes.OK
    path = tmp_path / "mine.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    capsys.readouterr()
    assert run(["design", "check", str(path)]) == exit_codes.REFUSED_INPUT
    shown = capsys.readouterr()
    assert words in " ".join(shown.err.split()) and shown.out == ""


@pytest.mark.parametrize("folder", ["full", "file", "nosuch/new"])
def test_a_folder_that_cannot_keep_the_assessment_is_refused_before_any_work(
    tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    for path in (tmp_path / "full" / "mine", tmp_path / "file"):
        path.write_text("mine")
    assert run(["design", "check", EXAMPLE, "--out", str(tmp_path / folder)]) == exit_codes.USAGE
    shown = capsys.readouterr()
    assert "--out" in shown.err and shown.out == ""
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "mine"]


# the bases' conformance and demo run for each of them in test_design_new
EVERY_PART = [
    pytest.param(base, marks=pytest.mark.slow if base == "voprf" else pytest.mark.exhaustive)
    for base in BaseName
]


@pytest.mark.parametrize("base", EVERY_PART)
def test_a_new_design_is_as_it_declares_beside_a_built_in(
    tmp_path: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "check.json"
    out = tmp_path / "kept"
    assert run(["design", "new", "mine", "--base", base, "--folder", str(tmp_path)]) == exit_codes.OK
    capsys.readouterr()
    command = ["design", "check", str(tmp_path / "mine.py"), "--out", str(out), "--json", str(result)]
    assert run(command) == exit_codes.OK
    shown = capsys.readouterr().out
    assert "as declared" in shown and "mine" in shown and "oprf-psi" in shown
    made = json.loads(result.read_text())
    assert made["result_version"] == 1 and made["as_declared"]
    verdicts = {part["name"]: part["verdict"] for part in made["parts"]}
    # the few pictures sent are in buckets of their own: conformance makes others that are in the same
    assert verdicts == dict.fromkeys(PARTS, "passed") | dict.fromkeys(
        made["not_comparable"], "not comparable"
    )
    assert set(made["not_comparable"]) <= ({"demo", "assessment"} if base == "bucket" else set())
    assert list(made["figures"]) == ["mine", "oprf-psi"]
    assert all(one["recall"]["value"] is not None for one in made["figures"].values())
    mine, built_in = (one["recall"]["value"] for one in made["figures"].values())
    assert mine == built_in  # of the same pictures, by the same relation
    assert made["conformance"]["failed"] == [] and made["attacks"]["rows"]
    assert (out / "report.html").exists() and made["report"] == str(out / "report.html")


@pytest.mark.slow
def test_a_design_that_declares_nothing_fails_and_every_part_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secretive.py"
    result = tmp_path / "check.json"
    path.write_text(SECRETIVE)
    assert run(["design", "check", str(path), "--json", str(result)]) == exit_codes.WRONG
    shown = " ".join(capsys.readouterr().out.split())
    made = json.loads(result.read_text())
    verdicts = {part["name"]: part["verdict"] for part in made["parts"]}
    assert list(verdicts) == PARTS
    assert (verdicts["demo"], verdicts["conformance"]) == ("failed", "failed")
    assert f"look: blindmatch conformance {path}:DESIGN" in shown
    assert "declarations" in made["conformance"]["failed"]
    assert "as declared: no part failed" not in shown
