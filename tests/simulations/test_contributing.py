"""What CONTRIBUTING tells a new engineer is so: the rooms, the five trials, the tests that they name."""

from __future__ import annotations

import re
import tomllib

import pytest
from support.documents import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
TRIALS = ("design", "attack", "edit", "fact", "chart on a page")


def drawn_rooms() -> list[set[str]]:
    """Return the rooms of the picture, one set for each layer, the topmost first."""
    picture = PAGE.partition("## The rooms")[2].partition("```\n")[2].partition("```")[0]
    layers = re.split(r"^ -+$", picture, flags=re.MULTILINE)[1:]
    return [set(re.findall(r"(?:^ |\| +)(\w+)/ ", layer, re.MULTILINE)) for layer in layers]


def test_the_picture_of_the_rooms_is_what_the_import_linter_holds() -> None:
    held = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layered,) = (one for one in held if one["name"] == "rooms are layered")
    rooms = [
        {room.removeprefix("blindmatch_") for room in layer.split(" | ")}
        for layer in layered["layers"]
        if layer != "blindmatch"
    ]
    assert drawn_rooms() == rooms


def test_the_packages_that_the_picture_names_are_those_of_the_room() -> None:
    picture = PAGE.partition("## The rooms")[2].partition("```\n")[2].partition("```")[0]
    named = re.findall(r"^ +(?:simulations/ +)?(testbed|evaluation|report|cli)  ", picture, re.MULTILINE)
    package = ROOT / "simulations" / "blindmatch_simulations"
    assert len(named) == 4 and all((package / name / "__init__.py").exists() for name in named)


@pytest.mark.parametrize("trial", TRIALS)
def test_each_trial_is_a_numbered_list_that_ends_with_what_to_run(trial: str) -> None:
    part = PAGE.partition(f"\n### A new {trial}\n")[2].partition("\n##")[0]
    steps = re.split(r"^(\d+)\. ", part, flags=re.MULTILINE)[1:]
    assert [int(number) for number in steps[::2]] == list(range(1, len(steps) // 2 + 1))
    assert len(steps) // 2 >= 5
    assert re.search(r"\bRun `(?:make|blindmatch|tests/)", steps[-1]), steps[-1]


def test_each_name_in_code_that_a_trial_sends_the_reader_to_is_there() -> None:
    trials = PAGE.partition("five trials")[2].partition("## Run tests fast")[0]
    sources = {
        "MILD": "simulations/blindmatch_simulations/testbed/pictures/crops.py",
        "STRONG": "simulations/blindmatch_simulations/testbed/pictures/crops.py",
        "MODULES": "simulations/blindmatch_simulations/report/page_of_view.py",
        "SECTIONS": "simulations/blindmatch_simulations/report/components/page.js",
        "[plain]": "simulations/blindmatch_simulations/data/follow.toml",
        "attacks": "simulations/blindmatch_simulations/data/plain.json",
    }
    for name, path in sources.items():
        assert f"`{name}`" in trials, name
        assert name in (ROOT / path).read_text("utf-8"), (name, path)


def test_every_make_target_that_the_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)[` ]", PAGE, re.MULTILINE))
    assert len(named) > 15 and named - targets == set()
