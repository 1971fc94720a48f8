"""What is released: the wheel, its bill of materials, who is cited, and that every install checks hashes."""

from __future__ import annotations

import json
import re
import shlex
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from blindmatch_simulations.cli.app import COMMANDS, app_for
from support import wheel, wheel_check
from support.pages import ROOT
from typer.main import get_command

MAKEFILE = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ").replace("$(ONLY)", "--require-hashes")
MAKEFILE = MAKEFILE.replace("$(PEER_PIP)", "pip install --require-hashes")
INSTALLS = [line.strip() for line in MAKEFILE.splitlines() if re.search(r"\bpip install [^$]", line)]
CONTAINER = (ROOT / "deploy" / "Containerfile").read_text("utf-8")
COMPOSE = (ROOT / "deploy" / "compose.yaml").read_text("utf-8")


def _unchecked(line: str) -> bool:
    """Whether an install may fetch what no hash is known of; a wheel that is here fetches nothing."""
    local = "--no-deps" in line and re.search(r"--no-build-isolation --editable \.|\.whl\b", line)
    return "--require-hashes" not in line and not local


@pytest.mark.parametrize("line", INSTALLS)
def test_every_install_of_a_make_target_checks_hashes(line: str) -> None:
    assert not _unchecked(line)
    names = [name.replace("$${one%%=*}", "*") for name in re.findall(r"-r (requirements/\S+)", line)]
    for path in [one for name in names for one in ROOT.glob(name)]:
        pins = re.findall(r"^[A-Za-z0-9][^#]*?(?=\n\S|\Z)", path.read_text("utf-8"), re.M | re.S)
        assert pins and all("--hash=sha256:" in one for one in pins)


def test_an_install_without_hashes_is_noticed() -> None:
    assert len(INSTALLS) > 10
    assert _unchecked("python -m pip install grpcio-tools==1.80")
    assert _unchecked("python -m pip install --editable .")
    assert _unchecked("python -m pip install --no-deps --editable .")
    assert not _unchecked("python -m pip install --no-deps --no-build-isolation --editable .")


def test_npm_installs_what_its_lock_has_hashes_of() -> None:
    assert re.findall(r"npm (?:install|i|ci|pack)\b", MAKEFILE) == ["npm pack", "npm ci", "npm ci"]
    assert "AXE_SHA256" in MAKEFILE  # of what `npm pack` brings
    for folder in (ROOT / "tests" / "interop", ROOT / "requirements" / "noble"):
        packages = json.loads((folder / "package-lock.json").read_text("utf-8"))["packages"]
        assert all("integrity" in one for name, one in packages.items() if name), folder


def test_the_citation_and_the_package_say_the_same() -> None:
    said = (ROOT / "CITATION.cff").read_text("utf-8")
    found = dict(re.findall(r"^([a-z-]+): (.+)$", said, re.MULTILINE))
    declared = wheel.project()
    assert (found["version"], found["license"]) == (declared["version"], declared["license"])
    assert (found["title"], found["abstract"]) == (declared["name"], declared["description"])
    assert re.findall(r"^  - name: (.+)$", said, re.MULTILINE) == [declared["authors"][0]["name"]]
    assert re.findall(r"^  - (?!name: )(.+)$", said, re.MULTILINE) == declared["keywords"]


def test_the_container_installs_with_hashes_and_says_what_was_not_run() -> None:
    assert not [
        line for line in CONTAINER.replace("\\\n", " ").split("&&") if "pip" in line and _unchecked(line)
    ]
    assert "NOT RUN: the base below" in CONTAINER and "NOT RUN: three machines" in COMPOSE
    assert "with another base image" in (ROOT / "docs" / "how-to" / "release.md").read_text("utf-8")


def test_every_container_serves_by_a_command_that_there_is() -> None:
    lines = re.findall(r"^    command: (.+)$", COMPOSE, re.MULTILINE)
    assert len(lines) == 3
    for words in map(shlex.split, lines):
        command: Any = get_command(app_for(words))
        assert words[0] in COMMANDS
        command.commands[words[0]].make_context(words[0], words[1:])


