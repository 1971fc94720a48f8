"""What the help of each command ends with: an example, what it needs, and what it writes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import typer

FILE: Final = "lessons.toml"
BENCH: Final = "bench "


@dataclass(frozen=True, slots=True)
class Lesson:
    """`example` follows ``blindmatch``; `needs` and `writes` are half sentences."""

    example: str
    needs: str
    writes: str

    def epilog(self) -> str:
        """Markdown for the end of the help, one item each."""
        items = (f"Example: `blindmatch {self.example}`", f"Needs: {self.needs}", f"Writes: {self.writes}")
        return "\n\n".join(f"- {item}" for item in items)


@cache
def lessons() -> Mapping[str, Lesson]:
    """All lessons, by the words of the command; those of ``bench`` are made by `lesson_of`."""
    read = tomllib.loads(files("blindmatch_simulations").joinpath("data", FILE).read_text("utf-8"))
    return {words: Lesson(**fields) for words, fields in read.items()}


def lesson_of(words: str) -> Lesson | None:
    """The lesson of the command called by `words`; all of ``bench`` are alike; None for a group."""
    if words.startswith(BENCH):
        return Lesson(
            f"{words} --json rows.json", "a machine that does nothing else", "the file of --json, if any"
        )
    return lessons().get(words)


def teach(app: typer.Typer, words: str) -> None:
    """Let the help of every command below the group `words` end with its lesson."""
    for command in app.registered_commands:
        lesson = lesson_of(f"{words} {command.name}")
        command.epilog = lesson.epilog() if lesson else command.epilog
    for group in app.registered_groups:
        if group.typer_instance is not None:
            teach(group.typer_instance, f"{words} {group.name}")
