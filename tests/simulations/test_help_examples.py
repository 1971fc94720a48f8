"""The help of every command ends with an example that the command line takes."""

from __future__ import annotations

import re
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from blindmatch_simulations.cli.app import COMMANDS, app_for, help_example_of, help_examples, run
from support.page_tables import leaves
from typer.main import get_command


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_a_command_line_of_its_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, command in leaves(name):
        example = help_example_of(words)
        assert example is not None, f"no example for {words}: add it to data/help_examples.toml"
        assert example.example.startswith(words)
        assert command.epilog == example.epilog()
        assert not any(getattr(one, "hidden", False) for one in command.params)
        command.make_context(words, shlex.split(example.example)[len(words.split()) :])


def test_the_page_names_the_commands_that_write_no_json() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/results.md").read_text()
    named = re.findall("`([^`]+)`", page.split("their result is a file", 1)[1].split("##", 1)[0])
    every = (one for name in COMMANDS for one in leaves(name))
    assert {" ".join(one.split()) for one in named} == {
        words for words, one in every if all("--json" not in p.opts for p in one.params)
    }


def test_every_help_example_is_of_a_command() -> None:
    assert set(help_examples()) <= {words for name in COMMANDS for words, _ in leaves(name)}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_command_says_of_itself(name: str) -> None:
    root: Any = get_command(app_for([name]))
    said = (root.commands[name].help or "").split("\n\n")[0]
    assert " ".join(said.split()) == COMMANDS[name].says.split("\n\n")[0]


def test_help_examples_are_part_of_the_package() -> None:
    assert files("blindmatch_simulations").joinpath("data", "help_examples.toml").is_file()


def test_the_help_of_the_demo_says_that_it_writes_the_folder_of_home(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["demo", "--help"]) == 0
    (said,) = re.findall(r"Writes: (.*)", " ".join(capsys.readouterr().out.split()))
    assert said.startswith("the folder of --home") and "the file of --json" in said