def _bill() -> dict[str, Any]:
    component = {"bom-ref": "line-1", "name": "numpy", "version": "2.4", "description": "--hash"}
    other = {"bom-ref": "line-2", "name": "imageio", "version": "2"}
    return {"metadata": {"component": {"bom-ref": "root"}}, "components": [component, other]}


def test_the_bill_says_what_the_package_names_and_of_which_lock_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lock.txt").write_text("numpy==2.4")
    monkeypatch.setattr(wheel, "LOCK", tmp_path / "lock.txt")
    (tmp_path / "bill.json").write_text(wheel.amended(_bill()))
    made = json.loads((tmp_path / "bill.json").read_text())
    assert made["dependencies"][0] == {"ref": "root", "dependsOn": ["numpy@2.4"]}
    assert [one["bom-ref"] for one in made["components"]] == ["numpy@2.4", "imageio@2"]
    assert wheel.lock_of(tmp_path / "bill.json") == sha256(b"numpy==2.4").hexdigest()


def test_wheels_that_differ_are_compared_by_file(tmp_path: Path) -> None:
    for name, rows in {"one": {"a": "1", "b": "2"}, "other": {"a": "1", "b": "3", "c": ""}}.items():
        with ZipFile(tmp_path / name, "w") as archive:
            for file, text in rows.items():
                archive.writestr(file, text)
    assert wheel.differing(tmp_path / "one", tmp_path / "other") == ["b", "c"]


@pytest.mark.slow
def test_a_wheel_is_the_same_twice_and_a_stray_file_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel, "DIST", tmp_path)
    made = wheel.digest(wheel.build())
    assert wheel.digest(wheel.build()) == made
    with ZipFile(wheel.wheel_path()) as archive:
        names = archive.namelist()
    assert not [
        name for name in names if not re.match(r"blindmatch(_[a-z]+)?/|blindmatch-.*dist-info/", name)
    ]
    tracked = wheel._tracked(wheel.BLINDMATCH)
    monkeypatch.setattr(
        wheel, "_tracked", lambda package: [one for one in tracked if not one.endswith("protocol/py.typed")]
    )
    with pytest.raises(wheel.WheelError, match=r"differ in: .*blindmatch_protocol/py\.typed"):
        wheel.build()


def test_what_opens_a_file_of_the_repository_is_noticed(tmp_path: Path) -> None:
    hook = wheel_check.HOOK.format(root=str(tmp_path / "tree"), into=str(tmp_path / "opened"))
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("")
    (tmp_path / "treehouse").write_text("")
    code = f"{hook}\nopen({str(tmp_path / 'treehouse')!r})\nopen({str(tmp_path / 'tree' / 'file')!r})"
    wheel_check._run([sys.executable, "-W", "ignore", "-c", code], tmp_path, {})
    assert (tmp_path / "opened").read_text() == f"{tmp_path / 'tree' / 'file'}\n"


def test_the_check_of_a_wheel_says_which_step_begins_before_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    ran = []

    def run(command: list[str | Path], *_: object) -> str:
        ran.append(len(lines))
        if command[1:3] == ["-m", "venv"]:
            (tmp_path / "env" / "lib" / "python3" / "site-packages").mkdir(parents=True)
        if "demo" in command:
            (tmp_path / "empty" / "demo.json").write_text('{"failures": []}')
        if "report" in command:
            (tmp_path / "empty" / "sample" / "report.html").write_text("<!doctype html>")
        return f"blindmatch {wheel.project()['version']}\n"

    monkeypatch.setattr(wheel_check, "_run", run)
    seconds = iter(range(100))
    made = tmp_path / "dist" / "wheel"
    made.parent.mkdir()
    made.write_bytes(b"")
    progress = wheel_check.Progress("Python 3.12", lambda: next(seconds), lines.append)
    wheel_check.check("python", made, tmp_path, progress)
    steps = len(ran)
    assert ran == list(range(1, steps + 1))
    assert lines[1] == f"Python 3.12: 2 of {steps}, after 2 s: install what is locked\n"
    assert lines[-1] == f"Python 3.12: {steps} of {steps}, after {steps} s: blindmatch report sample\n"
