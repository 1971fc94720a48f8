"""The release's checklist: each step that was not done is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from counterparts import environments
from support import release_check, wheel, wheel_check
from support.pages import ROOT


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TESTED", "SITE", "MACHINES", "FOREIGN"):
        monkeypatch.setattr(release_check, name, tmp_path / name)
    monkeypatch.setattr(release_check, "wheel_path", lambda: tmp_path / "wheel")
    monkeypatch.setattr(release_check, "sbom_path", lambda: tmp_path / "sbom")


@pytest.mark.parametrize("name", ["built", "bill", "machines", "pages", "counterparts", "tested"])
def test_what_was_never_made_is_not_done(name: str) -> None:
    assert release_check.STEPS[name]()


def test_each_step_is_done_once_its_file_is_of_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheel").write_bytes(b"wheel")
    monkeypatch.setattr(wheel, "build", lambda: tmp_path / "wheel")
    held = {
        "verdicts": {"Python 3.11": "passed", "macOS": "not run"},
        "of": wheel_check.made_of(),
    }
    (tmp_path / "MACHINES").write_text(json.dumps(held))
    (tmp_path / "TESTED").write_text(release_check._git("rev-parse", "HEAD"))
    lock = {"name": wheel.LOCK_DIGEST, "value": wheel.digest(wheel.LOCK)}
    (tmp_path / "sbom").write_text(json.dumps({"metadata": {"properties": [lock]}}))
    (tmp_path / "SITE").write_text("")
    for name in ("built", "bill", "machines", "tested", "pages", "version"):
        assert release_check.STEPS[name]() == "", name
    (tmp_path / "wheel").write_bytes(b"another")
    assert release_check.machines() == ""  # code alone does not ask for another run
    with monkeypatch.context() as patch:
        patch.setattr(wheel_check, "COMMANDS", wheel_check.COMMANDS[1:])
        assert "with another lock, metadata" in release_check.machines()
    held["verdicts"]["Python 3.12"] = "failed: demo"  # type: ignore[index]
    (tmp_path / "MACHINES").write_text(json.dumps(held))
    assert release_check.machines() == "failed: Python 3.12"
    (tmp_path / "TESTED").write_text("0" * 40)
    assert "not on this commit" in release_check.tested()


def test_a_wheel_is_run_elsewhere_again_for_another_lock_or_metadata_and_not_for_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lock = tmp_path / "lock.txt"
    shutil.copy(wheel_check.LOCK, lock)
    monkeypatch.setattr(wheel_check, "ROOT", tmp_path)
    monkeypatch.setattr(wheel_check, "LOCK", lock)

    def of(project: str) -> str:
        (tmp_path / "pyproject.toml").write_text(project)
        return wheel_check.made_of()

    first = of(text)
    version = f'version = "{wheel.project()["version"]}"'
    assert of(text.replace(version, 'version = "0.2.0"')) == first == of(text + "\n[tool.more]\n")
    assert of(text.replace('requires-python = ">=3.11"', 'requires-python = ">=3.12"')) != first
    lock.write_text("numpy==1")
    assert of(text) != first


def test_a_counterpart_that_disagrees_is_named(tmp_path: Path) -> None:
    rows = [{"program": "one", "verdict": "agrees"}, {"program": "other", "verdict": "disagrees"}]
    (tmp_path / "FOREIGN").write_text(json.dumps({"rows": rows}))
    assert release_check.counterparts() == "disagree: other"


def test_a_run_of_counterparts_that_says_the_same_again_is_done_and_one_run_otherwise_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was held against the time of its commit, which a file that did not change has none of."""
    lock = tmp_path / "lock"
    lock.write_bytes(environments.BUILD_TOOLS.read_bytes())
    monkeypatch.setattr(environments, "BUILD_TOOLS", lock)
    held = {"of": environments.sources(), "rows": [{"program": "one", "verdict": "agrees"}]}
    (tmp_path / "FOREIGN").write_text(json.dumps(held))
    assert release_check.counterparts() == ""
    lock.write_bytes(lock.read_bytes() + b"\n")
    assert "was changed since" in release_check.counterparts()


def test_the_page_names_every_step_and_ci_notes_what_it_ran_on() -> None:
    page = (ROOT / "docs" / "how-to" / "release.md").read_text("utf-8")
    assert [name for name in release_check.STEPS if f"`{name}`" not in page] == []
    assert "build/tested" in (ROOT / ".ci" / "run").read_text("utf-8")
