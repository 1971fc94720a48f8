"""The wheel of the vectors: built, installed without network into an empty environment, and its runner run.

The implementation that the runner asks is this program's own. A bug planted in it must be found.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from blindmatch_simulations.evaluation.conformance.vectors import VECTORS_VERSION
from blindmatch_vectors import names, read
from blindmatch_vectors.__main__ import main
from blindmatch_vectors.cases import cases_of
from support import wheel
from support.wheel import ROOT, VECTORS
from support.wheel_check import clean_environment

DESIGNS = ROOT / "tests" / "vectors" / "designs"
COUNTERPART = f"{shlex.quote(sys.executable)} -m support.vector_counterpart"
SOME = ("oprf-psi", "enclave", "hash-upload", "threshold-psi")
"""A round with a proof, several rounds, a server that learns, and a voucher."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wheel, "DIST", tmp_path_factory.mktemp("dist"))
        return wheel.build_vectors()


class Installed:
    """An empty environment with the wheel in it, and nothing else."""

    def __init__(self, made: Path, folder: Path) -> None:
        self.folder = folder
        self.environment = clean_environment(folder)
        # an environment with a pip of its own takes ten seconds more
        has_pip = find_spec("pip") is not None
        venv = [sys.executable, "-m", "venv", *(["--without-pip"] if has_pip else []), folder / "env"]
        subprocess.run(venv, check=True, env=self.environment)
        python = folder / "env" / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", python] if has_pip else [python, "-m", "pip"]
        install = [*pip, "install", "--quiet", "--no-index", "--disable-pip-version-check", made]
        subprocess.run(install, check=True, env=self.environment)

    def run(self, *words: str, code: int = 0, **environment: str) -> str:
        """Return what Python prints in an empty folder of the environment."""
        said = subprocess.run(
            [self.folder / "env" / "bin" / "python", *words],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == code, said.stderr
        return said.stdout


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(built, tmp_path_factory.mktemp("installed"))


def test_the_package_needs_no_other_and_brings_none_of_blindmatch(installed: Installed) -> None:
    listing = "from importlib.metadata import distributions; print(*(one.name for one in distributions()))"
    assert set(installed.run("-c", listing).split()) - {"pip", "setuptools"} == {"blindmatch-vectors"}
    installed.run("-c", "import blindmatch_protocol", code=1)


def test_the_runner_of_the_installed_package_finds_that_this_program_passes(installed: Installed) -> None:
    arguments = ("check", *SOME, "--with", COUNTERPART, "--json", "verdicts.json")
    # of the paths, the runner itself has none: they are for the command that it starts
    said = installed.run("-I", "-m", "blindmatch_vectors", *arguments, PYTHONPATH=str(ROOT / "tests"))
    verdicts = json.loads((installed.folder / "verdicts.json").read_text())
    cases = Counter(name for name in SOME for _ in cases_of(read(name, DESIGNS)))
    assert Counter(one["design"] for one in verdicts) == cases
    assert {one["verdict"] for one in verdicts} == {"passed"}
    assert said.endswith(f"{cases.total()} passed, 0 failed, 0 not checked\n")


def test_the_package_has_the_files_of_the_repository(installed: Installed) -> None:
    folder = Path(installed.run("-m", "blindmatch_vectors", "path").strip())
    assert {path.name for path in (folder / "designs").iterdir()} == {p.name for p in DESIGNS.iterdir()}
    sources = {
        "blindmatch_v1.proto": ROOT / "protocol" / "blindmatch_protocol" / "rpc",
        "docs/reference/wire.md": ROOT,
        "docs/reference/set-format.md": ROOT,
        "docs/designs/oprf-psi.md": ROOT,
    }
    for name, source in sources.items():
        assert (folder / name).read_bytes() == (source / name).read_bytes()
    parts = list((folder / "parts").iterdir())
    assert parts
    assert all(one.read_bytes() == (DESIGNS.parent / one.name).read_bytes() for one in parts)
    schema = json.loads((folder / "designs" / "schema.json").read_text())
    for name in names(folder / "designs"):
        jsonschema.validate(read(name, folder / "designs"), schema)
    listed = installed.run("-m", "blindmatch_vectors", "list").splitlines()
    assert [line.split()[0] for line in listed] == names(DESIGNS)


def test_a_build_that_git_does_not_know_all_files_of_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(wheel, "DIST", tmp_path)
    tracked = wheel._tracked(VECTORS)
    known = [one for one in tracked if not one.endswith("designs/none.json")]
    monkeypatch.setattr(wheel, "_tracked", lambda package: known)
    with pytest.raises(wheel.WheelError, match=r"differ in: .*designs/none\.json"):
        wheel.build_vectors()


def test_the_version_begins_with_that_of_the_vectors_and_the_page_names_the_wheel() -> None:
    assert wheel.project(VECTORS)["version"].split(".")[0] == str(VECTORS_VERSION)
    page = (ROOT / VECTORS.folder / "README.md").read_text("utf-8")
    assert f"pip install {wheel.wheel_path(VECTORS).name}\n" in page


# --- the runner ----------------------------------------------------------------------------------


def verdicts_of(command: str, folder: Path, code: int, design: str = "oprf-psi") -> list[dict[str, Any]]:
    """Return the verdicts on a command, whose exit code must be `code`."""
    file = folder / "verdicts.json"
    words = ["check", design, "--vectors", str(DESIGNS), "--with", command, "--json", str(file)]
    assert main([*words, "--seconds", "20"]) == code
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found


@pytest.fixture
def with_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    yield


@pytest.mark.usefixtures("with_tests")
def test_an_implementation_that_ignores_bytes_left_over_fails_with_their_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = verdicts_of(f"{COUNTERPART} --wrong left-over", tmp_path, 1)
    failed = [one for one in found if one["verdict"] == "failed"]
    assert {one["failure_class"] for one in failed} == {"left-over-bytes"}
    assert len({one["step"] for one in failed}) == len(read("oprf-psi", DESIGNS)["messages"])
    said = capsys.readouterr().out
    assert "left-over-bytes (bug: malleability; an attack): Bytes follow the last field." in said


@pytest.mark.usefixtures("with_tests")
def test_an_implementation_that_refuses_everything_passes_nothing(tmp_path: Path) -> None:
    found = verdicts_of(f"{COUNTERPART} --wrong refuse", tmp_path, 1)
    expected = {False: "failed", True: "not checked"}
    assert all(one["verdict"] == expected[bool(one["failure_class"])] for one in found)


@pytest.mark.usefixtures("with_tests")
def test_what_an_implementation_lacks_is_not_checked_and_no_pass(tmp_path: Path) -> None:
    assert {one["verdict"] for one in verdicts_of(f"{COUNTERPART} --wrong lack", tmp_path, 1)} == {
        "not checked"
    }
    found = verdicts_of(f"{COUNTERPART} --wrong no-sessions", tmp_path, 0)
    assert {one["step"] for one in found if one["verdict"] == "not checked"} == {"sessions of a device"}
    assert {one["verdict"] for one in found if one["step"] != "sessions of a device"} == {"passed"}


@pytest.mark.usefixtures("with_tests")
def test_another_outcome_fails_and_what_was_refused_beside_it_does_not_count(tmp_path: Path) -> None:
    found = verdicts_of(f"{COUNTERPART} --wrong match", tmp_path, 1)
    sessions = {one["title"]: one for one in found if one["step"] == "sessions of a device"}
    failed = {title: one["why"] for title, one in sessions.items() if one["verdict"] == "failed"}
    assert failed == {
        f"picture {name}": "another outcome than the vector's" for name in ("near-30", "poor", "other")
    }
    assert {one["verdict"] for one in sessions.values() if one["failure_class"]} == {"not checked"}


SCRIPTS = {
    "ends at once": ("", "ended, or closed its output"),
    "is silent": ("import time; time.sleep(60)", "gave no answer within"),
    "answers in words": ("print(input()[:5], flush=True)", "is no JSON"),
    "answers another question": (
        'input(); print(\'{"number": 9, "gives": {}}\')',
        "the question's number, 1",
    ),
    "gives no object": ('input(); print(\'{"number": 1, "gives": null}\')', "must give an object"),
    "says two things": (
        'input(); print(\'{"number": 1, "gives": {}, "lacks": ""}\')',
        "must answer with one of gives, refuses, lacks",
    ),
    "never stops": ("while True: print('1' * 1000)", "without the question's number"),
    "nests": ("input(); print('[' * 100000)", "is no JSON"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_command_that_does_not_answer_by_the_rules_is_named_within_a_bound(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script, complaint = SCRIPTS[name]
    command = shlex.join([sys.executable, "-S", "-c", script])
    # the first question of this design about files is longer than a pipe holds
    words = ["check", "wide-psi", "--vectors", str(DESIGNS), "--with", command, "--seconds", "1"]
    assert main(words) == 3
    assert complaint in capsys.readouterr().err


def test_a_command_that_does_not_read_a_long_question_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    one = "import sys, time\nfor line in sys.stdin:\n"
    script = f"{one} number = line.split(',')[0]\n if '\"open\"' in line[:40]: break\n"
    script += ' print(number + \', "lacks": ""}\', flush=True)\ntime.sleep(60)'
    command = shlex.join([sys.executable, "-S", "-c", script])
    words = ["check", "wide-psi", "--vectors", str(DESIGNS), "--with", command, "--seconds", "1"]
    assert main(words) == 3
    assert "gave no answer within 1 s" in capsys.readouterr().err


def test_a_command_that_is_not_there_and_a_design_that_is_not_there_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["check", "--vectors", str(DESIGNS), "--with"]
    assert main([*words, os.fspath(ROOT / "no-such-command")]) == 3
    assert "the command cannot be started" in capsys.readouterr().err
    assert main([*words, "cat", "no-such-design"]) == 2
    assert "no vectors of no-such-design" in capsys.readouterr().err
