"""ARTIFACT.md: its rows come from code and from what was measured, and every command in it exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support import artifact, sample
from support.pages import ROOT

PAGE = (ROOT / "ARTIFACT.md").read_text("utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][1:]
MEASURED = json.loads(artifact.DATA.read_text("utf-8"))


def test_every_figure_of_the_page_is_that_of_its_file() -> None:
    """Read here without the code that draws them."""
    made = json.loads((sample.SAMPLE / sample.MADE).read_text("utf-8"))
    assert MEASURED.keys() == {"format", "version", "measured"}
    held = {command: one["cpu_seconds"] for command, one in MEASURED["measured"].items()}
    for name, one in made.items():
        held |= {
            command: one["cpu_seconds"]
            for _, command, *_ in ROWS
            if command.startswith(f"`blindmatch {name} ")
        }
    figures = {command: said for _, command, said, _ in ROWS}
    assert len(figures) == len(ROWS) == len(artifact.CLAIMS) > 15
    for command, said in figures.items():
        seconds = held.get(command, held.get(command.strip("`")))
        assert said == ("not measured" if seconds is None else f"{seconds / 60:.2g}"), command
    assert {f"`{command}`" for command in MEASURED["measured"]} <= figures.keys()


def test_every_make_target_that_a_page_names_exists() -> None:
    """Of command lines of `blindmatch`, test_documents.py says so."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    pages = (PAGE, *(one.read_text("utf-8") for one in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))))
    named = {name for page in pages for name in re.findall(r"`make ([a-z-]+)[` ]", page)}
    assert len(named) > 20 and named - targets == set()


def test_every_row_has_a_command_of_this_project() -> None:
    assert all(one.command.startswith(("make ", "blindmatch ")) for one in artifact.CLAIMS)


def test_a_command_that_fails_loses_its_figure_and_the_run_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "DATA", tmp_path / "kept.json")
    claims = tuple(
        artifact.Claim("", one, "", of) for one, of in (("true", ""), ("false", ""), ("no", artifact.DEAR))
    )
    monkeypatch.setattr(artifact, "CLAIMS", claims)
    assert artifact.main([]) == 1
    assert list(artifact.kept()) == ["true"]
    assert artifact.minutes(claims[1]) == "not measured" != artifact.minutes(claims[0])
    monkeypatch.setattr(artifact, "spent", lambda command: 90.0)
    assert artifact.main(["no"]) == 0 and artifact.minutes(claims[2]) == "1.5"
    assert artifact.main([]) == 0 and artifact.minutes(claims[1]) == "1.5"
