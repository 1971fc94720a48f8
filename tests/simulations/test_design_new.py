"""`design new` writes a design that works: each base passes conformance, its own test and the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import blindmatch as bm
import pytest
from blindmatch_protocol.contract import Adversary, Party, Severity, Shows
from blindmatch_protocol.contract.design import told
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.cli.design_new import BASES, MOST_CHARACTERS, BaseName
from blindmatch_simulations.testbed.deployment.registry import load_design

ROOT = Path(__file__).parents[2]
PRIVATE = [base for base in BaseName if base is not BaseName.PLAIN]


def written(folder: Path, base: str, name: str = "my_design") -> str:
    """The reference of a new design."""
    assert run(["design", "new", name, "--base", base, "--folder", str(folder)]) == exit_codes.OK
    return f"{folder / name}.py:DESIGN"


@pytest.mark.parametrize("base", BaseName)
def test_a_new_design_has_its_own_name_and_finds_listed_pictures_alone(tmp_path: Path, base: str) -> None:
    reference = written(tmp_path, base)
    listed, other = bm.sample_pictures(2)
    opened = bm.open_design(reference, pictures=[listed])
    assert load_design(reference).info.name == "my-design"
    assert type(load_design(reference)).__name__ == "MyDesign"
    assert [opened.ask(one).outcome for one in (listed, other)] == ["match", "no match"]


@pytest.mark.parametrize("base", BaseName)
def test_nothing_of_a_new_design_bears_the_name_of_its_base(tmp_path: Path, base: BaseName) -> None:
    written(tmp_path, base)
    for name in ("my_design.py", "test_my_design.py"):
        text = (tmp_path / name).read_text()
        assert BASES[base].design not in text and BASES[base].kind not in text and "base_design" not in text


@pytest.mark.parametrize("base", BaseName)
def test_a_new_design_passes_conformance(tmp_path: Path, base: str) -> None:
    made = bm.conformance(written(tmp_path, base))
    bad = {
        one["check"]: one["reason"] for one in made["checks"] if one["verdict"] in ("failed", "not checked")
    }
    assert bad == {}
    passed = [one["check"] for one in made["checks"] if one["verdict"] == "passed"]
    assert {"outcomes", "games", "malicious games", "list knowledge", "egress"} <= set(passed)


@pytest.mark.parametrize("base", PRIVATE)
def test_no_party_alone_is_told_the_hash_by_a_private_base(tmp_path: Path, base: str) -> None:
    """Of the bucket a few bits are told, which conformance holds it to."""
    design = load_design(written(tmp_path, base))
    for party in {*design.info.roles.values(), Party.CENTRE}:
        facts = told(design, frozenset({party}), Adversary.SEMI_HONEST)
        hashes = [fact.name for fact in facts if fact.severity in (Severity.CONTENT, Severity.HASH)]
        assert hashes == (["my-design.bucket"] if base == "bucket" and party == Party.MATCHER else [])


def test_the_plain_base_declares_that_the_matcher_sees_every_hash(tmp_path: Path) -> None:
    design = load_design(written(tmp_path, "plain"))
    facts = told(design, frozenset({Party.MATCHER}), Adversary.SEMI_HONEST)
    assert any(Shows.HASH in fact.shows for fact in facts)
    assert "protects nothing" in (tmp_path / "my_design.py").read_text().splitlines()[0]


@pytest.mark.slow
@pytest.mark.parametrize("base", BaseName)
def test_the_test_of_a_new_design_passes(tmp_path: Path, base: str) -> None:
    """As its author runs it: in its folder, with pytest's defaults."""
    written(tmp_path, base)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_design.py"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    ran = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("quick_servers")
@pytest.mark.parametrize("base", BaseName)
def test_a_new_design_plays_the_demo(tmp_path: Path, base: str) -> None:
    reference = written(tmp_path, base)
    path = tmp_path / "demo.json"
    assert run(["demo", "--set-size", "200", "--design", reference, "--json", str(path)]) == exit_codes.OK
    result = json.loads(path.read_text())
    assert result["undeclared_egress_bytes"] == 0 and result["matches"] > 0 and result["missed"] == 0


BAD_NAMES = {
    "My-Design": "for example my_design",
    "1design": "begin with a letter",
    "design_": "not end with _",
    "my__design": "single _",
    "x" * (MOST_CHARACTERS + 1): f"1 to {MOST_CHARACTERS}",
    "../design": "must be",
    "": "must be",
    "class": "a word of Python's own",
    "match": "a word of Python's own",
    "test_mine": "must not begin with test_",
    "oprf_psi": "oprf-psi is the name of a design that exists",
    "carried_mine": "the name of a design that exists",
    "numpy": "a module that Python has",
    "blindmatch": "a module that Python has",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_cannot_be_used_is_refused_with_its_rule(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["design", "new", "--base", "voprf", "--folder", str(tmp_path), "--", name])
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert code == exit_codes.USAGE
    assert "NAME" in said and BAD_NAMES[name] in said
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_base_is_refused_with_those_that_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["design", "new", "mine", "--base", "nosuch", "--folder", str(tmp_path)])
    said = capsys.readouterr().err
    assert code == exit_codes.USAGE
    assert "--base" in said and all(f"'{base}'" in said for base in BaseName)


@pytest.mark.parametrize("there", ["mine.py", "test_mine.py"])
def test_a_file_that_is_there_is_replaced_only_by_force(
    tmp_path: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / there).write_text("mine")
    command = ["design", "new", "mine", "--base", "bucket", "--folder", str(tmp_path)]
    assert run(command) == exit_codes.BAD_STATE
    assert there in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]
    assert run([*command, "--force"]) == exit_codes.OK
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.py", "test_mine.py"]
    assert (tmp_path / there).read_text() != "mine"


def test_a_design_of_the_same_name_in_this_folder_is_no_module_that_python_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run(["design", "new", "mine", "--base", "voprf"]) == exit_codes.OK
    assert run(["design", "new", "mine", "--base", "bucket", "--force"]) == exit_codes.OK


def test_a_folder_that_is_missing_or_a_file_or_refuses_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "nosuch", tmp_path / "file", Path("/proc")):
        assert (
            run(["design", "new", "mine", "--base", "voprf", "--folder", str(folder)]) == exit_codes.BAD_STATE
        )
        said = capsys.readouterr().err
        assert "--folder" in said and str(folder) in " ".join(said.split())


def test_the_result_names_the_files_and_what_comes_next(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    command = ["design", "new", "mine", "--base", "plain", "--folder", str(tmp_path), "--json", str(path)]
    assert run(command) == exit_codes.OK
    result = json.loads(path.read_text())
    assert (result["result_version"], result["name"], result["base"]) == (1, "mine", "plain")
    assert [Path(one).name for one in result["files"]] == ["mine.py", "test_mine.py"]
    assert result["next"][0] == f"blindmatch design check {tmp_path / 'mine.py'}"


def test_the_example_of_the_sources_is_the_plain_base() -> None:
    example = ROOT / "examples" / "exact_upload.py"
    assert example.resolve().name == BASES[BaseName.PLAIN].file
    assert example.resolve().parent.name == "bases"


def test_the_page_links_every_base() -> None:
    page = (ROOT / "docs" / "tutorials" / "your-design.md").read_text()
    assert [base for base in BASES.values() if f"data/bases/{base.file})" not in page] == []
