"""The README fits one screen down to the next steps, and shows what its commands print."""

from __future__ import annotations

import re

from support.documents import ROOT, demo_in_the_readme

README = (ROOT / "README.md").read_text("utf-8")
FOLD = "## What it is, and what it is not"
SCREEN = 60
"""Lines of source that a reader sees without scrolling far: a picture and some blocks among them."""


def before_the_fold() -> str:
    above, found, _ = README.partition(FOLD)
    assert found
    return above


def test_the_product_is_said_in_two_sentences_before_the_picture() -> None:
    said = " ".join(before_the_fold().split("\n\n")[1].split())
    assert len(re.findall(r"[.!?](?= |$)", said)) == 2
    assert before_the_fold().split("\n\n")[2].startswith("[![")


def test_the_readme_down_to_the_next_steps_fits_one_screen() -> None:
    lines = before_the_fold().splitlines()
    assert len(lines) <= SCREEN
    assert not any(line.startswith("| ") for line in lines), "tables have pages of their own"


def test_there_are_two_commands_with_durations_and_one_next_step_for_each_reader() -> None:
    above = before_the_fold()
    commands = [block for block in re.findall(r"```\n(.*?)```", above, re.DOTALL) if "│" not in block]
    assert [len(block.splitlines()) for block in commands] == [1, 1]
    assert len(re.findall(r"^takes (?:about a|another) minute\.", above, re.MULTILINE)) == 2
    readers = re.findall(r"^- \*\*You (.*?)\.\*\*", above, re.MULTILINE)
    assert [next(word for word in ("policy", "researcher", "operate") if word in one) for one in readers] == [
        "policy",
        "researcher",
        "operate",
    ]


def test_six_lines_of_the_demo_are_shown() -> None:
    """That the demo prints them, in this order, is tested where it runs: test_demo_checks.py."""
    assert len(demo_in_the_readme()) == 6
